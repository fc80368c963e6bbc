"""``kvraft lock``: hold a lock until a signal, or while a program runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from kvraft.cli.answers import show, simple_kvs
from kvraft.cli.children import ProgramFailed, run_program
from kvraft.cli.failures import CommandError, bad_arguments
from kvraft.cli.quoting import decode, encode
from kvraft.cli.signals import until_signal
from kvraft.errors import LeaseNotFound, SessionExpired

if TYPE_CHECKING:
    from kvraft.cli.call import Call
    from kvraft.client import Client

DEFAULT_TTL = 60
"""Of a session whose ``--ttl`` is no time."""


async def lock(call: Call, client: Client) -> None:
    """Get the lock, run the program or wait for a signal, and let go.

    When the lock is lost meanwhile, the program is ended.
    """
    if not call.arguments:
        raise bad_arguments("lock takes a lock name argument and an optional command to execute")
    name, *program = call.arguments
    ttl = call.flag("ttl")
    try:
        with until_signal(client) as until:
            async with client.lock(encode(name), ttl=ttl if ttl > 0 else DEFAULT_TTL) as holding:
                if program:
                    about = {"ETCD_LOCK_KEY": decode(holding.key), "ETCD_LOCK_REV": str(holding.revision)}
                    await run_program(program, {**call.environment, **about}, until.watch_over)
                else:
                    await _show(call, client, holding.key)
                    await trio.sleep_forever()
    except (LeaseNotFound, SessionExpired) as error:
        raise CommandError("session expired") from error
    except ProgramFailed as error:
        raise CommandError(str(error), error.code) from error


async def _show(call: Call, client: Client, key: bytes) -> None:
    answer = await client.range(key)
    if not answer.kvs:
        raise CommandError("lock lost on init")
    await show(call, client, answer, *simple_kvs(call, answer.kvs))
