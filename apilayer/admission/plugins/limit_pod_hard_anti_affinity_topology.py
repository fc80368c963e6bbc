"""Pods may keep others off their node, not off more than that.

Source: Kubernetes' ``plugin/pkg/admission/antiaffinity``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.admission.plugin import CREATE, UPDATE, Plugin, on

if TYPE_CHECKING:
    from apilayer.admission.plugin import Attributes

HOSTNAME = "kubernetes.io/hostname"


class LimitPodHardAntiAffinityTopology(Plugin):
    """Acts on pods."""

    name = "LimitPodHardAntiAffinityTopology"
    interests = (on("pods", operations=(CREATE, UPDATE)),)

    def validate(self, attributes: Attributes) -> None:
        """Raises StatusError 403."""
        affinity = (attributes.new.get("spec") or {}).get("affinity") or {}
        terms = (affinity.get("podAntiAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or ()
        for term in terms:
            key = term.get("topologyKey") or ""
            if key != HOSTNAME:
                raise attributes.forbidden(
                    "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey "
                    f"{key} but only key {HOSTNAME} is allowed"
                )
