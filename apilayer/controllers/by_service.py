"""What controllers of endpoints share: they act on a service when it, one of its pods or what they made changes."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from apilayer.client.interface import Ref
from apilayer.controllers.backends import selects
from apilayer.controllers.controller import Controller, is_ending

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apilayer.client.interface import Change, Object, Snapshot

SERVICES = "services"
BATCH_SECONDS = 0.5
"""Changes of pods are gathered for so long, because they come in numbers."""


class ByService(Controller):
    """One service at a time per worker."""

    made: ClassVar[str]
    """The resource that the controller writes."""

    def register(self) -> None:
        """Follows services, pods and what is made of them."""
        self._selecting: dict[str, dict[Ref, Object]] = {}
        """What selects pods of every service that does, by namespace: there is a look for each change of a pod."""
        self.cluster.follow(SERVICES, self._service_changed)
        self.cluster.follow("pods", self._pod_changed)
        self.cluster.follow(self.made, self._made_changed)

    @abstractmethod
    def service_of(self, obj: Object) -> str:
        """The name of the service that an object of the made kind belongs to, "" for none."""

    def _service_changed(self, change: Change) -> None:
        selecting = self._selecting.setdefault(change.ref.namespace, {})
        selector = (change.new.object().get("spec") or {}).get("selector") if change.new is not None else None
        if selector:
            selecting[change.ref] = {"spec": {"selector": selector}}
        else:
            selecting.pop(change.ref, None)
            if not selecting:
                del self._selecting[change.ref.namespace]
        self.queue.add(change.ref)

    def _made_changed(self, change: Change) -> None:
        shown = change.new or change.old
        assert shown is not None
        name = self.service_of(shown.object())
        if name:
            self.queue.add(Ref(SERVICES, change.ref.namespace, name))

    def _pod_changed(self, change: Change) -> None:
        services = self._selecting.get(change.ref.namespace)
        if services is None:
            return  # a service that comes is looked at then
        before, now = _labels(change.old), _labels(change.new)
        for ref, service in services.items():
            if (before is not None and selects(service, before)) or (now is not None and selects(service, now)):
                self.queue.add_after(ref, BATCH_SECONDS)

    def pods_of(self, service: Object) -> list[Object]:
        """The pods that the service selects."""
        namespace = service["metadata"]["namespace"]
        found = []
        for entry in self.cluster.cached("pods", namespace):
            pod = entry.object()
            if selects(service, pod["metadata"].get("labels")):
                found.append(pod)
        return found

    def service(self, ref: Ref) -> Object | None:
        """The service, unless it is gone or going."""
        entry = self.cluster.cached_one(ref)
        service = entry.object() if entry is not None else None
        return None if service is None or is_ending(service) else service


def _labels(shown: Snapshot | None) -> Mapping[str, str] | None:
    """The labels of a pod at one moment; None when it was not there."""
    return None if shown is None else shown.labels
