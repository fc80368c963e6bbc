"""Charges the ResourceQuotas of a namespace with what a write adds, and refuses what does not fit.

A quota is charged by compare-and-swap before the object is stored, so writes that come together, to any server, never
use more than there is. What was charged for a write that then fails is found by the quota controller's next count.

Source: Kubernetes' ``apiserver/pkg/admission/plugin/resourcequota``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.admission.plugin import CREATE, EVERYTHING, UPDATE, ConfigurationError, Plugin, on
from apilayer.api import meta
from apilayer.api.quota import QuotaError, charged, concerns, cost_of, evaluator_of
from apilayer.api.status import StatusError

if TYPE_CHECKING:
    from apilayer.admission.plugin import Attributes, Object, Setup
    from apilayer.api.quota import Amounts, Evaluator

QUOTAS = "resourcequotas"


class ResourceQuota(Plugin):
    """The last plugin to be asked: what it lets through is stored, as far as anybody knows."""

    name = "ResourceQuota"
    interests = (
        on(EVERYTHING, operations=(CREATE,)),
        on("persistentvolumeclaims", "pods/resize", "services", operations=(UPDATE,)),
    )

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        if (setup.configuration or {}).get("limitedResources"):
            raise ConfigurationError("limitedResources: consumption without a quota cannot be refused by this server")
        self._writer = setup.writer

    async def reserve(self, attributes: Attributes) -> None:
        """Raises StatusError 403 for what exceeds a quota, or does not say what one has to know."""
        evaluator = evaluator_of(attributes.resource.group_resource)
        if not attributes.namespace or evaluator is None:
            return
        if not evaluator.handles(attributes.operation, attributes.subresource):
            return
        quotas = self.listers.list(QUOTAS, attributes.namespace)
        if not quotas:
            return
        try:
            cost = self._checked(attributes, evaluator, quotas)
        except QuotaError:
            await self._writer.refresh()
            quotas = self.listers.list(QUOTAS, attributes.namespace)
            try:
                cost = self._checked(attributes, evaluator, quotas)
            except QuotaError as error:
                raise attributes.forbidden(str(error)) from error
        if cost and not attributes.options.dry_run:
            for quota in quotas:
                await self._charge(attributes, evaluator, quota, cost)

    def _checked(self, attributes: Attributes, evaluator: Evaluator, quotas: list[Object]) -> Amounts:
        """What the write adds, once that fits into all of the quotas; they are left with those that it concerns."""
        concerned = [quota for quota in quotas if concerns(quota, evaluator, attributes.new)]
        cost = cost_of(evaluator, attributes.new, attributes.old, meta.utc_now())
        quotas[:] = [quota for quota in concerned if charged(quota, cost) is not quota]
        return cost

    async def _charge(self, attributes: Attributes, evaluator: Evaluator, quota: Object, cost: Amounts) -> None:
        """Decides again, about the quota as it is by then."""

        def change(old: Object) -> Object:
            try:
                return charged(old, cost) if concerns(old, evaluator, attributes.new) else old
            except QuotaError as error:
                raise attributes.forbidden(str(error)) from error

        try:
            await self._writer.change(QUOTAS, attributes.namespace, quota["metadata"]["name"], change, "status")
        except StatusError as error:
            if error.code != 404:  # a quota that is gone limits nothing
                raise
