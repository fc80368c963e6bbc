"""Every pod runs as a service account: the account is looked up, its token mounted, its pull secrets used.

Source: Kubernetes' ``plugin/pkg/admission/serviceaccount``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.admission.plugin import CREATE, UPDATE, NotYet, Plugin, on
from apilayer.admission.pods import containers, is_mirror, projections, secret_names, spec_of
from apilayer.api.gotext import parse_bool
from apilayer.api.meta import generate_name

if TYPE_CHECKING:
    from apilayer.admission.plugin import Attributes, Object
    from apilayer.api.status import StatusError

DEFAULT = "default"
ENFORCE = "kubernetes.io/enforce-mountable-secrets"
MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
VOLUME_PREFIX = "kube-api-access-"
TOKEN_SECONDS = 3607
"""An hour and seven seconds, by which the token controller knows that nobody chose it."""
PATIENCE_SECONDS = 1.5
"""How long a pod waits for its namespace's default account, which a controller makes."""


class ServiceAccount(Plugin):
    """Acts on new pods, and on new containers for debugging."""

    name = "ServiceAccount"
    interests = (on("pods", operations=(CREATE,)), on("pods/ephemeralcontainers", operations=(UPDATE,)))

    def mutate(self, attributes: Attributes) -> None:
        """Names the account, mounts its token and takes its pull secrets. Raises StatusError 403."""
        pod = attributes.new
        if attributes.operation == CREATE and not is_mirror(pod):
            spec = spec_of(pod)
            if not spec.get("serviceAccountName"):
                spec["serviceAccountName"] = DEFAULT
            spec["serviceAccount"] = spec["serviceAccountName"]
            account = self._account(attributes, spec["serviceAccountName"])
            if _automounts(account, spec):
                _mount_token(spec)
            pull_secrets = account.get("imagePullSecrets")
            if pull_secrets and not spec.get("imagePullSecrets"):
                spec["imagePullSecrets"] = [{"name": item.get("name") or ""} for item in pull_secrets]

    def validate(self, attributes: Attributes) -> None:
        """Raises StatusError 403 for an account that is not there, or a secret that it may not mount."""
        pod = attributes.new
        spec = pod.get("spec") or {}
        name = spec.get("serviceAccountName") or ""
        if attributes.operation == UPDATE:
            if name:
                self._check_secrets(attributes, name, ("ephemeralContainers",))
            return
        if is_mirror(pod):
            _check_mirror(attributes, spec)
            return
        if not name:
            called = f"{attributes.namespace}/{pod['metadata'].get('name') or ''}"
            raise attributes.forbidden(f"no service account specified for pod {called}")
        self._check_secrets(attributes, name, ("volumes", "initContainers", "containers", "imagePullSecrets"))

    def _account(self, attributes: Attributes, name: str) -> Object:
        account = self.listers.look("serviceaccounts", attributes.namespace, name)
        if account is None:
            called = f"{attributes.namespace}/{name}"
            text = f'error looking up service account {called}: serviceaccount "{name}" not found'
            refusal = attributes.forbidden(text)
            raise NotYet(refusal, PATIENCE_SECONDS) if name == DEFAULT else refusal
        return account

    def _check_secrets(self, attributes: Attributes, name: str, parts: tuple[str, ...]) -> None:
        account = self._account(attributes, name)
        annotations = account["metadata"].get("annotations") or {}
        if not parse_bool(annotations.get(ENFORCE, "")):
            return
        known = {item.get("name") for item in account.get("secrets") or ()}
        spec = attributes.new.get("spec") or {}
        for part in parts:
            if part == "imagePullSecrets":
                _check_pull_secrets(attributes, spec, account)
            elif part == "volumes":
                _check_volumes(attributes, spec, known, name)
            else:
                _check_environment(attributes, spec, part, known, name)


def _automounts(account: Object, spec: Object) -> bool:
    for asked in (spec.get("automountServiceAccountToken"), account.get("automountServiceAccountToken")):
        if asked is not None:
            return bool(asked)
    return True


def _mount_token(spec: Object) -> None:
    """Mounts the token in every container that has nothing at its place yet."""
    names = (volume.get("name") or "" for volume in spec.get("volumes") or ())
    present = next((name for name in names if name.startswith(VOLUME_PREFIX)), "")
    name = present or generate_name(VOLUME_PREFIX)
    needed = False
    for container in containers(spec, "initContainers", "containers"):
        mounts = container.get("volumeMounts") or []
        if not any(mount.get("mountPath") == MOUNT_PATH for mount in mounts):
            container["volumeMounts"] = [*mounts, {"name": name, "readOnly": True, "mountPath": MOUNT_PATH}]
            needed = True
    if needed and not present:
        spec["volumes"] = [*(spec.get("volumes") or []), _token_volume(name)]


def _token_volume(name: str) -> Object:
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [namespace]}},
    ]
    return {"name": name, "projected": {"sources": sources, "defaultMode": 0o644}}


def _check_mirror(attributes: Attributes, spec: Object) -> None:
    """A mirror pod refers to nothing that the API keeps secret."""
    if spec.get("serviceAccountName"):
        raise attributes.forbidden("a mirror pod may not reference service accounts")
    if any(True for _ in secret_names(spec)):
        raise attributes.forbidden("a mirror pod may not reference secrets")
    for volume in spec.get("volumes") or ():
        if any(source.get("serviceAccountToken") is not None for source in projections(volume)):
            raise attributes.forbidden("a mirror pod may not use ServiceAccountToken volume projections")


def _unknown(attributes: Attributes, what: str, account: str) -> StatusError:
    text = f"{what} is not allowed because service account {account} does not reference that secret"
    return attributes.forbidden(text)


def _check_volumes(attributes: Attributes, spec: Object, known: set[str], account: str) -> None:
    for volume in spec.get("volumes") or ():
        secret = volume.get("secret")
        if secret is not None and secret.get("secretName") not in known:
            what = f'volume with secret.secretName="{secret.get("secretName") or ""}"'
            raise _unknown(attributes, what, account)


_NOUNS = {
    "initContainers": "init container",
    "containers": "container",
    "ephemeralContainers": "ephemeral container",
}


def _check_environment(attributes: Attributes, spec: Object, part: str, known: set[str], account: str) -> None:
    for container in spec.get(part) or ():
        for variable in container.get("env") or ():
            reference = (variable.get("valueFrom") or {}).get("secretKeyRef")
            if reference is not None and reference.get("name") not in known:
                what = (
                    f"{_NOUNS[part]} {container.get('name')} with envVar {variable.get('name')} "
                    f'referencing secret.secretName="{reference.get("name") or ""}"'
                )
                raise _unknown(attributes, what, account)


def _check_pull_secrets(attributes: Attributes, spec: Object, account: Object) -> None:
    known = {item.get("name") for item in account.get("imagePullSecrets") or ()}
    for index, item in enumerate(spec.get("imagePullSecrets") or ()):
        if item.get("name") not in known:
            raise attributes.forbidden(
                f'imagePullSecrets[{index}].name="{item.get("name") or ""}" is not allowed because service account '
                f"{account['metadata']['name']} does not reference that imagePullSecret"
            )
