"""Rules for ConfigMaps and Secrets: keys, sizes, what a type of Secret must hold, immutability.

No message repeats a value of a Secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api import field, names
from apilayer.api.encoding import base64text, jsontext
from apilayer.api.errors import DecodeError
from apilayer.api.validation.common import IMMUTABLE, Errors, Object, named, part, text

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOCKED = "field is immutable when `immutable` is set"
SERVICE_ACCOUNT_TOKEN = "kubernetes.io/service-account-token"  # noqa: S105 - a type, no secret
_SERVICE_ACCOUNT_NAME = "kubernetes.io/service-account.name"
# Keys that a type of Secret must have; for basic auth one of them is enough.
_REQUIRED_KEYS = {
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
_JSON_KEYS = {
    "kubernetes.io/dockercfg": ".dockercfg",
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
}
_BASIC_AUTH_KEYS = ("username", "password")


def config_map(obj: Object) -> Errors:
    """Rules for a ConfigMap's content."""
    wrong: Errors = []
    data, binary = part(obj, "data"), part(obj, "binaryData")
    size = 0
    for key, value in data.items():
        wrong += named(f"data[{key}]", key, names.config_key)
        if key in binary:
            wrong.append(field.invalid(f"data[{key}]", key, "duplicate of key present in binaryData"))
        size += len(value.encode())
    for key, value in binary.items():
        wrong += named(f"binaryData[{key}]", key, names.config_key)
        size += len(base64text.decode(value))
    if size > names.MAX_DATA_BYTES:
        wrong.append(field.too_long("[]", "", names.MAX_DATA_BYTES))
    return wrong


def config_map_update(new: Object, old: Object) -> Errors:
    """A ConfigMap marked immutable keeps its data."""
    return _locked(new, old, "data", "binaryData")


def _locked(new: Object, old: Object, *keys: str) -> Errors:
    if not old.get("immutable"):
        return []
    wrong = [] if new.get("immutable") else [field.forbidden("immutable", _LOCKED)]
    wrong += [field.forbidden(key, _LOCKED) for key in keys if new.get(key) != old.get(key)]
    return wrong


def secret(obj: Object) -> Errors:
    """Rules for a Secret's content, by its type."""
    wrong: Errors = []
    data = part(obj, "data")
    size = 0
    for key, value in data.items():
        wrong += named(f"data[{key}]", key, names.config_key)
        size += len(base64text.decode(value))
    if size > names.MAX_DATA_BYTES:
        wrong.append(field.too_long("data", "", names.MAX_DATA_BYTES))
    return wrong + _secret_type(text(obj, "type"), data, part(part(obj, "metadata"), "annotations"))


def _secret_type(kind: str, data: Mapping[str, str], annotations: Mapping[str, str]) -> Errors:
    if kind == SERVICE_ACCOUNT_TOKEN and not annotations.get(_SERVICE_ACCOUNT_NAME):
        return [field.required(f"metadata.annotations[{_SERVICE_ACCOUNT_NAME}]")]
    if kind in _JSON_KEYS:
        return _json_value(data, _JSON_KEYS[kind])
    if kind == "kubernetes.io/basic-auth" and not any(key in data for key in _BASIC_AUTH_KEYS):
        return [field.required(f"data[{key}]") for key in _BASIC_AUTH_KEYS]
    return [field.required(f"data[{key}]") for key in _REQUIRED_KEYS.get(kind, ()) if key not in data]


def _json_value(data: Mapping[str, str], key: str) -> Errors:
    value: Any = data.get(key)
    if value is None:
        return [field.required(f"data[{key}]")]
    try:
        jsontext.loads(base64text.decode(value))
    except DecodeError as error:
        return [field.invalid(f"data[{key}]", "<secret contents redacted>", str(error))]
    return []


def secret_update(new: Object, old: Object) -> Errors:
    """A Secret keeps its type, and its data when it is marked immutable."""
    wrong: Errors = []
    if new.get("type") != old.get("type"):
        wrong.append(field.invalid("type", text(new, "type"), IMMUTABLE))
    return wrong + _locked(new, old, "data")
