"""TLS files that change, certificates that are revoked or not allowed, and those that a member makes for itself."""

from __future__ import annotations

import logging
import shutil
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from kvraft.channel import Channel, dial
from kvraft.client import open_client
from kvraft.errors import KvraftError
from kvraft.server.certificates import own_certificate
from kvraft.server.tls import ConfigError, ReloadedContext, TlsConfig
from tests.kvraft.certificates import Authority
from tests.kvraft.members import open_members

if TYPE_CHECKING:
    from tests.kvraft.members import Members


def _common_name(channel: Channel) -> str:
    assert channel.peer_certificate is not None
    certificate = x509.load_der_x509_certificate(channel.peer_certificate)
    return str(next(iter(certificate.subject)).value)


async def _name_shown(members: Members, context: ssl.SSLContext) -> str:
    channel = await dial(members.urls[0], context)
    try:
        return _common_name(channel)
    finally:
        channel.close()


def _messages(caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if text in record.getMessage()]


async def test_new_files_are_used_without_a_restart_and_broken_ones_are_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "kvraft")
    authority = Authority(tmp_path / "pki")
    first, second = authority.issue("first"), authority.issue("second")
    cert_file, key_file = tmp_path / "cert.pem", tmp_path / "key.pem"

    def put(cert: str, key: str) -> None:
        shutil.copy(cert, cert_file)
        shutil.copy(key, key_file)

    put(*first)
    context = ssl.create_default_context(cafile=str(authority.ca_file))
    async with open_members(tmp_path, 1, client_tls=TlsConfig(str(cert_file), str(key_file))) as members:
        before = await dial(members.urls[0], context)
        assert _common_name(before) == "first"
        put(*second)
        assert await _name_shown(members, context) == "second"
        put(first[0], second[1])  # a certificate with another one's key
        assert await _name_shown(members, context) == "second"
        assert await _name_shown(members, context) == "second"
        cert_file.unlink()
        assert await _name_shown(members, context) == "second"
        put(*first)
        assert await _name_shown(members, context) == "first"
        assert not before.closed
        before.close()
    assert len(_messages(caplog, "reloaded TLS files")) == 2
    assert len(_messages(caplog, "cannot reload TLS files; the former ones stay in use")) == 2


async def test_peers_follow_their_files_too(tmp_path: Path) -> None:
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new")
    peer_tls = old.tls("peer", "--peer-")
    async with open_members(tmp_path, 3, peer_tls=peer_tls) as members:
        for have, path in zip((*new.issue("peer"), str(new.ca_file)), _files(peer_tls), strict=True):
            shutil.copy(have, path)
        leader = await members.leader()
        stopped = next(name for name in members.running if name != leader)
        await members.stop(stopped)
        await members.start(stopped).ready.wait()  # it has only ever seen the new files, the others run since the old
        await members.applied_everywhere()


def _files(tls: TlsConfig) -> tuple[str, str, str]:
    return tls.cert_file, tls.key_file, tls.trusted_ca_file


def _revoke(authority: Authority, cert_file: str, path: Path, encoding: serialization.Encoding) -> None:
    certificate = x509.load_pem_x509_certificate(Path(cert_file).read_bytes())
    now = datetime.now(UTC)
    revoked = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(now).build()
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(certificate.issuer)
        .last_update(now)
        .next_update(now + timedelta(days=1))
        .add_revoked_certificate(revoked)
        .sign(authority.key, hashes.SHA256())
    )
    path.write_bytes(crl.public_bytes(encoding))


@pytest.mark.parametrize("encoding", [serialization.Encoding.PEM, serialization.Encoding.DER])
async def test_a_revoked_certificate_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, encoding: serialization.Encoding
) -> None:
    authority = Authority(tmp_path / "pki")
    good, bad = authority.tls("good"), authority.tls("bad")
    crl_file = tmp_path / "crl"
    _revoke(authority, bad.cert_file, crl_file, encoding)
    tls = attrs.evolve(authority.tls("member"), crl_file=str(crl_file))
    async with open_members(tmp_path, 1, client_tls=tls) as members:
        async with open_client(members.urls, ssl_context=good.client_context()) as client:
            await client.put(b"k", b"v")
        async with open_client(members.urls, ssl_context=bad.client_context(), timeout_seconds=0.3) as client:
            with pytest.raises(KvraftError):
                await client.put(b"k", b"v")
        _revoke(authority, good.cert_file, crl_file, encoding)  # the list is reloaded, too
        async with open_client(members.urls, ssl_context=bad.client_context()) as client:
            await client.put(b"k", b"v")
    errors = [record.fields["error"] for record in caplog.records if hasattr(record, "fields")]
    assert any("transport: certificate serial" in str(error) for error in errors)


@pytest.mark.parametrize(
    ("rules", "welcome"),
    [
        ({"allowed_cns": ("one", "two")}, True),
        ({"allowed_cns": ("three",)}, False),
        ({"allowed_hostnames": ("127.0.0.1",)}, True),
        ({"allowed_hostnames": ("example.com",)}, False),
    ],
)
async def test_only_certificates_with_an_allowed_name_come_in(
    tmp_path: Path, rules: dict[str, tuple[str, ...]], welcome: bool
) -> None:
    authority = Authority(tmp_path / "pki")
    tls = attrs.evolve(authority.tls("member"), **rules)
    async with open_members(tmp_path, 1, client_tls=tls) as members:
        context = authority.tls("two").client_context()
        async with open_client(members.urls, ssl_context=context, timeout_seconds=1 if welcome else 0.3) as client:
            if welcome:
                await client.put(b"k", b"v")
            else:
                with pytest.raises(KvraftError):
                    await client.put(b"k", b"v")


async def test_members_with_certificates_of_their_own(tmp_path: Path) -> None:
    settings = {"client_tls": TlsConfig(auto=True), "peer_tls": TlsConfig(flag_prefix="--peer-", auto=True)}
    async with open_members(tmp_path, 3, **settings) as members:
        for name in members.running:
            fixtures = tmp_path / name / "fixtures"
            files = [fixtures / side / file for side in ("client", "peer") for file in ("cert.pem", "key.pem")]
            assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600] * 4
            assert stat.S_IMODE(fixtures.stat().st_mode) == 0o700
        context = ssl.create_default_context()
        for name in members.running:
            context.load_verify_locations(tmp_path / name / "fixtures" / "client" / "cert.pem")
        async with open_client(members.urls, ssl_context=context) as client:
            await client.put(b"k", b"v")
        await members.applied_everywhere()


def test_a_members_own_certificate_is_kept_until_it_expires(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = Path(own_certificate(tmp_path / "c", ["localhost", "127.0.0.1"], 1)[0]).read_bytes()
    assert Path(own_certificate(tmp_path / "c", ["localhost"], 1)[0]).read_bytes() == first
    names = x509.load_pem_x509_certificate(first).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert [str(name.value) for name in names.value] == ["localhost", "127.0.0.1"]
    own_certificate(tmp_path / "d", ["localhost"], 0)  # good for no time at all
    expired = (tmp_path / "d" / "cert.pem").read_bytes()
    assert Path(own_certificate(tmp_path / "d", ["localhost"], 1)[0]).read_bytes() != expired
    assert _messages(caplog, "has expired; making another")


def test_a_key_of_another_certificate_is_one_clear_line(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    tls = TlsConfig(authority.issue("one")[0], authority.issue("two")[1])
    with pytest.raises(ConfigError, match=r"cannot load TLS files \(.*one\.crt.*two\.key.*\).*(?i:mismatch)"):
        ReloadedContext(tls, tls.server_context)
    bad_list = attrs.evolve(authority.tls("one"), crl_file=str(authority.ca_file))
    with pytest.raises(ConfigError, match="--crl-file: cannot load"):
        bad_list.server_context()


async def test_versions_and_suites_hold(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    suite = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
    tls = attrs.evolve(authority.tls("member"), max_version="TLS1.2", cipher_suites=(suite,))
    context = authority.tls("client").client_context()
    async with open_members(tmp_path, 1, client_tls=tls) as members:
        channel = await dial(members.urls[0], context)
        assert channel._sock.version() == "TLSv1.2"  # type: ignore[attr-defined]
        assert channel._sock.cipher()[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"  # type: ignore[attr-defined]
        channel.close()
    only_13 = attrs.evolve(tls, max_version="", cipher_suites=("TLS_AES_128_GCM_SHA256",)).server_context()
    assert only_13.minimum_version == ssl.TLSVersion.TLSv1_3
