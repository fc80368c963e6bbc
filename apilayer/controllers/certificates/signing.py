"""Signs approved requests for the signers that Kubernetes itself has."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, ClassVar

from apilayer.api import meta
from apilayer.client.interface import Unavailable
from apilayer.controllers.certificates.authority import AuthorityError
from apilayer.controllers.certificates.requests import (
    FAULTS,
    RESOURCE,
    RequestError,
    asked,
    is_issued,
    is_true,
    parse,
    with_condition,
)
from apilayer.controllers.controller import Controller

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from apilayer.client.interface import Change, Cluster, Object, Ref
    from apilayer.controllers.certificates.authority import Authority

FAILED, INVALID = "Failed", "SignerValidationFailure"


class Signing(Controller):
    """A request that its signer does not sign fails for good; one that cannot be signed now is tried again."""

    name: ClassVar[str] = "certificatesigningrequest-signing-controller"

    def __init__(
        self, cluster: Cluster, authorities: Mapping[str, Authority], clock: Callable[[], datetime] = meta.utc_now
    ) -> None:
        """`authorities`: by the name of the signer."""
        self._authorities = authorities
        self._clock = clock
        super().__init__(cluster)

    def register(self) -> None:
        """Follows requests."""
        self.cluster.follow(RESOURCE, self._changed)

    def _changed(self, change: Change) -> None:
        if change.new is not None and self._is_ours(change.new.object()):
            self.queue.add(change.ref)

    def _is_ours(self, request: Object) -> bool:
        return (
            is_true(request, "Approved")
            and not is_true(request, FAILED)
            and not is_issued(request)
            and request["spec"].get("signerName") in self._authorities
        )

    async def sync(self, ref: Ref) -> None:
        """Signs one request, or says why not."""
        entry = self.cluster.cached_one(ref)
        if entry is None or not self._is_ours(entry.object()):
            return
        outcome = self._outcome(entry.object()["spec"])

        def store(request: Object) -> Object:
            if not self._is_ours(request):
                return request
            if isinstance(outcome, str):
                return with_condition(request, FAILED, INVALID, outcome)
            encoded = base64.b64encode(outcome).decode()
            return {**request, "status": {**(request.get("status") or {}), "certificate": encoded}}

        await self.cluster.change(ref, store, subresource="status")

    def _outcome(self, spec: Object) -> bytes | str:
        """The certificate in PEM, or what is wrong with the request. Raises Unavailable: not now."""
        signer, usages = spec["signerName"], spec.get("usages") or []
        try:
            request = parse(spec)
            fault = FAULTS[signer](asked(request), usages)
        except RequestError as error:
            raise Unavailable(f"unable to parse csr: {error}") from error
        if fault:
            return fault
        try:
            now = self._clock().replace(microsecond=0)
            return self._authorities[signer].sign(request, usages, spec.get("expirationSeconds"), now)
        except (AuthorityError, ValueError) as error:
            raise Unavailable(f"error auto signing csr: {error}") from error
