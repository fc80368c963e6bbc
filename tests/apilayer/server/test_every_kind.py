"""What holds for every kind that is kept, whichever it is: in all forms, both ways, and in dry runs."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from apilayer.api import protobuf
from apilayer.api.decode import decode_body, message_name
from apilayer.api.decode.convert import converter
from apilayer.api.protobuf.message import decode_message
from tests.apilayer.in_process import serving
from tests.apilayer.memory_store import MemoryStore
from tests.apilayer.protobuf_fields import delimited_fields
from tests.apilayer.server.fuzzing import (
    APPLY,
    JSON,
    JSON_PATCH,
    MERGE,
    PROTOBUF,
    STRATEGIC,
    YAML,
    path_of,
)
from tests.apilayer.valid_objects import valid_objects

if TYPE_CHECKING:
    from apilayer.api.resources import Resource
    from tests.apilayer.in_process import Answer, Server

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
METADATA = "as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
LABELLED = {"metadata": {"labels": {"new": "1"}}}


async def good(server: Server, code: int, method: str, target: str, body: Any = None, **headers: str) -> Answer:
    """The answer, which must have that code."""
    answer = await server.request(method, target, body, **headers)
    assert answer.status == code, (method, target, headers, answer.body[:500])
    return answer


async def test_every_kind_is_the_same_in_every_form() -> None:
    async with serving() as server:
        for row, body in valid_objects():
            path = path_of(row)
            await good(server, 201, "POST", path, body)
            target = f"{path}/{body['metadata']['name']}"
            obj = (await good(server, 200, "GET", target)).json
            for media in (PROTOBUF, YAML):
                shown = await good(server, 200, "GET", target, accept=media)
                assert shown.media.decode() == media
                assert decode_body(shown.body, media, row).object == obj, row
                again = await good(server, 200, "PUT", target, shown.body, content_type=media)
                assert again.json == obj, "what was read is what is there, so nothing is stored"
            await lists_are_the_same(server, row, path)
            await watches_are_the_same(server, row, target, obj)
            await other_forms(server, path, target, obj)


async def lists_are_the_same(server: Server, row: Resource, path: str) -> None:
    listed = (await good(server, 200, "GET", path)).json
    packed = (await good(server, 200, "GET", path, accept=PROTOBUF)).body
    assert packed.startswith(protobuf.MAGIC)
    (_, head), (_, message), *_ = delimited_fields(packed[len(protobuf.MAGIC) :])
    assert [text.decode() for _, text in delimited_fields(head)] == [listed["apiVersion"], listed["kind"]]
    (number, _), *items = delimited_fields(message)
    assert (number, {number for number, _ in items}) == (1, {2})
    name = message_name(row)
    read = [converter(name)(decode_message(item, 0, len(item), name, 0)) for _, item in items]
    assert read == listed["items"], row


async def watches_are_the_same(server: Server, row: Resource, target: str, obj: Any) -> None:
    path, _, name = target.rpartition("/")
    query = f"?watch=1&resourceVersion=0&fieldSelector=metadata.name={name}"
    for media in (JSON, PROTOBUF):
        response = await server.send("GET", path + query, accept=media)
        batches = response.stream.batches()
        (line,) = await anext(batches)
        await batches.aclose()
        response.stream.close()
        if media == JSON:
            assert line == b'{"type":"ADDED","object":%s}\n' % (await server.request("GET", target)).body
        else:
            (_, kind), (_, raw) = delimited_fields(line[4:])
            ((_, enveloped),) = delimited_fields(raw)
            assert (kind, decode_body(enveloped, PROTOBUF, row).object) == (b"ADDED", obj)


async def other_forms(server: Server, path: str, target: str, obj: Any) -> None:
    rows = (await good(server, 200, "GET", path, accept=TABLE)).json["rows"]
    row = (await good(server, 200, "GET", target, accept=TABLE)).json["rows"][0]
    assert row["object"] in [listed["object"] for listed in rows]
    assert row["object"]["metadata"] == obj["metadata"]
    for media in (JSON, PROTOBUF):
        shown = await good(server, 200, "GET", target, accept=f"{media};{METADATA}")
        if media == JSON:
            assert shown.json["metadata"] == obj["metadata"]
        else:
            (_, (_, message), *_) = delimited_fields(shown.body[len(protobuf.MAGIC) :])
            ((_, metadata),) = delimited_fields(message)
            assert decode_message(metadata, 0, len(metadata), "meta/v1.ObjectMeta", 0) == obj["metadata"]
        await good(server, 200, "GET", path, accept=f"{media};{METADATA.replace('Metadata;', 'MetadataList;')}")


async def test_a_dry_run_of_anything_stores_nothing() -> None:
    store = MemoryStore()
    async with serving(store) as server:
        for row, body in valid_objects():
            path = path_of(row)
            before = store.revision
            await good(server, 201, "POST", f"{path}?dryRun=All", body)
            assert store.revision == before, row
            await good(server, 201, "POST", path, body)
            before = store.revision
            await changes(server, row, f"{path}/{body['metadata']['name']}", body)
            if "deletecollection" in row.verbs:
                only = f"fieldSelector=metadata.name={body['metadata']['name']}"
                deleted = await good(server, 200, "DELETE", f"{path}?dryRun=All&{only}")
                assert len(deleted.json["items"]) == 1, row
            assert store.revision == before, row


async def changes(server: Server, row: Resource, target: str, body: Any) -> None:
    """A dry run of every change of an object, which answers what would come of it, and of its deletion."""
    dry = f"{target}?dryRun=All"
    obj = (await good(server, 200, "GET", target)).json
    labelled = copy.deepcopy(obj)
    labelled["metadata"].setdefault("labels", {})["new"] = "1"
    applied = {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": {"name": body["metadata"]["name"]}}
    applied["metadata"] |= LABELLED["metadata"]
    has_labels = "labels" in obj["metadata"]
    operation = {"op": "add", "path": "/metadata/labels", "value": {"new": "1"}}
    if has_labels:
        operation = {"op": "add", "path": "/metadata/labels/new", "value": "1"}
    answers = [
        await good(server, 200, "PUT", dry, labelled),
        await good(server, 200, "PATCH", dry, LABELLED, content_type=MERGE),
        await good(server, 200, "PATCH", dry, LABELLED, content_type=STRATEGIC),
        await good(server, 200, "PATCH", dry, [operation], content_type=JSON_PATCH),
        await good(server, 200, "PATCH", f"{dry}&fieldManager=m", applied, content_type=APPLY),
    ]
    for answer in answers:
        assert answer.json["metadata"]["labels"]["new"] == "1", row
        assert answer.json["metadata"]["resourceVersion"] == obj["metadata"]["resourceVersion"], row
    for subresource in row.subresources:
        if subresource.name == "status":
            await good(server, 200, "PUT", f"{target}/status?dryRun=All", labelled)
            await good(server, 200, "PATCH", f"{target}/status?dryRun=All", LABELLED, content_type=MERGE)
        elif subresource.name == "scale":
            change = {"spec": {"replicas": 7}}
            scaled = await good(server, 200, "PATCH", f"{target}/scale?dryRun=All", change, content_type=MERGE)
            assert scaled.json["spec"] == {"replicas": 7}
        elif subresource.name in ("approval", "finalize", "ephemeralcontainers", "resize"):
            await good(server, 200, "PUT", f"{target}/{subresource.name}?dryRun=All", obj)
        elif subresource.name in ("binding", "eviction"):
            posted = {"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n"}}
            if subresource.name == "eviction":
                del posted["target"]
            await good(server, 201, "POST", f"{target}/{subresource.name}?dryRun=All", posted)
    await good(server, 200, "DELETE", dry)
    assert (await good(server, 200, "GET", target)).json == obj, row
