"""A KMS v2 plugin: grpcio's server on a unix socket, with messages of Google's runtime from their description."""

from __future__ import annotations

import os
from concurrent import futures
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BYTES, TEXT, NUMBER, MAP = "bytes", "string", "int32", "map<string, bytes>"
_TYPES = {BYTES: 12, TEXT: 9, NUMBER: 5}
_MESSAGES = {
    "StatusRequest": {},
    "StatusResponse": {"version": (1, TEXT), "healthz": (2, TEXT), "key_id": (3, TEXT)},
    "EncryptRequest": {"plaintext": (1, BYTES), "uid": (2, TEXT)},
    "EncryptResponse": {"ciphertext": (1, BYTES), "key_id": (2, TEXT), "annotations": (3, MAP)},
    "DecryptRequest": {"ciphertext": (1, BYTES), "uid": (2, TEXT), "key_id": (3, TEXT), "annotations": (4, MAP)},
    "DecryptResponse": {"plaintext": (1, BYTES)},
    "EncryptedObject": {
        "encryptedData": (1, BYTES),
        "keyID": (2, TEXT),
        "encryptedDEKSource": (3, BYTES),
        "annotations": (4, MAP),
        "encryptedDEKSourceType": (5, NUMBER),
    },
}
"""Of Kubernetes' ``kms/apis/v2`` and ``envelope/kmsv2/v2``."""


def _described() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="tests/kms.proto", package="tests.kms", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            if kind != MAP:
                message.field.add(name=field, number=number, type=_TYPES[kind], label=1)
                continue
            pair = message.nested_type.add(name=f"{field.capitalize()}Entry")
            pair.options.map_entry = True
            pair.field.add(name="key", number=1, type=_TYPES[TEXT], label=1)
            pair.field.add(name="value", number=2, type=_TYPES[BYTES], label=1)
            message.field.add(name=field, number=number, type=11, label=3, type_name=f".tests.kms.{name}.{pair.name}")
    return file


_pool = descriptor_pool.DescriptorPool()
_pool.Add(_described())
MESSAGES: dict[str, Any] = {
    name: message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"tests.kms.{name}")) for name in _MESSAGES
}


class Plugin:
    """Seals with the key that is current; opens with every key that it has not lost."""

    def __init__(self) -> None:
        self.key_id = "key-1"
        self.keys = {"key-1": os.urandom(32)}
        self.healthz = "ok"
        self.claims = ""
        """A key that it says it has sealed with, which is not the one that its status names."""
        self.asked: list[str] = []

    def rotate(self, key_id: str) -> None:
        self.keys[key_id] = os.urandom(32)
        self.key_id = key_id

    def status(self, request: Any, context: Any) -> Any:
        self.asked.append("Status")
        return MESSAGES["StatusResponse"](version="v2", healthz=self.healthz, key_id=self.key_id)

    def encrypt(self, request: Any, context: Any) -> Any:
        self.asked.append("Encrypt")
        nonce = os.urandom(12)
        sealed = nonce + AESGCM(self.keys[self.key_id]).encrypt(nonce, request.plaintext, None)
        annotations = {"version.kms.example.com": b"1"}
        return MESSAGES["EncryptResponse"](
            ciphertext=sealed, key_id=self.claims or self.key_id, annotations=annotations
        )

    def decrypt(self, request: Any, context: Any) -> Any:
        self.asked.append("Decrypt")
        assert dict(request.annotations) == {"version.kms.example.com": b"1"}
        assert request.uid
        key = self.keys.get(request.key_id)
        if key is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no key {request.key_id}")
        try:
            plain = AESGCM(key).decrypt(request.ciphertext[:12], request.ciphertext[12:], None)
        except InvalidTag:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "tampered")
        return MESSAGES["DecryptResponse"](plaintext=plain)


def _handler(plugin: Plugin) -> grpc.GenericRpcHandler:
    def method(name: str) -> grpc.RpcMethodHandler:
        return grpc.unary_unary_rpc_method_handler(
            getattr(plugin, name.lower()),
            request_deserializer=MESSAGES[f"{name}Request"].FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )

    methods = {name: method(name) for name in ("Status", "Encrypt", "Decrypt")}
    return grpc.method_handlers_generic_handler("v2.KeyManagementService", methods)


@contextmanager
def serving(plugin: Plugin, socket: Path) -> Iterator[str]:
    """The plugin's endpoint."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    server.add_generic_rpc_handlers((_handler(plugin),))
    server.add_insecure_port(f"unix://{socket}")
    server.start()
    try:
        yield f"unix://{socket}"
    finally:
        server.stop(0).wait()
