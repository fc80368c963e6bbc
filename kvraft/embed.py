"""A member inside the caller's own process: the real thing, over real sockets, without a child process."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from kvraft.server.config import MemberConfig, TlsConfig
from kvraft.server.member import Member

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@asynccontextmanager
async def open_member(
    data_dir: Path,
    *,
    name: str = "default",
    client_url: str = "http://127.0.0.1:0",
    peer_url: str = "http://127.0.0.1:0",
    client_tls: TlsConfig | None = None,
    **settings: Any,
) -> AsyncIterator[Member]:
    """A cluster of one member that serves ``client_url`` (port 0: see ``Member.client_urls``) until the block ends.

    ``settings`` are ``MemberConfig``'s others.

    Raises ``ConfigError`` or ``OSError`` when it cannot start, and what stopped it when it fails later.
    """
    member = Member(
        MemberConfig(
            name=name,
            data_dir=data_dir,
            listen_client_urls=(client_url,),
            advertise_client_urls=(client_url,),
            listen_peer_urls=(peer_url,),
            initial_advertise_peer_urls=(peer_url,),
            initial_cluster={name: (peer_url,)},
            client_tls=client_tls or TlsConfig(),
            **settings,
        )
    )
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(member.run)
            await member.ready.wait()
            try:
                yield member
            finally:
                with trio.CancelScope(shield=True):
                    await member.stop()
    except BaseExceptionGroup as group:
        if len(group.exceptions) == 1:
            error = group.exceptions[0]  # the body's, or what stopped the member
            raise error from error.__cause__
        raise
