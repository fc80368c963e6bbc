"""A pod that is bound to a node learns where that is: zone and region of the node become its labels.

Source: Kubernetes' ``plugin/pkg/admission/podtopologylabels``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.admission.plugin import CREATE, Plugin, on

if TYPE_CHECKING:
    from apilayer.admission.plugin import Attributes

LABELS = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


class PodTopologyLabels(Plugin):
    """Acts on bindings, whose labels the pod takes over."""

    name = "PodTopologyLabels"
    interests = (on("pods/binding", "bindings", operations=(CREATE,)),)

    def mutate(self, attributes: Attributes) -> None:
        """Copies the labels of a node that is known."""
        binding = attributes.new
        target = binding.get("target") or {}
        if target.get("kind") not in (None, "", "Node"):
            return
        node = self.listers.get("nodes", "", target.get("name") or "")
        if node is None:
            return
        labels = node["metadata"].get("labels") or {}
        wanted = {key: labels[key] for key in LABELS if key in labels}
        if wanted:
            metadata = binding["metadata"]
            metadata["labels"] = {**(metadata.get("labels") or {}), **wanted}
