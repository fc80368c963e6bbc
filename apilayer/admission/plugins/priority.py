"""A pod's priority is that of its class; without one, that of the class marked as default.

Source: Kubernetes' ``plugin/pkg/admission/priority``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.admission.plugin import CREATE, UPDATE, Plugin, on
from apilayer.admission.pods import spec_of

if TYPE_CHECKING:
    from apilayer.admission.plugin import Attributes, Object

CLASSES = "priorityclasses.scheduling.k8s.io"
_PREEMPTING = "PreemptLowerPriority"
_COMPUTED = "must not be provided in pod spec; priority admission controller computed"


class Priority(Plugin):
    """Acts on pods, and on classes that want to be the default."""

    name = "Priority"
    interests = (on("pods", CLASSES, operations=(CREATE, UPDATE)),)

    def mutate(self, attributes: Attributes) -> None:
        """Fills in what the class says. Raises StatusError 403 when that is not what the pod says."""
        if attributes.path != "pods":
            return
        spec = spec_of(attributes.new)
        if attributes.operation == UPDATE:
            _keep(spec, (attributes.old or {}).get("spec") or {})
            return
        found = self._class_of(attributes, spec)
        if found["metadata"]["name"]:
            spec["priorityClassName"] = found["metadata"]["name"]
        value = found.get("value") or 0
        given = spec.get("priority")
        if given is not None and given != value:
            raise attributes.forbidden(
                f"the integer value of priority ({given}) {_COMPUTED} {value} from the given PriorityClass name"
            )
        spec["priority"] = value
        policy, given = found.get("preemptionPolicy"), spec.get("preemptionPolicy")
        if policy is None:
            return
        if given is not None and given != policy:
            raise attributes.forbidden(
                f"the string value of PreemptionPolicy ({given}) {_COMPUTED} {policy} from the given PriorityClass name"
            )
        spec["preemptionPolicy"] = policy

    def validate(self, attributes: Attributes) -> None:
        """Raises StatusError 403 for a second default class."""
        if attributes.path != CLASSES or not attributes.new.get("globalDefault"):
            return
        default = self._default()
        if default is None:
            return
        name = default["metadata"]["name"]
        if attributes.operation == CREATE or name != attributes.new["metadata"]["name"]:
            raise attributes.forbidden(f"PriorityClass {name} is already marked as default. Only one default can exist")

    def _class_of(self, attributes: Attributes, spec: Object) -> Object:
        name = spec.get("priorityClassName")
        if not name:
            return self._default() or {"metadata": {"name": ""}, "value": 0, "preemptionPolicy": _PREEMPTING}
        found = self.listers.look(CLASSES, "", name)
        if found is None:
            raise attributes.forbidden(f"no PriorityClass with name {name} was found")
        return found

    def _default(self) -> Object | None:
        """The class marked as default; of several, which only a race can leave, the lowest."""
        marked = [item for item in self.listers.look_at_all(CLASSES) if item.get("globalDefault")]
        return min(marked, key=lambda item: item.get("value") or 0) if marked else None


def _keep(spec: Object, old: Object) -> None:
    """An update that leaves the priority out does not mean to change it."""
    for key in ("priority", "preemptionPolicy"):
        if spec.get(key) is None and old.get(key) is not None:
            spec[key] = old[key]
