"""From flags to authentication, authorization and tokens of service accounts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

import attrs
import trio

from apilayer.pipeline.account_keys import KeyFileError, SigningKey, VerifyingKey, read_signing_key, read_verifying_keys
from apilayer.pipeline.account_tokens import AccountTokens
from apilayer.pipeline.authorization import permits
from apilayer.server.authentication import AuthenticationFlags, read_authentication
from apilayer.server.authorization import (
    AuthorizationFlags,
    AuthorizationPlan,
    read_authorization,
)
from apilayer.server.errors import OptionsError
from apilayer.server.reviews import Access
from apilayer.server.token_requests import TokenIssuer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from apilayer.registry.registry import Registry
    from apilayer.server.authentication import AuthenticationFiles
    from apilayer.server.tls import ServingTls

MIN_EXPIRATION_SECONDS = 3600.0
MAX_EXPIRATION_SECONDS = float(1 << 32)


class AccessFlags(AuthenticationFlags, AuthorizationFlags, Protocol):
    """What the flags say (see `ServerOptions`)."""

    @property
    def service_account_signing_key_file(self) -> Path | None: ...
    @property
    def service_account_key_file(self) -> Sequence[Path]: ...
    @property
    def service_account_issuer(self) -> Sequence[str]: ...
    @property
    def service_account_lookup(self) -> bool: ...
    @property
    def service_account_jwks_uri(self) -> str: ...
    @property
    def service_account_max_token_expiration(self) -> float: ...
    @property
    def service_account_extend_token_expiration(self) -> bool: ...
    @property
    def api_audiences(self) -> Sequence[str]: ...


@attrs.frozen
class _Keys:
    signing: SigningKey
    verifying: tuple[VerifyingKey, ...]


@attrs.frozen
class AccessFiles:
    """What was read before anything runs."""

    _flags: AccessFlags
    _ways: AuthenticationFiles
    _keys: _Keys | None
    _plan: AuthorizationPlan

    def over(self, registry: Registry, tls: ServingTls) -> tuple[Access, TokenIssuer | None]:
        """Access to a cluster, and who issues tokens for it (None without a key)."""
        flags = self._flags
        tokens: AccountTokens | None = None
        issuer: TokenIssuer | None = None
        if self._keys is not None:
            audiences = flags.api_audiences or flags.service_account_issuer[:1]
            tokens = AccountTokens(
                self._keys.signing,
                self._keys.verifying,
                flags.service_account_issuer,
                audiences,
                registry.listers.get,
                registry.refresh,
                look_up=flags.service_account_lookup,
            )
            issuer = TokenIssuer(
                tokens,
                int(flags.service_account_max_token_expiration),
                flags.service_account_extend_token_expiration,
                flags.service_account_jwks_uri,
            )
        authorizer = self._plan.over(registry)
        registry.may = partial(permits, authorizer)
        own = tokens.audiences if tokens is not None else tuple(flags.api_audiences)
        return Access(self._ways.authenticator(registry, tls, tokens, own), authorizer), issuer

    async def run(self) -> None:
        """Keeps to files that change."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ways.run)
            nursery.start_soon(self._plan.run)

    async def close(self) -> None:
        """Ends connections to others."""
        await self._plan.close()


def read_access(flags: AccessFlags) -> AccessFiles:
    """Reads what the flags name. Raises OptionsError."""
    plan, ways = read_authorization(flags), read_authentication(flags)
    return AccessFiles(flags, ways, _keys(flags), plan)


def _keys(flags: AccessFlags) -> _Keys | None:
    path = flags.service_account_signing_key_file
    if path is None:
        if flags.service_account_key_file or flags.service_account_issuer:
            raise OptionsError("--service-account-signing-key-file is required with the other --service-account flags")
        return None
    if not flags.service_account_issuer or not all(flags.service_account_issuer):
        raise OptionsError("--service-account-issuer is required with --service-account-signing-key-file")
    for issuer in flags.service_account_issuer:
        if ":" in issuer and not issuer.startswith(("https://", "http://")):
            raise OptionsError(f"--service-account-issuer: {issuer!r} contains a colon and is no URL")
    most = flags.service_account_max_token_expiration
    if most and not MIN_EXPIRATION_SECONDS <= most <= MAX_EXPIRATION_SECONDS:
        raise OptionsError("--service-account-max-token-expiration: must be between 1 hour and 2^32 seconds")
    uri = flags.service_account_jwks_uri
    if uri and not uri.startswith("https://"):
        raise OptionsError(f"--service-account-jwks-uri: {uri!r} requires https scheme")
    return _Keys(_signing(path), tuple(key for file in flags.service_account_key_file for key in _verifying(file)))


def _signing(path: Path) -> SigningKey:
    try:
        return read_signing_key(path.read_bytes())
    except OSError as error:
        raise OptionsError(f"--service-account-signing-key-file: {path}: {error.strerror}") from error
    except KeyFileError as error:
        raise OptionsError(f"--service-account-signing-key-file: {path}: {error}") from error


def _verifying(path: Path) -> list[VerifyingKey]:
    try:
        return read_verifying_keys(path.read_bytes())
    except OSError as error:
        raise OptionsError(f"--service-account-key-file: {path}: {error.strerror}") from error
    except KeyFileError as error:
        raise OptionsError(f"--service-account-key-file: {path}: {error}") from error
