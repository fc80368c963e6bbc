"""Tells aggregated API servers whom to trust: the ConfigMap kube-system/extension-apiserver-authentication.

Several servers may have different authorities: each adds its own, and takes out what has expired.
"""

from __future__ import annotations

import logging
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
import trio

from apilayer.api import meta
from apilayer.api.status import StatusError
from apilayer.registry.bootstrap import create_if_absent
from apilayer.registry.options import WriteOptions
from apilayer.registry.services.store import OWN_MANAGER
from apilayer.storage.interface import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from apilayer.registry.registry import Registry
    from apilayer.server.authentication import AuthenticationFlags

NAMESPACE = "kube-system"
NAME = "extension-apiserver-authentication"
CHECK_SECONDS = 60.0
EXPIRED_LEEWAY = timedelta(minutes=5)
_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_PROXY_CA = "requestheader-client-ca-file"

log = logging.getLogger("apilayer.server.trust_publisher")


async def publish_trust(registry: Registry, flags: AuthenticationFlags) -> None:
    """Keeps the ConfigMap up to date until cancelled; returns at once when there is nothing to publish."""
    if flags.client_ca_file is None and flags.requestheader_client_ca_file is None:
        return
    while True:
        try:
            await _publish(registry, own_trust(flags))
        except (StoreError, StatusError, OSError, ValueError) as error:
            log.warning("%s/%s cannot be brought up to date now: %s", NAMESPACE, NAME, error)
        await trio.sleep(CHECK_SECONDS)


def own_trust(flags: AuthenticationFlags) -> dict[str, str]:
    """What this server would publish alone. Raises OSError."""
    own: dict[str, str] = {}
    if flags.client_ca_file is not None:
        own["client-ca-file"] = _read(flags.client_ca_file)
    if flags.requestheader_client_ca_file is not None:
        own[_PROXY_CA] = _read(flags.requestheader_client_ca_file)
        for key, names in (
            ("requestheader-username-headers", flags.requestheader_username_headers),
            ("requestheader-uid-headers", flags.requestheader_uid_headers),
            ("requestheader-group-headers", flags.requestheader_group_headers),
            ("requestheader-extra-headers-prefix", flags.requestheader_extra_headers_prefix),
            ("requestheader-allowed-names", flags.requestheader_allowed_names),
        ):
            own[key] = orjson.dumps(list(names)).decode()
    return own


def combined(known: Mapping[str, str], own: Mapping[str, str], now: datetime) -> dict[str, str]:
    """What is published already and what is ours: certificates that still hold, and names, each once. Pure.

    Raises ValueError for what is published and cannot be read.
    """
    found: dict[str, str] = {}
    for key in sorted(known.keys() | own.keys()):
        both = (known.get(key, ""), own.get(key, ""))
        if key.endswith("-ca-file"):
            found[key] = _certificates("\n".join(both), now)
        elif key.startswith("requestheader-"):
            names = [name for text in both if text for name in orjson.loads(text)]
            found[key] = orjson.dumps(list(dict.fromkeys(names))).decode()
    return {key: value for key, value in found.items() if value and (found.get(_PROXY_CA) or key == "client-ca-file")}


def _certificates(text: str, now: datetime) -> str:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    loaded = [x509.load_pem_x509_certificate(block.encode("latin-1")) for block in _BLOCK.findall(text)]
    valid = dict.fromkeys(item for item in loaded if item.not_valid_after_utc > now - EXPIRED_LEEWAY)
    return "".join(item.public_bytes(Encoding.PEM).decode() for item in valid)


def _read(path: Path) -> str:
    return path.read_text("latin-1")


async def _publish(registry: Registry, own: Mapping[str, str]) -> None:
    there = registry.listers.get("configmaps", NAMESPACE, NAME)
    data = combined((there or {}).get("data") or {}, own, meta.utc_now())
    if there is not None and there.get("data") == data:
        return
    await create_if_absent(registry, "configmaps", NAMESPACE, {"metadata": {"name": NAME}, "data": data})

    def change(old: dict[str, Any]) -> dict[str, Any]:
        return {**old, "data": combined(old.get("data") or {}, own, meta.utc_now())}

    await registry.of("configmaps").store.patch(NAMESPACE, NAME, change, WriteOptions(manager=OWN_MANAGER))
