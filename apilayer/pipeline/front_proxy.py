"""An authenticating proxy: it proves itself by a certificate, and its headers say for whom it asks.

Source: Kubernetes documentation, "Authenticating Proxy".
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import unquote

import attrs

from apilayer.api import status
from apilayer.pipeline.authentication import InvalidCredential, User
from apilayer.pipeline.request import Repeated, values_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from apilayer.pipeline.request import Request


def _lowered(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name.lower() for name in names)


@attrs.frozen
class ProxyHeaders:
    """Which headers name the user, in lower case; of several the first that is there. Prefixes for extra."""

    user: tuple[str, ...] = attrs.field(converter=_lowered)
    uid: tuple[str, ...] = attrs.field(converter=_lowered)
    groups: tuple[str, ...] = attrs.field(converter=_lowered)
    extra: tuple[str, ...] = attrs.field(converter=_lowered)


class FrontProxy:
    """Believes the headers of whoever shows a certificate of the `trusted` authorities with an allowed common name."""

    def __init__(
        self,
        names: ProxyHeaders,
        allowed: Collection[str],
        trusted: Callable[[], Collection[str]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._names = names
        self._allowed = frozenset(allowed)
        self._trusted = trusted
        self._clock = clock

    def __call__(self, request: Request) -> User | None:
        """Whom the proxy names, None without a certificate or such headers; these are taken out once they are used.

        Raises InvalidCredential for a certificate that is no proxy's, StatusError 401 for a name given twice.
        """
        certificate = request.certificate
        if certificate is None:
            return None
        if certificate.authorities.isdisjoint(self._trusted()):
            raise InvalidCredential("x509: certificate signed by unknown authority")
        if self._clock() > certificate.expires:
            raise InvalidCredential("x509: certificate has expired or is not yet valid")
        if self._allowed and certificate.name not in self._allowed:
            raise InvalidCredential(f"x509: subject with cn={certificate.name} is not in the allowed list")
        headers, names = request.headers, self._names
        name = _one(headers, names.user)
        if not name:
            return None
        uid = _one(headers, names.uid)
        groups = [value for key in names.groups for value in values_of(headers.get(key, "")) if value]
        extra = _extra(headers, names.extra)
        for key in [*names.user, *names.uid, *names.groups, *_prefixed(headers, names.extra)]:
            headers.pop(key, None)
        return User(name, uid, tuple(groups), tuple(sorted((key, tuple(values)) for key, values in extra.items())))


def _one(headers: dict[str, str], names: Sequence[str]) -> str:
    """The value of the first of the headers that has one. Raises StatusError 401 when it has two.

    The proxy's own may be the second, behind the client's: neither is to be believed.
    """
    for name in names:
        value = headers.get(name, "")
        if isinstance(value, Repeated):
            raise status.unauthorized()
        if value:
            return value
    return ""


def _prefixed(headers: dict[str, str], prefixes: Sequence[str]) -> list[str]:
    return [name for prefix in prefixes for name in headers if name.startswith(prefix)]


def _extra(headers: dict[str, str], prefixes: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for prefix in prefixes:
        for name in headers:
            if name.startswith(prefix):
                found.setdefault(unquote(name[len(prefix) :]), []).extend(values_of(headers[name]))
    return found
