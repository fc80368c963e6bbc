"""Who is asking: a verified client certificate, else a bearer token from the token file, else nobody.

Secrets never leave this module: tokens are kept as digests and appear in no message.
"""

from __future__ import annotations

import csv
import hashlib
from typing import TYPE_CHECKING

import attrs

from apilayer.api import status
from apilayer.pipeline.websocket import ProtocolTokenError, protocol_token

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from apilayer.pipeline.request import Request

AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"


@attrs.frozen
class User:
    """An authenticated (or anonymous) user."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()


ANONYMOUS = User("system:anonymous", groups=(UNAUTHENTICATED,))


class TokenFileError(Exception):
    """The token file cannot be used; says which line, never what it holds."""


def parse_token_file(lines: Iterable[str]) -> dict[bytes, User]:
    """Users by the digest of their token, from CSV ``token,user,uid,"group1,group2"``. Raises TokenFileError."""
    users: dict[bytes, User] = {}
    for number, row in enumerate(csv.reader(lines), start=1):
        columns = [column.strip() for column in row]
        if not columns:
            continue
        if len(columns) < 3:
            raise TokenFileError(
                f"line {number}: must have at least 3 columns (token, user name, user uid), found {len(columns)}"
            )
        token, name, uid = columns[:3]
        if not token:
            raise TokenFileError(f"line {number}: empty token")
        groups = [group.strip() for group in columns[3].split(",")] if len(columns) > 3 else []
        digest = _digest(token)
        if digest in users:
            raise TokenFileError(f"line {number}: the token occurs twice")
        users[digest] = User(name, uid, (*(group for group in groups if group), AUTHENTICATED))
    return users


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


class Authenticator:
    """Tries each way in turn; credentials that are there but wrong are an error, never the anonymous user."""

    def __init__(self, tokens: Mapping[bytes, User]) -> None:
        self._tokens = tokens

    def authenticate(self, request: Request) -> User:
        """The user, ANONYMOUS without credentials. Raises StatusError 401 for a token that nobody has."""
        certificate = request.certificate
        if certificate is not None:
            return User(certificate.name, groups=(*certificate.groups, AUTHENTICATED))
        token = _bearer_token(request)
        if not token:
            return ANONYMOUS
        user = self._tokens.get(_digest(token))
        if user is None:
            raise status.unauthorized()
        return user


def _bearer_token(request: Request) -> str:
    """The token of the Authorization header, else of a WebSocket request, "" for none. Raises StatusError 401."""
    scheme, _, token = request.headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    if "upgrade" not in request.headers:
        return ""
    try:
        return protocol_token(request.headers)
    except ProtocolTokenError as error:
        raise status.unauthorized() from error
