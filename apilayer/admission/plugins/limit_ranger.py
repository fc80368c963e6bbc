"""What a namespace's LimitRanges give to containers and forbid to pods and claims.

Source: Kubernetes' ``plugin/pkg/admission/limitranger``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.admission import limits
from apilayer.admission.plugin import CREATE, UPDATE, Plugin, on
from apilayer.admission.pods import containers, spec_of

if TYPE_CHECKING:
    from apilayer.admission.plugin import Attributes, Object

RANGES = "limitranges"
ANNOTATION = "kubernetes.io/limit-ranger"
CLAIMS = "persistentvolumeclaims"


class LimitRanger(Plugin):
    """Acts on new pods, on pods that are resized, and on claims."""

    name = "LimitRanger"
    interests = (
        on("pods", CLAIMS, operations=(CREATE,)),
        on("pods/resize", CLAIMS, operations=(UPDATE,)),
    )

    def mutate(self, attributes: Attributes) -> None:
        """Gives containers what the ranges have as defaults, and says so in an annotation."""
        if attributes.path != "pods":
            return
        for found in self.listers.list(RANGES, attributes.namespace):
            _give_defaults(attributes.new, _items(found))

    def validate(self, attributes: Attributes) -> None:
        """Raises StatusError 403 for what is outside of a range."""
        if attributes.operation == UPDATE and "deletionTimestamp" in attributes.new["metadata"]:
            return
        check = limits.claim_errors if attributes.path == CLAIMS else limits.pod_errors
        for found in self.listers.list(RANGES, attributes.namespace):
            errors = list(dict.fromkeys(check(attributes.new.get("spec") or {}, _items(found))))
            if errors:
                raise attributes.forbidden(errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]")


def _items(found: Object) -> list[Object]:
    return (found.get("spec") or {}).get("limits") or []


def _give_defaults(pod: Object, items: list[Object]) -> None:
    requests: dict[str, str] = {}
    ceilings: dict[str, str] = {}
    for item in items:
        if item.get("type") == "Container":
            requests.update(item.get("defaultRequest") or {})
            ceilings.update(item.get("default") or {})
    if not requests and not ceilings:
        return
    said = []
    spec = spec_of(pod)
    for part, noun in (("containers", "container"), ("initContainers", "init container")):
        for container in containers(spec, part):
            resources = container.setdefault("resources", {})
            for key, defaults, word in (("requests", requests, "request"), ("limits", ceilings, "limit")):
                given = _fill(resources, key, defaults)
                if given:
                    said.append(f"{', '.join(given)} {word} for {noun} {container.get('name')}")
    if said:
        annotations = pod["metadata"].get("annotations") or {}
        pod["metadata"]["annotations"] = {**annotations, ANNOTATION: f"LimitRanger plugin set: {'; '.join(said)}"}


def _fill(resources: Object, key: str, defaults: dict[str, str]) -> list[str]:
    """Sets what is missing; the names of it, in order."""
    present = resources.get(key) or {}
    missing = {name: value for name, value in sorted(defaults.items()) if name not in present}
    if missing:
        resources[key] = {**present, **missing}
    return list(missing)
