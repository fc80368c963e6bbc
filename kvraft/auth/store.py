"""Users, roles and whether authentication is on: the records, and what each command does to them.

The table ``auth`` holds ``u`` + name -> :class:`User`, ``r`` + name -> :class:`Role`, and the settings. What is kept
in memory beside it is derived from it alone, and dropped with every change.
"""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING

import msgspec

from kvraft.auth.identity import ROOT
from kvraft.auth.permissions import OPEN, Ranges, is_valid
from kvraft.errors import (
    AuthFailed,
    AuthNotEnabled,
    AuthOldRevision,
    InvalidArgument,
    InvalidAuthManagement,
    PermissionNotGiven,
    PermissionNotGranted,
    RoleAlreadyExist,
    RoleEmpty,
    RoleNotFound,
    RoleNotGranted,
    RootRoleNotExist,
    RootUserNotExist,
    UserAlreadyExist,
    UserEmpty,
    UserNotFound,
)
from kvraft.types import (
    AuthChangedResponse,
    AuthCommand,
    AuthDisableRequest,
    AuthEnableRequest,
    AuthResponse,
    Permission,
    PermissionType,
    RoleAddRequest,
    RoleDeleteRequest,
    RoleGrantPermissionRequest,
    RoleRevokePermissionRequest,
    TokenGrantRequest,
    TokenGrantResponse,
    UserAddRequest,
    UserChangePasswordRequest,
    UserDeleteRequest,
    UserGrantRoleRequest,
    UserRevokeRoleRequest,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from kvraft.auth.tokens import SimpleTokens
    from kvraft.storage.state import StateEnvironment

AUTH_COMMANDS = frozenset(typing.get_args(AuthCommand))
MAX_NAME_BYTES = 500
MAX_NAMES = 10_000
"""Users and roles together: some commands look at all of them."""
MAX_ROLES = 1000
"""... of one user."""
MAX_PERMISSIONS = 10_000
"""... of one role."""

_USER, _ROLE, _SETTINGS = b"u", b"r", b"\0"


class User(msgspec.Struct, frozen=True, array_like=True):
    """``password`` is a bcrypt hash, "" for a user without one. ``roles`` are in order."""

    password: str
    no_password: bool
    roles: tuple[str, ...] = ()


class Role(msgspec.Struct, frozen=True, array_like=True):
    """``permissions`` are in the order of their ranges."""

    permissions: tuple[Permission, ...] = ()


class Settings(msgspec.Struct, frozen=True, array_like=True):
    """``revision`` counts the changes; what was established at an older one must be established anew."""

    enabled: bool = False
    revision: int = 1


ROOT_ROLE = Role((Permission(PermissionType.READWRITE, b"", OPEN),))

_encode = msgspec.msgpack.Encoder().encode
_decode_user = msgspec.msgpack.Decoder(User).decode
_decode_role = msgspec.msgpack.Decoder(Role).decode
_decode_settings = msgspec.msgpack.Decoder(Settings).decode


class AuthStore:
    """The auth state over the open transaction of ``environment``.

    A command that raises a :class:`~kvraft.errors.KvraftError` has changed nothing. ``tokens``, where there are any,
    are this member's own memory of who has authenticated: not part of the state.
    """

    def __init__(self, environment: StateEnvironment) -> None:
        self._environment = environment
        self.tokens: SimpleTokens | None = None
        self._commands: dict[type, Callable[[Any], None]] = {
            AuthEnableRequest: self._enable,
            AuthDisableRequest: self._disable,
            UserAddRequest: self._user_add,
            UserDeleteRequest: self._user_delete,
            UserChangePasswordRequest: self._user_change_password,
            UserGrantRoleRequest: self._user_grant_role,
            UserRevokeRoleRequest: self._user_revoke_role,
            RoleAddRequest: self._role_add,
            RoleDeleteRequest: self._role_delete,
            RoleGrantPermissionRequest: self._role_grant_permission,
            RoleRevokePermissionRequest: self._role_revoke_permission,
        }
        self.forget()

    def forget(self) -> None:
        """The state has been replaced: read it anew."""
        raw = self._environment.tables.auth.get(_SETTINGS)
        settings = Settings() if raw is None else _decode_settings(raw)
        self.enabled = settings.enabled
        self.revision = settings.revision
        self._ranges: dict[str, Ranges] = {}

    # ------------------------------------------------------------------ reading

    def user(self, name: str) -> User | None:
        """The user, if there is one."""
        raw = self._get(_USER, name)
        return None if raw is None else _decode_user(raw)

    def role(self, name: str) -> Role | None:
        """The role, if there is one."""
        raw = self._get(_ROLE, name)
        return None if raw is None else _decode_role(raw)

    def users(self) -> list[str]:
        """Every user's name, in order."""
        return [name for name, _ in self._walk(_USER)]

    def roles(self) -> list[str]:
        """Every role's name, in order."""
        return [name for name, _ in self._walk(_ROLE)]

    def roles_of(self, user: str) -> list[str]:
        """The roles of a user, in order. Raises UserNotFound."""
        return list(self._user(user).roles)

    def permissions(self, role: str) -> list[Permission]:
        """What a role may. Raises RoleNotFound."""
        found = self._role(role)
        return list((ROOT_ROLE if role == ROOT else found).permissions)

    def ranges(self, name: str, user: User) -> Ranges:
        """What ``user``, whose name is ``name``, may read and write."""
        known = self._ranges.get(name)
        if known is None:
            roles = (self.role(role) for role in user.roles)
            known = Ranges(permission for role in roles if role is not None for permission in role.permissions)
            self._ranges[name] = known
        return known

    def _get(self, kind: bytes, name: str) -> bytes | None:
        key = kind + name.encode()
        return self._environment.tables.auth.get(key) if len(key) <= MAX_NAME_BYTES + 1 else None

    def _walk(self, kind: bytes) -> Iterator[tuple[str, bytes]]:
        cursor = self._environment.tables.auth
        if not cursor.set_range(kind):
            return
        for key, raw in cursor.iternext(keys=True, values=True):
            if key[:1] != kind:
                return
            yield key[1:].decode(), raw

    def _user(self, name: str) -> User:
        user = self.user(name)
        if user is None:
            raise UserNotFound
        return user

    def _role(self, name: str) -> Role:
        role = self.role(name)
        if role is None:
            raise RoleNotFound
        return role

    # ------------------------------------------------------------------ changing

    def execute(self, command: AuthCommand) -> AuthResponse:
        """Do ``command``. Raises a :class:`~kvraft.errors.KvraftError`, the same on every member."""
        meta = self._environment.meta
        if type(command) is TokenGrantRequest:
            self._grant_token(command)
            return TokenGrantResponse(meta.revision, meta.applied_index + 1)
        self._commands[type(command)](command)
        return AuthChangedResponse(meta.revision)

    def _changed(self) -> None:
        self.revision += 1
        self._save_settings()

    def _save_settings(self) -> None:
        self._environment.tables.auth.put(_SETTINGS, _encode(Settings(self.enabled, self.revision)))
        self._ranges.clear()

    def _put(self, kind: bytes, name: str, record: User | Role) -> None:
        self._environment.tables.auth.put(kind + name.encode(), _encode(record))

    def _check_room(self, name: str) -> None:
        if len(name.encode()) > MAX_NAME_BYTES:
            raise InvalidArgument(f"etcdserver: invalid argument: a name has at most {MAX_NAME_BYTES} bytes")
        if sum(1 for _ in self._walk(_USER)) + sum(1 for _ in self._walk(_ROLE)) >= MAX_NAMES:
            raise InvalidArgument(f"etcdserver: invalid argument: there are at most {MAX_NAMES} users and roles")

    def _enable(self, _: AuthEnableRequest) -> None:
        if self.enabled:
            return
        root = self.user(ROOT)
        if root is None:
            raise RootUserNotExist
        if ROOT not in root.roles:
            raise RootRoleNotExist
        self.enabled = True
        self._save_settings()

    def _disable(self, _: AuthDisableRequest) -> None:
        if self.enabled:
            self.enabled = False
            self._changed()
            if self.tokens is not None:
                self.tokens.clear()

    def _grant_token(self, command: TokenGrantRequest) -> None:
        if not self.enabled:
            raise AuthNotEnabled
        if command.auth_revision != self.revision:
            raise AuthOldRevision
        user = self.user(command.name)
        if user is None or user.no_password:
            raise AuthFailed
        if self.tokens is not None:
            self.tokens.assign(command.digest, command.name)

    # ------------------------------------------------------------------ users

    def _user_add(self, command: UserAddRequest) -> None:
        if not command.name:
            raise UserEmpty
        if self.user(command.name) is not None:
            raise UserAlreadyExist
        self._check_room(command.name)
        password = "" if command.no_password else command.hashed_password
        self._put(_USER, command.name, User(password, command.no_password))
        self._changed()

    def _user_delete(self, command: UserDeleteRequest) -> None:
        if self.enabled and command.name == ROOT:
            raise InvalidAuthManagement
        self._user(command.name)
        self._environment.tables.auth.pop(_USER + command.name.encode())
        self._changed()
        self._invalidate(command.name)

    def _user_change_password(self, command: UserChangePasswordRequest) -> None:
        user = self._user(command.name)
        password = "" if user.no_password else command.hashed_password
        self._put(_USER, command.name, User(password, user.no_password, user.roles))
        self._changed()
        self._invalidate(command.name)

    def _invalidate(self, name: str) -> None:
        if self.tokens is not None:
            self.tokens.invalidate(name)

    def _user_grant_role(self, command: UserGrantRoleRequest) -> None:
        user = self._user(command.user)
        if command.role != ROOT:
            self._role(command.role)
        if command.role in user.roles:
            return
        if len(user.roles) >= MAX_ROLES:
            raise InvalidArgument(f"etcdserver: invalid argument: a user has at most {MAX_ROLES} roles")
        self._set_roles(command.user, user, (*user.roles, command.role))
        self._changed()

    def _user_revoke_role(self, command: UserRevokeRoleRequest) -> None:
        if self.enabled and command.name == ROOT and command.role == ROOT:
            raise InvalidAuthManagement
        user = self._user(command.name)
        if command.role not in user.roles:
            raise RoleNotGranted
        self._set_roles(command.name, user, tuple(role for role in user.roles if role != command.role))
        self._changed()

    def _set_roles(self, name: str, user: User, roles: tuple[str, ...]) -> None:
        self._put(_USER, name, User(user.password, user.no_password, tuple(sorted(roles))))

    # ------------------------------------------------------------------ roles

    def _role_add(self, command: RoleAddRequest) -> None:
        if not command.name:
            raise RoleEmpty
        if self.role(command.name) is not None:
            raise RoleAlreadyExist
        self._check_room(command.name)
        self._put(_ROLE, command.name, Role())
        self._changed()

    def _role_delete(self, command: RoleDeleteRequest) -> None:
        if self.enabled and command.role == ROOT:
            raise InvalidAuthManagement
        self._role(command.role)
        self._environment.tables.auth.pop(_ROLE + command.role.encode())
        for name, raw in list(self._walk(_USER)):
            user = _decode_user(raw)
            if command.role in user.roles:
                self._set_roles(name, user, tuple(role for role in user.roles if role != command.role))
        self._changed()

    def _role_grant_permission(self, command: RoleGrantPermissionRequest) -> None:
        given = command.permission
        if given is None:
            raise PermissionNotGiven
        if not is_valid(given.key, given.range_end) or given.permission not in tuple(PermissionType):
            raise InvalidAuthManagement
        role = self._role(command.name)
        others = _without(role, given.key, given.range_end)
        if len(others) >= MAX_PERMISSIONS:
            raise InvalidArgument(f"etcdserver: invalid argument: a role has at most {MAX_PERMISSIONS} permissions")
        ordered = sorted((*others, given), key=lambda permission: (permission.key, permission.range_end))
        self._put(_ROLE, command.name, Role(tuple(ordered)))
        self._changed()

    def _role_revoke_permission(self, command: RoleRevokePermissionRequest) -> None:
        role = self._role(command.role)
        others = _without(role, command.key, command.range_end)
        if len(others) == len(role.permissions):
            raise PermissionNotGranted
        self._put(_ROLE, command.role, Role(others))
        self._changed()


def _without(role: Role, key: bytes, range_end: bytes) -> tuple[Permission, ...]:
    return tuple(
        permission for permission in role.permissions if (permission.key, permission.range_end) != (key, range_end)
    )
