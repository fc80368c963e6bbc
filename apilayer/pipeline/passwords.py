"""Static passwords: HTTP basic authentication by a file, as kube-apiserver had it until 1.18."""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import TYPE_CHECKING

from apilayer.api import status
from apilayer.pipeline.authentication import InvalidCredential, TokenFileError, User, digest, rows_of
from apilayer.pipeline.request import Repeated

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from apilayer.pipeline.request import Request

_NOBODY = (bytes(32), User(""))


def parse_password_file(lines: Iterable[str]) -> dict[str, tuple[bytes, User]]:
    """Digest of the password, and user, by name, from CSV ``password,user,uid,"group1,group2"``.

    Raises TokenFileError, which says which line, never what it holds.
    """
    users: dict[str, tuple[bytes, User]] = {}
    for where, (password, name, uid), groups in rows_of(lines, "password, user name, user uid"):
        if not password or not name:
            raise TokenFileError(f"{where}: empty {'user name' if password else 'password'}")
        if name in users:
            raise TokenFileError(f"{where}: the user occurs twice")
        users[name] = (digest(password), User(name, uid, groups))
    return users


class Passwords:
    """Users by name and password."""

    def __init__(self, users: Mapping[str, tuple[bytes, User]]) -> None:
        self._users = users

    def __call__(self, request: Request) -> User | None:
        """Whom the Authorization header names, None for one of another kind. Raises InvalidCredential."""
        header = request.headers.get("authorization", "")
        if isinstance(header, Repeated):
            raise status.unauthorized()
        scheme, _, encoded = header.strip().partition(" ")
        if scheme.lower() != "basic":
            return None
        name, password = _decoded(encoded.strip())
        expected, user = self._users.get(name, _NOBODY)
        if not hmac.compare_digest(digest(password), expected):
            raise InvalidCredential("invalid username/password combination")
        request.headers.pop("authorization", None)
        return user


def _decoded(encoded: str) -> tuple[str, str]:
    try:
        name, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError) as error:
        raise InvalidCredential("malformed basic credentials") from error
    if not colon:
        raise InvalidCredential("malformed basic credentials")
    return name, password
