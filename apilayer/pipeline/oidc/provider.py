"""An issuer on the network: its discovery document and its keys, fetched when they are needed and when they change."""

from __future__ import annotations

import logging
from math import inf
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson
import trio

from apilayer.api.gotext import quote
from apilayer.outbound.client import Client, OutboundError
from apilayer.outbound.target import Target, TargetError
from apilayer.pipeline.authentication import InvalidToken, NotOurs, TokenUser, intended
from apilayer.pipeline.oidc.claims import check_audience, check_times, user_of
from apilayer.pipeline.oidc.signatures import UnknownKey, parse_keys, unverified_issuer, verified_claims

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from apilayer.pipeline.oidc.claims import JwtIssuer
    from apilayer.pipeline.oidc.signatures import PublishedKey

    Object = dict[str, Any]

WELL_KNOWN = "/.well-known/openid-configuration"
REQUEST_SECONDS = 10.0
MIN_REFRESH_SECONDS = 2.0
"""Tokens of unknown keys make us ask again, but no more often than so."""
MAX_AGE_SECONDS = 600.0
"""A key that the issuer has taken back is believed for no longer than so."""

log = logging.getLogger("apilayer.pipeline.oidc")


class ProviderError(Exception):
    """The issuer cannot be asked, or what it says cannot be used."""


class Provider:
    """One issuer's keys. Close it at the end."""

    def __init__(self, issuer: JwtIssuer) -> None:
        """Raises TargetError when the issuer's authorities cannot be used."""
        self._issuer = issuer
        self.keys: tuple[PublishedKey, ...] = ()
        self._discovery = self._client(issuer.discovery_url or issuer.url.rstrip("/") + WELL_KNOWN)
        self._key_set: Client | None = None
        self._fetched = -inf
        self._tried = -inf
        self._asking = trio.Lock()

    async def aclose(self) -> None:
        """Closes the connections."""
        for client in (self._discovery, self._key_set):
            if client is not None:
                await client.aclose()

    async def up_to_date(self) -> None:
        """Returns with keys that are not too old; with old ones while the issuer does not answer."""
        if trio.current_time() - self._fetched >= MAX_AGE_SECONDS:
            await self.refresh()

    async def refresh(self) -> None:
        """Fetches the keys, unless that was tried a moment ago. What fails is logged, and the keys stay."""
        asked = trio.current_time()
        async with self._asking:
            if self._tried >= asked or asked - self._tried < MIN_REFRESH_SECONDS:
                return
            try:
                self.keys = await self._fetch()
                self._fetched = trio.current_time()
            except (ProviderError, OutboundError, TargetError) as error:
                log.warning("oidc authenticator: keys of %s cannot be fetched: %s", self._issuer.url, error)
                await self._forget_where()
            self._tried = trio.current_time()

    async def _fetch(self) -> tuple[PublishedKey, ...]:
        if self._key_set is None:
            self._key_set = self._client(await self._discovered())
        document = await _json(self._key_set)
        try:
            return parse_keys(document)
        except ValueError as error:
            raise ProviderError(f"oidc: failed to decode keys: {error}") from error

    async def _forget_where(self) -> None:
        """The keys may have moved: next time the discovery document is asked first."""
        client, self._key_set = self._key_set, None
        if client is not None:
            await client.aclose()

    async def _discovered(self) -> str:
        """Where the keys are."""
        document = await _json(self._discovery)
        said = document.get("issuer")
        if said != self._issuer.url:
            raise ProviderError(
                "oidc: issuer did not match the issuer returned by provider,"
                f" expected {quote(self._issuer.url)} got {quote(str(said))}"
            )
        uri = document.get("jwks_uri")
        if not isinstance(uri, str) or not uri.startswith("https://"):
            raise ProviderError("oidc: jwks_uri is no https URL")
        return uri

    def _client(self, url: str) -> Client:
        return Client(Target(url, self._issuer.authorities), timeout_seconds=REQUEST_SECONDS)


async def _json(client: Client) -> Object:
    """What is at the client's URL. Raises ProviderError, OutboundError."""
    query = urlsplit(client.target.url).query
    answer = await client.send("GET", f"?{query}" if query else "", headers=[("Accept", "application/json")])
    if answer.status != 200:
        raise ProviderError(f"{answer.status} from {client.target.url}")
    try:
        document = orjson.loads(answer.body)
    except orjson.JSONDecodeError as error:
        raise ProviderError(f"no JSON from {client.target.url}") from error
    if not isinstance(document, dict):
        raise ProviderError(f"no JSON object from {client.target.url}")
    return document


class OidcTokens:
    """Tokens of one issuer, as a way of authentication. `now` is in seconds since 1970."""

    def __init__(self, issuer: JwtIssuer, provider: Provider, own: Sequence[str], now: Callable[[], float]) -> None:
        self._issuer = issuer
        self._provider = provider
        self._own = tuple(own)
        self._now = now

    async def authenticate(self, token: str, audiences: Sequence[str] = ()) -> TokenUser:
        """See `TokenWay`."""
        if unverified_issuer(token) != self._issuer.url:
            raise NotOurs("of another issuer")
        meant = intended(audiences, self._own)
        claims = await self._verified(token)
        check_audience(self._issuer, claims)
        check_times(claims, self._now())
        return TokenUser(user_of(self._issuer, claims), meant)

    async def _verified(self, token: str) -> Object:
        provider, allowed = self._provider, self._issuer.algorithms
        await provider.up_to_date()
        try:
            return verified_claims(token, provider.keys, allowed)
        except UnknownKey:
            await provider.refresh()
        if not provider.keys:
            raise InvalidToken("oidc: authenticator not initialized")
        return verified_claims(token, provider.keys, allowed)
