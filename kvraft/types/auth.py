"""Users, roles, and what a role may do. Permissions cover keys as ranges do."""

from __future__ import annotations

import enum

import msgspec


def _without_secrets(struct: msgspec.Struct) -> str:
    """A ``repr`` that may be logged: of what is secret only whether it is there."""
    secret = ("password", "hashed_password", "token")
    shown = (
        f"{name}={'***' if name in secret and getattr(struct, name) else repr(getattr(struct, name))}"
        for name in struct.__struct_fields__
    )
    return f"{type(struct).__name__}({', '.join(shown)})"


class PermissionType(enum.IntEnum):
    READ = 0
    WRITE = 1
    READWRITE = 2


class Permission(msgspec.Struct, frozen=True, array_like=True, gc=False):
    permission: int
    key: bytes
    range_end: bytes = b""


class AuthEnableRequest(msgspec.Struct, frozen=True, array_like=True, tag=40):
    pass


class AuthDisableRequest(msgspec.Struct, frozen=True, array_like=True, tag=41):
    pass


class AuthStatusRequest(msgspec.Struct, frozen=True, array_like=True, tag=42):
    pass


class AuthenticateRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=43):
    """A token for a user. The password never reaches the log: it is checked where it arrives."""

    name: str
    password: str

    __repr__ = _without_secrets


class UserAddRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=44):
    """``password`` is hashed before it is proposed and never replicated; ``no_password``: certificates only."""

    name: str
    password: str = ""
    no_password: bool = False
    hashed_password: str = ""

    __repr__ = _without_secrets


class UserGetRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=45):
    name: str


class UserListRequest(msgspec.Struct, frozen=True, array_like=True, tag=46):
    pass


class UserDeleteRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=47):
    name: str


class UserChangePasswordRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=48):
    """As in ``UserAddRequest``."""

    name: str
    password: str = ""
    hashed_password: str = ""

    __repr__ = _without_secrets


class UserGrantRoleRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=49):
    user: str
    role: str


class UserRevokeRoleRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=50):
    name: str
    role: str


class RoleAddRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=51):
    name: str


class RoleGetRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=52):
    role: str


class RoleListRequest(msgspec.Struct, frozen=True, array_like=True, tag=53):
    pass


class RoleDeleteRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=54):
    role: str


class RoleGrantPermissionRequest(msgspec.Struct, frozen=True, array_like=True, tag=55):
    """``permission`` None: it was not given, which has an error of its own."""

    name: str
    permission: Permission | None


class RoleRevokePermissionRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=56):
    role: str
    key: bytes
    range_end: bytes = b""


class TokenGrantRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=57):
    """Internal: a password has been checked; every member is to know this token, of which it learns the digest alone.

    ``auth_revision`` is the one at which the password was checked: with a newer one the check is void.
    """

    name: str
    digest: bytes
    auth_revision: int


class AuthStatusResponse(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=42):
    revision: int
    enabled: bool
    auth_revision: int


class AuthenticateResponse(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=43):
    revision: int
    token: str

    __repr__ = _without_secrets


class UserGetResponse(msgspec.Struct, frozen=True, array_like=True, tag=45):
    revision: int
    roles: list[str]


class UserListResponse(msgspec.Struct, frozen=True, array_like=True, tag=46):
    revision: int
    users: list[str]


class RoleGetResponse(msgspec.Struct, frozen=True, array_like=True, tag=52):
    revision: int
    permissions: list[Permission]


class RoleListResponse(msgspec.Struct, frozen=True, array_like=True, tag=53):
    revision: int
    roles: list[str]


class AuthChangedResponse(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=40):
    """The answer to every request that changes users, roles or whether authentication is on."""

    revision: int


class TokenGrantResponse(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=57):
    """Internal: ``index`` is the log entry that made the token known."""

    revision: int
    index: int
