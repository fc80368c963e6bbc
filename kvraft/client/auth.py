"""The client's part in authentication: whom it is, and the operations on users and roles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from kvraft.errors import AuthNotEnabled, AuthOldRevision, InvalidAuthToken, OutcomeUnknown, UserEmpty
from kvraft.types import (
    AuthChangedResponse,
    AuthDisableRequest,
    AuthEnableRequest,
    AuthenticateRequest,
    AuthenticateResponse,
    AuthStatusRequest,
    AuthStatusResponse,
    Permission,
    PermissionType,
    Response,
    RoleAddRequest,
    RoleDeleteRequest,
    RoleGetRequest,
    RoleGetResponse,
    RoleGrantPermissionRequest,
    RoleListRequest,
    RoleListResponse,
    RoleRevokePermissionRequest,
    UserAddRequest,
    UserChangePasswordRequest,
    UserDeleteRequest,
    UserGetRequest,
    UserGetResponse,
    UserGrantRoleRequest,
    UserListRequest,
    UserListResponse,
    UserRevokeRoleRequest,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from typing import Protocol, TypeVar

    from kvraft.client.connection import Connection
    from kvraft.wire import native

    T = TypeVar("T", bound=Response)

    class Ask(Protocol):
        """Sends a request; gives an answer of ``kind``."""

        def __call__(self, request: native.Request, kind: type[T]) -> Awaitable[T]: ...


NOT_LOGGED_IN = (InvalidAuthToken, AuthOldRevision, UserEmpty)
"""What a member answers to a token that has ended, and to none. Nothing has happened: it may be asked again."""


class Login:
    """A user, their password, and the token that they got for it last."""

    __slots__ = ("_lock", "password", "token", "user")

    def __init__(self, user: str, password: str) -> None:
        self.user = user
        self.password = password
        self.token = ""
        self._lock = trio.Lock()

    async def renew(
        self, used: str, ask: Callable[[native.Request], Awaitable[Response]], connections: Iterable[Connection]
    ) -> bool:
        """Get a token in place of ``used``, for every connection; False when the store wants none.

        Raises what ``ask`` raises, which is to find a member that answers.
        """
        async with self._lock:
            if self.token != used:
                return True  # another task was here
            try:
                answer = await ask(AuthenticateRequest(self.user, self.password))
            except AuthNotEnabled:
                return False
            if not isinstance(answer, AuthenticateResponse):
                raise OutcomeUnknown(f"a {type(answer).__name__} came where a token was due")
            self.token = answer.token
            for connection in connections:
                if connection.alive:
                    connection.bear(self.token)
        return True


class AuthOperations:
    """Users, roles, and whether authentication is on; a client has it as ``auth``. Each raises etcd's errors."""

    def __init__(self, read: Ask, write: Ask) -> None:
        self._read = read
        self._write = write

    async def enable(self) -> AuthChangedResponse:
        """From now on everybody has to say who they are. Needs a user root with the role root."""
        return await self._write(AuthEnableRequest(), AuthChangedResponse)

    async def disable(self) -> AuthChangedResponse:
        """From now on everybody may do everything."""
        return await self._write(AuthDisableRequest(), AuthChangedResponse)

    async def status(self) -> AuthStatusResponse:
        """Whether authentication is on, and the revision of users and roles."""
        return await self._read(AuthStatusRequest(), AuthStatusResponse)

    async def authenticate(self, user: str, password: str) -> AuthenticateResponse:
        """A token, for those who hand it on; ``open_client`` gets its own."""
        return await self._read(AuthenticateRequest(user, password), AuthenticateResponse)

    async def user_add(self, name: str, password: str = "", *, no_password: bool = False) -> AuthChangedResponse:
        """Add a user. One with ``no_password`` comes by certificate only."""
        return await self._write(UserAddRequest(name, password, no_password), AuthChangedResponse)

    async def user_get(self, name: str) -> UserGetResponse:
        """A user's roles."""
        return await self._read(UserGetRequest(name), UserGetResponse)

    async def user_list(self) -> UserListResponse:
        """Every user's name, in order."""
        return await self._read(UserListRequest(), UserListResponse)

    async def user_delete(self, name: str) -> AuthChangedResponse:
        """Remove a user; their tokens end."""
        return await self._write(UserDeleteRequest(name), AuthChangedResponse)

    async def user_change_password(self, name: str, password: str) -> AuthChangedResponse:
        """Give a user another password; their tokens end."""
        return await self._write(UserChangePasswordRequest(name, password), AuthChangedResponse)

    async def user_grant_role(self, user: str, role: str) -> AuthChangedResponse:
        """Give a role to a user."""
        return await self._write(UserGrantRoleRequest(user, role), AuthChangedResponse)

    async def user_revoke_role(self, user: str, role: str) -> AuthChangedResponse:
        """Take a role from a user."""
        return await self._write(UserRevokeRoleRequest(user, role), AuthChangedResponse)

    async def role_add(self, name: str) -> AuthChangedResponse:
        """Add a role that may do nothing yet."""
        return await self._write(RoleAddRequest(name), AuthChangedResponse)

    async def role_get(self, role: str) -> RoleGetResponse:
        """What a role may do."""
        return await self._read(RoleGetRequest(role), RoleGetResponse)

    async def role_list(self) -> RoleListResponse:
        """Every role's name, in order."""
        return await self._read(RoleListRequest(), RoleListResponse)

    async def role_delete(self, role: str) -> AuthChangedResponse:
        """Remove a role, and take it from every user."""
        return await self._write(RoleDeleteRequest(role), AuthChangedResponse)

    async def role_grant_permission(
        self, role: str, permission: PermissionType, key: bytes, range_end: bytes = b""
    ) -> AuthChangedResponse:
        """Let a role read or write ``[key, range_end)``; what it may with the same range is replaced."""
        request = RoleGrantPermissionRequest(role, Permission(permission, key, range_end))
        return await self._write(request, AuthChangedResponse)

    async def role_revoke_permission(self, role: str, key: bytes, range_end: bytes = b"") -> AuthChangedResponse:
        """Take the permission with exactly this range from a role."""
        return await self._write(RoleRevokePermissionRequest(role, key, range_end), AuthChangedResponse)
