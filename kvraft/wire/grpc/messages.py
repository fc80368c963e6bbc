"""Messages on a stream: a byte that says whether it is compressed, four bytes of length, the message."""

from __future__ import annotations

import zlib

from kvraft.wire.grpc.status import Internal, MessageTooLarge, Unimplemented

PREFIX_BYTES = 5
_GZIP_WINDOW = 31  # zlib's way to say gzip, with its largest window


def framed(message: bytes) -> bytes:
    """A message with its prefix, not compressed."""
    return b"\0" + len(message).to_bytes(4) + message


class MessageDecoder:
    """Cuts the data of one stream into messages. After an error the stream is beyond repair.

    ``max_bytes`` bounds a message, compressed and not; ``encoding`` is the stream's ``grpc-encoding``.
    """

    __slots__ = ("_encoding", "_max", "_rest")

    def __init__(self, max_bytes: int, encoding: str = "") -> None:
        self._max = max_bytes
        self._encoding = encoding
        self._rest: bytes | bytearray = b""

    @property
    def buffered_bytes(self) -> int:
        """What has come of a message that is not complete."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that ``data`` completes. Raises Internal, MessageTooLarge or Unimplemented."""
        if self._rest:
            self._rest += data
            if PREFIX_BYTES + int.from_bytes(self._rest[1:PREFIX_BYTES]) > len(self._rest) >= PREFIX_BYTES:
                return []
            data = bytes(self._rest)
        messages: list[bytes] = []
        position, size = 0, len(data)
        while size - position >= PREFIX_BYTES:
            flag = data[position]
            length = int.from_bytes(data[position + 1 : position + PREFIX_BYTES])
            if length > self._max:
                raise MessageTooLarge(f"{MessageTooLarge.text} ({length} vs. {self._max})")
            end = position + PREFIX_BYTES + length
            if end > size:
                break
            message = data[position + PREFIX_BYTES : end]
            messages.append(self._decompressed(flag, message) if flag else message)
            position = end
        # A mutable copy only of what is incomplete: the next data is added to it in place.
        self._rest = bytearray(data[position:]) if position < size else b""
        return messages

    def _decompressed(self, flag: int, message: bytes) -> bytes:
        if flag != 1:
            raise Internal(f"grpc: received unexpected payload format {flag}")
        if self._encoding in ("", "identity"):
            raise Internal("grpc: compressed flag set with identity or empty encoding")
        if self._encoding != "gzip":
            raise Unimplemented(f'grpc: Decompressor is not installed for grpc-encoding "{self._encoding}"')
        inflater = zlib.decompressobj(_GZIP_WINDOW)
        try:
            plain = inflater.decompress(message, self._max + 1)
        except zlib.error as error:
            raise Internal(f"grpc: failed to decompress the received message: {error}") from error
        if len(plain) > self._max:
            raise MessageTooLarge(f"grpc: received message after decompression larger than max {self._max}")
        if not inflater.eof or inflater.unused_data:
            raise Internal("grpc: failed to decompress the received message: unexpected EOF")
        return plain
