"""What kube-controller-manager and kube-scheduler were recorded to ask a real kube-apiserver, asked here."""

from __future__ import annotations

import itertools
import re
from struct import unpack
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import trio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from apilayer.api import protobuf
from tests.reference import IS_HERE, REFERENCE, WHY_SKIPPED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROTOBUF = "application/vnd.kubernetes.protobuf"
AT_ONCE = 8
"""Watches that are open at the same time."""
WRITTEN = {
    "configmaps": ("v1", "ConfigMap", {"data": {"ca.crt": "x"}}),
    "serviceaccounts": ("v1", "ServiceAccount", {}),
    "leases": ("coordination.k8s.io/v1", "Lease", {"spec": {"holderIdentity": "me", "leaseDurationSeconds": 15}}),
    "clusterroles": ("rbac.authorization.k8s.io/v1", "ClusterRole", {"rules": []}),
    "servicecidrs": ("networking.k8s.io/v1", "ServiceCIDR", {"spec": {"cidrs": ["10.96.0.0/12"]}}),
    "events": (
        "v1",
        "Event",
        {"involvedObject": {"kind": "Lease", "namespace": "kube-system", "name": "l"}, "reason": "R", "type": "Normal"},
    ),
    "token": ("authentication.k8s.io/v1", "TokenRequest", {"spec": {"audiences": [], "expirationSeconds": 3600}}),
}
"""apiVersion, kind and content of what they write, by resource; recorded are the requests without their bodies."""
_names = map("made-{}".format, itertools.count())


class Recorded(NamedTuple):
    """A line of the recordings, less its count."""

    method: str
    path: str
    content_type: str
    accept: str
    status: int
    answer_type: str

    @property
    def watches(self) -> bool:
        return "watch=true" in self.path

    @property
    def target(self) -> tuple[str, str]:
        """The last two parts of the path, of an object its resource and its name."""
        *_, resource, name = ("", "", *self.path.partition("?")[0].removesuffix("/status").strip("/").split("/"))
        return resource, name


def recorded() -> Iterator[Recorded]:
    lines = (REFERENCE / "controller-requests.txt").read_text("utf-8").splitlines()
    for line in dict.fromkeys(line for line in lines if line and not line.startswith("#")):
        _, method, path, content_type, accept, status, answer_type, *_ = line.split("\t")
        path = re.sub(r"\bresourceVersion=N", "resourceVersion=0", path)
        path = path.replace("timeout=T", "timeout=9s").replace("timeoutSeconds=N", "timeoutSeconds=400")
        yield Recorded(method, path, content_type, accept, int(status), answer_type)


def written(obj: dict[str, Any], content_type: str) -> bytes | dict[str, Any]:
    return protobuf.encode(obj) if content_type == PROTOBUF else obj


def body_of(resource: str, name: str) -> dict[str, Any]:
    version, kind, content = WRITTEN[resource]
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name} if name else {}, **content}


async def bring_about(client, path: str, *, there: bool) -> None:
    """Have an object of ours exist, or not."""
    collection, _, name = path.partition("?")[0].removesuffix("/status").rpartition("/")
    resource = collection.rpartition("/")[2]
    if resource not in WRITTEN:
        return
    if there:
        made = await client.request("POST", collection, body_of(resource, name), Content_Type="application/json")
        assert made.status in (201, 409), made.body
    else:
        await client.request("DELETE", f"{collection}/{name}")


async def body_for(client, asked: Recorded) -> bytes | dict[str, Any]:
    """What is sent with it."""
    resource, name = asked.target
    if asked.method == "PUT":
        found = await client.request("GET", asked.path)
        return written(found.json, asked.content_type)
    if asked.method == "POST":
        return written(body_of(name, "" if name == "token" else next(_names)), asked.content_type)
    if "strategic" in asked.content_type:
        return {"metadata": {"finalizers": ["networking.k8s.io/service-cidr-finalizer"]}}
    applied = body_of(resource, name)
    if "/status" in asked.path:
        applied["status"] = {"conditions": []}
        del applied["spec"]
    return applied


async def answer_to(client, asked: Recorded) -> Any:
    """Ask for what the answer says is there, or is not."""
    if asked.method != "POST":
        await bring_about(client, asked.path, there=asked.status != 404)
    elif asked.target[1] == "token":
        await bring_about(client, asked.path.removesuffix("/token"), there=True)
    if asked.method == "GET":
        return await client.request("GET", asked.path, Accept=asked.accept)
    body = await body_for(client, asked)
    headers = {"Accept": asked.accept, "Content_Type": asked.content_type}
    return await client.request(asked.method, asked.path, body, **headers)


async def first_of(watching, asked: Recorded) -> None:
    """A watch that begins with the state says when it has told all of it, in its framing."""
    if "sendInitialEvents" not in asked.path:
        return
    while True:
        if asked.answer_type.startswith(PROTOBUF):
            (size,) = unpack(">I", await watching.exactly(4))
            text = await watching.exactly(size)
            told, bookmark = b"k8s.io/initial-events-end" in text, b"BOOKMARK" in text
        else:
            event = await watching.event()
            told = event["object"]["metadata"].get("annotations") == {"k8s.io/initial-events-end": "true"}
            bookmark = event["type"] == "BOOKMARK"
        assert told == bookmark
        if told:
            return


@pytest.fixture
async def served(start_server, tmp_path: Path) -> Any:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "sa.key").write_bytes(pem)
    options = {"service_account_signing_key_file": tmp_path / "sa.key", "service_account_issuer": ["https://here"]}
    async with start_server(**options) as server:
        async with server.connect() as client:
            for name in ("default", "kube-system", "kube-public", "kube-node-lease"):
                await client.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        yield server


@pytest.mark.slow
@pytest.mark.skipif(not IS_HERE, reason=WHY_SKIPPED)
async def test_every_request_is_answered_as_it_was(served) -> None:
    wrong: list[str] = []
    room = trio.CapacityLimiter(AT_ONCE)

    def compare(asked: Recorded, status: int, content_type: str, said: object) -> None:
        if (status, content_type) != (asked.status, asked.answer_type):
            wrong.append(f"{asked.method} {asked.path}: {status} {content_type} for {asked[4:]}: {said!r}")

    async def watch(asked: Recorded) -> None:
        async with room, served.connect() as client:
            watching = await client.watch(asked.path, Accept=asked.accept)
            compare(asked, watching.status, watching.headers["content-type"], "")
            await first_of(watching, asked)

    asked = list(recorded())
    async with served.connect() as client:
        for one in asked:
            if not one.watches:
                answer = await answer_to(client, one)
                compare(one, answer.status, answer.headers["content-type"], answer.body[:300])
    watches = dict.fromkeys(one for one in asked if one.watches)
    assert len({one.path.partition("?")[0] for one in watches}) >= 58
    async with trio.open_nursery() as nursery:
        for one in watches:
            nursery.start_soon(watch, one)
    assert wrong == []
