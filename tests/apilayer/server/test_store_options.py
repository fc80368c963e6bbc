"""What the flags of the store mean, and what cannot be."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import pytest

from apilayer.cli import serve
from apilayer.server.backend import open_store, store_context
from apilayer.server.tls import CertificateError
from apilayer.storage.etcd_backend import EtcdStore
from apilayer.storage.kvraft_backend import KvraftStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from apilayer.server.options import ServerOptions

REQUIRED = ("--tls-cert-file=c", "--tls-private-key-file=k")


def options(*flags: str) -> ServerOptions:
    parser = argparse.ArgumentParser(exit_on_error=False)
    serve.add_parser(parser.add_subparsers())
    return serve.options_of(parser.parse_args(["serve", *REQUIRED, *flags]))


def test_defaults_are_kube_apiservers() -> None:
    found = options("--etcd-servers=http://a:1,http://b:2")
    assert list(found.etcd_servers) == ["http://a:1", "http://b:2"]
    assert (found.storage_backend, found.etcd_prefix) == ("etcd3", "/registry")
    assert (found.etcd_compaction_interval, found.etcd_healthcheck_timeout, found.etcd_readycheck_timeout) == (
        300,
        2,
        2,
    )


def test_another_backend_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options("--etcd-servers=http://a:1", "--storage-backend=etcd2")
    said = capsys.readouterr().err
    assert "'etcd2' is invalid, allowed values: etcd3, kvraft. If not specified, it will default to 'etcd3'" in said


@pytest.mark.parametrize(("backend", "kind"), [("etcd3", EtcdStore), ("kvraft", KvraftStore)])
async def test_the_backend_that_is_chosen(backend: str, kind: type[KvraftStore]) -> None:
    chosen = options("--etcd-servers=http://127.0.0.1:1", f"--storage-backend={backend}")
    async with open_store(chosen, None) as store:
        assert type(store) is kind


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--etcd-cafile=/nowhere.crt",), "--etcd-cafile"),
        (("--etcd-certfile=/nowhere.crt",), "--etcd-certfile and --etcd-keyfile"),
        (("--etcd-keyfile=/nowhere.key",), "--etcd-certfile and --etcd-keyfile"),
        (("--etcd-certfile=/nowhere.crt", "--etcd-keyfile=/nowhere.key"), "--etcd-certfile"),
    ],
)
def test_certificates_that_cannot_be_used(flags: tuple[str, ...], reason: str) -> None:
    with pytest.raises(CertificateError, match=reason):
        store_context(options("--etcd-servers=https://a:1", *flags))


def test_plain_urls_want_no_certificates(certificates: Path) -> None:
    assert store_context(options("--etcd-servers=http://a:1", "--etcd-cafile=/nowhere.crt")) is None
    chosen = options(
        "--etcd-servers=https://a:1",
        f"--etcd-cafile={certificates}/ca.crt",
        f"--etcd-certfile={certificates}/admin.crt",
        f"--etcd-keyfile={certificates}/admin.key",
    )
    assert store_context(chosen) is not None


async def test_two_servers_may_speak_different_protocols_with_one_store(start_server: Callable[..., Any]) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    async with (
        start_server(storage_backend="kvraft") as one,
        start_server(storage_backend="etcd3") as other,
        one.connect() as first,
        other.connect() as second,
    ):
        clients = [first, second]
        for number in range(4):
            body = {"metadata": {"name": f"c{number}"}, "data": {"n": str(number)}}
            writer, reader = clients[number % 2], clients[(number + 1) % 2]
            created = await writer.request("POST", path, body)
            assert created.status == 201
            listed = (await reader.request("GET", path)).json["items"]
            assert [item["metadata"]["name"] for item in listed] == [f"c{each}" for each in range(number + 1)]
            assert listed[-1] == {
                key: value for key, value in created.json.items() if key not in ("kind", "apiVersion")
            }
            changed = await reader.request("PUT", f"{path}/c{number}", {**created.json, "data": {"n": "changed"}})
            assert changed.status == 200
            assert (await writer.request("PUT", f"{path}/c{number}", created.json)).status == 409
