"""TLS with certificates on both sides, as etcd wants it: HTTP/2 is agreed on, and strangers are refused."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from kvraft.errors import KvraftError
from tests.kvraft.certificates import Authority
from tests.kvraft.client.etcd.stores import PROGRAMS, EtcdProcesses, connect
from tests.kvraft.processes import Processes

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("program", PROGRAMS)
async def test_with_certificates_on_both_sides(program: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("server")
    processes = (EtcdProcesses if program == "etcd" else Processes)(tmp_path, 1)
    processes.client_urls = {name: url.replace("http:", "https:") for name, url in processes.client_urls.items()}
    try:
        processes.start(
            "m1",
            *("--cert-file", cert, "--key-file", key),
            *("--client-cert-auth", "--trusted-ca-file", str(authority.ca_file)),
        )
        context = ssl.create_default_context(cafile=str(authority.ca_file))
        context.load_cert_chain(*authority.issue("client"))
        async with connect(processes.urls, ssl_context=context) as client, client.watch(b"k") as stream:
            revision = (await client.put(b"k", b"v")).revision
            while not (batch := await anext(stream)).events:
                pass
            assert batch.revision == revision
        stranger = ssl.create_default_context(cafile=str(authority.ca_file))
        async with connect(processes.urls, 1.0, ssl_context=stranger) as client:
            with pytest.raises(KvraftError, match="certificate"):
                await client.range(b"k")
    finally:
        for name in list(processes.running):
            processes.kill(name)
