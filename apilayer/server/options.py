"""The options of a server, as `apilayer serve` takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from apilayer.audit.options import NO_OPTIONS
from apilayer.server.backend import ETCD
from apilayer.server.signing import DEFAULT_SECONDS
from apilayer.storage.prefix import DEFAULT_PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from apilayer.audit.options import AuditOptions


@attrs.frozen
class ServerOptions:
    """What `apilayer serve` takes; times in seconds, names as the flags. Port 0 picks a free one."""

    tls_cert_file: Path
    tls_private_key_file: Path
    etcd_servers: Sequence[str]
    bind_address: str = "0.0.0.0"  # noqa: S104  # kube-apiserver's default
    advertise_address: str = ""
    secure_port: int = 6443
    client_ca_file: Path | None = None
    token_auth_file: Path | None = None
    basic_auth_file: Path | None = None
    enable_bootstrap_token_auth: bool = False
    anonymous_auth: bool | None = None
    requestheader_client_ca_file: Path | None = None
    requestheader_allowed_names: Sequence[str] = ()
    requestheader_username_headers: Sequence[str] = ()
    requestheader_uid_headers: Sequence[str] = ()
    requestheader_group_headers: Sequence[str] = ()
    requestheader_extra_headers_prefix: Sequence[str] = ()
    oidc_issuer_url: str = ""
    oidc_client_id: str = ""
    oidc_ca_file: Path | None = None
    oidc_username_claim: str = "sub"
    oidc_username_prefix: str = ""
    oidc_groups_claim: str = ""
    oidc_groups_prefix: str = ""
    oidc_signing_algs: Sequence[str] = ("RS256",)
    oidc_required_claim: Sequence[tuple[str, str]] = ()
    authentication_config: Path | None = None
    authentication_token_webhook_config_file: Path | None = None
    authentication_token_webhook_version: str = "v1beta1"  # noqa: S105  # no secret
    authentication_token_webhook_cache_ttl: float = 120.0
    authorization_mode: Sequence[str] = ()
    authorization_policy_file: Path | None = None
    authorization_config: Path | None = None
    authorization_webhook_config_file: Path | None = None
    authorization_webhook_version: str = "v1beta1"
    authorization_webhook_cache_authorized_ttl: float = 300.0
    authorization_webhook_cache_unauthorized_ttl: float = 30.0
    service_account_signing_key_file: Path | None = None
    service_account_key_file: Sequence[Path] = ()
    service_account_issuer: Sequence[str] = ()
    service_account_lookup: bool = True
    service_account_jwks_uri: str = ""
    service_account_max_token_expiration: float = 0.0
    service_account_extend_token_expiration: bool = True
    api_audiences: Sequence[str] = ()
    etcd_cafile: Path | None = None
    etcd_certfile: Path | None = None
    etcd_keyfile: Path | None = None
    max_requests_inflight: int = 400
    max_mutating_requests_inflight: int = 200
    enable_priority_and_fairness: bool = True
    request_timeout: float = 60.0
    min_request_timeout: float = 1800.0
    shutdown_delay_duration: float = 0.0
    shutdown_send_retry_after: bool = False
    shutdown_watch_termination_grace_period: float = 0.0
    tls_min_version: str = ""
    tls_cipher_suites: Sequence[str] = ()
    tls_sni_cert_key: Sequence[str] = ()
    http2_max_streams_per_connection: int = 0
    goaway_chance: float = 0.0
    storage_backend: str = ETCD
    etcd_prefix: str = DEFAULT_PREFIX
    etcd_compaction_interval: float = 300.0
    etcd_healthcheck_timeout: float = 2.0
    etcd_readycheck_timeout: float = 2.0
    service_cluster_ip_range: str = "10.0.0.0/24"
    service_node_port_range: str = "30000-32767"
    controllers: str = "*"
    root_ca_file: Path | None = None
    event_ttl: float = 3600.0
    cluster_signing_cert_file: Path | None = None
    cluster_signing_key_file: Path | None = None
    cluster_signing_duration: float = DEFAULT_SECONDS
    cluster_signing_kubelet_serving_cert_file: Path | None = None
    cluster_signing_kubelet_serving_key_file: Path | None = None
    cluster_signing_kubelet_client_cert_file: Path | None = None
    cluster_signing_kubelet_client_key_file: Path | None = None
    cluster_signing_kube_apiserver_client_cert_file: Path | None = None
    cluster_signing_kube_apiserver_client_key_file: Path | None = None
    cluster_signing_legacy_unknown_cert_file: Path | None = None
    cluster_signing_legacy_unknown_key_file: Path | None = None
    enable_admission_plugins: Sequence[str] = ()
    disable_admission_plugins: Sequence[str] = ()
    admission_control: Sequence[str] = ()
    admission_control_config_file: Path | None = None
    encryption_provider_config: Path | None = None
    encryption_provider_config_automatic_reload: bool = False
    audit: AuditOptions = NO_OPTIONS
