"""Mutual TLS among members and with clients; who cannot show the right certificate is told, and logged."""

from __future__ import annotations

import contextlib
import logging
import ssl
from typing import TYPE_CHECKING

import attrs
import pytest
import trio

from kvraft.channel import dial
from kvraft.client import open_client
from kvraft.errors import KvraftError, OutcomeUnknown, Unavailable
from kvraft.server.config import ConfigError, TlsConfig
from tests.kvraft.certificates import Authority
from tests.kvraft.members import open_members, until

if TYPE_CHECKING:
    from pathlib import Path


def _texts(caplog: pytest.LogCaptureFixture, message: str) -> list[str]:
    """The ``error`` fields of the warnings that say ``message``."""
    return [
        str(getattr(record, "fields", {}).get("error", ""))
        for record in caplog.records
        if record.getMessage() == message and record.levelno == logging.WARNING
    ]


async def test_three_members_and_their_clients_speak_mutual_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    tls, peer_tls = authority.tls("member"), authority.tls("peer", "--peer-")
    async with open_members(tmp_path, client_tls=tls, peer_tls=peer_tls) as members:
        async with open_client(members.urls, ssl_context=tls.client_context()) as client:
            await client.put(b"large", bytes(1_000_000))
            await members.stop(await members.leader())
            with contextlib.suppress(OutcomeUnknown):  # it may not have noticed yet
                await client.put(b"0", b"x")
            for number in range(20):
                await client.put(b"%d" % number, b"x")
            assert (await client.range(b"\0", b"\0", count_only=True)).count == 21
        await members.applied_everywhere()


@pytest.mark.parametrize("shows", ["nothing", "another authority's"])
async def test_clients_without_the_right_certificate_are_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, shows: str
) -> None:
    authority = Authority(tmp_path / "pki")
    tls = authority.tls("member")
    context = ssl.create_default_context(cafile=str(authority.ca_file))
    if shows != "nothing":
        context.load_cert_chain(*Authority(tmp_path / "other", "other-ca").issue("stranger"))
    async with open_members(tmp_path, 1, client_tls=tls) as members:
        async with open_client(members.urls, ssl_context=context, timeout_seconds=0.3) as client:
            with pytest.raises(KvraftError, match=r"(?i)certificate required|unknown ca"):
                await client.put(b"k", b"v")
        errors = _texts(caplog, "rejected connection on client endpoint")
        assert errors
        assert all("TLS handshake failed" in error for error in errors)
        async with open_client(members.urls, ssl_context=tls.client_context()) as client:
            await client.put(b"k", b"v")


async def test_clients_refuse_members_of_another_authority(tmp_path: Path) -> None:
    tls = Authority(tmp_path / "pki").tls("member")
    other = Authority(tmp_path / "other", "other-ca").tls("stranger")
    async with (
        open_members(tmp_path, 1, client_tls=tls) as members,
        open_client(members.urls, ssl_context=other.client_context(), timeout_seconds=0.2) as client,
    ):
        with pytest.raises(Unavailable, match="certificate verify failed"):
            await client.put(b"k", b"v")


async def test_a_member_of_another_authority_stays_outside_and_both_sides_say_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    peer_tls = Authority(tmp_path / "pki").tls("peer", "--peer-")
    stranger = Authority(tmp_path / "other", "other-ca").tls("peer", "--peer-")
    async with open_members(tmp_path, peer_tls=peer_tls) as members:
        leader = await members.leader()
        outside = next(name for name in members.running if name != leader)
        await members.stop(outside)
        caplog.clear()
        members.start(outside, peer_tls=stranger)
        await until(lambda: bool(_texts(caplog, "rejected connection on peer endpoint")))
        await until(lambda: bool(_texts(caplog, "cannot reach peer")))
        assert all("TLS handshake failed" in text for text in _texts(caplog, "rejected connection on peer endpoint"))
        assert any("certificate verify failed" in text for text in _texts(caplog, "cannot reach peer"))
        async with open_client(members.urls) as client:
            await client.put(b"k", b"v")
        assert not members.running[outside].ready.is_set()
        assert members.running[outside].machine.revision < members.running[await members.leader()].machine.revision


async def test_a_ca_alone_already_demands_a_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    peer_tls = attrs.evolve(authority.tls("peer", "--peer-"), client_cert_auth=False)
    async with open_members(tmp_path, 1, peer_tls=peer_tls) as members:
        (url,) = members.peer_urls.values()
        channel = await dial(url, ssl.create_default_context(cafile=str(authority.ca_file)))
        with trio.fail_after(5), pytest.raises(Exception, match=r"(?i)CERTIFICATE_REQUIRED|certificate required"):
            await channel.receive()
        channel.close()


async def test_somebody_who_stops_in_the_middle_of_a_handshake_is_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kvraft.server.clients.PREFACE_SECONDS", 0.05)
    monkeypatch.setattr("kvraft.server.peers.HELLO_SECONDS", 0.05)
    authority = Authority(tmp_path / "pki")
    settings = {"client_tls": authority.tls("member"), "peer_tls": authority.tls("peer", "--peer-")}
    async with open_members(tmp_path, 1, **settings) as members:
        for url in (*members.urls, *members.peer_urls.values()):
            half = await dial(url.replace("https", "http"), None)
            await half.send(b"\x16\x03\x01\x02\x00\x01\x00")
            assert await half.receive() == b""
            half.close()
    assert "not finished in time" in str(_texts(caplog, "rejected connection on client endpoint"))
    assert _texts(caplog, "rejected connection on peer endpoint")


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    cert_file, key_file = authority.issue("locked", password=b"secret")
    with pytest.raises(ConfigError, match="cannot load TLS files"):
        TlsConfig(cert_file, key_file).server_context()
    with pytest.raises(ConfigError, match=r"nowhere\.pem"):
        TlsConfig("nowhere.pem", key_file).server_context()
    with pytest.raises(ConfigError, match="--peer-cert-file and --peer-key-file are required with https URLs"):
        TlsConfig(flag_prefix="--peer-").server_context()
    with pytest.raises(ConfigError, match="--trusted-ca-file is required with --client-cert-auth"):
        TlsConfig(*authority.issue("member"), client_cert_auth=True).server_context()


def test_with_a_ca_of_its_own_a_member_believes_no_other(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    context = authority.tls("peer").client_context()
    assert [dict(item[0] for item in ca["subject"]) for ca in context.get_ca_certs()] == [{"commonName": "test-ca"}]
