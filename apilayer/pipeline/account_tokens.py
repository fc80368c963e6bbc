"""Tokens of service accounts: issued, and checked against the objects that they are bound to as these are now.

Source: Kubernetes documentation, "Managing Service Accounts", "Bound service account tokens"; KEP-1205.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import attrs

from apilayer.api import meta
from apilayer.api.gotext import quote
from apilayer.pipeline import legacy_tokens
from apilayer.pipeline.authentication import AUTHENTICATED, CREDENTIAL_ID, InvalidToken, NotOurs, TokenUser, User

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from apilayer.pipeline.account_keys import SigningKey, VerifyingKey

    Lookup = Callable[[str, str, str], dict[str, Any] | None]
    """An object by resource, namespace ("" for none) and name, as the cache has it."""

Object = dict[str, Any]

ACCOUNTS_GROUP = "system:serviceaccounts"
USER_PREFIX = "system:serviceaccount:"
MAX_TOKEN_CHARS = 16 * 1024
MAX_REMEMBERED = 4096
"""Tokens whose signatures have been verified; their claims are checked anew each time."""
DELETION_LEEWAY = timedelta(seconds=60)
"""What is deleted is given so long to say goodbye."""
_EXTRA = "authentication.kubernetes.io/"
_BOUND = {"pod": "pods", "secret": "secrets", "node": "nodes"}
_INVALIDATED = "service account token has been invalidated"


@attrs.frozen
class Bindings:
    """What a token is to be bound to beside its account: objects, or for a node that is gone its name alone."""

    pod: Object | None = None
    secret: Object | None = None
    node: Object | None = None


class AccountTokens:
    """Issues and checks tokens. `issuers`: the first is written into tokens, all are accepted."""

    def __init__(
        self,
        signing: SigningKey,
        verifying: Sequence[VerifyingKey],
        issuers: Sequence[str],
        audiences: Sequence[str],
        lookup: Lookup,
        refresh: Callable[[], Awaitable[object]],
        clock: Callable[[], datetime] = meta.utc_now,
        *,
        look_up: bool = True,
    ) -> None:
        self.issuer = issuers[0]
        self.audiences = tuple(audiences)
        self.keys = {key.key_id: key for key in (signing.verifying, *verifying)}
        self._issuers = frozenset(issuers)
        self._signing = signing
        self._lookup = lookup
        self._refresh = refresh
        self._clock = clock
        self._look_up = look_up
        """Whether tokens of the old kind must be in their Secrets."""
        self._verified: OrderedDict[bytes, Object] = OrderedDict()

    # ------------------------------------------------------------------ issue

    def issue(
        self,
        account: Object,
        bindings: Bindings,
        audiences: Sequence[str],
        seconds: int,
        *,
        warn_after: int = 0,
        token_id: str = "",
    ) -> str:
        """A token of the account for the audiences that holds for so long, under an id of its own if none is given."""
        import jwt

        now = int(self._clock().timestamp())
        metadata = account["metadata"]
        private: Object = {"namespace": metadata["namespace"]}
        for name in ("node", "pod", "secret"):
            bound: Object | None = getattr(bindings, name)
            if bound is not None:
                private[name] = _reference(bound)
        private["serviceaccount"] = _reference(account)
        if warn_after:
            private["warnafter"] = now + warn_after
        claims = {
            "aud": list(audiences),
            "exp": now + seconds,
            "iat": now,
            "iss": self.issuer,
            "jti": token_id or str(uuid4()),
            "kubernetes.io": private,
            "nbf": now,
            "sub": user_name(metadata["namespace"], metadata["name"]),
        }
        key = self._signing
        return jwt.encode(claims, key.key, key.verifying.algorithm, headers={"kid": key.verifying.key_id, "typ": None})

    def issue_legacy(self, account: Object, secret: Object) -> str:
        """A token of the account without an end, to be kept in the Secret."""
        import jwt

        claims = legacy_tokens.claims_of(account, secret)
        key = self._signing
        return jwt.encode(claims, key.key, key.verifying.algorithm, headers={"kid": key.verifying.key_id, "typ": None})

    # ------------------------------------------------------------------ check

    async def authenticate(self, token: str, audiences: Sequence[str] = ()) -> TokenUser:
        """Who the token names, if it holds for one of `audiences` (those of the API server by default).

        Raises NotOurs, InvalidToken, StoreError. That an object is gone is believed of an up-to-date cache only.
        """
        claims = self._claims(token)
        wanted = audiences or self.audiences
        given = _audiences(claims)
        if not given and claims["iss"] == legacy_tokens.ISSUER:
            given = self.audiences
        meant = tuple(name for name in wanted if name in given)
        if not meant:
            shown, asked = _shown(given), _shown(wanted)
            raise InvalidToken(f"token audiences {shown} is invalid for the target audiences {asked}")
        try:
            return TokenUser(self._user(claims, token), meant)
        except InvalidToken:
            await self._refresh()
            return TokenUser(self._user(claims, token), meant)

    def _claims(self, token: str) -> Object:
        """The claims of a token with a valid signature of one of the keys, in its time."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        claims = self._verified.get(digest)
        if claims is None:
            claims = self._verified[digest] = self._verify(token)
            if len(self._verified) > MAX_REMEMBERED:
                self._verified.popitem(last=False)
        now = self._clock().timestamp()
        if now > claims.get("exp", now):
            raise InvalidToken("service account token has expired")
        if now < claims.get("nbf", 0):
            raise InvalidToken("service account token is not valid yet")
        return claims

    def _verify(self, token: str) -> Object:
        import jwt

        if len(token) > MAX_TOKEN_CHARS:
            raise NotOurs("too long")
        # Times and audiences are looked at each time, not only when the signature is.
        options: Any = {f"verify_{name}": False for name in ("exp", "nbf", "iat", "aud")}
        options["require"] = ["iss", "sub"]
        try:
            header = jwt.get_unverified_header(token)
            named = self.keys.get(str(header.get("kid", "")))
            for key in [named] if named is not None else list(self.keys.values()):
                try:
                    claims: Object = jwt.decode(token, key.key, [key.algorithm], options)
                except jwt.InvalidSignatureError:
                    continue
                return self._ours(claims)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise NotOurs("not signed by this cluster") from error
        raise NotOurs("not signed by this cluster")

    def _ours(self, claims: Object) -> Object:
        """Raises NotOurs unless the claims are those of a service account."""
        if not all(isinstance(claims.get(name, 0), (int, float)) for name in ("exp", "nbf")):
            raise NotOurs("of no time")
        if claims["iss"] == legacy_tokens.ISSUER:
            if legacy_tokens.parse_legacy(claims) is None:
                raise NotOurs("of no service account")
            return claims
        private = claims.get("kubernetes.io")
        if claims.get("iss") not in self._issuers or not isinstance(private, dict):
            raise NotOurs("of another issuer")
        namespace, account = private.get("namespace"), private.get("serviceaccount")
        if not isinstance(account, dict) or claims["sub"] != user_name(str(namespace), str(account.get("name"))):
            raise NotOurs("of no service account")
        if "exp" not in claims:
            raise NotOurs("of no end")
        bound = [private[kind] for kind in _BOUND if kind in private]
        if not all(isinstance(item, dict) and isinstance(item.get("name"), str) for item in bound):
            raise NotOurs("bound to nothing that has a name")
        return claims

    def _user(self, claims: Object, token: str) -> User:
        """The user, once all that the token is bound to is seen to be there."""
        if claims["iss"] == legacy_tokens.ISSUER:
            return self._legacy_user(claims, token)
        private = claims["kubernetes.io"]
        namespace, account = private["namespace"], private["serviceaccount"]
        self._require("serviceaccounts", namespace, account)
        extra = {}
        if claims.get("jti"):
            extra[CREDENTIAL_ID] = (f"JTI={claims['jti']}",)
        for kind, resource in _BOUND.items():
            if kind not in private:
                continue
            bound = private[kind]
            # A pod's node is told, not bound: the pod goes with it.
            if kind != "node" or "pod" not in private:
                self._require(resource, "" if kind == "node" else namespace, bound)
            if kind != "secret":
                extra[f"{_EXTRA}{kind}-name"] = (bound["name"],)
                if bound.get("uid"):
                    extra[f"{_EXTRA}{kind}-uid"] = (bound["uid"],)
        groups = (ACCOUNTS_GROUP, f"{ACCOUNTS_GROUP}:{namespace}", AUTHENTICATED)
        return User(claims["sub"], account.get("uid") or "", groups, tuple(sorted(extra.items())))

    def _legacy_user(self, claims: Object, token: str) -> User:
        said = legacy_tokens.parse_legacy(claims)
        assert said is not None, "looked at when the signature was"
        if self._look_up:
            secret = self._lookup("secrets", said.namespace, said.secret)
            account = self._lookup("serviceaccounts", said.namespace, said.account)
            legacy_tokens.check_legacy(said, token, secret, account)
        groups = (ACCOUNTS_GROUP, f"{ACCOUNTS_GROUP}:{said.namespace}", AUTHENTICATED)
        return User(claims["sub"], said.uid, groups)

    def _require(self, resource: str, namespace: str, reference: Mapping[str, Any]) -> None:
        found = self._lookup(resource, namespace, reference.get("name") or "")
        if found is None or found["metadata"].get("uid") != reference.get("uid"):
            raise InvalidToken(_INVALIDATED)
        deleted = found["metadata"].get("deletionTimestamp")
        if deleted and datetime.fromisoformat(deleted).astimezone(UTC) + DELETION_LEEWAY < self._clock():
            raise InvalidToken(_INVALIDATED)


def user_name(namespace: str, name: str) -> str:
    """The name of a service account as a user."""
    return f"{USER_PREFIX}{namespace}:{name}"


def _reference(obj: Object) -> Object:
    metadata = obj["metadata"]
    return {key: metadata[key] for key in ("name", "uid") if metadata.get(key)}


def _audiences(claims: Object) -> Sequence[str]:
    given = claims.get("aud") or ()
    return [given] if isinstance(given, str) else [str(item) for item in given]


def _shown(names: Sequence[str]) -> str:
    return f"[{' '.join(quote(name) for name in names)}]"
