"""What the flags of the store mean, and what cannot be."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import pytest

from apilayer.cli import serve
from apilayer.server.backend import open_store, store_context
from apilayer.server.tls import CertificateError
from apilayer.storage.etcd_backend import EtcdStore
from apilayer.storage.kvraft_backend import KvraftStore

if TYPE_CHECKING:
    from pathlib import Path

    from apilayer.server.run import ServerOptions

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
