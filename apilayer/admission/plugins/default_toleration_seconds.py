"""Pods stay on a node that is not ready or unreachable for five minutes, unless they say otherwise.

Source: Kubernetes' ``plugin/pkg/admission/defaulttolerationseconds``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.admission.plugin import CREATE, UPDATE, Plugin, on
from apilayer.admission.pods import spec_of

if TYPE_CHECKING:
    from apilayer.admission.plugin import Attributes

SECONDS = 300
TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


class DefaultTolerationSeconds(Plugin):
    """Acts on pods."""

    name = "DefaultTolerationSeconds"
    interests = (on("pods", operations=(CREATE, UPDATE)),)

    def mutate(self, attributes: Attributes) -> None:
        """Adds the tolerations that are missing."""
        spec = spec_of(attributes.new)
        present = spec.get("tolerations") or []
        lasting = [item.get("key") or "" for item in present if item.get("effect") in (None, "", "NoExecute")]
        missing = [taint for taint in TAINTS if taint not in lasting and "" not in lasting]
        if missing:
            spec["tolerations"] = [*present, *(_tolerated(taint) for taint in missing)]


def _tolerated(taint: str) -> dict[str, object]:
    return {"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS}
