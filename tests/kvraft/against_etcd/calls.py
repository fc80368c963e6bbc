"""Calls of the services beside KV, most of them wrong, as the JSON gateway takes them; and both answers to one.

Left out is what ends the process of etcd 3.4: an alarm of no type, and a role's permission that is not given.
"""

from __future__ import annotations

import base64
import http.client
import json
from typing import Any
from urllib.parse import urlsplit


def _key(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


LEADER = {"name": _key("e"), "key": _key("k"), "rev": "1", "lease": "5"}
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("kv/compaction", {"revision": "-1"}),
    ("kv/compaction", {"revision": "1000000"}),
    ("lease/grant", {"TTL": "9000000001"}),
    ("lease/grant", {"TTL": "10", "ID": "5"}),
    ("lease/grant", {"TTL": "10", "ID": "5"}),
    ("lease/grant", {"TTL": "-1", "ID": "-7"}),
    ("lease/revoke", {}),
    ("lease/revoke", {"ID": "99"}),
    ("lease/timetolive", {}),
    ("lease/timetolive", {"ID": "5", "keys": True}),
    ("lease/keepalive", {"ID": "99"}),
    ("lease/keepalive", {}),
    ("lease/leases", {}),
    ("kv/lease/timetolive", {"ID": "99"}),
    ("cluster/member/add", {}),
    ("cluster/member/add", {"peerURLs": ["foo"]}),
    ("cluster/member/add", {"peerURLs": ["http://127.0.0.1"]}),
    ("cluster/member/remove", {"ID": "1"}),
    ("cluster/member/update", {"ID": "1", "peerURLs": ["http://x:1"]}),
    ("cluster/member/promote", {"ID": "1"}),
    ("maintenance/alarm", {}),
    ("maintenance/alarm", {"action": "DEACTIVATE", "alarm": "NOSPACE"}),
    ("maintenance/transfer-leadership", {"targetID": "5"}),
    ("auth/enable", {}),
    ("auth/disable", {}),
    ("auth/authenticate", {"name": "a", "password": "b"}),
    ("auth/user/add", {}),
    ("auth/user/add", {"name": "u", "password": "p"}),
    ("auth/user/add", {"name": "u", "password": "p"}),
    ("auth/user/get", {}),
    ("auth/user/delete", {"name": "none"}),
    ("auth/user/changepw", {"name": "none", "password": "x"}),
    ("auth/user/grant", {"user": "none", "role": "r"}),
    ("auth/user/grant", {"user": "u", "role": "none"}),
    ("auth/user/revoke", {"name": "u", "role": "none"}),
    ("auth/role/add", {}),
    ("auth/role/add", {"name": "r"}),
    ("auth/role/add", {"name": "r"}),
    ("auth/role/get", {"role": "none"}),
    ("auth/role/delete", {"role": "none"}),
    ("auth/role/grant", {"name": "none", "perm": {"key": _key("a")}}),
    ("auth/role/revoke", {"role": "r", "key": _key("none")}),
    ("auth/role/revoke", {"role": "none", "key": _key("none")}),
    ("auth/role/delete", {"role": "r"}),
    ("auth/user/delete", {"name": "u"}),
    ("lock/lock", {"name": _key("l"), "lease": "99"}),
    ("lock/unlock", {}),
    ("lock/unlock", {"key": _key("none")}),
    ("election/campaign", {"name": _key("e"), "lease": "99"}),
    ("election/leader", {"name": _key("none")}),
    ("election/proclaim", {}),
    ("election/proclaim", {"leader": LEADER, "value": _key("v")}),
    ("election/resign", {}),
    ("election/resign", {"leader": LEADER}),
    ("lease/revoke", {"ID": "-7"}),
    ("lease/revoke", {"ID": "5"}),
]


def answer(url: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
    """The HTTP status, and what is said, without what is of one member alone."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.request("POST", f"/v3/{path}", json.dumps(body))
        found = connection.getresponse()
        return found.status, _common(json.loads(found.read()))
    finally:
        connection.close()


def _common(said: Any) -> Any:
    if isinstance(said, dict):
        return {name: _common(value) for name, value in said.items() if name not in ("header", "error", "details")}
    if isinstance(said, list):  # leases come in another order: the table of differences has it
        return sorted(map(_common, said), key=json.dumps)
    return said
