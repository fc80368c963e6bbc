"""Base64 of byte fields, with the offset of the first fault as Go's decoder reports it."""

from __future__ import annotations

import binascii

_ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")


class Base64Error(ValueError):
    """The text is no base64; the message is Go's."""


def canonical(text: str) -> str:
    """`text` as standard base64 without line breaks; Base64Error names the first bad byte."""
    return encode(decode(text))


def decode(text: str) -> bytes:
    """The bytes that `text` encodes; line breaks are skipped as Go does."""
    compact = text.replace("\n", "").replace("\r", "") if "\n" in text or "\r" in text else text
    try:
        return binascii.a2b_base64(compact, strict_mode=True)
    except ValueError as error:
        offset = _fault(text)
        if offset is None:  # only Go's leniency about unused trailing bits gets here
            return binascii.a2b_base64(compact)
        raise Base64Error(f"illegal base64 data at input byte {offset}") from error


def encode(data: bytes) -> str:
    """`data` as standard base64 with padding."""
    return binascii.b2a_base64(data, newline=False).decode()


def _fault(text: str) -> int | None:
    """Offset of the first fault in bytes, or None when there is none."""
    symbols = [(offset, char) for offset, char in enumerate(text) if char not in "\r\n"]
    for start in range(0, len(symbols), 4):
        quantum = symbols[start : start + 4]
        for index, (offset, char) in enumerate(quantum):
            if char in _ALPHABET:
                continue
            if char != "=" or index < 2:
                return offset
            if index == 2 and len(quantum) < 4:
                return len(text)
            if index == 2 and quantum[3][1] != "=":
                return quantum[3][0] - 1
            following = symbols[start + 4 :]
            return following[0][0] if following else None
        if len(quantum) < 4:
            return quantum[-1][0] + 1 - len(quantum)
    return None
