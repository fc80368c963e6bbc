"""Rules for PersistentVolumes, and for the classes, drivers and attachments of volumes."""

from __future__ import annotations

from apilayer.api import field, names, quantity
from apilayer.api.validation import goform
from apilayer.api.validation.claims import VOLUME_MODES, access_modes
from apilayer.api.validation.common import IMMUTABLE, Errors, Object, indexed, items, named, part, supported, text
from apilayer.api.validation.difference import difference
from apilayer.api.validation.selectors import node_selector
from apilayer.api.validation.vocabulary import (
    amount,
    at,
    each,
    every,
    fixed,
    given,
    maybe_one_of,
    must_have,
    name,
    non_negative,
    required,
    required_one_of,
    rules,
    selector,
    still,
    unique,
)
from apilayer.api.validation.volumes import PERSISTENT_SOURCES, csi_driver_name, persistent_source

_SOURCE = "core/v1.PersistentVolumeSource"
_MAX_PARAMETERS = 512
_MAX_PARAMETER_BYTES = 256 * 1024
_MAX_NODE_ID = 192
_MIN_TOKEN_SECONDS = 10 * 60
_MAX_TOKEN_SECONDS = 1 << 32
_ONE_SOURCE = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"


def _capacity(spec: Object, path: str) -> Errors:
    amounts, where = part(spec, "capacity"), f"{path}.capacity"
    wrong: Errors = [] if amounts else [field.required(where)]
    if set(amounts) != {"storage"}:
        wrong.append(field.not_supported(where, spec.get("capacity"), ("storage",)))
    for resource, value in amounts.items():
        parsed, at_key = quantity.parse(value), f"{where}[{resource}]"
        if parsed.amount < 0:
            wrong.append(field.invalid(at_key, parsed.value, "must be a valid resource quantity"))
        if parsed.amount <= 0:
            wrong.append(field.invalid(at_key, value, "must be greater than zero"))
    return wrong


def _affinity(spec: Object, path: str) -> Errors:
    affinity, where = spec.get("nodeAffinity"), f"{path}.nodeAffinity"
    if affinity is None:
        return []
    if affinity.get("required") is None:
        return [field.required(f"{where}.required", "must specify required node constraints")]
    return node_selector(affinity["required"], f"{where}.required")


def _local_needs_affinity(spec: Object, path: str) -> Errors:
    if spec.get("local") is None or spec.get("nodeAffinity") is not None:
        return []
    return [field.required(f"{path}.nodeAffinity", "Local volume requires node affinity")]


def _root_is_not_recycled(spec: Object, path: str) -> Errors:
    host = spec.get("hostPath")
    if host is None or spec.get("persistentVolumeReclaimPolicy") != "Recycle" or text(host, "path").strip("/"):
        return []
    detail = "may not be 'recycle' for a hostPath mount of '/'"
    return [field.forbidden(f"{path}.persistentVolumeReclaimPolicy", detail)]


def _attributes_class(spec: Object, path: str) -> Errors:
    value = spec.get("volumeAttributesClassName")
    if value is None:
        return []
    wrong = must_have("csi", detail="has to be specified when using volumeAttributesClassName")(spec, path)
    where = f"{path}.volumeAttributesClassName"
    if not value:
        return [*wrong, field.required(where, "an empty string is disallowed")]
    return wrong + named(where, value, names.dns_subdomain)


volume = rules(
    at(
        "spec",
        access_modes,
        _capacity,
        maybe_one_of("persistentVolumeReclaimPolicy", "Delete", "Recycle", "Retain"),
        _affinity,
        _local_needs_affinity,
        persistent_source,
        _root_is_not_recycled,
        name("storageClassName", names.dns_subdomain),
        maybe_one_of("volumeMode", *VOLUME_MODES),
        _attributes_class,
    ),
)


def _source_stays(new: Object, old: Object) -> Errors:
    """Where a volume is never changes; a secret for its expansion may be added."""
    after, before = ({key: part(obj, "spec").get(key) for key in PERSISTENT_SOURCES} for obj in (new, old))
    csi, had = after["csi"], before["csi"]
    if csi and had and had.get("controllerExpandSecretRef") is None:
        after["csi"] = {key: value for key, value in csi.items() if key != "controllerExpandSecretRef"}
    if after == before:
        return []
    shown = difference(after, before, _SOURCE)
    detail = f"spec.persistentvolumesource is immutable after creation\n{shown}"
    return [field.forbidden("spec.persistentvolumesource", detail)]


def _mode_stays(new: Object, old: Object) -> Errors:
    after, before = part(new, "spec").get("volumeMode"), part(old, "spec").get("volumeMode")
    return [] if after == before else [field.invalid("volumeMode", after, IMMUTABLE)]


def _affinity_stays(new: Object, old: Object) -> Errors:
    after, before = part(new, "spec").get("nodeAffinity"), part(old, "spec").get("nodeAffinity")
    if before is None or after == before:
        return []
    return [field.invalid("nodeAffinity", after, "field is immutable, except for updating from beta label to GA")]


VOLUME_UPDATE = (still(volume), _source_stays, _mode_stays, _affinity_stays)


def _parameters(obj: Object, path: str, *, some: bool = False) -> Errors:
    values = part(obj, "parameters")
    wrong: Errors = []
    if some and not values:
        return [field.required("parameters", "must contain at least one key/value pair")]
    if len(values) > _MAX_PARAMETERS:
        wrong.append(field.too_long("parameters", "", _MAX_PARAMETERS))
    if "" in values:
        wrong.append(field.invalid("parameters", "", "field can not be empty."))
    if sum(len(key.encode()) + len(value.encode()) for key, value in values.items()) > _MAX_PARAMETER_BYTES:
        wrong.append(field.too_long("parameters", "", _MAX_PARAMETER_BYTES))
    return wrong


def _provisioner(obj: Object, path: str) -> Errors:
    provisioner = text(obj, "provisioner")
    if not provisioner:
        return [field.required("provisioner")]
    return named("provisioner", provisioner.lower(), names.qualified_name)


def _topology_key(expression: Object, path: str) -> Errors:
    values = items(expression, "values")
    wrong: Errors = [] if values else [field.required(f"{path}.values")]
    wrong += [
        field.duplicate(f"{path}.values[{index}]", value)
        for index, value in enumerate(values)
        if value in values[:index]
    ]
    return wrong + named(f"{path}.key", text(expression, "key"), names.qualified_name)


storage_class = rules(
    _provisioner,
    _parameters,
    maybe_one_of("reclaimPolicy", "Delete", "Retain"),
    required_one_of("volumeBindingMode", "Immediate", "WaitForFirstConsumer"),
    each("allowedTopologies", unique("matchLabelExpressions", by="key"), each("matchLabelExpressions", _topology_key)),
)
STORAGE_CLASS_UPDATE = (
    fixed("parameters"),
    fixed("provisioner", absent=""),
    fixed("reclaimPolicy"),
    fixed("volumeBindingMode"),
)


def _tokens(spec: Object, path: str) -> Errors:
    wrong: Errors = []
    taken: set[str] = set()
    for where, token in indexed(spec, "tokenRequests", path):
        audience, seconds = text(token, "audience"), token.get("expirationSeconds")
        if audience in taken:
            wrong.append(field.duplicate(f"{where}.audience", audience))
        taken.add(audience)
        if seconds is not None and seconds < _MIN_TOKEN_SECONDS:
            detail = "may not specify a duration less than 10 minutes"
            wrong.append(field.invalid(f"{where}.expirationSeconds", seconds, detail))
        if seconds is not None and seconds > _MAX_TOKEN_SECONDS:
            detail = "may not specify a duration larger than 2^32 seconds"
            wrong.append(field.invalid(f"{where}.expirationSeconds", seconds, detail))
    return wrong


def _lifecycle(spec: Object, path: str) -> Errors:
    return [
        error
        for mode in items(spec, "volumeLifecycleModes")
        for error in supported(f"{path}.volumeLifecycleModes", mode, ("Persistent", "Ephemeral"))
    ]


csi_driver = rules(
    at(
        "spec",
        must_have("attachRequired", "podInfoOnMount", "storageCapacity"),
        maybe_one_of("fsGroupPolicy", "File", "None", "ReadWriteOnceWithFSType"),
        _tokens,
        _lifecycle,
        must_have("requiresRepublish", "seLinuxMount"),
    ),
)


def csi_driver_update(new: Object, old: Object) -> Errors:
    """How volumes of a driver come and go never changes."""
    after, before = part(new, "spec"), part(old, "spec")
    return [
        field.invalid(f"spec.{shown}", after.get(key), IMMUTABLE)
        for key, shown in (("attachRequired", "attachedRequired"), ("volumeLifecycleModes", "volumeLifecycleModes"))
        if after.get(key) != before.get(key)
    ]


def _node_driver(driver: Object, path: str) -> Errors:
    node, topology = text(driver, "nodeID"), items(driver, "topologyKeys")
    wrong = csi_driver_name(text(driver, "name"), f"{path}.name")
    if not node:
        wrong.append(field.required(f"{path}.nodeID"))
    if len(node) > _MAX_NODE_ID:
        detail = f"must be {_MAX_NODE_ID} characters or less"
        wrong.append(field.invalid(f"{path}.nodeID", node, detail))
    wrong += given("allocatable", non_negative("count"))(driver, path)
    for index, key in enumerate(topology):
        if not key:
            wrong.append(field.required(path))
        elif key in topology[:index]:
            wrong.append(field.duplicate(path, key))
        wrong += named(path, key, names.qualified_name) if key else []
    return wrong


csi_node = rules(at("spec", each("drivers", _node_driver), unique("drivers", by="name")))


def csi_node_update(new: Object, old: Object) -> Errors:
    """Drivers come and go; what is known of one stays, but for how many volumes it can attach."""

    def stays(driver: Object) -> Object:
        return {key: value for key, value in driver.items() if key != "allocatable"}

    before = {driver.get("name"): driver for driver in items(part(old, "spec"), "drivers")}
    return [
        field.invalid("CSINodeDriver", goform.of(driver, "storage.k8s.io/v1.CSINodeDriver"), IMMUTABLE)
        for driver in items(part(new, "spec"), "drivers")
        if driver.get("name") in before and stays(driver) != stays(before[driver.get("name")])
    ]


def _attachment_source(source: Object, path: str) -> Errors:
    inline, persistent = source.get("inlineVolumeSpec"), source.get("persistentVolumeName")
    if inline is None and persistent is None:
        return [field.required(path, _ONE_SOURCE)]
    if inline is not None and persistent is not None:
        return [field.forbidden(path, _ONE_SOURCE)]
    if inline is not None:
        check = every(access_modes, persistent_source)
        return check(inline, f"{path}.inlineVolumeSpec")
    if persistent:
        return []
    return [field.required(f"{path}.persistentVolumeName", "must specify non empty persistentVolumeName")]


def _node_name(spec: Object, path: str) -> Errors:
    return named(f"{path}.nodeName", text(spec, "nodeName"), names.dns_subdomain)


attachment = rules(
    at(
        "spec",
        required("attacher"),
        name("attacher", names.dns_subdomain),
        at("source", _attachment_source),
        _node_name,
    ),
)


def attachment_update(new: Object, old: Object) -> Errors:
    """What is attached where never changes."""
    if part(new, "spec") == part(old, "spec"):
        return []
    shown = goform.of(part(new, "spec"), "storage.k8s.io/v1.VolumeAttachmentSpec")
    return [field.invalid("spec", shown, IMMUTABLE)]


def _class_name(obj: Object, path: str) -> Errors:
    return named("storageClassName", text(obj, "storageClassName"), names.dns_subdomain)


storage_capacity = rules(selector("nodeTopology"), _class_name, amount("capacity"), amount("maximumVolumeSize"))
STORAGE_CAPACITY_UPDATE = (fixed("nodeTopology"), fixed("storageClassName", absent=""))


def _driver_name(obj: Object, path: str) -> Errors:
    return csi_driver_name(text(obj, "driverName"), "driverName")


def _some_parameters(obj: Object, path: str) -> Errors:
    return _parameters(obj, path, some=True)


attributes_class = rules(_driver_name, _some_parameters)
ATTRIBUTES_CLASS_UPDATE = (fixed("driverName", absent=""), fixed("parameters"))
