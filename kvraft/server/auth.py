"""Authentication on a member: who a caller is, what may begin at all, and the requests about users and roles.

While authentication is off, nothing here is in anybody's way. Hashing and checking a password takes tens of
milliseconds: a worker thread does it. What has to wait runs as a task of the member's nursery.
"""

from __future__ import annotations

import logging
import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from kvraft.apply.command import encode_command, seal
from kvraft.auth.gates import check_gate
from kvraft.auth.identity import NOBODY, ROOT, Credentials, Identity
from kvraft.auth.passwords import hash_password, verify
from kvraft.auth.tokens import SimpleTokens, digest, index_of, join, new_secret
from kvraft.errors import (
    AuthFailed,
    AuthNotEnabled,
    AuthOldRevision,
    InvalidAuthToken,
    KvraftError,
    NotSupported,
    UserEmpty,
)
from kvraft.logs import fields
from kvraft.server.config import ConfigError
from kvraft.server.waiting import Waiting
from kvraft.types import (
    AuthDisableRequest,
    AuthEnableRequest,
    AuthenticateRequest,
    AuthenticateResponse,
    AuthStatusRequest,
    AuthStatusResponse,
    Response,
    RoleAddRequest,
    RoleDeleteRequest,
    RoleGetRequest,
    RoleGetResponse,
    RoleGrantPermissionRequest,
    RoleListRequest,
    RoleListResponse,
    RoleRevokePermissionRequest,
    TokenGrantRequest,
    TokenGrantResponse,
    UserAddRequest,
    UserChangePasswordRequest,
    UserDeleteRequest,
    UserGetRequest,
    UserGetResponse,
    UserGrantRoleRequest,
    UserListRequest,
    UserListResponse,
    UserRevokeRoleRequest,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvraft.auth.jwt import JwtTokens
    from kvraft.server.member import Member
    from kvraft.server.service import Answer, Caller, Handler
    from kvraft.wire.native import Request

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 10
"""How often a request is made again when users or roles have changed while it was under way."""
PLAIN = (
    AuthEnableRequest,
    AuthDisableRequest,
    UserDeleteRequest,
    UserGrantRoleRequest,
    UserRevokeRoleRequest,
    RoleAddRequest,
    RoleDeleteRequest,
    RoleGrantPermissionRequest,
    RoleRevokePermissionRequest,
)
"""What is proposed as it came in."""


class AuthService:
    """Belongs to one member. Raises ``ConfigError`` for an ``--auth-token`` that cannot be."""

    def __init__(self, member: Member) -> None:
        config = member.config
        self._member = member
        self._bcrypt_cost = config.bcrypt_cost
        self._trusts_certificates = config.client_tls.client_cert_auth
        self._threads = trio.CapacityLimiter(max(1, (os.cpu_count() or 1) // 2))  # the loop needs room too
        self._waiting = Waiting(member)
        self._jwt = _jwt_tokens(config.auth_token)
        self.tokens: SimpleTokens | None = None
        """Simple tokens; None with ``--auth-token jwt``."""
        if self._jwt is None:
            self.tokens = SimpleTokens(config.auth_token_ttl_seconds, time.monotonic)

    def handlers(self) -> dict[type, Handler]:
        """The requests that are answered here."""
        return {
            **dict.fromkeys(PLAIN, self._plain),
            AuthenticateRequest: self._authenticate,
            UserAddRequest: self._user_add,
            UserChangePasswordRequest: self._user_change_password,
            AuthStatusRequest: self._looking(self._status),
            UserGetRequest: self._looking(self._user_get),
            UserListRequest: self._looking(self._user_list),
            RoleGetRequest: self._looking(self._role_get),
            RoleListRequest: self._looking(self._role_list),
        }

    # ------------------------------------------------------------------ who

    def who(self, credentials: Credentials | Identity) -> Identity:
        """Whose ``credentials`` these are, as far as this member knows now; NOBODY for none.

        Raises InvalidAuthToken. What another member has established is believed.
        """
        if isinstance(credentials, Identity):
            return credentials
        revision = self._member.machine.auth.revision
        if credentials.token:
            if self._jwt is not None:
                found = self._jwt.read(credentials.token)
                if found is None:
                    raise InvalidAuthToken
                return found
            assert self.tokens is not None
            user = self.tokens.user_of(credentials.token)
            if user is None:
                raise InvalidAuthToken
            return Identity(user, revision)
        if credentials.common_name and self._trusts_certificates:
            return Identity(credentials.common_name, revision)
        return NOBODY

    @staticmethod
    def common_name(certificate: bytes | None) -> str:
        """The name that a verified certificate (in DER form) gives its owner; "" for none."""
        if certificate is None:
            return ""
        from cryptography import x509  # which takes its time to load
        from cryptography.x509.oid import NameOID

        names = x509.load_der_x509_certificate(certificate).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return str(names[0].value) if names else ""

    def as_root(self, body: bytes) -> bytes:
        """An encoded command that this member proposes of its own, in the envelope that lets it pass."""
        auth = self._member.machine.auth
        return seal(body, Identity(ROOT, auth.revision)) if auth.enabled else body

    # ------------------------------------------------------------------ before anything begins

    def when_known(self, credentials: Credentials | Identity, answer: Answer, go_on: Callable[[], None]) -> None:
        """Call ``go_on`` once this member knows what there is to know of a token: now, but for one that is very new.

        ``answer`` gets what ``go_on`` raises, or why it is not called.
        """
        try:
            if self._is_on_its_way(credentials):
                self._waiting.start(answer, self._wait_for_token, go_on)
            else:
                go_on()
        except KvraftError as error:
            answer(error)

    async def _wait_for_token(self, go_on: Callable[[], None]) -> None:
        await self._waiting.catch_up()
        go_on()

    def _is_on_its_way(self, credentials: Credentials | Identity) -> bool:
        if self.tokens is None or not isinstance(credentials, Credentials) or not credentials.token:
            return False
        index = index_of(credentials.token)
        return index is not None and index > self._member.machine.applied_index

    def check_gate(self, request: Request, caller: Caller) -> None:
        """What must hold for a request to begin; most are checked when they are applied, or read. Raises why not."""
        check_gate(self._member.machine.access, request, partial(self.who, caller.credentials))

    # ------------------------------------------------------------------ commands

    def propose(self, body: bytes, caller: Caller, answer: Answer, attempts: int = MAX_ATTEMPTS) -> None:
        """Propose an encoded command on behalf of ``caller``; what they may is checked when it is applied."""
        identity = self.who(caller.credentials)
        if not identity.auth_revision:
            raise UserEmpty  # it would come to that anyway, and costs no entry
        waiter = partial(self._proposed, body, caller, answer, identity, attempts)
        self._member.driver.propose(seal(body, identity), waiter, forwards=caller.forwards)

    def _proposed(
        self, body: bytes, caller: Caller, answer: Answer, identity: Identity, attempts: int, got: Any
    ) -> None:
        if type(got) is AuthOldRevision and attempts > 1:  # a waiter must not propose by itself
            self._waiting.start(answer, self._again, body, caller, answer, identity, attempts - 1)
        else:
            answer(got)

    async def _again(self, body: bytes, caller: Caller, answer: Answer, identity: Identity, attempts: int) -> None:
        """Users or roles changed between proposing and applying; nothing has happened. Who is it now?"""
        await self._waiting.catch_up()
        if self.who(caller.credentials).auth_revision <= identity.auth_revision:
            raise AuthOldRevision  # it is the token itself that says so
        self.propose(body, caller, answer, attempts)

    def _plain(self, request: Request, body: bytes, caller: Caller, answer: Answer) -> None:
        if self._member.machine.auth.enabled:
            self.propose(body, caller, answer)
        else:
            self._member.driver.propose(body, answer, forwards=caller.forwards)  # type: ignore[arg-type]

    def _user_add(self, request: UserAddRequest, body: bytes, caller: Caller, answer: Answer) -> None:
        if request.no_password:
            self._plain(request, encode_command(UserAddRequest(request.name, no_password=True)), caller, answer)
        else:
            self._waiting.start(answer, self._propose_hashed, request, caller, answer)

    def _user_change_password(
        self, request: UserChangePasswordRequest, body: bytes, caller: Caller, answer: Answer
    ) -> None:
        self._waiting.start(answer, self._propose_hashed, request, caller, answer)

    async def _propose_hashed(
        self, request: UserAddRequest | UserChangePasswordRequest, caller: Caller, answer: Answer
    ) -> None:
        """The password's hash in the password's place."""
        await self._waiting.catch_up()
        machine = self._member.machine
        if machine.auth.enabled:
            machine.access.check_admin(self.who(caller.credentials))  # hashing is dear: not for everybody
        hashed = await trio.to_thread.run_sync(
            hash_password, request.password, self._bcrypt_cost, limiter=self._threads
        )
        self._plain(
            request,
            encode_command(msgspec.structs.replace(request, password="", hashed_password=hashed)),
            caller,
            answer,
        )

    # ------------------------------------------------------------------ passwords to tokens

    def _authenticate(self, request: AuthenticateRequest, body: bytes, caller: Caller, answer: Answer) -> None:
        self._waiting.start(answer, self._check_password, request, caller.forwards, answer)

    async def _check_password(self, request: AuthenticateRequest, forwards: bool, answer: Answer) -> None:
        """Answer with a token. The password is compared off the loop: the token is for users as they were then."""
        for _ in range(MAX_ATTEMPTS):
            await self._waiting.catch_up()
            auth = self._member.machine.auth
            if not auth.enabled:
                raise AuthNotEnabled
            revision, user = auth.revision, auth.user(request.name)
            hashed = "" if user is None or user.no_password else user.password
            if not await trio.to_thread.run_sync(
                verify, request.password, hashed, self._bcrypt_cost, limiter=self._threads
            ):
                log.warning("invalid authentication was requested", extra=fields(user=request.name))
                raise AuthFailed
            try:
                answer(await self._token(Identity(request.name, revision), forwards))
                return
            except AuthOldRevision:
                log.info("revision when password checked became stale; retrying", extra=fields(user=request.name))
        raise AuthOldRevision

    async def _token(self, identity: Identity, forwards: bool) -> AuthenticateResponse:
        machine = self._member.machine
        if self._jwt is not None:
            if self._jwt.verify_only:
                raise NotSupported("auth: token signing attempted with verify-only key")
            if machine.auth.revision != identity.auth_revision:
                raise AuthOldRevision
            return AuthenticateResponse(machine.revision, self._jwt.sign(identity))
        secret = new_secret()
        command = TokenGrantRequest(identity.user, digest(secret), identity.auth_revision)
        propose = partial(self._member.driver.propose, encode_command(command), forwards=forwards)
        granted = await self._waiting.call(propose)
        assert isinstance(granted, TokenGrantResponse), granted
        return AuthenticateResponse(granted.revision, join(secret, granted.index))

    # ------------------------------------------------------------------ looking at users and roles

    def _looking(self, find: Callable[[Any, Identity], Response]) -> Handler:
        """A handler that answers with what ``find`` gives once this member has seen all that came before."""

        def handle(request: Request, body: bytes, caller: Caller, answer: Answer) -> None:
            def read(error: KvraftError | None) -> None:
                try:
                    if error is not None:
                        raise error
                    found = find(request, self._seen_as(caller))
                except KvraftError as failure:
                    answer(failure)
                else:
                    answer(found)

            self._member.driver.read(read, waits=caller.forwards)

        return handle

    def _seen_as(self, caller: Caller) -> Identity:
        return self.who(caller.credentials) if self._member.machine.auth.enabled else NOBODY

    def _status(self, request: AuthStatusRequest, identity: Identity) -> AuthStatusResponse:
        machine = self._member.machine
        # Who signs tokens elsewhere learns the revision here: a token with an old one must do for that.
        machine.access.check_admin(Identity(identity.user, machine.auth.revision))
        return AuthStatusResponse(machine.revision, machine.auth.enabled, machine.auth.revision)

    def _user_get(self, request: UserGetRequest, identity: Identity) -> UserGetResponse:
        machine = self._member.machine
        machine.access.check_user_get(identity, request.name)
        return UserGetResponse(machine.revision, machine.auth.roles_of(request.name))

    def _user_list(self, request: UserListRequest, identity: Identity) -> UserListResponse:
        machine = self._member.machine
        machine.access.check_admin(identity)
        return UserListResponse(machine.revision, machine.auth.users())

    def _role_get(self, request: RoleGetRequest, identity: Identity) -> RoleGetResponse:
        machine = self._member.machine
        machine.access.check_role_get(identity, request.role)
        return RoleGetResponse(machine.revision, machine.auth.permissions(request.role))

    def _role_list(self, request: RoleListRequest, identity: Identity) -> RoleListResponse:
        machine = self._member.machine
        machine.access.check_admin(identity)
        return RoleListResponse(machine.revision, machine.auth.roles())


def _jwt_tokens(spec: str) -> JwtTokens | None:
    """What ``--auth-token`` describes: None for ``simple``. Raises ``ConfigError``."""
    kind, *parts = spec.split(",")
    if kind == "simple" and not parts:
        return None
    if kind != "jwt":
        raise ConfigError(f'--auth-token: "{kind}" is unknown: simple, or jwt with its options')
    options: dict[str, str] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if not equals or "=" in value or name in options:
            raise ConfigError(f'--auth-token: "{part}" does not have the form name=value, or is there twice')
        options[name] = value
    from kvraft.auth.jwt import JwtTokens  # with cryptography, which takes its time to load

    try:
        return JwtTokens(options, lambda path: Path(path).read_bytes(), time.time)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--auth-token: {error}") from error
