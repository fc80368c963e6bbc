"""The store's vocabulary: requests, answers and events, as clients, wire and state machine share it.

The structs are array-like: their field order is the native wire format; only ever append fields, with defaults.
Tags tell the kinds apart on the wire: never reuse one. Every answer begins with the store's revision.
"""

from __future__ import annotations

from kvraft.types.auth import (
    AuthChangedResponse,
    AuthDisableRequest,
    AuthEnableRequest,
    AuthenticateRequest,
    AuthenticateResponse,
    AuthStatusRequest,
    AuthStatusResponse,
    Permission,
    PermissionType,
    RoleAddRequest,
    RoleDeleteRequest,
    RoleGetRequest,
    RoleGetResponse,
    RoleGrantPermissionRequest,
    RoleListRequest,
    RoleListResponse,
    RoleRevokePermissionRequest,
    TokenGrantRequest,
    TokenGrantResponse,
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
from kvraft.types.cluster import (
    MemberAddRequest,
    MemberAddResponse,
    MemberInfo,
    MemberListRequest,
    MemberListResponse,
    MemberPromoteRequest,
    MemberPublishRequest,
    MemberRemoveRequest,
    MembershipCommand,
    MemberUpdateRequest,
)
from kvraft.types.kv import (
    PLAIN_PUT_HEAD,
    CompactRequest,
    CompactResponse,
    Compare,
    CompareResult,
    CompareTarget,
    DeleteRangeRequest,
    DeleteRangeResponse,
    KeyValue,
    Operation,
    OperationResponse,
    PlainPut,
    PlainPutRequest,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    SortOrder,
    SortTarget,
    TxnRequest,
    TxnResponse,
    prefix_end,
)
from kvraft.types.lease import (
    LeaseCheckpointRequest,
    LeaseCheckpointResponse,
    LeaseGrantRequest,
    LeaseGrantResponse,
    LeaseKeepAliveRequest,
    LeaseKeepAliveResponse,
    LeaseLeasesRequest,
    LeaseLeasesResponse,
    LeaseRevokeRequest,
    LeaseRevokeResponse,
    LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse,
)
from kvraft.types.maintenance import (
    AlarmAction,
    AlarmMember,
    AlarmRequest,
    AlarmResponse,
    AlarmType,
    DefragmentRequest,
    DefragmentResponse,
    DowngradeAction,
    DowngradeRequest,
    DowngradeResponse,
    HashKVRequest,
    HashKVResponse,
    HashRequest,
    HashResponse,
    MoveLeaderRequest,
    MoveLeaderResponse,
    SnapshotChunk,
    SnapshotRequest,
    Status,
    StatusRequest,
)
from kvraft.types.watch import (
    Event,
    EventKind,
    WatchBatch,
    WatchRequest,
)

KvCommand = PutRequest | DeleteRangeRequest | TxnRequest | CompactRequest
LeaseCommand = LeaseGrantRequest | LeaseRevokeRequest | LeaseCheckpointRequest
AuthCommand = (
    AuthEnableRequest
    | AuthDisableRequest
    | UserAddRequest
    | UserDeleteRequest
    | UserChangePasswordRequest
    | UserGrantRoleRequest
    | UserRevokeRoleRequest
    | RoleAddRequest
    | RoleDeleteRequest
    | RoleGrantPermissionRequest
    | RoleRevokePermissionRequest
    | TokenGrantRequest
)
Command = KvCommand | LeaseCommand | AlarmRequest | AuthCommand
"""What is replicated: a log entry's data is one of these, encoded."""

LeaseResponse = (
    LeaseGrantResponse
    | LeaseRevokeResponse
    | LeaseKeepAliveResponse
    | LeaseTimeToLiveResponse
    | LeaseLeasesResponse
    | LeaseCheckpointResponse
)
AuthResponse = (
    AuthChangedResponse
    | AuthStatusResponse
    | AuthenticateResponse
    | UserGetResponse
    | UserListResponse
    | RoleGetResponse
    | RoleListResponse
    | TokenGrantResponse
)
MaintenanceResponse = AlarmResponse | DefragmentResponse | HashResponse | HashKVResponse
Response = (
    RangeResponse
    | PutResponse
    | DeleteRangeResponse
    | TxnResponse
    | CompactResponse
    | LeaseResponse
    | WatchBatch
    | Status
    | MaintenanceResponse
    | MemberAddResponse
    | MemberListResponse
    | MoveLeaderResponse
    | AuthResponse
    | SnapshotChunk
)

__all__ = [
    "PLAIN_PUT_HEAD",
    "AlarmAction",
    "AlarmMember",
    "AlarmRequest",
    "AlarmResponse",
    "AlarmType",
    "AuthChangedResponse",
    "AuthCommand",
    "AuthDisableRequest",
    "AuthEnableRequest",
    "AuthResponse",
    "AuthStatusRequest",
    "AuthStatusResponse",
    "AuthenticateRequest",
    "AuthenticateResponse",
    "Command",
    "CompactRequest",
    "CompactResponse",
    "Compare",
    "CompareResult",
    "CompareTarget",
    "DefragmentRequest",
    "DefragmentResponse",
    "DeleteRangeRequest",
    "DeleteRangeResponse",
    "DowngradeAction",
    "DowngradeRequest",
    "DowngradeResponse",
    "Event",
    "EventKind",
    "HashKVRequest",
    "HashKVResponse",
    "HashRequest",
    "HashResponse",
    "KeyValue",
    "KvCommand",
    "LeaseCheckpointRequest",
    "LeaseCheckpointResponse",
    "LeaseCommand",
    "LeaseGrantRequest",
    "LeaseGrantResponse",
    "LeaseKeepAliveRequest",
    "LeaseKeepAliveResponse",
    "LeaseLeasesRequest",
    "LeaseLeasesResponse",
    "LeaseResponse",
    "LeaseRevokeRequest",
    "LeaseRevokeResponse",
    "LeaseTimeToLiveRequest",
    "LeaseTimeToLiveResponse",
    "MaintenanceResponse",
    "MemberAddRequest",
    "MemberAddResponse",
    "MemberInfo",
    "MemberListRequest",
    "MemberListResponse",
    "MemberPromoteRequest",
    "MemberPublishRequest",
    "MemberRemoveRequest",
    "MemberUpdateRequest",
    "MembershipCommand",
    "MoveLeaderRequest",
    "MoveLeaderResponse",
    "Operation",
    "OperationResponse",
    "Permission",
    "PermissionType",
    "PlainPut",
    "PlainPutRequest",
    "PutRequest",
    "PutResponse",
    "RangeRequest",
    "RangeResponse",
    "Response",
    "RoleAddRequest",
    "RoleDeleteRequest",
    "RoleGetRequest",
    "RoleGetResponse",
    "RoleGrantPermissionRequest",
    "RoleListRequest",
    "RoleListResponse",
    "RoleRevokePermissionRequest",
    "SnapshotChunk",
    "SnapshotRequest",
    "SortOrder",
    "SortTarget",
    "Status",
    "StatusRequest",
    "TokenGrantRequest",
    "TokenGrantResponse",
    "TxnRequest",
    "TxnResponse",
    "UserAddRequest",
    "UserChangePasswordRequest",
    "UserDeleteRequest",
    "UserGetRequest",
    "UserGetResponse",
    "UserGrantRoleRequest",
    "UserListRequest",
    "UserListResponse",
    "UserRevokeRoleRequest",
    "WatchBatch",
    "WatchRequest",
    "prefix_end",
]
