"""Rules for the volumes of a pod, one table entry or small function per kind of volume."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from apilayer.api import field, names, quantity
from apilayer.api.validation.claims import claim_spec
from apilayer.api.validation.common import (
    Errors,
    Object,
    indexed,
    items,
    named,
    part,
    ranged,
    required_text,
    supported,
    text,
)
from apilayer.api.validation.downward import field_ref, resource_field_ref
from apilayer.api.validation.metadata import validate_annotations, validate_labels
from apilayer.api.validation.paths import descending_path, no_backsteps

if TYPE_CHECKING:
    from collections.abc import Callable

    SourceRule = Callable[[Object, str], Errors]

MODE_MAX = 0o777
_MODE_MESSAGE = "must be a number between 0 and 0777 (octal), both inclusive"
_HOST_PATH_TYPES = ("", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket")
_MIN_TOKEN_SECONDS = 600
_MAX_TOKEN_SECONDS = 1 << 32
_VOLUME_FIELDS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
_IQN = re.compile(r"^iqn\.\d{4}-\d{2}\.[a-zA-Z0-9.-]+(:[^,;*&$|\s]+)?$")
_EUI = re.compile(r"^eui.[a-fA-F0-9]{16}$")
_NAA = re.compile(r"^naa.[a-fA-F0-9]{16,32}$")

# Fields that a source must have, for the kinds of volume about which there is nothing more to say.
_REQUIRED: dict[str, tuple[str, ...]] = {
    "gitRepo": ("repository",),
    "awsElasticBlockStore": ("volumeID",),
    "secret": ("secretName",),
    "glusterfs": ("endpoints", "path"),
    "persistentVolumeClaim": ("claimName",),
    "rbd": ("monitors", "image"),
    "cinder": ("volumeID",),
    "cephfs": ("monitors",),
    "quobyte": ("registry", "volume"),
    "flexVolume": ("driver",),
    "configMap": ("name",),
    "azureFile": ("secretName", "shareName"),
    "vsphereVolume": ("volumePath",),
    "photonPersistentDisk": ("pdID",),
    "portworxVolume": ("volumeID",),
    "azureDisk": ("diskName", "diskURI"),
    "scaleIO": ("gateway", "system", "volumeName"),
    "image": ("reference",),
}


def validate_volumes(spec: Object, path: str, pod: str = "") -> tuple[dict[str, Object], Errors]:
    """The valid volumes by name, and what is wrong with the others; `pod` is the name of a pod that has them."""
    valid: dict[str, Object] = {}
    wrong: Errors = []
    for where, volume in indexed(spec, "volumes", path):
        name = text(volume, "name")
        found = _source(volume, where)
        if name:
            found += named(f"{where}.name", name, names.dns_label)
        else:
            found.append(field.required(f"{where}.name"))
        if name in valid:
            found.append(field.duplicate(f"{where}.name", name))
        if pod and volume.get("ephemeral") is not None and not found:
            found += _claim_name(name, f"{pod}-{name}", f"{where}.name")
        if found:
            wrong += found
        else:
            valid[name] = volume
    return valid, wrong


def _claim_name(name: str, claim: str, path: str) -> Errors:
    """The claim that is made for an ephemeral volume is named after its pod too."""
    return [field.invalid(path, name, f'PVC name "{claim}": {message}') for message in names.dns_subdomain(claim)]


def _source(volume: Object, path: str) -> Errors:
    present = [name for name in _SOURCES if volume.get(name) is not None]
    if not present:
        return [field.required(path, "must specify a volume type")]
    first = present[0]
    source, where = volume[first], f"{path}.{first}"
    if first == "gcePersistentDisk":
        where = f"{path}.persistentDisk"
    wrong = required_text(source, where, *_REQUIRED.get(first, ()))
    rule = _SOURCES[first]
    if rule is not None:
        wrong += rule(source, where)
    wrong += [field.forbidden(f"{path}.{name}", "may not specify more than 1 volume type") for name in present[1:]]
    return wrong


def _empty_dir(source: Object, path: str) -> Errors:
    limit = source.get("sizeLimit")
    if limit is not None and quantity.parse(limit).amount < 0:
        detail = "SizeLimit field must be a valid resource quantity"
        return [field.forbidden(f"{path}.sizeLimit", detail)]
    return []


def _host_path(source: Object, path: str) -> Errors:
    where = text(source, "path")
    if not where:
        return [field.required(f"{path}.path")]
    wrong = no_backsteps(where, f"{path}.path")
    if source.get("type") is not None:
        wrong += supported(f"{path}.type", source["type"], _HOST_PATH_TYPES)
    return wrong


def _git_repo(source: Object, path: str) -> Errors:
    return descending_path(text(source, "directory"), f"{path}.directory")


def _gce_disk(source: Object, path: str) -> Errors:
    wrong: Errors = []
    if not source.get("pdName"):
        wrong.append(field.required(f"{path}.pdName"))
    return wrong + _partition(source, path)


def _partition(source: Object, path: str) -> Errors:
    partition = source.get("partition", 0)
    return ranged(f"{path}.partition", partition, 1, 255) if partition else []


def _keyed_files(source: Object, path: str) -> Errors:
    """Rules shared by Secrets and ConfigMaps as files."""
    wrong = file_mode(source, "defaultMode", path)
    for where, item in indexed(source, "items", path):
        wrong += required_text(item, where, "key")
        wrong += _item_path(item, where)
        wrong += file_mode(item, "mode", where)
    return wrong


def _item_path(item: Object, path: str) -> Errors:
    where = text(item, "path")
    return descending_path(where, f"{path}.path") if where else [field.required(f"{path}.path")]


def _nfs(source: Object, path: str) -> Errors:
    wrong = required_text(source, path, "server", "path")
    where = text(source, "path")
    if where and not where.startswith("/"):
        wrong.append(field.invalid(f"{path}.path", where, "must be an absolute path"))
    return wrong


def _iscsi(source: Object, path: str) -> Errors:
    wrong = required_text(source, path, "targetPortal")
    iqn = text(source, "iqn")
    if not iqn:
        wrong.append(field.required(f"{path}.iqn"))
    elif not iqn.startswith(("iqn", "eui", "naa")):
        wrong.append(field.invalid(f"{path}.iqn", iqn, "must be valid format starting with iqn, eui, or naa"))
    elif not any(pattern.search(iqn) for pattern in (_IQN, _EUI, _NAA)):
        wrong.append(field.invalid(f"{path}.iqn", iqn, "must be valid format"))
    wrong += ranged(f"{path}.lun", source.get("lun", 0), 0, 255)
    if (source.get("chapAuthDiscovery") or source.get("chapAuthSession")) and not source.get("secretRef"):
        wrong.append(field.required(f"{path}.secretRef"))
    return wrong


def _flocker(source: Object, path: str) -> Errors:
    name, uuid = text(source, "datasetName"), text(source, "datasetUUID")
    if not name and not uuid:
        return [field.required(path, "one of datasetName and datasetUUID is required")]
    if name and uuid:
        return [field.invalid(path, "resource", "datasetName and datasetUUID can not be specified simultaneously")]
    if "/" in name:
        return [field.invalid(f"{path}.datasetName", name, "must not contain '/'")]
    return []


def _downward_api(source: Object, path: str) -> Errors:
    return file_mode(source, "defaultMode", path) + _downward_items(source, path)


def _downward_items(source: Object, path: str) -> Errors:
    wrong: Errors = []
    for item in items(source, "items"):
        if not item.get("path"):
            wrong.append(field.required(f"{path}.path"))
        wrong += descending_path(text(item, "path"), f"{path}.path")
        if item.get("fieldRef") is not None:
            wrong += field_ref(item["fieldRef"], f"{path}.fieldRef", _VOLUME_FIELDS)
            if item.get("resourceFieldRef") is not None:
                detail = "fieldRef and resourceFieldRef can not be specified simultaneously"
                wrong.append(field.invalid(path, "resource", detail))
        elif item.get("resourceFieldRef") is not None:
            wrong += resource_field_ref(item["resourceFieldRef"], f"{path}.resourceFieldRef", needs_container=True)
        else:
            detail = "one of fieldRef and resourceFieldRef is required"
            wrong.append(field.required(path, detail))
        wrong += file_mode(item, "mode", path)
    return wrong


def _fibre_channel(source: Object, path: str) -> Errors:
    names_given, ids_given = items(source, "targetWWNs"), items(source, "wwids")
    if not names_given and not ids_given:
        detail = "must specify either targetWWNs or wwids, but not both"
        return [field.required(f"{path}.targetWWNs", detail)]
    wrong: Errors = []
    if names_given and ids_given:
        detail = "targetWWNs and wwids can not be specified simultaneously"
        wrong.append(field.invalid(f"{path}.targetWWNs", names_given, detail))
    if names_given:
        if source.get("lun") is None:
            wrong.append(field.required(f"{path}.lun", "lun is required if targetWWNs is specified"))
        wrong += ranged(f"{path}.lun", source.get("lun"), 0, 255)
    return wrong


def _azure_disk(source: Object, path: str) -> Errors:
    wrong = supported(f"{path}.cachingMode", text(source, "cachingMode"), ("None", "ReadOnly", "ReadWrite"))
    kind = text(source, "kind")
    wrong += supported(f"{path}.kind", kind, ("Dedicated", "Managed", "Shared"))
    uri = text(source, "diskURI")
    if uri and kind == "Managed" and not uri.startswith("/subscriptions/"):
        wrong.append(field.not_supported(f"{path}.diskURI", uri, _managed_disk_form()))
    elif uri and kind not in ("Managed", "") and not uri.startswith("https://"):
        form = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"
        wrong.append(field.not_supported(f"{path}.diskURI", uri, [form]))
    return wrong


def _managed_disk_form() -> list[str]:
    return ["/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"]


def _storageos(source: Object, path: str) -> Errors:
    name = text(source, "volumeName")
    if not name:
        return [field.required(f"{path}.volumeName")]
    wrong = named(f"{path}.volumeName", name, names.dns_label)
    space = text(source, "volumeNamespace")
    return wrong + (named(f"{path}.volumeNamespace", space, names.dns_label) if space else [])


def _projected(source: Object, path: str) -> Errors:
    wrong = file_mode(source, "defaultMode", path)
    seen: set[str] = set()
    for where, projection in indexed(source, "sources", path):
        present = [name for name in _PROJECTIONS if projection.get(name) is not None]
        for name in present[1:]:
            del name
            detail = "may not specify more than 1 volume type per source"
            wrong.append(field.forbidden(where, detail))
        for name in present[:1]:
            wrong += _PROJECTIONS[name](projection[name], f"{where}.{name}")
            wrong += _conflicts(projection[name], seen, path)
    return wrong


def _conflicts(source: Object, seen: set[str], path: str) -> Errors:
    """A file path that an earlier source of the same volume has taken."""
    wrong: Errors = []
    taken = [item.get("path", "") for item in items(source, "items")]
    taken += [source["path"]] if source.get("path") else []
    for where in taken:
        if where in seen:
            shown = text(source, "name") or where
            wrong.append(field.invalid(path, shown, "conflicting duplicate paths"))
        seen.add(where)
    return wrong


def _named_projection(source: Object, path: str) -> Errors:
    return required_text(source, path, "name") + _keyed_files(source, path)


def _token_projection(source: Object, path: str) -> Errors:
    wrong: Errors = []
    seconds = source.get("expirationSeconds", 3600)
    if seconds < _MIN_TOKEN_SECONDS:
        detail = "may not specify a duration less than 10 minutes"
        wrong.append(field.invalid(f"{path}.expirationSeconds", seconds, detail))
    if seconds > _MAX_TOKEN_SECONDS:
        detail = "may not specify a duration larger than 2^32 seconds"
        wrong.append(field.invalid(f"{path}.expirationSeconds", seconds, detail))
    return wrong + _item_path(source, path)


def _csi(source: Object, path: str) -> Errors:
    wrong = csi_driver_name(text(source, "driver"), f"{path}.driver")
    secret = source.get("nodePublishSecretRef")
    if secret is not None and not secret.get("name"):
        wrong.append(field.required(f"{path}.nodePublishSecretRef.name"))
    return wrong


def _ephemeral(source: Object, path: str) -> Errors:
    template = source.get("volumeClaimTemplate")
    if template is None:
        return [field.required(f"{path}.volumeClaimTemplate")]
    where, meta = f"{path}.volumeClaimTemplate", part(template, "metadata")
    wrong = validate_annotations(part(meta, "annotations"), f"{where}.metadata.annotations")
    wrong += validate_labels(part(meta, "labels"), f"{where}.metadata.labels")
    others = (key for key, value in meta.items() if value and key not in ("annotations", "labels"))
    wrong += [field.forbidden(f"{where}.metadata.{key}", "cannot be set") for key in others]
    return wrong + claim_spec(part(template, "spec"), f"{where}.spec")


def _image(source: Object, path: str) -> Errors:
    policy = text(source, "pullPolicy")
    return supported(f"{path}.pullPolicy", policy, ("Always", "IfNotPresent", "Never")) if policy else []


def file_mode(obj: Object, key: str, path: str) -> Errors:
    """A file's permission bits, when given."""
    mode = obj.get(key)
    if mode is None or 0 <= mode <= MODE_MAX:
        return []
    return [field.invalid(f"{path}.{key}", mode, _MODE_MESSAGE)]


_PROJECTIONS: dict[str, SourceRule] = {
    "secret": _named_projection,
    "configMap": _named_projection,
    "downwardAPI": _downward_items,
    "serviceAccountToken": _token_projection,
}


def persistent_source(spec: Object, path: str) -> Errors:
    """Rules for where a PersistentVolume is: exactly one source, of the kinds that can outlive a pod."""
    present = [name for name in PERSISTENT_SOURCES if spec.get(name) is not None]
    if not present:
        return [field.required(path, "must specify a volume type")]
    first = present[0]
    wrong = required_text(spec[first], f"{path}.{first}", *_PERSISTENT_REQUIRED.get(first, _REQUIRED.get(first, ())))
    rule = PERSISTENT_SOURCES[first]
    if rule is not None:
        wrong += rule(spec[first], f"{path}.{first}")
    return wrong + [
        field.forbidden(f"{path}.{name}", "may not specify more than 1 volume type") for name in present[1:]
    ]


def _persistent_csi(source: Object, path: str) -> Errors:
    wrong = csi_driver_name(text(source, "driver"), f"{path}.driver")
    if not source.get("volumeHandle"):
        wrong.append(field.required(f"{path}.volumeHandle"))
    for key in _CSI_SECRETS:
        secret = source.get(key)
        if secret is not None:
            wrong += required_text(secret, f"{path}.{key}", "name", "namespace")
    return wrong


def csi_driver_name(driver: str, path: str) -> Errors:
    """The name of a driver: a domain of at most 63 characters."""
    if not driver:
        return [field.required(path)]
    wrong = [field.invalid(path, driver, message) for message in names.dns_subdomain(driver.lower())]
    if len(driver) > names.DNS_LABEL_MAX:
        wrong.insert(0, field.too_long(path, driver, names.DNS_LABEL_MAX))
    return wrong


def _local(source: Object, path: str) -> Errors:
    where = text(source, "path")
    if not where:
        return [field.required(f"{path}.path")]
    return no_backsteps(where, f"{path}.path")


_CSI_SECRETS = (
    "controllerPublishSecretRef",
    "controllerExpandSecretRef",
    "nodePublishSecretRef",
    "nodeExpandSecretRef",
)
_PERSISTENT_REQUIRED = {"azureFile": ("secretName", "shareName"), "csi": (), "flexVolume": ("driver",)}
# Every kind of persistent volume, in the order in which Kubernetes looks for them.
PERSISTENT_SOURCES: dict[str, SourceRule | None] = {
    "hostPath": _host_path,
    "gcePersistentDisk": _gce_disk,
    "awsElasticBlockStore": _partition,
    "glusterfs": None,
    "flocker": _flocker,
    "nfs": _nfs,
    "rbd": None,
    "quobyte": None,
    "cephfs": None,
    "iscsi": _iscsi,
    "cinder": None,
    "fc": _fibre_channel,
    "flexVolume": None,
    "azureFile": None,
    "vsphereVolume": None,
    "photonPersistentDisk": None,
    "portworxVolume": None,
    "azureDisk": _azure_disk,
    "scaleIO": None,
    "local": _local,
    "storageos": None,
    "csi": _persistent_csi,
}

# Every kind of volume, in the order in which Kubernetes looks for them.
_SOURCES: dict[str, SourceRule | None] = {
    "emptyDir": _empty_dir,
    "hostPath": _host_path,
    "gitRepo": _git_repo,
    "gcePersistentDisk": _gce_disk,
    "awsElasticBlockStore": _partition,
    "secret": _keyed_files,
    "nfs": _nfs,
    "iscsi": _iscsi,
    "glusterfs": None,
    "flocker": _flocker,
    "persistentVolumeClaim": None,
    "rbd": None,
    "cinder": None,
    "cephfs": None,
    "quobyte": None,
    "downwardAPI": _downward_api,
    "fc": _fibre_channel,
    "flexVolume": None,
    "configMap": _keyed_files,
    "azureFile": None,
    "vsphereVolume": None,
    "photonPersistentDisk": None,
    "portworxVolume": None,
    "azureDisk": _azure_disk,
    "storageos": _storageos,
    "projected": _projected,
    "scaleIO": None,
    "csi": _csi,
    "ephemeral": _ephemeral,
    "image": _image,
}
