"""The store that the flags name, opened: kvraft by its own protocol, or any etcd v3 cluster by etcd's."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from apilayer.server.tls import CertificateError
from apilayer.storage.etcd_backend import EtcdStore
from apilayer.storage.kvraft_backend import KvraftStore
from apilayer.storage.prefix import Prefix
from kvraft.client import open_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from apilayer.server.options import ServerOptions
    from apilayer.storage.interface import Store

ETCD, KVRAFT = "etcd3", "kvraft"
BACKENDS = (ETCD, KVRAFT)
"""What `--storage-backend` may be."""
TIMEOUT_SECONDS = 20.0


@asynccontextmanager
async def open_store(options: ServerOptions, tls: ssl.SSLContext | None) -> AsyncIterator[Store]:
    """The store of `options`; nothing is sent before it is used. `tls` is `store_context`'s."""
    prefix = Prefix(options.etcd_prefix)
    is_kvraft = options.storage_backend == KVRAFT
    async with open_client(
        options.etcd_servers,
        ssl_context=tls,
        timeout_seconds=TIMEOUT_SECONDS,
        protocol="kvraft" if is_kvraft else "etcd",
    ) as client:
        yield KvraftStore(client, prefix) if is_kvraft else EtcdStore(client, prefix)


def store_context(options: ServerOptions) -> ssl.SSLContext | None:
    """How to speak TLS with the store; None when no URL wants it. Raises CertificateError."""
    if not any(url.startswith("https://") for url in options.etcd_servers):
        return None
    if (options.etcd_certfile is None) != (options.etcd_keyfile is None):
        raise CertificateError("--etcd-certfile and --etcd-keyfile: one is of no use without the other")
    try:
        context = ssl.create_default_context(
            ssl.Purpose.SERVER_AUTH, cafile=str(options.etcd_cafile) if options.etcd_cafile else None
        )
        if options.etcd_certfile is not None:
            context.load_cert_chain(options.etcd_certfile, options.etcd_keyfile)
    except (OSError, ssl.SSLError) as error:
        raise CertificateError(f"--etcd-cafile, --etcd-certfile, --etcd-keyfile: {error}") from error
    return context
