"""Rules for containers: names, images, ports, variables, mounts, and what init containers may not have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from apilayer.api import field, names
from apilayer.api.validation.common import Errors, Object, indexed, items, named, part, required_text, supported, text
from apilayer.api.validation.downward import field_ref, resource_field_ref
from apilayer.api.validation.paths import descending_path
from apilayer.api.validation.probes import lifecycle, probe
from apilayer.api.validation.resources import claims, resize_policy, resources
from apilayer.api.validation.security import container_security

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROTOCOLS = ("SCTP", "TCP", "UDP")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_MESSAGE_POLICIES = ("File", "FallbackToLogsOnError")
_ENV_FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
_NO_SOURCE = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
_MANY_SOURCES = "may not have more than one field specified at a time"
_ONLY_SIDECARS = "may not be set for init containers without restartPolicy=Always"
_BLOCK_ONLY = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


@attrs.frozen
class PodContext:
    """What the rules of a container need to know about its pod."""

    spec: Object
    volumes: Mapping[str, Object]
    claims: frozenset[str]

    @property
    def grace_seconds(self) -> int | None:
        """The pod's terminationGracePeriodSeconds."""
        seconds: int | None = self.spec.get("terminationGracePeriodSeconds")
        return seconds


def containers(context: PodContext, path: str) -> Errors:
    """Rules for the list of regular containers."""
    found = indexed(context.spec, "containers", path)
    if not found:
        return [field.required(f"{path}.containers")]
    wrong: Errors = []
    seen: set[str] = set()
    for where, container in found:
        wrong += _common(container, context, where)
        name = text(container, "name")
        if name in seen:
            wrong.append(field.duplicate(f"{where}.name", name))
        seen.add(name)
        wrong += lifecycle(container, context.grace_seconds, where)
        for key in _PROBES:
            wrong += probe(container.get(key), key, context.grace_seconds, f"{where}.{key}")
        wrong += _restart_rules(container, where)
    return wrong + _host_port_conflicts(found)


def init_containers(context: PodContext, path: str) -> Errors:
    """Rules for init containers; those that restart always (sidecars) may have probes and hooks."""
    wrong: Errors = []
    seen = {text(container, "name") for container in items(context.spec, "containers")}
    for where, container in indexed(context.spec, "initContainers", path):
        wrong += _common(container, context, where)
        name = text(container, "name")
        if name in seen:
            wrong.append(field.duplicate(f"{where}.name", name))
        elif name:
            seen.add(name)
        wrong += _host_port_conflicts([(where, container)])
        if container.get("restartPolicy") == "Always":
            wrong += lifecycle(container, context.grace_seconds, where)
            for key in _PROBES:
                wrong += probe(container.get(key), key, context.grace_seconds, f"{where}.{key}")
        else:
            wrong += [
                field.forbidden(f"{where}.{key}", _ONLY_SIDECARS)
                for key in ("lifecycle", *_PROBES)
                if container.get(key) is not None
            ]
        wrong += _restart_rules(container, where)
    return wrong


# What an ephemeral container cannot have, in the order of the errors.
_NOT_EPHEMERAL = (
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
)


def ephemeral_containers(context: PodContext, path: str) -> Errors:
    """Rules for containers that are added to a pod while it runs: they only look at it."""
    others = {
        text(container, "name") for key in ("containers", "initContainers") for container in items(context.spec, key)
    }
    seen = set(others)
    wrong: Errors = []
    for where, container in indexed(context.spec, "ephemeralContainers", path):
        wrong += _common(container, context, where)
        name, target = text(container, "name"), text(container, "targetContainerName")
        if name in seen:
            wrong.append(field.duplicate(f"{where}.name", name))
        seen.add(name)
        if target and target not in others:
            wrong.append(field.not_found(f"{where}.targetContainerName", target))
        found = [f"{where}.{key}" for key in _NOT_EPHEMERAL if container.get(key)]
        for at, mount in indexed(container, "volumeMounts", where):
            found += [f"{at}.{key}" for key in ("subPath", "subPathExpr") if mount.get(key)]
        wrong += [field.forbidden(at, "cannot be set for an Ephemeral Container") for at in found]
    return wrong


def _restart_rules(container: Object, path: str) -> Errors:
    policy = container.get("restartPolicy")
    rules = indexed(container, "restartPolicyRules", path)
    wrong: Errors = []
    if policy is not None:
        wrong += supported(f"{path}.restartPolicy", policy, ("Always", "Never", "OnFailure"))
    elif rules:
        detail = "must specify restartPolicy when restart rules are used"
        wrong.append(field.required(f"{path}.restartPolicy", detail))
    for where, rule in rules:
        wrong += supported(f"{where}.action", text(rule, "action"), ("Restart", "RestartAllContainers"))
        codes = rule.get("exitCodes")
        if codes is None:
            wrong.append(field.required(f"{where}.exitCodes", "must be specified"))
            continue
        wrong += supported(f"{where}.exitCodes.operator", text(codes, "operator"), ("In", "NotIn"))
        if not items(codes, "values"):
            wrong.append(field.required(f"{where}.exitCodes.values", "must specify at least one value"))
    return wrong


def _common(container: Object, context: PodContext, path: str) -> Errors:
    name, image = text(container, "name"), text(container, "image")
    wrong = named(f"{path}.name", name, names.dns_label) if name else [field.required(f"{path}.name")]
    if not image:
        wrong.append(field.required(f"{path}.image"))
    elif image.strip() != image:
        detail = "must not have leading or trailing whitespace"
        wrong.append(field.invalid(f"{path}.image", image, detail))
    policy = text(container, "terminationMessagePolicy")
    wrong += supported(f"{path}.terminationMessagePolicy", policy, _MESSAGE_POLICIES)
    wrong += _ports(container, path)
    for where, variable in indexed(container, "env", path):
        wrong += _variable(variable, where)
    for where, source in indexed(container, "envFrom", path):
        wrong += _variables_from(source, where, f"{path}.envFrom")
    wrong += _mounts(container, context.volumes, f"{path}.volumeMounts")
    wrong += _devices(container, context.volumes, f"{path}.volumeDevices")
    wrong += supported(f"{path}.imagePullPolicy", text(container, "imagePullPolicy"), _PULL_POLICIES)
    needs = part(container, "resources")
    wrong += resources(needs, f"{path}.resources")
    wrong += claims(needs, context.claims, f"{path}.resources.claims")
    never = context.spec.get("restartPolicy") == "Never"
    wrong += resize_policy(container, f"{path}.resizePolicy", never_restarts=never)
    host_users = context.spec.get("hostUsers", True)
    return wrong + container_security(
        container.get("securityContext"), f"{path}.securityContext", host_users=host_users
    )


def _ports(container: Object, path: str) -> Errors:
    wrong: Errors = []
    seen: set[str] = set()
    for where, port in indexed(container, "ports", path):
        name = text(port, "name")
        if name:
            problems = named(f"{where}.name", name, names.port_name)
            if not problems and name in seen:
                problems = [field.duplicate(f"{where}.name", name)]
            wrong += problems
            seen.add(name)
        number = port.get("containerPort", 0)
        if number == 0:
            wrong.append(field.required(f"{where}.containerPort"))
        else:
            wrong += _port_number(number, f"{where}.containerPort")
        if port.get("hostPort", 0) != 0:
            wrong += _port_number(port["hostPort"], f"{where}.hostPort")
        wrong += supported(f"{where}.protocol", text(port, "protocol"), _PROTOCOLS)
    return wrong


def _port_number(number: int, path: str) -> Errors:
    return [field.invalid(path, number, message) for message in names.port_number(number)]


def _host_port_conflicts(found: list[tuple[str, Object]]) -> Errors:
    seen: set[str] = set()
    wrong: Errors = []
    for path, container in found:
        for where, port in indexed(container, "ports", path):
            if port.get("hostPort", 0) == 0:
                continue
            key = f"{text(port, 'protocol')}/{text(port, 'hostIP')}/{port['hostPort']}"
            if key in seen:
                wrong.append(field.duplicate(f"{where}.hostPort", key))
            seen.add(key)
    return wrong


def _variable(variable: Object, path: str) -> Errors:
    name = text(variable, "name")
    wrong = named(f"{path}.name", name, names.env_name) if name else [field.required(f"{path}.name")]
    source = variable.get("valueFrom")
    return wrong if source is None else wrong + _variable_source(source, text(variable, "value"), f"{path}.valueFrom")


def _variable_source(source: Object, value: str, path: str) -> Errors:
    wrong: Errors = []
    if source.get("fieldRef") is not None:
        wrong += field_ref(source["fieldRef"], f"{path}.fieldRef", _ENV_FIELDS)
    if source.get("resourceFieldRef") is not None:
        wrong += resource_field_ref(source["resourceFieldRef"], f"{path}.resourceFieldRef", needs_container=False)
    for key in ("configMapKeyRef", "secretKeyRef"):
        if source.get(key) is not None:
            wrong += _config_key(text(source[key], "key"), f"{path}.{key}.key")
    if source.get("fileKeyRef") is not None:
        wrong += required_text(source["fileKeyRef"], f"{path}.fileKeyRef", "volumeName", "path", "key")
        wrong += descending_path(text(source["fileKeyRef"], "path"), f"{path}.fileKeyRef.path")
    count = sum(value is not None for value in source.values())
    if count == 0:
        wrong.append(field.invalid(path, "", _NO_SOURCE))
    elif value:
        wrong.append(field.invalid(path, "", "may not be specified when `value` is not empty"))
    elif count > 1:
        wrong.append(field.invalid(path, "", _MANY_SOURCES))
    return wrong


def _config_key(key: str, path: str) -> Errors:
    return named(path, key, names.config_key) if key else [field.required(path)]


def _variables_from(source: Object, path: str, list_path: str) -> Errors:
    prefix = text(source, "prefix")
    wrong = named(f"{path}.prefix", prefix, names.env_name) if prefix else []
    present = [key for key in ("configMapRef", "secretRef") if source.get(key) is not None]
    for key in present:
        wrong += required_text(source[key], f"{path}.{key}", "name")
    if not present:
        detail = "must specify one of: `configMapRef` or `secretRef`"
        wrong.append(field.invalid(list_path, "", detail))
    elif len(present) > 1:
        wrong.append(field.invalid(list_path, "", _MANY_SOURCES))
    return wrong


def _mounts(container: Object, volumes: Mapping[str, Object], path: str) -> Errors:
    wrong: Errors = []
    seen: set[str] = set()
    device_names = {device.get("name") for device in items(container, "volumeDevices")}
    device_paths = {device.get("devicePath") for device in items(container, "volumeDevices")}
    for index, mount in enumerate(items(container, "volumeMounts")):
        where = f"{path}[{index}]"
        name, target = text(mount, "name"), text(mount, "mountPath")
        wrong += required_text(mount, where, "name")
        if name not in volumes:
            wrong.append(field.not_found(f"{where}.name", name))
        wrong += required_text(mount, where, "mountPath")
        if target in seen:
            wrong.append(field.invalid(f"{where}.mountPath", target, "must be unique"))
        seen.add(target)
        if name in device_names:
            wrong.append(field.invalid(f"{where}.name", name, "must not already exist in volumeDevices"))
        if target in device_paths:
            detail = "must not already exist as a path in volumeDevices"
            wrong.append(field.invalid(f"{where}.mountPath", target, detail))
        wrong += _mount_options(mount, container, path, where)
    return wrong


def _mount_options(mount: Object, container: Object, path: str, where: str) -> Errors:
    """Kubernetes gives the path of the list, not of the item, for several of these."""
    wrong = descending_path(text(mount, "subPath"), f"{path}.subPath")
    expression = text(mount, "subPathExpr")
    if expression:
        if mount.get("subPath"):
            detail = "subPathExpr and subPath are mutually exclusive"
            wrong.append(field.invalid(f"{where}.subPathExpr", expression, detail))
        wrong += descending_path(expression, f"{path}.subPathExpr")
    propagation = mount.get("mountPropagation")
    if propagation is not None:
        if propagation == "Bidirectional" and not part(container, "securityContext").get("privileged"):
            detail = "Bidirectional mount propagation is available only to privileged containers"
            wrong.append(field.forbidden(f"{path}.mountPropagation", detail))
        modes = ("Bidirectional", "HostToContainer", "None")
        wrong += supported(f"{path}.mountPropagation", propagation, modes)
    recursive = mount.get("recursiveReadOnly")
    if recursive in ("Enabled", "IfPossible"):
        if not mount.get("readOnly"):
            detail = "may only be specified when readOnly is true"
            wrong.append(field.forbidden(f"{path}.recursiveReadOnly", detail))
        if propagation not in (None, "None"):
            detail = "may only be specified when mountPropagation is None or not specified"
            wrong.append(field.forbidden(f"{path}.recursiveReadOnly", detail))
    elif recursive is not None:
        modes = ("Disabled", "Enabled", "IfPossible")
        wrong += supported(f"{path}.recursiveReadOnly", recursive, modes)
    return wrong


def _devices(container: Object, volumes: Mapping[str, Object], path: str) -> Errors:
    wrong: Errors = []
    seen_names: set[str] = set()
    seen_paths: set[str] = set()
    for index, device in enumerate(items(container, "volumeDevices")):
        where = f"{path}[{index}]"
        name, target = text(device, "name"), text(device, "devicePath")
        wrong += required_text(device, where, "name")
        if name in seen_names:
            wrong.append(field.invalid(f"{where}.name", name, "must be unique"))
        volume = volumes.get(name)
        if volume is None:
            wrong.append(field.not_found(f"{where}.name", name))
        elif volume.get("persistentVolumeClaim") is None and volume.get("ephemeral") is None:
            wrong.append(field.invalid(f"{where}.name", name, _BLOCK_ONLY))
        wrong += required_text(device, where, "devicePath")
        if target in seen_paths:
            wrong.append(field.invalid(f"{where}.devicePath", target, "must be unique"))
        if ".." in target.split("/"):
            detail = "can not contain backsteps ('..')"
            wrong.append(field.invalid(f"{where}.devicePath", target, detail))
        seen_names.add(name)
        seen_paths.add(target)
    return wrong
