"""Pods are held to the Pod Security Standard that the labels of their namespace ask for.

Source: Kubernetes' ``staging/src/k8s.io/pod-security-admission/admission``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.admission.plugin import CREATE, UPDATE, Plugin, on
from apilayer.admission.pod_security import configuration
from apilayer.admission.pod_security.policy import PRIVILEGED, policy_of
from apilayer.api import status
from apilayer.later import Later

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apilayer.admission.plugin import Attributes, Object, Setup
    from apilayer.admission.pod_security import baseline, evaluation
    from apilayer.admission.pod_security.policy import Policy, Standard
    from apilayer.api.field import FieldError
else:
    evaluation = Later("apilayer.admission.pod_security.evaluation", soon=True)
    baseline = Later("apilayer.admission.pod_security.baseline")

MAX_PODS = 3000
"""How many pods of a namespace are looked at when its label changes."""
AUDIT_PREFIX = "pod-security.kubernetes.io/"
_TEMPLATES = {
    "podtemplates": ("template",),
    "replicationcontrollers": ("spec", "template"),
    "replicasets.apps": ("spec", "template"),
    "deployments.apps": ("spec", "template"),
    "statefulsets.apps": ("spec", "template"),
    "daemonsets.apps": ("spec", "template"),
    "jobs.batch": ("spec", "template"),
    "cronjobs.batch": ("spec", "jobTemplate", "spec", "template"),
}
"""Where kinds that make pods keep what these look like."""


class PodSecurity(Plugin):
    """Refuses pods, warns of templates, and checks the labels of namespaces."""

    name = "PodSecurity"
    interests = (
        on("namespaces", "pods", *_TEMPLATES, operations=(CREATE, UPDATE)),
        on("pods/ephemeralcontainers", "pods/resize", operations=(UPDATE,)),
    )

    def __init__(self, setup: Setup) -> None:
        """Raises ConfigurationError."""
        super().__init__(setup)
        self._configured = configuration.read(setup.configuration)

    def validate(self, attributes: Attributes) -> None:
        """Raises StatusError 403 for a pod below the standard, 422 for labels that mean nothing."""
        resource = attributes.resource.group_resource
        if resource == "namespaces":
            self._check_namespace(attributes)
            return
        configured = self._configured
        for what, value, exempt in (
            ("namespace", attributes.namespace, configured.namespaces),
            ("user", attributes.user.name, configured.usernames),
        ):
            if value in exempt:
                attributes.annotations[f"{AUDIT_PREFIX}exempt"] = what
                return
        policy, errors = policy_of(self._labels(attributes), configured.defaults)
        if resource == "pods":
            if policy.demands_nothing and not errors:
                attributes.annotations[f"{AUDIT_PREFIX}enforce-policy"] = str(policy.enforce)
                return
            if attributes.operation == UPDATE and not _matters(attributes.new, attributes.old or {}):
                return
            self._evaluate(attributes, attributes.new, policy, errors, enforce=True)
            return
        if policy.warn.level == policy.audit.level == PRIVILEGED and not errors:
            return
        pod = _template(attributes.new, _TEMPLATES[resource])
        if pod is not None:
            self._evaluate(attributes, pod, policy, errors, enforce=False)

    def _labels(self, attributes: Attributes) -> Mapping[str, str]:
        entry = self.listers.entry("namespaces", "", attributes.namespace)
        if entry is None:
            raise status.internal_error(f"failed to lookup namespace {attributes.namespace}")
        return entry.labels

    def _evaluate(
        self, attributes: Attributes, pod: Object, policy: Policy, errors: list[FieldError], *, enforce: bool
    ) -> None:
        metadata, spec = pod.get("metadata") or {}, pod.get("spec") or {}
        notes = attributes.annotations
        if spec.get("runtimeClassName") in self._configured.runtime_classes:
            notes[f"{AUDIT_PREFIX}exempt"] = "runtimeClass"
            return
        if errors:
            notes[f"{AUDIT_PREFIX}error"] = f"Failed to parse policy: {', '.join(str(error) for error in errors)}"
        if enforce:
            notes[f"{AUDIT_PREFIX}enforce-policy"] = str(policy.enforce)
        known: dict[Standard, str] = {}

        def told(standard: Standard) -> str:
            if standard not in known:
                known[standard] = ", ".join(str(item) for item in evaluation.findings(standard, metadata, spec))
            return known[standard]

        if told(policy.audit):
            notes[f"{AUDIT_PREFIX}audit-violations"] = _would(policy.audit, told(policy.audit))
        if enforce and told(policy.enforce):
            raise attributes.forbidden(f'violates PodSecurity "{policy.enforce}": {told(policy.enforce)}')
        if told(policy.warn):
            attributes.warn(_would(policy.warn, told(policy.warn)))

    # ------------------------------------------------------------------ namespaces

    def _check_namespace(self, attributes: Attributes) -> None:
        new, old = attributes.new["metadata"], (attributes.old or {}).get("metadata") or {}
        policy, errors = policy_of(new.get("labels") or {}, self._configured.defaults)
        if attributes.operation == CREATE:
            if errors:
                raise status.invalid("Namespace", "", new.get("name") or "", errors)
            return
        before, old_errors = policy_of(old.get("labels") or {}, self._configured.defaults)
        if errors and errors != old_errors:
            raise status.invalid("Namespace", "", attributes.name, errors)
        enforced = policy.enforce
        if enforced == before.enforce or enforced.level == PRIVILEGED:
            return
        if enforced.version == before.enforce.version and not enforced.stricter_than(before.enforce):
            return
        if attributes.name in self._configured.namespaces:
            ignored = f"and the policy (enforce={enforced}) will be ignored"
            attributes.warn(f'namespace "{attributes.name}" is exempt from Pod Security, {ignored}')
            return
        self._warn_of_pods(attributes, enforced)

    def _warn_of_pods(self, attributes: Attributes, enforced: Standard) -> None:
        """Tells which pods of the namespace could not be made again."""
        pods = self.listers.list("pods", attributes.name)
        if len(pods) > MAX_PODS:
            attributes.warn(
                f"new PodSecurity enforce level only checked against the first {MAX_PODS} of {len(pods)} existing pods"
            )
        violating: dict[str, list[str]] = {}
        for pod in pods[:MAX_PODS]:
            spec = pod.get("spec") or {}
            if spec.get("runtimeClassName") in self._configured.runtime_classes:
                continue
            reasons = ", ".join(item.reason for item in evaluation.findings(enforced, pod["metadata"], spec))
            if reasons:
                violating.setdefault(reasons, []).append(pod["metadata"]["name"])
        if violating:
            attributes.warn(
                f'existing pods in namespace "{attributes.name}" violate the new PodSecurity enforce level "{enforced}"'
            )
        for text in sorted(f"{_first_of(names)}: {reasons}" for reasons, names in violating.items()):
            attributes.warn(text)


def _would(standard: Standard, text: str) -> str:
    return f'would violate PodSecurity "{standard}": {text}'


def _first_of(names: list[str]) -> str:
    if len(names) == 1:
        return names[0]
    others = len(names) - 1
    return f"{min(names)} (and {others} other {'pod' if others == 1 else 'pods'})"


def _template(obj: Object, path: tuple[str, ...]) -> Object | None:
    found: Object | None = obj
    for step in path:
        found = (found or {}).get(step)
    return found


def _matters(pod: Object, old: Object) -> bool:
    """Whether an update changes what the checks look at: images, and profiles that annotations name."""
    return _concern(pod) != _concern(old)


def _concern(pod: Object) -> tuple[object, ...]:
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    spec = pod.get("spec") or {}
    profiles = {
        key: value
        for key, value in annotations.items()
        if key == baseline.SECCOMP_POD_ANNOTATION or key.startswith(baseline.SECCOMP_ANNOTATION)
    }
    images = [
        [(container.get("name"), container.get("image")) for container in spec.get(part) or ()]
        for part in ("containers", "initContainers", "ephemeralContainers")
    ]
    return profiles, images
