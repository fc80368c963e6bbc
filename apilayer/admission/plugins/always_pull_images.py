"""Images are pulled for each start, so that nobody runs one that they may not pull.

Source: Kubernetes' ``plugin/pkg/admission/alwayspullimages``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.admission.plugin import CREATE, UPDATE, Plugin, on
from apilayer.admission.pods import CONTAINER_LISTS, containers
from apilayer.api import field

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apilayer.admission.plugin import Attributes, Object

ALWAYS = "Always"


class AlwaysPullImages(Plugin):
    """Acts on pods whose images are new."""

    name = "AlwaysPullImages"
    interests = (on("pods", operations=(CREATE, UPDATE)), on("pods/ephemeralcontainers", operations=(UPDATE,)))

    def mutate(self, attributes: Attributes) -> None:
        """Sets the pull policy of every image."""
        if not _brings_images(attributes):
            return
        spec = attributes.new.get("spec") or {}
        for container in containers(spec):
            container["imagePullPolicy"] = ALWAYS
        for volume in spec.get("volumes") or ():
            if (volume.get("image") or {}).get("reference"):
                volume["image"]["pullPolicy"] = ALWAYS

    def validate(self, attributes: Attributes) -> None:
        """Raises StatusError 403 for another policy."""
        if _brings_images(attributes):
            for path, policy in _policies(attributes.new.get("spec") or {}):
                if policy != ALWAYS:
                    raise attributes.forbidden(str(field.not_supported(path, policy, (ALWAYS,))))


def _policies(spec: Object) -> Iterator[tuple[str, str]]:
    for name in CONTAINER_LISTS:
        for index, container in enumerate(spec.get(name) or ()):
            yield f"spec.{name}[{index}].imagePullPolicy", container.get("imagePullPolicy") or ""
    for index, volume in enumerate(spec.get("volumes") or ()):
        if (volume.get("image") or {}).get("reference"):
            yield f"spec.volumes[{index}].image.pullPolicy", volume["image"].get("pullPolicy") or ""


def _brings_images(attributes: Attributes) -> bool:
    """Whether any image is one that the pod did not have before."""
    return attributes.operation == CREATE or not _images(attributes.new) <= _images(attributes.old or {})


def _images(pod: Object) -> set[str]:
    spec = pod.get("spec") or {}
    volumes = (volume.get("image") or {} for volume in spec.get("volumes") or ())
    found = {container.get("image") or "" for container in containers(spec)}
    return found | {image["reference"] for image in volumes if image.get("reference")}
