"""gRPC's server reflection, by which grpcurl and the like learn our services; v1 and v1alpha differ in name alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pb2

from kvraft.errors import TooManyRequests
from kvraft.wire.etcd import reflection_pb2, reflection_v1alpha_pb2
from kvraft.wire.etcd.pool import POOL

if TYPE_CHECKING:
    from google.protobuf.descriptor import FileDescriptor

    from kvraft.server.etcd.call import Call
    from kvraft.server.etcd.services import EtcdServices

V1 = reflection_pb2
V1ALPHA = reflection_v1alpha_pb2
NOT_FOUND = 5
UNIMPLEMENTED = 12


class Reflection:
    """One call; see ``call.Handler``."""

    def __init__(self, services: EtcdServices, version: Any, call: Call) -> None:
        self._services = services
        self._pb = version
        self._call = call

    def message(self, message: Any) -> None:
        """One question, one answer."""
        if self._call.full:
            self._call.fail(TooManyRequests())
            return
        answer = self._pb.ServerReflectionResponse(valid_host=message.host, original_request=message)
        match message.WhichOneof("message_request"):
            case "list_services":
                names = sorted({path.split("/")[1] for path in self._services.methods})
                for name in names:
                    answer.list_services_response.service.add(name=name)
            case "file_by_filename":
                self._file(answer, message.file_by_filename, _by_name)
            case "file_containing_symbol":
                self._file(answer, message.file_containing_symbol, _by_symbol)
            case "all_extension_numbers_of_type":
                name = message.all_extension_numbers_of_type
                answer.all_extension_numbers_response.base_type_name = name  # none of our messages has any
            case "file_containing_extension":
                self._error(answer, NOT_FOUND, "there are no extensions")
            case _:
                self._error(answer, UNIMPLEMENTED, "no such question")
        self._call.send(answer.SerializeToString())

    def _file(self, answer: Any, name: str, find: Any) -> None:
        try:
            file = find(name)
        except KeyError:
            self._error(answer, NOT_FOUND, f"{name} is not known")
            return
        found: dict[str, FileDescriptor] = {}
        _with_dependencies(file, found)
        for each in found.values():
            proto = descriptor_pb2.FileDescriptorProto()
            each.CopyToProto(proto)
            answer.file_descriptor_response.file_descriptor_proto.append(proto.SerializeToString())

    @staticmethod
    def _error(answer: Any, code: int, text: str) -> None:
        answer.error_response.error_code = code
        answer.error_response.error_message = text

    def half_closed(self) -> None:
        """No more questions."""
        self._call.end()

    def drained(self) -> None:
        """Nothing waits for it."""

    def closed(self) -> None:
        """There is nothing to let go of."""


def _by_name(name: str) -> Any:
    return POOL.FindFileByName(name)


def _by_symbol(symbol: str) -> Any:
    return POOL.FindFileContainingSymbol(symbol)


def _with_dependencies(file: FileDescriptor, found: dict[str, FileDescriptor]) -> None:
    """``file`` first, then what it imports."""
    if file.name not in found:
        found[file.name] = file
        for imported in file.dependencies:
            _with_dependencies(imported, found)
