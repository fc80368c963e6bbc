"""The cluster's certificates: what they prove, who may read the keys, when they are made anew."""

from __future__ import annotations

import ssl
import time
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from apilayer.cli.cluster import certificates
from apilayer.cli.cluster.certificates import AUTHORITIES, DAY_S, LEAVES, ensure

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    directory = tmp_path / "pki"
    assert ensure(directory)
    return directory


def contents(pki: Path) -> dict[str, bytes]:
    names = [*AUTHORITIES, *(leaf.name for leaf in LEAVES)]
    return {f"{name}.{end}": (pki / f"{name}.{end}").read_bytes() for name in names for end in ("crt", "key")}


def changed(before: dict[str, bytes], after: dict[str, bytes]) -> set[str]:
    return {name.removesuffix(".crt") for name in before if name.endswith(".crt") and before[name] != after[name]}


def context(pki: Path, purpose: int, authority: str, name: str) -> ssl.SSLContext:
    made = ssl.SSLContext(purpose)
    made.verify_mode = ssl.CERT_REQUIRED
    made.verify_flags |= ssl.VERIFY_X509_STRICT
    made.load_verify_locations(pki / f"{authority}.crt")
    made.load_cert_chain(pki / f"{name}.crt", pki / f"{name}.key")
    return made


def shake(client: ssl.SSLContext, server: ssl.SSLContext, host: str) -> None:
    """A whole TLS handshake in memory, both sides checking the other."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for side in tuple(sides):
            try:
                side.do_handshake()
                sides.remove(side)
            except ssl.SSLWantReadError:
                continue
    assert not sides


@pytest.mark.parametrize("host", [*certificates.NAMES, *certificates.ADDRESSES])
def test_the_api_server_and_its_administrator_trust_each_other(pki: Path, host: str) -> None:
    shake(
        context(pki, ssl.PROTOCOL_TLS_CLIENT, "ca", "admin"),
        context(pki, ssl.PROTOCOL_TLS_SERVER, "ca", "apiserver"),
        host,
    )


@pytest.mark.parametrize("client", ["apiserver-etcd-client", "etcd/healthcheck-client"])
def test_the_store_trusts_its_clients(pki: Path, client: str) -> None:
    shake(
        context(pki, ssl.PROTOCOL_TLS_CLIENT, "etcd/ca", client),
        context(pki, ssl.PROTOCOL_TLS_SERVER, "etcd/ca", "etcd/server"),
        "127.0.0.1",
    )


def test_peers_trust_each_other(pki: Path) -> None:
    shake(
        context(pki, ssl.PROTOCOL_TLS_CLIENT, "etcd/ca", "etcd/peer"),
        context(pki, ssl.PROTOCOL_TLS_SERVER, "etcd/ca", "etcd/peer"),
        "127.0.0.1",
    )


def test_a_kubernetes_user_cannot_enter_the_store(pki: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(
            context(pki, ssl.PROTOCOL_TLS_CLIENT, "etcd/ca", "admin"),
            context(pki, ssl.PROTOCOL_TLS_SERVER, "etcd/ca", "etcd/server"),
            "127.0.0.1",
        )


def test_another_host_name_is_refused(pki: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(
            context(pki, ssl.PROTOCOL_TLS_CLIENT, "ca", "admin"),
            context(pki, ssl.PROTOCOL_TLS_SERVER, "ca", "apiserver"),
            "example.org",
        )


def test_the_administrator_is_a_master(pki: Path) -> None:
    certificate = x509.load_pem_x509_certificate((pki / "admin.crt").read_bytes())
    assert certificate.subject.rfc4514_string() == "CN=kubernetes-admin,O=system:masters"


def test_keys_are_private(pki: Path) -> None:
    assert pki.stat().st_mode & 0o777 == 0o700
    for key in pki.rglob("*.key"):
        assert key.stat().st_mode & 0o777 == 0o600


def test_what_is_in_order_is_kept(pki: Path) -> None:
    before = contents(pki)
    assert not ensure(pki)
    assert contents(pki) == before


def test_without_the_manifest_each_certificate_is_looked_at_and_kept(pki: Path) -> None:
    before = contents(pki)
    (pki / "manifest.json").unlink()
    assert not ensure(pki)
    assert contents(pki) == before


def test_a_month_before_its_end_a_certificate_is_renewed(pki: Path) -> None:
    before = contents(pki)
    assert not ensure(pki, time.time() + 334 * DAY_S)
    assert ensure(pki, time.time() + 336 * DAY_S)
    assert changed(before, contents(pki)) == {leaf.name for leaf in LEAVES}


def test_a_leaf_never_outlives_its_authority(pki: Path) -> None:
    late = time.time() + (3650 - 40) * DAY_S
    assert ensure(pki, late)
    ends = {
        name: x509.load_pem_x509_certificate((pki / f"{name}.crt").read_bytes()).not_valid_after_utc
        for name in ("ca", "apiserver")
    }
    assert ends["apiserver"] == ends["ca"]


@pytest.mark.parametrize("damage", ["missing", "garbage", "another's", "truncated"])
def test_a_damaged_key_costs_its_own_pair_only(pki: Path, damage: str) -> None:
    before = contents(pki)
    key = pki / "apiserver.key"
    if damage == "missing":
        key.unlink()
    elif damage == "garbage":
        key.write_bytes(b"not a key")
    elif damage == "another's":
        key.write_bytes((pki / "admin.key").read_bytes())
    else:
        key.write_bytes(key.read_bytes()[:50])
    assert ensure(pki)
    assert changed(before, contents(pki)) == {"apiserver"}


def test_a_new_authority_signs_its_leaves_again(pki: Path) -> None:
    before = contents(pki)
    (pki / "etcd" / "ca.key").unlink()
    assert ensure(pki)
    signed = {leaf.name for leaf in LEAVES if leaf.authority == "etcd/ca"}
    assert changed(before, contents(pki)) == signed | {"etcd/ca"}


def test_a_key_that_others_may_read_is_closed_again(pki: Path) -> None:
    (pki / "admin.key").chmod(0o644)
    assert not ensure(pki)
    assert (pki / "admin.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("manifest", [b"", b"[]", b'{"notAfter": "never"}', b'{"notAfter": 9e99}'])
def test_a_manifest_that_says_nothing_useful_is_not_believed(pki: Path, manifest: bytes) -> None:
    (pki / "manifest.json").write_bytes(manifest)
    (pki / "admin.crt").unlink()
    assert ensure(pki)
    assert (pki / "admin.crt").is_file()
