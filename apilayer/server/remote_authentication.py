"""From flags to the ways of authentication that ask somebody else: identity providers and a webhook.

Nothing of them is imported unless a flag asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs

from apilayer.files import FileError, read_bounded
from apilayer.server.errors import OptionsError
from apilayer.server.issuers_file import MAX_FILE_BYTES, Issuers, IssuersFile

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from apilayer.outbound.target import Target
    from apilayer.pipeline.authentication import Anonymous, TokenWay
    from apilayer.pipeline.oidc.claims import JwtIssuer

WEBHOOK_SECONDS = 10.0
WEBHOOK_VERSIONS = ("v1beta1", "v1")
_WEBHOOK_FLAG = "--authentication-token-webhook-config-file"


class RemoteFlags(Protocol):
    """What the flags say (see `ServerOptions`)."""

    @property
    def service_account_issuer(self) -> Sequence[str]: ...
    @property
    def oidc_issuer_url(self) -> str: ...
    @property
    def oidc_client_id(self) -> str: ...
    @property
    def oidc_ca_file(self) -> Path | None: ...
    @property
    def oidc_username_claim(self) -> str: ...
    @property
    def oidc_username_prefix(self) -> str: ...
    @property
    def oidc_groups_claim(self) -> str: ...
    @property
    def oidc_groups_prefix(self) -> str: ...
    @property
    def oidc_signing_algs(self) -> Sequence[str]: ...
    @property
    def oidc_required_claim(self) -> Sequence[tuple[str, str]]: ...
    @property
    def authentication_config(self) -> Path | None: ...
    @property
    def authentication_token_webhook_config_file(self) -> Path | None: ...
    @property
    def authentication_token_webhook_version(self) -> str: ...
    @property
    def authentication_token_webhook_cache_ttl(self) -> float: ...


@attrs.frozen
class Remote:
    """What was read before anything runs; `ways` may be called once."""

    issuers: Issuers | None = None
    file: IssuersFile | None = None
    """Where the issuers come from, when that is no flag."""
    webhook: Target | None = None
    _version: str = "v1"
    _cache_seconds: float = 0.0
    _closing: list[Callable[[], Awaitable[None]]] = attrs.field(factory=list)

    def ways(self, audiences: Sequence[str]) -> list[TokenWay]:
        """The issuers, then the webhook; what they say is remembered for a while."""
        found: list[TokenWay] = []
        if self.issuers is not None:
            found.append(self.issuers.over(audiences))
            self._closing.append(self.issuers.aclose)
        if self.webhook is not None:
            from apilayer.pipeline.token_cache import TokenCache

            way = self._webhook_way(self.webhook, audiences)
            found.append(TokenCache(way, self._cache_seconds, self._cache_seconds))
        return found

    @property
    def anonymous(self) -> Anonymous | None:
        """What the file says about nobody, None for nothing."""
        return self.file.configuration.anonymous if self.file is not None else None

    async def run(self) -> None:
        """Keeps to the file, if there is one."""
        if self.file is not None:
            await self.file.run()

    def _webhook_way(self, target: Target, audiences: Sequence[str]) -> TokenWay:
        from apilayer.outbound.client import Client
        from apilayer.outbound.webhook import Webhook
        from apilayer.pipeline.token_webhook import TokenWebhook

        client = Client(target, timeout_seconds=WEBHOOK_SECONDS)
        self._closing.append(client.aclose)
        return TokenWebhook(Webhook(client), self._version, audiences)

    async def aclose(self) -> None:
        """Closes the connections of the ways."""
        for close in self._closing:
            await close()


def read_remote(flags: RemoteFlags) -> Remote:
    """Reads what the flags name. Raises OptionsError."""
    path = flags.authentication_config
    file = IssuersFile(path, flags.service_account_issuer) if path is not None else None
    issuers = file.issuers if file is not None else None
    if _any_oidc(flags):
        if file is not None:
            raise OptionsError("authentication-config file and oidc-* flags are mutually exclusive")
        issuers = Issuers((_issuer(flags),))
    return Remote(
        issuers,
        file,
        _webhook(flags),
        flags.authentication_token_webhook_version,
        flags.authentication_token_webhook_cache_ttl,
    )


def _any_oidc(flags: RemoteFlags) -> bool:
    return bool(
        flags.oidc_issuer_url
        or flags.oidc_client_id
        or flags.oidc_ca_file
        or flags.oidc_username_claim != "sub"
        or flags.oidc_username_prefix
        or flags.oidc_groups_claim
        or flags.oidc_groups_prefix
        or flags.oidc_required_claim
        or tuple(flags.oidc_signing_algs) != ("RS256",)
    )


def _issuer(flags: RemoteFlags) -> JwtIssuer:
    from apilayer.pipeline.oidc.configuration import ConfigurationError, issuer_of_flags

    try:
        return issuer_of_flags(
            flags.oidc_issuer_url,
            flags.oidc_client_id,
            authorities=_read("--oidc-ca-file", flags.oidc_ca_file) if flags.oidc_ca_file is not None else b"",
            username_claim=flags.oidc_username_claim,
            username_prefix=flags.oidc_username_prefix,
            groups_claim=flags.oidc_groups_claim,
            groups_prefix=flags.oidc_groups_prefix,
            algorithms=flags.oidc_signing_algs,
            required=flags.oidc_required_claim,
        )
    except ConfigurationError as error:
        raise OptionsError(str(error)) from error


def _webhook(flags: RemoteFlags) -> Target | None:
    path = flags.authentication_token_webhook_config_file
    if path is None:
        return None
    from apilayer.outbound.kubeconfig import read_kubeconfig
    from apilayer.outbound.target import TargetError, client_context

    if flags.authentication_token_webhook_version not in WEBHOOK_VERSIONS:
        version = flags.authentication_token_webhook_version
        raise OptionsError(
            f'--authentication-token-webhook-version: unsupported webhook authenticator version "{version}",'
            ' supported versions are "v1", "v1beta1"'
        )
    try:
        target = read_kubeconfig(path)
        client_context(target)
    except TargetError as error:
        raise OptionsError(f"{_WEBHOOK_FLAG}: {error}") from error
    return target


def _read(flag: str, path: Path) -> bytes:
    try:
        return read_bounded(path, MAX_FILE_BYTES)
    except FileError as error:
        raise OptionsError(f"{flag}: {path}: {error}") from error
