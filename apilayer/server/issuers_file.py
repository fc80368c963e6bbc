"""The issuers of ``--authentication-config``: the file is looked at again, and counts as soon as it has changed."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import trio

from apilayer.files import FileError, read_bounded
from apilayer.later import Later
from apilayer.pipeline.authentication import InvalidToken, NotOurs
from apilayer.reloads import LOOK_SECONDS, Reloads
from apilayer.server.errors import OptionsError
from apilayer.server.retiring import Retiring

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence
    from pathlib import Path

    import yaml

    from apilayer.pipeline.authentication import TokenUser, TokenWay
    from apilayer.pipeline.oidc.claims import JwtIssuer
    from apilayer.pipeline.oidc.configuration import Configuration
else:
    yaml = Later("yaml")

FLAG = "--authentication-config"
MAX_FILE_BYTES = 1024 * 1024
CACHE_SECONDS = 10.0

log = logging.getLogger("apilayer.server.authentication")


class Issuers:
    """Issuers, as one way of authentication."""

    def __init__(self, issuers: Sequence[JwtIssuer]) -> None:
        self.now = tuple(issuers)
        self._audiences: tuple[str, ...] = ()
        self._ways: list[TokenWay] = []
        self._closing: list[Callable[[], Awaitable[None]]] = []
        self._retiring = Retiring()

    def over(self, audiences: Sequence[str]) -> TokenWay:
        """The way; `audiences` are the API server's own."""
        self._audiences = tuple(audiences)
        self.use(self.now)
        return self

    def use(self, issuers: Sequence[JwtIssuer]) -> None:
        """These count from now on; what was remembered of tokens is forgotten."""
        from apilayer.pipeline.oidc.provider import OidcTokens, Provider
        from apilayer.pipeline.token_cache import TokenCache

        providers = [(issuer, Provider(issuer)) for issuer in issuers]
        self._retiring.add(*self._closing)
        self.now = tuple(issuers)
        self._closing = [provider.aclose for _, provider in providers]
        self._ways = [
            TokenCache(OidcTokens(issuer, provider, self._audiences, time.time), CACHE_SECONDS)
            for issuer, provider in providers
        ]

    async def authenticate(self, token: str, audiences: Sequence[str] = ()) -> TokenUser:
        """See `TokenWay`."""
        reasons = []
        for way in self._ways:
            try:
                return await way.authenticate(token, audiences)
            except NotOurs:
                continue
            except InvalidToken as error:
                reasons.append(str(error))
        if reasons:
            raise InvalidToken(", ".join(reasons))
        raise NotOurs("of no issuer that is known")

    async def sweep(self) -> None:
        """Closes connections to issuers of former times."""
        await self._retiring.sweep()

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._retiring.aclose()
        for close in self._closing:
            await close()


class IssuersFile:
    """A file of issuers; `disallowed` are the names that the API server issues tokens under itself."""

    def __init__(self, path: Path, disallowed: Collection[str]) -> None:
        """Raises OptionsError."""
        self._path = path
        self._disallowed = disallowed
        self._data, self.configuration = self._read()
        self.issuers = Issuers(self.configuration.issuers)
        self._refused = ""
        self.reloads = Reloads()
        self.reloads.holds(self._data)

    def _read(self) -> tuple[bytes, Configuration]:
        from apilayer.pipeline.oidc.configuration import ConfigurationError, parse_configuration

        try:
            data = read_bounded(self._path, MAX_FILE_BYTES)
            document: Any = yaml.safe_load(data)
            return data, parse_configuration(document, self._disallowed)
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            raise OptionsError(f"{FLAG}: {self._path}: not YAML") from error
        except (FileError, ConfigurationError) as error:
            raise OptionsError(f"{FLAG}: {self._path}: {error}") from error

    async def run(self) -> None:
        """Looks at the file again and again."""
        while True:
            await trio.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Does as the file says now. One that cannot be used changes nothing; that is told, and counted, once."""
        await self.issuers.sweep()
        try:
            data, configuration = self._read()
            if configuration.anonymous != self.configuration.anonymous:
                raise OptionsError(
                    f"{FLAG}: {self._path}: anonymous: Forbidden: changed from initial configuration file"
                )
        except OptionsError as error:
            if str(error) != self._refused:
                self._refused = str(error)
                self.reloads.failed(time.time())
                log.error("failed to reload authentication config: %s", error)
            return
        self._refused = ""
        if data != self._data:
            self._data = data
            if configuration.issuers != self.issuers.now:
                self.issuers.use(configuration.issuers)
            self.reloads.taken_up(data, time.time())
            log.info("reloaded authentication config")
