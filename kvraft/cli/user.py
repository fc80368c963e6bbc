"""``kvraft user``: add, delete, get, grant-role, list, passwd and revoke-role."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.cli.answers import show
from kvraft.cli.failures import bad_arguments
from kvraft.cli.passwords import ask_new_password, read_password
from kvraft.cli.role import simple_role

if TYPE_CHECKING:
    from kvraft.cli.call import Call
    from kvraft.client import Client


def _name(call: Call, verb: str) -> str:
    if len(call.arguments) != 1:
        raise bad_arguments(f"user {verb} command requires user name as its argument")
    return call.arguments[0]


def _password(call: Call, user: str) -> str:
    return ask_new_password(call, user) if call.flag("interactive") else read_password(call)


async def add(call: Call, client: Client) -> None:
    """Add a user."""
    user, password = _name(call, "add"), ""
    if not call.flag("no-password"):
        if call.flag("new-user-password"):
            password = call.flag("new-user-password")
        elif ":" in user:
            user, _, password = user.partition(":")
            if not user:
                raise bad_arguments("empty user name is not allowed")
        else:
            password = _password(call, user)
    answer = await client.auth.user_add(user, password, no_password=call.flag("no-password"))
    await show(call, client, answer, f"User {user} created")


async def delete(call: Call, client: Client) -> None:
    """Remove a user."""
    user = _name(call, "delete")
    await show(call, client, await client.auth.user_delete(user), f"User {user} deleted")


async def get(call: Call, client: Client) -> None:
    """A user's roles; with ``--detail`` what they may do."""
    user = _name(call, "get")
    answer = await client.auth.user_get(user)
    if not call.flag("detail"):
        await show(call, client, answer, f"User: {user}", "Roles:" + "".join(f" {role}" for role in answer.roles))
        return
    call.say(f"User: {user}")
    for role in answer.roles:
        found = await client.auth.role_get(role)
        call.say("")
        await show(call, client, found, *simple_role(role, found))


async def list_users(call: Call, client: Client) -> None:
    """Every user's name."""
    if call.arguments:
        raise bad_arguments("user list command requires no arguments")
    answer = await client.auth.user_list()
    await show(call, client, answer, *answer.users)


async def passwd(call: Call, client: Client) -> None:
    """Give a user another password."""
    user = _name(call, "passwd")
    answer = await client.auth.user_change_password(user, _password(call, user))
    await show(call, client, answer, "Password updated")


async def grant_role(call: Call, client: Client) -> None:
    """Give a role to a user."""
    if len(call.arguments) != 2:
        raise bad_arguments("user grant command requires user name and role name as its argument")
    user, role = call.arguments
    answer = await client.auth.user_grant_role(user, role)
    await show(call, client, answer, f"Role {role} is granted to user {user}")


async def revoke_role(call: Call, client: Client) -> None:
    """Take a role from a user."""
    if len(call.arguments) != 2:
        raise bad_arguments("user revoke-role requires user name and role name as its argument")
    user, role = call.arguments
    answer = await client.auth.user_revoke_role(user, role)
    await show(call, client, answer, f"Role {role} is revoked from user {user}")
