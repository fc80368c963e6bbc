"""A member of etcd, asked through its JSON gateway, in the words of ``kvraft.types``."""

from __future__ import annotations

import base64
import http.client
import json
from typing import Any

from kvraft.types import (
    CompactRequest,
    CompactResponse,
    CompareResult,
    CompareTarget,
    DeleteRangeRequest,
    DeleteRangeResponse,
    Event,
    EventKind,
    KeyValue,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    TxnRequest,
    TxnResponse,
    WatchRequest,
)

TIMEOUT_SECONDS = 20.0


class Refused(Exception):
    """An error as it was answered: the number of its gRPC code, and its text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.answer = (code, text)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(raw: str | None) -> bytes:
    return base64.b64decode(raw or "")


def _range(request: RangeRequest) -> dict[str, Any]:
    return {
        "key": _b64(request.key), "range_end": _b64(request.range_end), "limit": request.limit,
        "revision": request.revision, "keys_only": request.keys_only, "count_only": request.count_only,
        "serializable": request.serializable, "sort_order": request.sort_order, "sort_target": request.sort_target,
        "min_mod_revision": request.min_mod_revision, "max_mod_revision": request.max_mod_revision,
        "min_create_revision": request.min_create_revision, "max_create_revision": request.max_create_revision,
    }  # fmt: skip


def _put(request: PutRequest) -> dict[str, Any]:
    return {
        "key": _b64(request.key), "value": _b64(request.value), "lease": request.lease, "prev_kv": request.prev_kv,
        "ignore_value": request.ignore_value, "ignore_lease": request.ignore_lease,
    }  # fmt: skip


def _delete(request: DeleteRangeRequest) -> dict[str, Any]:
    return {"key": _b64(request.key), "range_end": _b64(request.range_end), "prev_kv": request.prev_kv}


def _txn(request: TxnRequest) -> dict[str, Any]:
    operands = ("version", "create_revision", "mod_revision", "value", "lease")
    compares = [
        {
            "key": _b64(compare.key), "range_end": _b64(compare.range_end),
            "target": CompareTarget(compare.target).name, "result": CompareResult(compare.result).name,
            operands[compare.target]: _b64(compare.operand) if isinstance(compare.operand, bytes) else compare.operand,
        }
        for compare in request.compare
    ]  # fmt: skip
    branches = [[_operation(operation) for operation in branch] for branch in (request.success, request.failure)]
    return {"compare": compares, "success": branches[0], "failure": branches[1]}


_KINDS = {
    RangeRequest: ("range", _range),
    PutRequest: ("put", _put),
    DeleteRangeRequest: ("delete_range", _delete),
    TxnRequest: ("txn", _txn),
}


def _operation(operation: Any) -> dict[str, Any]:
    name, encode = _KINDS[type(operation)]
    return {f"request_{name}": encode(operation)}


def _kv(raw: dict[str, Any]) -> KeyValue:
    numbers = (int(raw.get(name, 0)) for name in ("create_revision", "mod_revision", "version", "lease"))
    return KeyValue(_bytes(raw.get("key")), _bytes(raw.get("value")), *numbers)


def _kvs(raw: list[dict[str, Any]] | None) -> list[KeyValue]:
    return [_kv(item) for item in raw or []]


def _maybe_kv(raw: dict[str, Any] | None) -> KeyValue | None:
    return None if raw is None else _kv(raw)


def _response(name: str, raw: dict[str, Any]) -> Any:
    revision = int(raw.get("header", {}).get("revision", 0))
    if name == "range":
        return RangeResponse(revision, _kvs(raw.get("kvs")), int(raw.get("count", 0)), raw.get("more", False))
    if name == "put":
        return PutResponse(revision, _maybe_kv(raw.get("prev_kv")))
    if name == "delete_range":
        return DeleteRangeResponse(revision, int(raw.get("deleted", 0)), _kvs(raw.get("prev_kvs")))
    responses = []
    for item in raw.get("responses", []):
        ((inner, body),) = item.items()
        responses.append(_response(inner.removeprefix("response_"), body))
    return TxnResponse(revision, raw.get("succeeded", False), responses)


class Gateway:
    """One connection to the gateway."""

    def __init__(self, url: str) -> None:
        self._address = url.removeprefix("http://")
        self._connection = http.client.HTTPConnection(self._address, timeout=TIMEOUT_SECONDS)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Raises ``Refused``."""
        self._connection.request("POST", f"/v3/{path}", json.dumps(body))
        answer = json.loads(self._connection.getresponse().read())
        if "error" in answer:
            raise Refused(answer["code"], answer["message"])
        return answer

    def call(self, request: Any) -> Any:
        """The response to a request. Raises ``Refused``."""
        if isinstance(request, CompactRequest):
            raw = self.post("kv/compaction", {"revision": request.revision, "physical": request.physical})
            return CompactResponse(int(raw["header"]["revision"]))
        name, encode = _KINDS[type(request)]
        return _response(name, self.post(f"kv/{name.replace('_', '')}", encode(request)))

    def events(self, request: WatchRequest, last: int) -> list[Event] | int:
        """What a watch sees up to revision ``last``, which it sees something of; or the compacted revision."""
        create = {
            "key": _b64(request.key), "range_end": _b64(request.range_end), "start_revision": request.start_revision,
            "prev_kv": request.prev_kv,
            "filters": ["NOPUT"] * request.no_put + ["NODELETE"] * request.no_delete,
        }  # fmt: skip
        connection = http.client.HTTPConnection(self._address, timeout=TIMEOUT_SECONDS)
        connection.request("POST", "/v3/watch", json.dumps({"create_request": create}))
        events: list[Event] = []
        for line in connection.getresponse():
            result = json.loads(line)["result"]
            if int(result.get("compact_revision", 0)):
                connection.close()
                return int(result["compact_revision"])
            for raw in result.get("events", []):
                kind = EventKind.DELETE if raw.get("type") == "DELETE" else EventKind.PUT
                events.append(Event(int(kind), _kv(raw["kv"]), _maybe_kv(raw.get("prev_kv"))))
            if events and events[-1].kv.mod_revision >= last:
                break
        connection.close()
        return events

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
