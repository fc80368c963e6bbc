"""Whom a node may ask tokens for: the audiences of the pod's own volumes, and those that it was given a right to.

Source: Kubernetes' ``plugin/pkg/admission/noderestriction``, "Node audience restriction for service account tokens".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.admission.pods import projections
from apilayer.api.gotext import quote

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from apilayer.admission.listers import Listers
    from apilayer.admission.plugin import Attributes, Object
    from apilayer.pipeline.authentication import User

VERB = "request-serviceaccounts-token-audience"
DRIVERS = "csidrivers.storage.k8s.io"


async def check_audiences(
    attributes: Attributes,
    pod: Object,
    listers: Listers,
    may: Callable[[User, str, str, str, str, str], Awaitable[bool]],
) -> None:
    """Returns when the node may ask for the token that is asked for. Raises StatusError 403."""
    asked = (attributes.new.get("spec") or {}).get("audiences") or []
    if len(asked) > 1:
        raise attributes.forbidden("node may only request 0 or 1 audiences")
    audience = asked[0] if asked else ""
    if audience in _audiences(pod, listers):
        return
    user = attributes.user
    if await may(user, VERB, "", audience, attributes.namespace, attributes.name):
        return
    what = f"audience {quote(audience)} not found in pod spec volume"
    raise attributes.forbidden(f"{what}, {user.name} is not authorized to request tokens for this audience")


def _audiences(pod: Object, listers: Listers) -> Iterator[str]:
    """Those that the pod's volumes name, "" for that of the API server; by their drivers, too."""
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        for source in projections(volume):
            if source.get("serviceAccountToken") is not None:
                yield source["serviceAccountToken"].get("audience") or ""
        driver = listers.get(DRIVERS, "", name) if (name := _driver(pod, volume, listers)) else None
        for request in ((driver or {}).get("spec") or {}).get("tokenRequests") or ():
            yield request.get("audience") or ""


def _driver(pod: Object, volume: Object, listers: Listers) -> str:
    """The CSI driver that the volume needs, "" for none: its own, or that of what its claim is bound to."""
    if volume.get("csi"):
        return str(volume["csi"].get("driver") or "")
    metadata = pod["metadata"]
    if volume.get("persistentVolumeClaim"):
        claim_name = volume["persistentVolumeClaim"].get("claimName") or ""
    elif (volume.get("ephemeral") or {}).get("volumeClaimTemplate") is not None:
        claim_name = f"{metadata['name']}-{volume['name']}"
    else:
        return ""
    claim = listers.get("persistentvolumeclaims", metadata["namespace"], claim_name) or {}
    bound = (claim.get("spec") or {}).get("volumeName")
    found = listers.get("persistentvolumes", "", bound) if bound else None
    return str((((found or {}).get("spec") or {}).get("csi") or {}).get("driver") or "")
