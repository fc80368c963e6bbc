"""The FlowSchemas and PriorityLevelConfigurations that every cluster has; and where flow control reads them.

Those that are missing are made. One that is annotated ``apf.kubernetes.io/autoupdate-spec: "true"`` gets its default
spec back, and goes when there is no default of its name; exempt and catch-all always get theirs back. Each schema's
status says whether its level exists.

Source: Kubernetes documentation, "API Priority and Fairness", "Maintenance of the Mandatory and Suggested Configuration
Objects".
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import trio

from apilayer.api import meta, status
from apilayer.api.gotext import quote
from apilayer.pipeline.fairness.rules import CATCH_ALL, EXEMPT
from apilayer.registry.options import DeleteOptions, WriteOptions
from apilayer.storage.interface import StoreError

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from apilayer.pipeline.request_info import RequestInfo
    from apilayer.registry.registry import Registry, ResourceApi

Object = dict[str, Any]

GROUP = "flowcontrol.apiserver.k8s.io"
SCHEMAS = f"flowschemas.{GROUP}"
LEVELS = f"prioritylevelconfigurations.{GROUP}"
AUTOUPDATE = "apf.kubernetes.io/autoupdate-spec"
PRODUCER = WriteOptions(manager="api-priority-and-fairness-config-producer-v1")
CONSUMER = WriteOptions(manager="api-priority-and-fairness-config-consumer-v1", force=True)
MAINTAIN_SECONDS = 60.0
NOTICE_SECONDS = 1.0
"""How soon the status of a schema follows a change."""

log = logging.getLogger("apilayer.registry.flow_control")


def default_objects() -> tuple[list[Object], list[Object]]:
    """The schemas and levels of every cluster, without uids."""
    data = orjson.loads(Path(__file__).with_name("data").joinpath("flow_control.json").read_bytes())
    found = [
        [
            {"metadata": {"name": item["name"], "annotations": {AUTOUPDATE: "true"}}, "spec": item["spec"]}
            for item in data[plural]
        ]
        for plural in ("flowschemas", "prioritylevelconfigurations")
    ]
    return found[0], found[1]


class CachedFlowControl:
    """`apilayer.pipeline.fairness.control.Source` over the watch cache."""

    def __init__(self, registry: Registry) -> None:
        self._listers = registry.listers
        self._schemas = registry.cache.of(registry.of(SCHEMAS).resource)
        self._levels = registry.cache.of(registry.of(LEVELS).resource)
        self._caches = {
            (api.resource.group, api.resource.plural): registry.cache.of(api.resource) for api in registry.all
        }

    def version(self) -> Hashable:
        """See `Source.version`."""
        return self._schemas.last_change, self._levels.last_change

    def schemas(self) -> Sequence[Object]:
        """See `Source.schemas`."""
        return self._listers.list(SCHEMAS)

    def levels(self) -> Sequence[Object]:
        """See `Source.levels`."""
        return self._listers.list(LEVELS)

    def size(self, group: str, resource: str) -> tuple[int, int]:
        """See `Source.size`."""
        cache = self._caches.get((group, resource))
        return (len(cache), cache.size_bytes) if cache is not None else (0, 0)

    def watchers(self, info: RequestInfo) -> int:
        """See `Source.watchers`."""
        cache = self._caches.get((info.group, info.resource))
        return cache.watched(info.namespace, info.name) if cache is not None else 0


class FlowControlKeeper:
    """Keeps the objects as they are to be, beside the server."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._source = CachedFlowControl(registry)
        self._defaults = dict(zip((SCHEMAS, LEVELS), default_objects(), strict=True))

    async def run(self) -> None:
        """Looks after them until cancelled, however long the store takes to accept it."""
        maintain_at, seen = 0.0, None
        while True:
            now = trio.current_time()
            try:
                if now >= maintain_at:
                    await self.maintain()
                    maintain_at = now + MAINTAIN_SECONDS
                version = self._source.version()
                if version != seen:
                    await self.report()
                    seen = version
            except (StoreError, status.StatusError) as error:
                log.warning("objects of flow control cannot be kept: %s", error)
            await trio.sleep(NOTICE_SECONDS)

    async def maintain(self) -> None:
        """Levels before the schemas that name them. Raises StoreError, StatusError."""
        for resource in (LEVELS, SCHEMAS):
            api, defaults = self._registry.of(resource), self._defaults[resource]
            for wanted in defaults:
                await self._keep(api, wanted)
            names = {wanted["metadata"]["name"] for wanted in defaults}
            for obj in self._registry.listers.list(resource):
                if obj["metadata"]["name"] not in names and _annotated(obj) == "true":
                    await api.store.delete("", obj["metadata"]["name"], DeleteOptions(uid=obj["metadata"]["uid"]))

    async def _keep(self, api: ResourceApi, wanted: Object) -> None:
        name = wanted["metadata"]["name"]
        present = self._registry.listers.get(api.resource.group_resource, "", name)
        if present is None:
            try:
                await api.store.create("", wanted, PRODUCER)
            except status.StatusError as error:
                if error.status.get("reason") != "AlreadyExists":
                    raise
            return
        if kept(present, wanted) != present:
            await api.store.patch("", name, lambda old: kept(old, wanted), PRODUCER)

    async def report(self) -> None:
        """Writes into each schema's status whether its level exists. Raises StoreError, StatusError."""
        levels = {obj["metadata"]["name"] for obj in self._source.levels()}
        api = self._registry.of(SCHEMAS)
        for schema in self._source.schemas():
            condition = dangling(schema, levels)
            if condition is None:
                continue
            applied = {
                "apiVersion": api.resource.api_version,
                "kind": api.resource.kind,
                "metadata": {"name": schema["metadata"]["name"]},
                "status": {"conditions": [condition]},
            }
            try:
                await api.store.apply("", schema["metadata"]["name"], applied, lambda _: None, CONSUMER, "status")
            except status.StatusError as error:
                if error.code != 404:
                    raise


def _annotated(obj: Object) -> str:
    value: str = (obj["metadata"].get("annotations") or {}).get(AUTOUPDATE, "")
    return value


def kept(present: Object, wanted: Object) -> Object:
    """A default object as it is to be; itself where its users have taken it over. Pure.

    One without a readable annotation is taken over once it has been changed.
    """
    name, annotation = present["metadata"]["name"], _annotated(present)
    mandatory = name in (EXEMPT, CATCH_ALL)
    updates = annotation == "true" if annotation in ("true", "false") else present["metadata"].get("generation") == 1
    made = {**present, "metadata": dict(present["metadata"])}
    if mandatory or updates:
        made["spec"] = dict(wanted["spec"])
        if name == EXEMPT and "exempt" in wanted["spec"] and (present["spec"].get("exempt") is not None):
            made["spec"]["exempt"] = present["spec"]["exempt"]  # what is exempt may be given shares to lend
    shown = "true" if mandatory or updates else "false"
    if annotation != shown:
        made["metadata"]["annotations"] = {**(present["metadata"].get("annotations") or {}), AUTOUPDATE: shown}
    return made


def dangling(schema: Object, levels: set[str]) -> Object | None:
    """The condition to write into a schema's status, None when it is there. Pure but for the time."""
    name = schema["spec"]["priorityLevelConfiguration"]["name"]
    found = name in levels
    told = "and it exists" if found else "but there is no such object"
    condition = {
        "type": "Dangling",
        "status": "False" if found else "True",
        "reason": "Found" if found else "NotFound",
        "message": f"This FlowSchema references the PriorityLevelConfiguration object named {quote(name)} {told}",
    }
    conditions: list[Object] = (schema.get("status") or {}).get("conditions") or []
    known: Object = next((item for item in conditions if item.get("type") == "Dangling"), {})
    if all(known.get(key) == value for key, value in condition.items()):
        return None
    return {**condition, "lastTransitionTime": meta.timestamp(meta.utc_now())}
