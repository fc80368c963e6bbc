"""Who is asking: a verified client certificate, else a bearer token (of the token file, of a service account), else
nobody.

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
    from collections.abc import Iterable, Mapping, Sequence

    from apilayer.pipeline.account_tokens import AccountTokens
    from apilayer.pipeline.request import Request


AUTHENTICATED = "system:authenticated"
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"
UNAUTHENTICATED = "system:unauthenticated"


@attrs.frozen
class User:
    """An authenticated (or anonymous) user."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """What else is known, by name, in the order of the names."""


ANONYMOUS = User("system:anonymous", groups=(UNAUTHENTICATED,))


@attrs.frozen
class TokenUser:
    """Who a token names, and for which of the audiences that were asked for it holds."""

    user: User
    audiences: tuple[str, ...]


class NotOurs(Exception):
    """The token is none that this way of authentication knows: another may."""


class InvalidToken(Exception):
    """The token is known and does not hold (any more); says why."""


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
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


class TokenError(Exception):
    """A bearer token that nobody has, or that does not hold; says why."""


class Authenticator:
    """Tries each way in turn; credentials that are there but wrong are an error, never the anonymous user.

    `audiences` are the API server's own: who the token file knows is known for these.
    """

    def __init__(
        self, tokens: Mapping[bytes, User], accounts: AccountTokens | None = None, audiences: Sequence[str] = ()
    ) -> None:
        self._tokens = tokens
        self._accounts = accounts
        self._audiences = tuple(audiences)

    async def authenticate(self, request: Request) -> User:
        """The user, ANONYMOUS without credentials. Raises StatusError 401 for a token that does not hold."""
        certificate = request.certificate
        if certificate is not None:
            extra = (CREDENTIAL_ID, (f"X509SHA256={certificate.fingerprint}",))
            groups = (*certificate.groups, AUTHENTICATED)
            return User(certificate.name, certificate.uid, groups, (extra,) if certificate.fingerprint else ())
        token = _bearer_token(request)
        if not token:
            return ANONYMOUS
        try:
            return (await self.of_token(token)).user
        except TokenError as error:
            raise status.unauthorized() from error

    async def of_token(self, token: str, audiences: Sequence[str] = ()) -> TokenUser:
        """Who the token names, if it holds for one of the audiences ((): those of the API server).

        Raises TokenError, StoreError.
        """
        user = self._tokens.get(_digest(token))
        if user is not None:
            meant = tuple(name for name in audiences or self._audiences if name in self._audiences)
            if audiences and not meant:
                raise TokenError("invalid bearer token")
            return TokenUser(user, meant)
        if self._accounts is None:
            raise TokenError("invalid bearer token")
        try:
            return await self._accounts.authenticate(token, audiences)
        except NotOurs as error:
            raise TokenError("invalid bearer token") from error
        except InvalidToken as error:
            raise TokenError(f"[invalid bearer token, {error}]") from error


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
