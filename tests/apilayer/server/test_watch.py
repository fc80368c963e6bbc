"""Watches through the whole server."""

from __future__ import annotations

import contextlib
from struct import unpack
from typing import TYPE_CHECKING

import pytest
import trio

from apilayer.api import protobuf
from apilayer.storage import watcher
from tests.apilayer.protobuf_fields import delimited_fields
from tests.apilayer.server.fuzzing import PROTOBUF

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
MERGE = "application/merge-patch+json"
LISTED = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"


def configmap(name: str, **labels: str) -> dict:
    return {"metadata": {"name": name, "labels": labels}}


@pytest.fixture
async def writer(server) -> AsyncIterator:
    async with server.connect() as connected:
        yield connected


async def revision(writer, path: str = CONFIGMAPS) -> str:
    return (await writer.request("GET", path)).json["metadata"]["resourceVersion"]


async def test_events_as_they_happen(client, writer) -> None:
    watching = await client.watch(f"{CONFIGMAPS}?watch=1")
    assert watching.status == 200
    assert watching.headers["content-type"] == "application/json"
    assert watching.headers["transfer-encoding"] == "chunked"
    created = (await writer.request("POST", CONFIGMAPS, configmap("a"))).json
    event = await watching.event()
    assert event == {"type": "ADDED", "object": created}
    changed = (await writer.request("PATCH", f"{CONFIGMAPS}/a", {"data": {"x": "y"}}, Content_Type=MERGE)).json
    assert await watching.event() == {"type": "MODIFIED", "object": changed}
    await writer.request("DELETE", f"{CONFIGMAPS}/a")
    gone = await watching.event()
    assert gone["type"] == "DELETED"
    assert gone["object"]["data"] == {"x": "y"}
    assert int(gone["object"]["metadata"]["resourceVersion"]) > int(changed["metadata"]["resourceVersion"])


async def test_selectors_that_objects_enter_and_leave(client, writer) -> None:
    start = await revision(writer)
    watching = await client.watch(f"{CONFIGMAPS}?watch=1&labelSelector=w%3D1&resourceVersion={start}")
    await writer.request("POST", CONFIGMAPS, configmap("a", w="1"))
    for value in ("2", "1"):
        body = {"metadata": {"labels": {"w": value}}}
        await writer.request("PATCH", f"{CONFIGMAPS}/a", body, Content_Type=MERGE)
    await writer.request("DELETE", f"{CONFIGMAPS}/a")
    assert await watching.events(4) == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "a"), ("DELETED", "a")]


async def test_a_watch_from_a_list_misses_nothing(client, writer) -> None:
    for index in range(5):
        await writer.request("POST", CONFIGMAPS, configmap(f"a{index}"))
    start = await revision(writer)
    for index in range(5):
        await writer.request("POST", CONFIGMAPS, configmap(f"b{index}"))
    watching = await client.watch(f"{CONFIGMAPS}?watch=1&resourceVersion={start}")
    assert await watching.events(5) == [("ADDED", f"b{index}") for index in range(5)]


async def test_a_list_as_a_stream(client, writer) -> None:
    created = (await writer.request("POST", CONFIGMAPS, configmap("a"))).json
    watching = await client.watch(f"{CONFIGMAPS}?{LISTED}")
    assert (await watching.event())["object"] == created
    bookmark = await watching.event()
    assert bookmark["type"] == "BOOKMARK"
    metadata = bookmark["object"]["metadata"]
    assert metadata["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert int(metadata["resourceVersion"]) >= int(created["metadata"]["resourceVersion"])
    await writer.request("POST", CONFIGMAPS, configmap("b"))
    assert await watching.events(1) == [("ADDED", "b")]


async def test_a_stream_of_what_is_selected_in_every_form(server, writer) -> None:
    """What is selected, the end of that, then what enters and leaves the selection."""
    for name, value in (("a", "1"), ("b", "2"), ("c", "1")):
        await writer.request("POST", CONFIGMAPS, configmap(name, w=value))
    target = f"{CONFIGMAPS}?{LISTED}&labelSelector=w%3D1&fieldSelector=metadata.name%21%3Dc"
    accepted = {"": "application/json", "protobuf": PROTOBUF}
    for form in ("Table", "PartialObjectMetadata"):
        accepted[form] = f"application/json;as={form};v=v1;g=meta.k8s.io"
    async with contextlib.AsyncExitStack() as stack:
        watches = {}
        for form, accept in accepted.items():
            client = await stack.enter_async_context(server.connect())
            watches[form] = await client.watch(target, Accept=accept)
            assert await shown(watches[form], form) == ("ADDED", "a")
        for value in ("1", "2"):
            body = {"metadata": {"labels": {"w": value}}}
            await writer.request("PATCH", f"{CONFIGMAPS}/b", body, Content_Type=MERGE)
        for form, watching in watches.items():
            seen = [await shown(watching, form) for _ in range(3)]
            assert seen == [("BOOKMARK", ""), ("ADDED", "b"), ("DELETED", "b")], form


async def shown(watching, form: str) -> tuple[str, str]:
    """Type and name of the next event."""
    if form == "protobuf":
        (size,) = unpack(">I", await watching.exactly(4))
        (_, kind), (_, raw) = delimited_fields(await watching.exactly(size))
        ((_, envelope),) = delimited_fields(raw)
        return kind.decode(), protobuf.decode(envelope)["metadata"].get("name", "")
    event = await watching.event()
    obj = event["object"]
    if form == "Table" and obj["rows"]:
        assert obj["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
        return event["type"], obj["rows"][0]["object"]["metadata"]["name"]
    return event["type"], obj["metadata"].get("name", "")


async def test_a_watch_ends_in_time_and_its_connection_lives_on(client, writer) -> None:
    await writer.request("POST", CONFIGMAPS, configmap("a"))
    watching = await client.watch(f"{CONFIGMAPS}?watch=1&timeoutSeconds=1&allowWatchBookmarks=true")
    assert await watching.events(1) == [("ADDED", "a")]
    bookmark = await watching.event()
    assert (bookmark["type"], list(bookmark["object"]["metadata"])) == ("BOOKMARK", ["resourceVersion"])
    assert await watching.event() is None
    assert (await client.request("GET", f"{CONFIGMAPS}/a")).status == 200


async def test_a_request_sent_during_a_watch_is_answered_after_it(client) -> None:
    watching = await client.watch(f"{CONFIGMAPS}?watch=1&timeoutSeconds=1")
    await client.stream.send_all(client.encode("GET", "/livez", None, {}))
    assert await watching.event() is None
    assert (await client.answer()).body == b"ok"


async def test_unreadable_versions(client) -> None:
    answer = await client.request("GET", f"{CONFIGMAPS}?watch=1&resourceVersion=x")
    assert answer.status == 500
    assert answer.message.startswith('resourceVersion: Invalid value: "x"')


async def test_versions_from_before_the_cache(start_server, writer) -> None:
    start = await revision(writer)
    await writer.request("POST", CONFIGMAPS, configmap("a"))
    async with start_server() as later, later.connect() as client:
        watching = await client.watch(f"{CONFIGMAPS}?watch=1&resourceVersion={start}")
        event = await watching.event()
        assert (watching.status, event["type"], event["object"]["code"]) == (200, "ERROR", 410)
        assert event["object"]["message"].startswith(f"too old resource version: {start} (")
        assert await watching.event() is None


async def test_a_revision_ahead_waits(client, writer) -> None:
    ahead = int(await revision(writer)) + 2
    watching = await client.watch(f"{CONFIGMAPS}?watch=1&resourceVersion={ahead}")
    for name in "abc":
        await writer.request("POST", CONFIGMAPS, configmap(name))
    assert await watching.events(1) == [("ADDED", "c")]


async def test_tables(client, writer) -> None:
    await writer.request("POST", CONFIGMAPS, configmap("a"))
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    watching = await client.watch(f"{CONFIGMAPS}?watch=1&resourceVersion=0", Accept=accept)
    await writer.request("POST", CONFIGMAPS, configmap("b"))
    first, second = await watching.event(), await watching.event()
    assert first["object"]["columnDefinitions"][0]["name"] == "Name"
    assert second["object"]["columnDefinitions"] is None
    assert [event["object"]["rows"][0]["cells"][0] for event in (first, second)] == ["a", "b"]


async def test_yaml_cannot_be_watched(client) -> None:
    answer = await client.request("GET", f"{CONFIGMAPS}?watch=1", Accept="application/yaml")
    assert answer.status == 406
    assert answer.headers["content-type"] == "application/yaml"


async def test_the_older_paths_of_watches(client, writer) -> None:
    await writer.request("POST", CONFIGMAPS, configmap("a"))
    watching = await client.watch("/api/v1/watch/namespaces/default/configmaps/a?resourceVersion=0")
    assert await watching.events(1) == [("ADDED", "a")]


async def test_a_client_that_leaves_frees_its_watch(server, writer) -> None:
    async with server.connect() as leaving:
        await leaving.watch(f"{CONFIGMAPS}?watch=1")
    with trio.fail_after(5):
        for name in ("a", "b", "c"):
            assert (await writer.request("POST", CONFIGMAPS, configmap(name))).status == 201


async def test_many_watchers_see_every_event_once_and_in_order(server, writer) -> None:
    count = 40
    seen: list[list[tuple[str, str]]] = []

    async def follow(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with server.connect() as connected:
            watching = await connected.watch(f"{CONFIGMAPS}?watch=1")
            task_status.started()
            seen.append(await watching.events(count))

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                await nursery.start(follow)
            for index in range(count):
                await writer.request("POST", CONFIGMAPS, configmap(f"c{index:03}"))
    assert seen == [[("ADDED", f"c{index:03}") for index in range(count)]] * 5


async def test_a_namespace_that_goes_is_seen_going(start_server) -> None:
    async with (
        start_server(controllers="namespace-controller") as server,
        server.connect() as client,
        server.connect() as writer,
    ):
        await writer.request("POST", "/api/v1/namespaces", {"metadata": {"name": "n"}})
        await writer.request("POST", "/api/v1/namespaces/n/configmaps", configmap("a"))
        spec = {"containers": [{"name": "c", "image": "i"}], "nodeName": "gone"}
        await writer.request("POST", "/api/v1/namespaces/n/pods", {"metadata": {"name": "p"}, "spec": spec})
        watching = await client.watch("/api/v1/namespaces?watch=1&fieldSelector=metadata.name%3Dn")
        assert (await watching.event())["type"] == "ADDED"
        deleted = await writer.request("DELETE", "/api/v1/namespaces/n")
        assert deleted.json["status"]["phase"] == "Terminating"
        while (event := await watching.event())["type"] == "MODIFIED":
            assert event["object"]["status"]["phase"] == "Terminating"
        assert event["type"] == "DELETED"
        assert (await writer.request("GET", "/api/v1/namespaces/n/configmaps")).json["items"] == []


async def test_a_peer_that_takes_nothing_is_cut_off_without_a_gap(server, writer, monkeypatch) -> None:
    monkeypatch.setattr(watcher, "MAX_PENDING_EVENTS", 4)
    monkeypatch.setattr(watcher, "STALL_SECONDS", 0.05)
    async with server.connect() as stuck:
        watching = await stuck.watch(f"{CONFIGMAPS}?watch=1")
        body = {"data": {"x": "x" * 1_000_000}}
        for index in range(30):
            answer = await writer.request("POST", CONFIGMAPS, {**configmap(f"c{index:03}"), **body})
            assert answer.status == 201
        seen = []
        with contextlib.suppress(EOFError):
            while (event := await watching.event()) is not None:
                seen.append(event["object"]["metadata"]["name"])
        assert len(seen) < 30
        assert seen == [f"c{index:03}" for index in range(len(seen))]
