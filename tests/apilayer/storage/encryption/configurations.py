"""Encryption configurations for tests, and a store that seals by one."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import orjson

from apilayer.storage.encryption.configuration import parse
from apilayer.storage.encryption.store import EncryptedStore, Transformers
from apilayer.storage.prefix import Prefix

if TYPE_CHECKING:
    from apilayer.storage.interface import Store

Object = dict[str, Any]

KEYS = {name: base64.b64encode(bytes((ord(name),)) * 32).decode() for name in "abc"}
IDENTITY: Object = {"identity": {}}


def keyed(kind: str, *names: str) -> Object:
    """A provider with keys of these names."""
    return {kind: {"keys": [{"name": name, "secret": KEYS[name]} for name in names]}}


def rule(providers: list[Object], *resources: str) -> Object:
    return {"resources": list(resources), "providers": providers}


def document(*rules: Object) -> bytes:
    return orjson.dumps(
        {"kind": "EncryptionConfiguration", "apiVersion": "apiserver.config.k8s.io/v1", "resources": list(rules)}
    )


def transformers(*rules: Object) -> Transformers:
    return Transformers(parse(document(*rules)))


def sealing(store: Store, *rules: Object, prefix: str = "/registry") -> EncryptedStore:
    return EncryptedStore(store, transformers(*rules), Prefix(prefix))
