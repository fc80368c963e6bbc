"""Who is asking: the ways to prove it, in turn; a credential that is there and does not hold is never nobody's.

The order is kube-apiserver's: what the request itself shows (an authenticating proxy, a password, a certificate),
then bearer tokens (of the token file, of service accounts, and what else is configured), then nobody. Secrets never
leave this module: tokens are kept as digests and appear in no message.
"""

from __future__ import annotations

import csv
import hashlib
import logging
import time
from math import inf
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

import attrs
import msgspec

from apilayer.api import status
from apilayer.pipeline.authentication_counts import ERROR, FAILURE, SUCCESS, AuthenticationCounts
from apilayer.pipeline.request import Lasting, Repeated
from apilayer.pipeline.websocket import ProtocolTokenError, protocol_token

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

    from apilayer.pipeline.request import Request
    from apilayer.reloads import Reloads


AUTHENTICATED = "system:authenticated"
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"
UNAUTHENTICATED = "system:unauthenticated"

log = logging.getLogger("apilayer.pipeline.authentication")


class User(msgspec.Struct, frozen=True, cache_hash=True):
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


class InvalidCredential(Exception):
    """What the request shows does not hold; says why. Another way may still know who it is."""


class TokenError(Exception):
    """A bearer token that nobody has, or that does not hold; says why."""


class TokenWay(Protocol):
    """One way to know whom a bearer token names."""

    async def authenticate(self, token: str, audiences: Sequence[str] = ()) -> TokenUser:
        """The user, if the token holds for one of `audiences` (those of the API server by default).

        Raises NotOurs, InvalidToken, StoreError.
        """


class TokenFileError(Exception):
    """The token file cannot be used; says which line, never what it holds."""


def parse_token_file(lines: Iterable[str]) -> dict[bytes, User]:
    """Users by the digest of their token, from CSV ``token,user,uid,"group1,group2"``. Raises TokenFileError."""
    users: dict[bytes, User] = {}
    for where, (token, name, uid), groups in rows_of(lines, "token, user name, user uid"):
        if not token:
            raise TokenFileError(f"{where}: empty token")
        key = digest(token)
        if key in users:
            raise TokenFileError(f"{where}: the token occurs twice")
        users[key] = User(name, uid, (*groups, AUTHENTICATED))
    return users


def rows_of(lines: Iterable[str], columns: str) -> Iterable[tuple[str, list[str], tuple[str, ...]]]:
    """Each row of a file of users: which line, its three columns, groups. Raises TokenFileError."""
    for number, row in enumerate(csv.reader(lines), start=1):
        cells = [column.strip() for column in row]
        if not cells:
            continue
        if len(cells) < 3:
            raise TokenFileError(f"line {number}: must have at least 3 columns ({columns}), found {len(cells)}")
        groups = cells[3].split(",") if len(cells) > 3 else []
        yield f"line {number}", cells[:3], tuple(group.strip() for group in groups if group.strip())


def digest(secret: str) -> bytes:
    """What is kept instead of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def intended(audiences: Sequence[str], own: Sequence[str]) -> tuple[str, ...]:
    """For which audiences a token holds that knows none: the API server's `own`. Raises NotOurs when none is meant."""
    meant = tuple(name for name in audiences or own if name in own)
    if audiences and not meant:
        raise NotOurs("meant for others")
    return meant


class KnownTokens:
    """The tokens of the token file."""

    def __init__(self, users: Mapping[bytes, User], audiences: Sequence[str] = ()) -> None:
        self._audiences = tuple(audiences)
        self._users = {key: TokenUser(user, self._audiences) for key, user in users.items()}
        """With the audiences that they have when nobody asks for some."""

    async def authenticate(self, token: str, audiences: Sequence[str] = ()) -> TokenUser:
        """See `TokenWay`."""
        key = digest(token)
        found = self._users.get(key)
        if found is None:
            raise NotOurs("not in the file")
        return TokenUser(found.user, intended(audiences, self._audiences)) if audiences else found


class Certificates:
    """Client certificates that TLS has verified; `trusted` says which authorities count now (None: all of those)."""

    def __init__(
        self, trusted: Callable[[], Collection[str]] | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._trusted = trusted
        self._clock = clock
        self.counts: AuthenticationCounts | None = None
        """Where it is counted how long certificates still hold."""

    def __call__(self, request: Request) -> User | None:
        """Whom the certificate names, None for none. Raises InvalidCredential."""
        certificate = request.certificate
        if certificate is None:
            return None
        if self._trusted is not None and certificate.authorities.isdisjoint(self._trusted()):
            raise InvalidCredential("x509: certificate signed by unknown authority")
        remaining = certificate.expires - self._clock()
        if remaining < 0:
            raise InvalidCredential("x509: certificate has expired or is not yet valid")
        if certificate.flaw:
            raise InvalidCredential(certificate.flaw)
        if self.counts is not None and remaining < inf:
            self.counts.lifetimes.observe(remaining)
        if not certificate.name:
            return None
        extra = (CREDENTIAL_ID, (f"X509SHA256={certificate.fingerprint}",))
        return User(certificate.name, certificate.uid, certificate.groups, (extra,) if certificate.fingerprint else ())


@attrs.frozen
class Anonymous:
    """Whether requests without credentials are let in, as nobody; with `paths` for these alone."""

    enabled: bool = True
    paths: tuple[str, ...] = ()

    def admits(self, path: str) -> bool:
        """Whether somebody unknown may ask for the path (percent-decoded)."""
        return self.enabled and (not self.paths or path in self.paths)


class Authenticator:
    """Tries each way in turn; credentials that are there but wrong are an error, never the anonymous user.

    `audiences` are the API server's own: who the token file knows is known for these. `requests` are the ways that
    look at the request itself, `further` those for tokens beside the file and service accounts; `close` ends what they
    hold.
    """

    def __init__(
        self,
        tokens: Mapping[bytes, User],
        accounts: TokenWay | None = None,
        audiences: Sequence[str] = (),
        *,
        requests: Sequence[Callable[[Request], User | None]] = (Certificates(),),
        further: Sequence[TokenWay] = (),
        anonymous: Anonymous = Anonymous(),  # it never changes
        close: Callable[[], Awaitable[None]] | None = None,
        reloads: Reloads | None = None,
    ) -> None:
        known = [KnownTokens(tokens, audiences)] if tokens else []
        self._of_file = {key: _known(user) for key, user in tokens.items()}
        self._requests = tuple(requests)
        self._ways: tuple[TokenWay, ...] = (*known, *([] if accounts is None else [accounts]), *further)
        self._anonymous = anonymous
        self._close = close
        self.counts = AuthenticationCounts(reloads)
        for way in self._requests:
            if isinstance(way, Certificates):
                way.counts = self.counts

    async def aclose(self) -> None:
        """Closes the connections to whom the ways ask."""
        if self._close is not None:
            await self._close()

    async def authenticate(self, request: Request) -> User:
        """The user, ANONYMOUS without credentials. Raises StatusError 401 for credentials that do not hold, StoreError.

        A token that was accepted is taken out of the headers, so that nothing behind this can pass it on.
        """
        begun, result = perf_counter(), ERROR
        try:
            found = self._user(request)
            user = found if isinstance(found, User) else await found
            result = SUCCESS
        except status.StatusError as error:
            if error.__cause__ is None:
                result = FAILURE  # nobody, who is not let in
            raise
        finally:
            self.counts.attempt(result, perf_counter() - begun)
        self.counts.request_of(user.name)
        return user

    def _user(self, request: Request) -> User | Awaitable[User]:
        """See `authenticate`; to be awaited where somebody has to be asked."""
        refused: Exception | None = None
        for way in self._requests:
            try:
                user = way(request)
            except InvalidCredential as error:
                refused = error
                continue
            if user is not None:
                return _known(user)
        if self._of_file and (found := self._of_file.get(_token_digest(request))):
            request.headers.pop("authorization", None)
            return found
        token = _bearer_token(request)
        if token:
            return self._of_bearer(request, token)
        if refused is not None:
            log.debug("unable to authenticate the request: %s", refused)
            raise status.unauthorized() from refused
        if not self._anonymous.admits(request.path):
            raise status.unauthorized()
        return ANONYMOUS

    async def _of_bearer(self, request: Request, token: str) -> User:
        try:
            found = (await self.of_token(token)).user
        except TokenError as error:
            log.debug("unable to authenticate the request: %s", error)
            raise status.unauthorized() from error
        request.headers.pop("authorization", None)
        return _known(found)

    async def of_token(self, token: str, audiences: Sequence[str] = ()) -> TokenUser:
        """Who the token names, if it holds for one of the audiences ((): those of the API server).

        Raises TokenError, StoreError.
        """
        reasons: list[str] = []
        for way in self._ways:
            try:
                return await way.authenticate(token, audiences)
            except NotOurs:
                continue
            except InvalidToken as error:
                reasons.append(str(error).replace(token, "<token>"))
        if not reasons:
            raise TokenError("invalid bearer token")
        raise TokenError(f"[{', '.join(('invalid bearer token', *reasons))}]")


def _known(user: User) -> User:
    """With the group of everybody who is known, unless a way has said otherwise."""
    if AUTHENTICATED in user.groups or UNAUTHENTICATED in user.groups:
        return user
    return msgspec.structs.replace(user, groups=(*user.groups, AUTHENTICATED))


def _token_digest(request: Request) -> bytes:
    """The digest of the request's bearer token, b"" without one. Raises StatusError 401."""
    header = request.headers.get("authorization", "")
    if isinstance(header, Lasting) and header.digest:
        return header.digest
    token = _bearer_token(request)
    key = digest(token) if token else b""
    if isinstance(header, Lasting):
        header.digest = key
    return key


def _bearer_token(request: Request) -> str:
    """The token of the Authorization header, else of a WebSocket request, "" for none. Raises StatusError 401."""
    header = request.headers.get("authorization", "")
    if isinstance(header, Repeated):
        # Whoever sees one of them only, a proxy before us for instance, may have checked the other.
        raise status.unauthorized()
    scheme, _, token = header.strip().partition(" ")
    if scheme.lower() == "bearer" and (token := token.strip()):
        return token
    if "upgrade" not in request.headers:
        return ""
    try:
        return protocol_token(request.headers)
    except ProtocolTokenError as error:
        raise status.unauthorized() from error
