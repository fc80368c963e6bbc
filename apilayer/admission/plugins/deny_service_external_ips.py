"""Services answer on no further external addresses: whoever sets one takes traffic that is meant for others.

Source: Kubernetes' ``plugin/pkg/admission/denyserviceexternalips``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.admission.plugin import CREATE, UPDATE, Plugin, on

if TYPE_CHECKING:
    from apilayer.admission.plugin import Attributes, Object


class DenyServiceExternalIPs(Plugin):
    """Acts on services; what a service has it may keep."""

    name = "DenyServiceExternalIPs"
    interests = (on("services", operations=(CREATE, UPDATE)),)

    def validate(self, attributes: Attributes) -> None:
        """Raises StatusError 403."""
        if not _addresses(attributes.new) <= _addresses(attributes.old or {}):
            raise attributes.forbidden("Use of external IPs is denied by admission control")


def _addresses(service: Object) -> set[str]:
    return set((service.get("spec") or {}).get("externalIPs") or ())
