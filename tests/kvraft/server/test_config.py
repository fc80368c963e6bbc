"""Settings: what cannot work is refused by the name of its flag; ids are etcd's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kvraft.server.config import ConfigError, MemberConfig, parse_initial_cluster

if TYPE_CHECKING:
    from pathlib import Path


def _config(tmp_path: Path, **changes: object) -> MemberConfig:
    settings: dict[str, object] = {
        "name": "m1",
        "data_dir": tmp_path,
        "listen_client_urls": ("http://127.0.0.1:0",),
        "advertise_client_urls": ("http://127.0.0.1:0",),
        "listen_peer_urls": ("http://127.0.0.1:2380",),
        "initial_advertise_peer_urls": ("http://127.0.0.1:2380",),
        "initial_cluster": {"m1": ("http://127.0.0.1:2380",)},
        **changes,
    }
    return MemberConfig(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"listen_client_urls": ()}, "--listen-client-urls: at least one URL is required"),
        ({"listen_peer_urls": ("http://127.0.0.1",)}, '--listen-peer-urls: URL address does not have the form "host:'),
        ({"advertise_client_urls": ("unix:///x",)}, "--advertise-client-urls: URL scheme must be http or https"),
        ({"name": "m2"}, 'couldn\'t find local name "m2" in the initial cluster configuration'),
        ({"initial_advertise_peer_urls": ("http://127.0.0.1:1",)}, "missing from --initial-advertise-peer-urls"),
        ({"heartbeat_ms": 0}, r"--heartbeat-interval must be >0 \(set to 0\)"),
        ({"election_ms": -1}, "--election-timeout must be >0"),
        ({"election_ms": 400}, "should be at least as 5 times as --heartbeat-interval"),
        ({"election_ms": 60_000}, "is too long, and should be set less than 50000ms"),
        ({"snapshot_count": 0}, "--snapshot-count must be >0"),
        ({"quota_backend_bytes": -1}, "--quota-backend-bytes must be >0"),
        ({"quota_backend_bytes": 1 << 60}, "--quota-backend-bytes must be at most"),
        ({"max_request_bytes": 0}, "--max-request-bytes must be >0"),
        ({"max_request_bytes": 1 << 30}, "--max-request-bytes must be at most"),
        ({"cors": ("example.com",)}, r'--cors: "example.com" must be "\*" or have the form scheme://host'),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(tmp_path: Path, changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        _config(tmp_path, **changes)


def test_the_initial_cluster_is_read_as_etcd_reads_it() -> None:
    text = "a=http://h:1,b=http://h:2,a=http://h:3"
    assert parse_initial_cluster(text) == {"a": ("http://h:1", "http://h:3"), "b": ("http://h:2",)}
    for bad in ("a", "=http://h:1", "a="):
        with pytest.raises(ConfigError, match="does not have the form name=url"):
            parse_initial_cluster(bad)


def test_ids_depend_on_peer_urls_and_token_alone(tmp_path: Path) -> None:
    """The member id that etcd gives to its default configuration is known from its logs."""
    default = _config(
        tmp_path,
        name="default",
        initial_advertise_peer_urls=("http://localhost:2380",),
        initial_cluster={"default": ("http://localhost:2380",)},
    )
    assert f"{default.member_ids['default']:x}" == "8e9e05c52164694d"
    assert f"{default.cluster_id:x}" == "cdf818194e3a8c32"
    other = _config(tmp_path, initial_cluster_token="another")
    assert other.cluster_id != _config(tmp_path).cluster_id
