"""From flags to the ways of authentication, in kube-apiserver's order."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol, TypeVar

import attrs

from apilayer.pipeline.authentication import Anonymous, Authenticator, Certificates, TokenFileError, parse_token_file
from apilayer.pipeline.bootstrap_tokens import BootstrapTokens
from apilayer.pipeline.front_proxy import FrontProxy, ProxyHeaders
from apilayer.pipeline.passwords import Passwords, parse_password_file
from apilayer.server.errors import OptionsError
from apilayer.server.remote_authentication import RemoteFlags, read_remote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from apilayer.pipeline.authentication import TokenWay, User
    from apilayer.pipeline.request import Request
    from apilayer.registry.registry import Registry
    from apilayer.server.remote_authentication import Remote
    from apilayer.server.tls import ServingTls

    Parsed = TypeVar("Parsed")


log = logging.getLogger("apilayer.server.authentication")


class AuthenticationFlags(RemoteFlags, Protocol):
    """What the flags say (see `ServerOptions`)."""

    @property
    def authorization_mode(self) -> Sequence[str]: ...
    @property
    def client_ca_file(self) -> Path | None: ...
    @property
    def token_auth_file(self) -> Path | None: ...
    @property
    def basic_auth_file(self) -> Path | None: ...
    @property
    def enable_bootstrap_token_auth(self) -> bool: ...
    @property
    def anonymous_auth(self) -> bool | None: ...
    @property
    def requestheader_client_ca_file(self) -> Path | None: ...
    @property
    def requestheader_allowed_names(self) -> Sequence[str]: ...
    @property
    def requestheader_username_headers(self) -> Sequence[str]: ...
    @property
    def requestheader_uid_headers(self) -> Sequence[str]: ...
    @property
    def requestheader_group_headers(self) -> Sequence[str]: ...
    @property
    def requestheader_extra_headers_prefix(self) -> Sequence[str]: ...


@attrs.frozen
class AuthenticationFiles:
    """What was read before anything runs."""

    _flags: AuthenticationFlags
    _users: Mapping[bytes, User] = attrs.field(repr=False)
    _passwords: Mapping[str, tuple[bytes, User]] = attrs.field(repr=False)
    _remote: Remote
    _anonymous: Anonymous

    def authenticator(
        self, registry: Registry, tls: ServingTls, accounts: TokenWay | None, audiences: Sequence[str]
    ) -> Authenticator:
        """Every way that is on; `audiences` are the API server's own."""
        flags = self._flags
        requests: list[Callable[[Request], User | None]] = []
        if flags.requestheader_client_ca_file is not None:
            names = ProxyHeaders(
                flags.requestheader_username_headers,
                flags.requestheader_uid_headers,
                flags.requestheader_group_headers,
                flags.requestheader_extra_headers_prefix,
            )
            requests.append(FrontProxy(names, flags.requestheader_allowed_names, tls.proxies))
        if self._passwords:
            requests.append(Passwords(self._passwords))
        if flags.client_ca_file is not None:
            requests.append(Certificates(tls.clients))
        further: list[TokenWay] = []
        if flags.enable_bootstrap_token_auth:
            further.append(BootstrapTokens(registry.listers.get, audiences))
        further += self._remote.ways(audiences)
        return Authenticator(
            self._users,
            accounts,
            audiences,
            requests=requests,
            further=further,
            anonymous=self._anonymous,
            close=self._remote.aclose,
            reloads=self._remote.file.reloads if self._remote.file is not None else None,
        )

    async def run(self) -> None:
        """Keeps to files that change."""
        await self._remote.run()


def read_authentication(flags: AuthenticationFlags) -> AuthenticationFiles:
    """Reads what the flags name. Raises OptionsError."""
    users = _parsed("--token-auth-file", flags.token_auth_file, parse_token_file)
    passwords = _parsed("--basic-auth-file", flags.basic_auth_file, parse_password_file)
    remote = read_remote(flags)
    return AuthenticationFiles(flags, users or {}, passwords or {}, remote, _anonymous(flags, remote))


def _anonymous(flags: AuthenticationFlags, remote: Remote) -> Anonymous:
    said = remote.anonymous
    if said is not None and flags.anonymous_auth is not None:
        raise OptionsError(
            "--anonymous-auth flag cannot be set when anonymous field is configured in authentication configuration"
            " file"
        )
    found = said or Anonymous(flags.anonymous_auth is not False)
    if found.enabled and "AlwaysAllow" in flags.authorization_mode:
        log.warning(
            "anonymous requests are not let in with the AlwaysAllow authorizer, which would let them do anything"
        )
        return Anonymous(enabled=False)
    return found


def _parsed(flag: str, path: Path | None, parse: Callable[[Iterable[str]], Parsed]) -> Parsed | None:
    if path is None:
        return None
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return parse(file)
    except OSError as error:
        raise OptionsError(f"{flag}: {path}: {error.strerror}") from error
    except TokenFileError as error:
        raise OptionsError(f"{flag}: {path}: {error}") from error
    except UnicodeDecodeError as error:
        raise OptionsError(f"{flag}: {path}: not UTF-8") from error
