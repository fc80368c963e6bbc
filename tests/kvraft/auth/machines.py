"""State machines that are told commands one by one, on behalf of somebody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvraft.apply.command import encode_command, join_commands, seal
from kvraft.apply.machine import StateMachine
from kvraft.auth.identity import Identity
from kvraft.errors import KvraftError
from kvraft.raft.messages import Configuration, Entry
from kvraft.types import (
    AuthEnableRequest,
    Permission,
    PermissionType,
    RoleAddRequest,
    RoleGrantPermissionRequest,
    UserAddRequest,
    UserGrantRoleRequest,
)

if TYPE_CHECKING:
    from pathlib import Path

READ, WRITE, READWRITE = PermissionType


class Applied:
    """One machine. ``do`` gives the answer or raises the error."""

    def __init__(self, directory: Path, member_id: int = 1) -> None:
        self.machine = StateMachine.open(directory, sync=False)
        self.machine.initialise(Configuration((1, 2, 3)), 7, member_id)

    def do(self, command: Any, *, user: str = "", auth_revision: int | None = None) -> Any:
        """Apply it: as ``user`` at the current revision of users and roles, or at another; "" in no envelope."""
        data = encode_command(command)
        if user:
            revision = self.machine.auth.revision if auth_revision is None else auth_revision
            data = seal(data, Identity(user, revision))
        entry = Entry(self.machine.applied_index + 1, 1, 0, join_commands([data]))
        ((answer,),) = self.machine.apply([entry])
        if isinstance(answer, KvraftError):
            raise answer
        return answer

    def add(self, user: str, *grants: tuple[PermissionType, bytes, bytes]) -> None:
        """A user with a role of the same name that has ``grants``; before authentication is on."""
        self.do(UserAddRequest(user, hashed_password="$2b$04$hash"))
        self.do(RoleAddRequest(user))
        for kind, key, range_end in grants:
            self.do(RoleGrantPermissionRequest(user, Permission(kind, key, range_end)))
        self.do(UserGrantRoleRequest(user, user))

    def enable(self) -> None:
        """Authentication is on, with a user root."""
        self.do(UserAddRequest("root", hashed_password="$2b$04$hash"))
        self.do(UserGrantRoleRequest("root", "root"))
        self.do(AuthEnableRequest())
