"""Bytes as Go writes them between quotes, and the words of a line that is typed into ``txn`` or ``watch -i``."""

from __future__ import annotations

import re

_ESCAPES = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, '"': 34, "'": 39}
_NAMES = {code: f"\\{letter}" for letter, code in _ESCAPES.items() if letter != "'"}
_ESCAPE = re.compile(
    r"""\\(?:([abfnrtv\\"'])|x([0-9a-fA-F]{2})|([0-7]{3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))""",
)
_WORD = re.compile(r""""(?:[^"\\]|\\.)*"|'[^']*'|[^'"\s]\S*[^'"\s]?""")
QUOTED = r'"(?:[^"\\\n]|\\.)*"|`[^`]*`'
"""What Go reads as a quoted string, as a pattern."""


class BadQuoting(ValueError):
    """What stands between quotes cannot be read."""


def quote(data: bytes) -> str:
    r"""As Go's ``%q``: ``"a\x00\n"``; what is no UTF-8 byte by byte."""
    out = ['"']
    for character in data.decode("utf-8", "surrogateescape"):
        code = ord(character)
        if code in _NAMES:
            out.append(_NAMES[code])
        elif 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8
            out.append(f"\\x{code - 0xDC00:02x}")
        elif character.isprintable():
            out.append(character)
        elif code < 0x80:
            out.append(f"\\x{code:02x}")
        else:
            out.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return "".join(out) + '"'


def unquote(text: str) -> bytes:
    """The bytes of a quoted string. Raises ``BadQuoting``."""
    if len(text) < 2 or text[0] != text[-1] or text[0] not in '"`':
        raise BadQuoting("invalid syntax")
    inner = text[1:-1]
    if text[0] == "`":
        return encode(inner)
    out = bytearray()
    at = 0
    while at < len(inner):
        if inner[at] == '"':
            raise BadQuoting("invalid syntax")
        if inner[at] != "\\":
            out += encode(inner[at])
            at += 1
            continue
        found = _ESCAPE.match(inner, at)
        if found is None or found[1] == "'":
            raise BadQuoting("invalid syntax")
        out += _escaped(found)
        at = found.end()
    return bytes(out)


def _escaped(found: re.Match[str]) -> bytes:
    letter, byte, octal, short, long = found.groups()
    if letter:
        return bytes((_ESCAPES[letter],))
    if byte or octal:
        code = int(byte, 16) if byte else int(octal, 8)
        if code > 0xFF:
            raise BadQuoting("invalid syntax")
        return bytes((code,))
    code = int(short or long, 16)
    if code > 0x10FFFF or 0xD800 <= code < 0xE000:
        raise BadQuoting("invalid syntax")
    return chr(code).encode()


def words(line: str) -> list[str]:
    """The words of a line: bare, in single quotes, or in double quotes with Go's escapes. Raises ``BadQuoting``."""
    found = []
    for word in _WORD.findall(line):
        if word[0] == "'":
            found.append(word[1:-1])
        elif word[0] == '"':
            found.append(unquote(word).decode("utf-8", "surrogateescape"))
        else:
            found.append(word)
    return found


def encode(text: str) -> bytes:
    """The bytes of an argument, or of a line, that Python has decoded."""
    return text.encode("utf-8", "surrogateescape")


def decode(data: bytes) -> str:
    """The other way round: for text that is printed with ``surrogateescape``."""
    return data.decode("utf-8", "surrogateescape")
