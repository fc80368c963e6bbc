"""``kvraft role``: add, delete, get, grant-permission, list and revoke-permission."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.cli.answers import show
from kvraft.cli.failures import bad_arguments
from kvraft.cli.quoting import encode
from kvraft.cli.ranges import EVERYTHING_AFTER, permission_range
from kvraft.types import PermissionType, prefix_end

if TYPE_CHECKING:
    from kvraft.cli.call import Call
    from kvraft.client import Client
    from kvraft.types import Permission, RoleGetResponse


def _name(call: Call, verb: str) -> str:
    if len(call.arguments) != 1:
        raise bad_arguments(f"role {verb} command requires role name as its argument")
    return call.arguments[0]


async def add(call: Call, client: Client) -> None:
    """Add a role."""
    role = _name(call, "add")
    await show(call, client, await client.auth.role_add(role), f"Role {role} created")


async def delete(call: Call, client: Client) -> None:
    """Remove a role."""
    role = _name(call, "delete")
    await show(call, client, await client.auth.role_delete(role), f"Role {role} deleted")


async def get(call: Call, client: Client) -> None:
    """What a role may do."""
    role = _name(call, "get")
    answer = await client.auth.role_get(role)
    await show(call, client, answer, *simple_role(role, answer))


def simple_role(role: str, answer: RoleGetResponse) -> list[str | bytes]:
    """A role's permissions, those to read and those to write."""
    lines: list[str | bytes] = [f"Role {role}"]
    for title, kinds in (
        ("KV Read:", (PermissionType.READ, PermissionType.READWRITE)),
        ("KV Write:", (PermissionType.WRITE, PermissionType.READWRITE)),
    ):
        lines.append(title)
        lines += [_permission(permission) for permission in answer.permissions if permission.permission in kinds]
    return lines


def _permission(permission: Permission) -> bytes:
    key, end = permission.key, permission.range_end
    if not end:
        return b"\t" + key
    line = b"\t[%s, <open ended>" % key if end == EVERYTHING_AFTER else b"\t[%s, %s)" % (key, end)
    return line + (b" (prefix %s)" % key if end == prefix_end(key) else b"")


async def list_roles(call: Call, client: Client) -> None:
    """Every role's name."""
    if call.arguments:
        raise bad_arguments("role list command requires no arguments")
    answer = await client.auth.role_list()
    await show(call, client, answer, *answer.roles)


async def grant_permission(call: Call, client: Client) -> None:
    """Let a role read or write a range."""
    if len(call.arguments) < 3:
        raise bad_arguments("role grant command requires role name, permission type, and key [endkey] as its argument")
    role, kind, key, *ends = call.arguments
    if kind.upper() not in PermissionType.__members__:
        raise bad_arguments(f"invalid permission type: {kind}")
    answer = await client.auth.role_grant_permission(
        role, PermissionType[kind.upper()], *_range(call, encode(key), [encode(end) for end in ends])
    )
    await show(call, client, answer, f"Role {role} updated")


async def revoke_permission(call: Call, client: Client) -> None:
    """Take the permission on a range from a role."""
    if len(call.arguments) < 2:
        raise bad_arguments("role revoke-permission command requires role name and key [endkey] as its argument")
    role, first, *ends = call.arguments
    key, end = _range(call, encode(first), [encode(text) for text in ends])
    answer = await client.auth.role_revoke_permission(role, key, end)
    name = encode(role)
    if not end:
        line = b"Permission of key %s is revoked from role %s" % (key, name)
    elif end == EVERYTHING_AFTER:
        line = b"Permission of range [%s, <open ended> is revoked from role %s" % (key, name)
    else:
        line = b"Permission of range [%s, %s) is revoked from role %s" % (key, end, name)
    await show(call, client, answer, line)


def _range(call: Call, key: bytes, ends: list[bytes]) -> tuple[bytes, bytes]:
    return permission_range(key, ends[0] if ends else None, call.flag("prefix"), call.flag("from-key"))
