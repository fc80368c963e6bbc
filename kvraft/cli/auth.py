"""``kvraft auth``: enable, disable and status."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from kvraft.cli.answers import show
from kvraft.cli.failures import bad_arguments
from kvraft.errors import RoleAlreadyExist, RootRoleNotExist

if TYPE_CHECKING:
    from kvraft.cli.call import Call
    from kvraft.client import Client

ROOT = "root"


def _no_arguments(call: Call, verb: str) -> None:
    if call.arguments:
        raise bad_arguments(f"auth {verb} command does not accept any arguments")


async def enable(call: Call, client: Client) -> None:
    """From now on everybody says who they are. The user root gets the role root, if it has not."""
    _no_arguments(call, "enable")
    try:
        await client.auth.enable()
    except RootRoleNotExist:
        with contextlib.suppress(RoleAlreadyExist):
            await client.auth.role_add(ROOT)
        await client.auth.user_grant_role(ROOT, ROOT)
        await client.auth.enable()
    call.say("Authentication Enabled")


async def disable(call: Call, client: Client) -> None:
    """From now on everybody may do everything."""
    _no_arguments(call, "disable")
    await client.auth.disable()
    call.say("Authentication Disabled")


async def status(call: Call, client: Client) -> None:
    """Whether everybody has to say who they are."""
    _no_arguments(call, "status")
    answer = await client.auth.status()
    enabled = "true" if answer.enabled else "false"
    await show(call, client, answer, f"Authentication Status: {enabled}", f"AuthRevision: {answer.auth_revision}")
