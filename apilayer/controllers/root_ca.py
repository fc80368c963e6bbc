"""Publishes the CA of the API server in every namespace, as the ConfigMap ``kube-root-ca.crt``."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from apilayer.controllers.service_accounts import PerNamespace

if TYPE_CHECKING:
    from apilayer.client.interface import Cluster, Object

DESCRIPTION = "kubernetes.io/description"
_TEXT = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


class RootCaPublisher(PerNamespace):
    """The ConfigMap, with the bundle (PEM) that the server was given."""

    name: ClassVar[str] = "root-ca-certificate-publisher-controller"
    resource: ClassVar[str] = "configmaps"
    object_name: ClassVar[str] = "kube-root-ca.crt"

    def __init__(self, cluster: Cluster, bundle: str) -> None:
        super().__init__(cluster)
        self._data = {"ca.crt": bundle}

    def wanted(self, existing: Object | None) -> Object | None:
        """The bundle and nothing else."""
        if existing is None:
            return {"metadata": {"name": self.object_name, "annotations": {DESCRIPTION: _TEXT}}, "data": self._data}
        described = (existing["metadata"].get("annotations") or {}).get(DESCRIPTION) == _TEXT
        if described and existing.get("data") == self._data:
            return None
        metadata = existing["metadata"]
        annotations = {**(metadata.get("annotations") or {}), DESCRIPTION: _TEXT}
        return {**existing, "metadata": {**metadata, "annotations": annotations}, "data": dict(self._data)}
