"""The strategy of Services: what they need is chosen when they are written, what they hold is theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api.services.allocate import allocate, drop_unused
from apilayer.api.services.spec import spec_of
from apilayer.registry.strategy import Strategy

if TYPE_CHECKING:
    from apilayer.api.resources import Resource
    from apilayer.api.services.allocate import Pool

Object = dict[str, Any]


class ServiceStrategy(Strategy):
    """Chooses cluster IPs and node ports; `ServiceStore` reserves them."""

    def __init__(self, resource: Resource, pool: Pool) -> None:
        super().__init__(resource)
        self._pool = pool

    def prepare_create(self, obj: Object) -> None:
        super().prepare_create(obj)
        allocate(obj, None, self._pool)

    def prepare_update(self, obj: Object, old: Object) -> None:
        allocate(obj, old, self._pool)
        super().prepare_update(obj, old)
        drop_unused(spec_of(obj), old.get("spec") or {})
