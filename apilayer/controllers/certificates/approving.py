"""Approves requests for kubelets' client certificates of those who may have them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from apilayer.client.interface import Unavailable
from apilayer.controllers.certificates.requests import (
    KUBELET_CLIENT,
    RESOURCE,
    RequestError,
    asked,
    is_issued,
    is_true,
    kubelet_client_fault,
    parse,
    with_condition,
)
from apilayer.controllers.controller import Controller

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from apilayer.client.interface import Change, Cluster, Object, Ref

    May = Callable[[Object, str, str, str], Awaitable[bool]]
    """Whether who made a request (its spec) may: (spec, verb, group, resource/subresource)."""

GROUP, REQUESTS = "certificates.k8s.io", "certificatesigningrequests"
MESSAGES = {
    "selfnodeclient": "Auto approving self kubelet client certificate after SubjectAccessReview.",
    "nodeclient": "Auto approving kubelet client certificate after SubjectAccessReview.",
}
"""By the subresource that the requester must be allowed to create; in the order in which they are asked about."""


class Approving(Controller):
    """Who renews a node's own certificate needs ``selfnodeclient``, who asks for any node's ``nodeclient``."""

    name: ClassVar[str] = "certificatesigningrequest-approving-controller"

    def __init__(self, cluster: Cluster, may: May) -> None:
        self._may = may
        super().__init__(cluster)

    def register(self) -> None:
        """Follows requests."""
        self.cluster.follow(RESOURCE, self._changed)

    def _changed(self, change: Change) -> None:
        if change.new is not None and recognized(change.new.object()):
            self.queue.add(change.ref)

    async def sync(self, ref: Ref) -> None:
        """Approves one request, if its maker may have it."""
        entry = self.cluster.cached_one(ref)
        ways = recognized(entry.object()) if entry is not None else ()
        if entry is None or not ways:
            return
        spec = entry.object()["spec"]
        for way in ways:
            if await self._may(spec, "create", GROUP, f"{REQUESTS}/{way}"):
                await self.cluster.change(ref, partial(_approved, way), subresource="approval")
                return
        tried = " ".join(ways)
        raise Unavailable(f'recognized csr "{ref.name}" as [{tried}] but subject access review was not approved')


def recognized(request: Object) -> tuple[str, ...]:
    """Of what its maker has to be allowed to create one, for an undecided request; nothing for other requests."""
    if is_issued(request) or is_true(request, "Approved") or is_true(request, "Denied"):
        return ()
    spec = request["spec"]
    if spec.get("signerName") != KUBELET_CLIENT:
        return ()
    try:
        names = asked(parse(spec))
    except RequestError:
        return ()
    if kubelet_client_fault(names, spec.get("usages") or []):
        return ()
    return tuple(MESSAGES) if spec.get("username") == names.common_name else ("nodeclient",)


def _approved(way: str, request: Object) -> Object:
    if not recognized(request):
        return request
    return with_condition(request, "Approved", "AutoApproved", MESSAGES[way])
