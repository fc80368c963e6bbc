"""Our requests as etcd's: what a client sends. The counterpart of ``requests``."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from kvraft import types
from kvraft.wire.etcd import rpc_pb2 as pb
from kvraft.wire.etcd.requests import OPERANDS

if TYPE_CHECKING:
    from collections.abc import Callable

FILTERS = pb.WatchCreateRequest


def by_names(make: Callable[..., Any], names: str = "") -> Callable[[Any], Any]:
    """Requests whose first fields go, in order, into the message's fields of these names."""
    there = names.split()
    if not there:
        return lambda _: make()

    def translate(request: Any) -> Any:
        # What has its default is what an absent field means: only the others are set.
        values = [getattr(request, field) for field in request.__struct_fields__[: len(there)]]
        return make(**{name: value for name, value in zip(there, values, strict=True) if value})

    return translate


to_message_range = by_names(
    pb.RangeRequest,
    "key range_end limit revision keys_only count_only serializable sort_order sort_target"
    " min_mod_revision max_mod_revision min_create_revision max_create_revision",
)
to_message_put = by_names(pb.PutRequest, "key value lease prev_kv ignore_value ignore_lease")
to_message_plain_put = by_names(pb.PutRequest, "key value")
to_message_delete_range = by_names(pb.DeleteRangeRequest, "key range_end prev_kv")


def to_message_txn(request: types.TxnRequest) -> pb.TxnRequest:
    """Txn."""
    return pb.TxnRequest(
        compare=map(_compare, request.compare),
        success=map(_operation, request.success),
        failure=map(_operation, request.failure),
    )


def _compare(guard: types.Compare) -> pb.Compare:
    message = pb.Compare(key=guard.key, target=guard.target, result=guard.result, range_end=guard.range_end)  # type: ignore[arg-type]
    setattr(message, OPERANDS[types.CompareTarget(guard.target)], guard.operand)
    return message


def _operation(operation: types.Operation) -> pb.RequestOp:
    if isinstance(operation, types.RangeRequest):
        return pb.RequestOp(request_range=to_message_range(operation))
    if isinstance(operation, types.PutRequest):
        return pb.RequestOp(request_put=to_message_put(operation))
    if isinstance(operation, types.DeleteRangeRequest):
        return pb.RequestOp(request_delete_range=to_message_delete_range(operation))
    return pb.RequestOp(request_txn=to_message_txn(operation))


def to_message_watch(request: types.WatchRequest) -> pb.WatchRequest:
    """The first message of a stream with this one watch, in fragments where they are large."""
    create = pb.WatchCreateRequest(
        key=request.key,
        range_end=request.range_end,
        start_revision=request.start_revision,
        prev_kv=request.prev_kv,
        progress_notify=request.progress_notify,
        fragment=True,
    )
    if request.no_put:
        create.filters.append(FILTERS.NOPUT)
    if request.no_delete:
        create.filters.append(FILTERS.NODELETE)
    return pb.WatchRequest(create_request=create)


def to_message_user_add(request: types.UserAddRequest) -> pb.AuthUserAddRequest:
    """UserAdd."""
    message = pb.AuthUserAddRequest(name=request.name, password=request.password)
    message.options.no_password = request.no_password
    return message


def to_message_grant_permission(request: types.RoleGrantPermissionRequest) -> pb.AuthRoleGrantPermissionRequest:
    """RoleGrantPermission."""
    message = pb.AuthRoleGrantPermissionRequest(name=request.name)
    if request.permission is not None:
        kind, key, range_end = attrgetter("permission", "key", "range_end")(request.permission)
        message.perm.permType, message.perm.key, message.perm.range_end = kind, key, range_end
    return message
