"""However many watch it, an event is encoded once for each form: all of them are sent the very same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.apilayer.in_process import serving
from tests.apilayer.server.fuzzing import CONFIGMAPS, JSON, PROTOBUF

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

FORMS = (
    JSON,
    PROTOBUF,
    f"{JSON};as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    f"{PROTOBUF};as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    f"{JSON};as=Table;v=v1;g=meta.k8s.io",
)
SELECTORS = ("", "&labelSelector=a%3Db", "&fieldSelector=metadata.name%21%3Dx")
MERGE = "application/merge-patch+json"


async def test_an_event_is_encoded_once_for_each_form() -> None:
    async with serving() as server:
        body = {"metadata": {"name": "c", "labels": {"a": "b"}}}
        await server.request("POST", CONFIGMAPS, body)
        streams: list[Any] = []
        watches: dict[str, list[AsyncGenerator[list[bytes], None]]] = {form: [] for form in FORMS}
        for form in FORMS:
            for selector in SELECTORS * 2:
                target = f"{CONFIGMAPS}?watch=1&resourceVersion=0{selector}"
                response = await server.send("GET", target, accept=form)
                streams.append(response.stream)
                watches[form].append(response.stream.batches())
                await anext(watches[form][-1])  # what is there, which in a Table comes with its columns
        for method, change in (("PATCH", {"data": {"x": "y"}}), ("DELETE", None)):
            await server.request(method, f"{CONFIGMAPS}/c", change, content_type=MERGE if change else JSON)
            for form, watching in watches.items():
                lines = [line for batches in watching for line in await anext(batches)]
                assert len(lines) == len(SELECTORS) * 2
                assert len({id(line) for line in lines}) == 1, form
        for watching in watches.values():
            for batches in watching:
                await batches.aclose()
        for stream in streams:
            stream.close()
