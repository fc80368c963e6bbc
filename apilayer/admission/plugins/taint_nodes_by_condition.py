"""A new node gets no pods before it has said that it is ready.

Source: Kubernetes' ``plugin/pkg/admission/nodetaint``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.admission.plugin import CREATE, Plugin, on
from apilayer.admission.pods import spec_of

if TYPE_CHECKING:
    from apilayer.admission.plugin import Attributes

NOT_READY = "node.kubernetes.io/not-ready"
EFFECT = "NoSchedule"


class TaintNodesByCondition(Plugin):
    """Acts on new nodes; who takes the taint off is the node lifecycle controller."""

    name = "TaintNodesByCondition"
    interests = (on("nodes", operations=(CREATE,)),)

    def mutate(self, attributes: Attributes) -> None:
        """Adds the taint, once."""
        spec = spec_of(attributes.new)
        taints = spec.get("taints") or []
        if not any(taint.get("key") == NOT_READY and taint.get("effect") == EFFECT for taint in taints):
            spec["taints"] = [*taints, {"key": NOT_READY, "effect": EFFECT}]
