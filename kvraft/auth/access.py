"""Whether somebody may do something: the checks of etcd, in its order, against the auth state as it is applied.

All of them pass while authentication is off. They raise UserEmpty for nobody, AuthOldRevision for an identity that
was established before the latest change of users and roles, and PermissionDenied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvraft.auth.identity import ROOT, Identity
from kvraft.auth.permissions import span
from kvraft.errors import AuthOldRevision, PermissionDenied, UserEmpty, UserNotFound
from kvraft.types import (
    AlarmRequest,
    AuthDisableRequest,
    AuthEnableRequest,
    CompactRequest,
    DeleteRangeRequest,
    LeaseCheckpointRequest,
    LeaseGrantRequest,
    LeaseRevokeRequest,
    MemberPublishRequest,
    PutRequest,
    RangeRequest,
    RoleAddRequest,
    RoleDeleteRequest,
    RoleGrantPermissionRequest,
    RoleRevokePermissionRequest,
    TokenGrantRequest,
    TxnRequest,
    UserAddRequest,
    UserChangePasswordRequest,
    UserDeleteRequest,
    UserGrantRoleRequest,
    UserRevokeRoleRequest,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kvraft.auth.store import AuthStore, User

    Check = Callable[[Identity, Any], None]

INTERNAL = frozenset({AlarmRequest, LeaseCheckpointRequest, MemberPublishRequest, TokenGrantRequest})
"""Commands that members propose of their own; where a client can ask for one, it is checked before it is proposed."""


def _no_keys(_: int) -> Iterable[bytes]:
    return ()


class Access:
    """The checks over ``store``. ``lease_keys`` gives the keys that a lease has."""

    def __init__(self, store: AuthStore, lease_keys: Callable[[int], Iterable[bytes]] = _no_keys) -> None:
        self.store = store
        self.lease_keys = lease_keys
        self._checks: dict[type, Check] = {
            RangeRequest: self._range,
            PutRequest: self._put,
            DeleteRangeRequest: self._delete_range,
            TxnRequest: self._txn,
            CompactRequest: self._admin,
            LeaseGrantRequest: self._known,
            LeaseRevokeRequest: self._lease_revoke,
            **dict.fromkeys(
                (
                    AuthEnableRequest,
                    AuthDisableRequest,
                    UserAddRequest,
                    UserDeleteRequest,
                    UserChangePasswordRequest,
                    UserGrantRoleRequest,
                    UserRevokeRoleRequest,
                    RoleAddRequest,
                    RoleDeleteRequest,
                    RoleGrantPermissionRequest,
                    RoleRevokePermissionRequest,
                ),
                self._admin,
            ),
        }

    # ------------------------------------------------------------------ what others ask

    def check(self, identity: Identity, command: object) -> None:
        """Whether a command, or a RangeRequest, may be done. A kind that is not known here may not."""
        if not self.store.enabled:
            return
        check = self._checks.get(type(command))
        if check is None:
            raise PermissionDenied
        check(identity, command)

    def check_read(self, identity: Identity, key: bytes, range_end: bytes = b"") -> None:
        """Whether ``[key, range_end)`` may be read, or watched."""
        if self.store.enabled:
            self._keys(identity, key, range_end, write=False)

    def check_lease(self, identity: Identity, lease_id: int) -> None:
        """Whether a lease may be attached to a key, or revoked: that needs to write every key that it has."""
        if not self.store.enabled or self._is_root(identity):
            return
        for key in self.lease_keys(lease_id):
            self._keys(identity, key, b"", write=True)

    def check_admin(self, identity: Identity) -> None:
        """Whether somebody has the role root. Raises UserNotFound too."""
        if not self.store.enabled:
            return
        if ROOT not in self._admit(identity).roles:
            raise PermissionDenied

    def check_known(self, identity: Identity) -> None:
        """Whether somebody is a user at all. Raises UserNotFound too."""
        if self.store.enabled:
            self._admit(identity)

    def check_user_get(self, identity: Identity, name: str) -> None:
        """Whether a user may be looked at: by root, and by themselves."""
        if identity.user != name or not name:
            self.check_admin(identity)
        else:
            self.check_known(identity)

    def check_role_get(self, identity: Identity, role: str) -> None:
        """Whether a role may be looked at: by root, and by who has it."""
        if self.store.enabled and role not in self._admit(identity).roles:
            self.check_admin(identity)

    # ------------------------------------------------------------------ by kind

    def _admit(self, identity: Identity) -> User:
        if not identity.user:
            raise UserEmpty
        if identity.auth_revision < self.store.revision:
            raise AuthOldRevision
        user = self.store.user(identity.user)
        if user is None:
            raise UserNotFound
        return user

    def _admin(self, identity: Identity, _: object) -> None:
        self.check_admin(identity)

    def _known(self, identity: Identity, _: object) -> None:
        self.check_known(identity)

    def _is_root(self, identity: Identity) -> bool:
        user = self.store.user(identity.user) if identity.auth_revision >= self.store.revision else None
        return user is not None and ROOT in user.roles

    def _keys(self, identity: Identity, key: bytes, range_end: bytes, *, write: bool) -> None:
        if not identity.auth_revision:
            raise UserEmpty
        if identity.auth_revision < self.store.revision:
            raise AuthOldRevision
        user = self.store.user(identity.user)
        if user is None:
            raise PermissionDenied
        if ROOT in user.roles:
            return
        ranges = self.store.ranges(identity.user, user)
        if not (ranges.write if write else ranges.read).covers(*span(key, range_end)):
            raise PermissionDenied

    def _range(self, identity: Identity, request: RangeRequest) -> None:
        self._keys(identity, request.key, request.range_end, write=False)

    def _put(self, identity: Identity, request: PutRequest) -> None:
        self._keys(identity, request.key, b"", write=True)
        if request.lease:
            self.check_lease(identity, request.lease)
        if request.prev_kv:
            self._keys(identity, request.key, b"", write=False)

    def _delete_range(self, identity: Identity, request: DeleteRangeRequest) -> None:
        self._keys(identity, request.key, request.range_end, write=True)
        if request.prev_kv:
            self._keys(identity, request.key, request.range_end, write=False)

    def _txn(self, identity: Identity, request: TxnRequest) -> None:
        for compare in request.compare:
            self._keys(identity, compare.key, compare.range_end, write=False)
        for operation in (*request.success, *request.failure):
            self._checks[type(operation)](identity, operation)

    def _lease_revoke(self, identity: Identity, request: LeaseRevokeRequest) -> None:
        if request.term and not identity.auth_revision:
            return  # the leader's own, of a lease that has expired
        self._admit(identity)
        self.check_lease(identity, request.lease_id)
