"""``--oidc-*`` and AuthenticationConfiguration files to issuers: pure, with every error at its field.

Source: Kubernetes' ``apiserver.config.k8s.io`` AuthenticationConfiguration.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

from apilayer.api import field
from apilayer.pipeline.authentication import Anonymous
from apilayer.pipeline.oidc.claims import ALGORITHMS, JwtIssuer

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from apilayer.api.field import FieldError

Object = dict[str, Any]

VERSIONS = ("apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1", "apiserver.config.k8s.io/v1alpha1")
MAX_ISSUERS = 64
NO_EXPRESSIONS = "CEL expressions are not implemented by this server: use a claim"
_FIELDS: Mapping[str, Sequence[str]] = {
    "": ("apiVersion", "kind", "jwt", "anonymous"),
    "jwt": ("issuer", "claimValidationRules", "claimMappings", "userValidationRules"),
    "issuer": (
        "url",
        "discoveryURL",
        "certificateAuthority",
        "audiences",
        "audienceMatchPolicy",
        "egressSelectorType",
    ),
    "rule": ("claim", "requiredValue", "expression", "message"),
    "claimMappings": ("username", "groups", "uid", "extra"),
    "username": ("claim", "prefix", "expression"),
    "groups": ("claim", "prefix", "expression"),
    "uid": ("claim", "expression"),
    "anonymous": ("enabled", "conditions"),
    "condition": ("path",),
}


class ConfigurationError(Exception):
    """The configuration cannot be used; each error names its field and the reason."""


@attrs.frozen
class Configuration:
    """Whose tokens are accepted, and whether nobody is let in (None: the flag says)."""

    issuers: tuple[JwtIssuer, ...] = ()
    anonymous: Anonymous | None = None


def parse_configuration(document: object, disallowed: Collection[str] = ()) -> Configuration:
    """An AuthenticationConfiguration; `disallowed` are issuers of our own. Raises ConfigurationError."""
    if not isinstance(document, dict):
        raise ConfigurationError("must be an object")
    if document.get("kind") != "AuthenticationConfiguration" or document.get("apiVersion") not in VERSIONS:
        raise ConfigurationError(f"not an AuthenticationConfiguration of apiVersion {VERSIONS[0]}")
    reader = _Reader()
    root = reader.object(document, "", "")
    listed = reader.list(root, "jwt", "")
    if len(listed) > MAX_ISSUERS:
        raise ConfigurationError(f"jwt: Too many: {len(listed)}: must have at most {MAX_ISSUERS} items")
    parsed = [_Jwt(reader, item, f"jwt[{index}]", disallowed).issuer() for index, item in enumerate(listed)]
    reader.errors += _repeated(parsed)
    anonymous = _anonymous(reader, root)
    if reader.errors:
        raise ConfigurationError("; ".join(str(error) for error in reader.errors))
    return Configuration(tuple(parsed), anonymous)


class _Reader:
    """Takes values of the right kind out of a document, and gathers what is wrong."""

    def __init__(self) -> None:
        self.errors: list[FieldError] = []

    def wrong_kind(self, path: str, kind: str) -> None:
        self.errors.append(field.invalid_unshown(path, f"must be {kind}"))

    def object(self, value: object, path: str, kind: str) -> Object:
        """An object with known fields only."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.wrong_kind(path, "an object")
            return {}
        for key in value:
            if key not in _FIELDS[kind]:
                where = f"{path}.{key}" if path else str(key)
                self.errors.append(field.forbidden(where, "unknown field"))
        return value

    def list(self, parent: Object, key: str, path: str) -> list[Any]:
        where = f"{path}.{key}" if path else key
        value = parent.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.wrong_kind(where, "a list")
            return []
        return value

    def text(self, parent: Object, key: str, path: str) -> str:
        value = parent.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            self.wrong_kind(f"{path}.{key}", "a string")
            return ""
        return value


class _Jwt:
    """One entry of ``jwt``."""

    def __init__(self, reader: _Reader, item: object, path: str, disallowed: Collection[str]) -> None:
        self._reader = reader
        self._path = path
        self._disallowed = disallowed
        self._item = reader.object(item, path, "jwt")

    def issuer(self) -> JwtIssuer:
        """The issuer, which means something only if the reader has found no errors."""
        reader, path = self._reader, f"{self._path}.issuer"
        said = reader.object(self._item.get("issuer"), path, "issuer")
        url, discovery = reader.text(said, "url", path), reader.text(said, "discoveryURL", path)
        reader.errors += url_errors(url, f"{path}.url", self._disallowed) if url else [field.required(f"{path}.url")]
        if discovery:
            reader.errors += url_errors(discovery, f"{path}.discoveryURL")
            if url.rstrip("/") == discovery.rstrip("/"):
                detail = "discoveryURL must be different from URL"
                reader.errors.append(field.invalid(f"{path}.discoveryURL", discovery, detail))
        if said.get("egressSelectorType"):
            reader.errors.append(field.forbidden(f"{path}.egressSelectorType", "is not part of this server"))
        authorities = reader.text(said, "certificateAuthority", path)
        if authorities and not is_authority(authorities):
            detail = "data does not contain any valid RSA or ECDSA certificates"
            reader.errors.append(field.invalid(f"{path}.certificateAuthority", "<omitted>", detail))
        audiences = self._audiences(said, path)
        required = self._rules()
        self._refuse_user_rules()
        mappings = reader.object(self._item.get("claimMappings"), f"{self._path}.claimMappings", "claimMappings")
        username, username_prefix = self._mapping(mappings, "username", needed=True)
        groups, groups_prefix = self._mapping(mappings, "groups")
        uid = self._uid(mappings)
        if reader.list(mappings, "extra", f"{self._path}.claimMappings"):
            reader.errors.append(field.forbidden(f"{self._path}.claimMappings.extra", NO_EXPRESSIONS))
        return JwtIssuer(
            url,
            audiences,
            discovery,
            authorities.encode(),
            username,
            username_prefix,
            groups,
            groups_prefix,
            uid,
            required,
        )

    def _audiences(self, said: Object, path: str) -> tuple[str, ...]:
        reader = self._reader
        found = reader.list(said, "audiences", path)
        if not found:
            reader.errors.append(field.required(f"{path}.audiences", f"at least one {path}.audiences is required"))
        for index, name in enumerate(found):
            where = f"{path}.audiences[{index}]"
            if not isinstance(name, str):
                reader.wrong_kind(where, "a string")
            elif not name:
                reader.errors.append(field.required(where))
            elif name in found[:index]:
                reader.errors.append(field.duplicate(where, name))
        policy = reader.text(said, "audienceMatchPolicy", path)
        if policy != "MatchAny" and (policy or len(found) > 1):
            many = "must be MatchAny for multiple audiences"
            detail = (
                f"audienceMatchPolicy {many if len(found) > 1 else 'must be empty or MatchAny for single audience'}"
            )
            reader.errors.append(field.invalid(f"{path}.audienceMatchPolicy", policy, detail))
        return tuple(name for name in found if isinstance(name, str))

    def _rules(self) -> tuple[tuple[str, str], ...]:
        reader, required = self._reader, dict[str, str]()
        for index, item in enumerate(reader.list(self._item, "claimValidationRules", self._path)):
            path = f"{self._path}.claimValidationRules[{index}]"
            rule = reader.object(item, path, "rule")
            claim, expression = reader.text(rule, "claim", path), reader.text(rule, "expression", path)
            if claim and expression:
                reader.errors.append(field.invalid(path, claim, "claim and expression can't both be set"))
            elif expression:
                reader.errors.append(field.forbidden(f"{path}.expression", NO_EXPRESSIONS))
            elif not claim:
                reader.errors.append(field.required(path, "claim or expression is required"))
            elif claim in required:
                reader.errors.append(field.duplicate(f"{path}.claim", claim))
            if claim and rule.get("message"):
                detail = "may not be specified when claim is set"
                reader.errors.append(field.invalid(f"{path}.message", rule["message"], detail))
            required[claim] = reader.text(rule, "requiredValue", path)
        return tuple(required.items())

    def _refuse_user_rules(self) -> None:
        if self._reader.list(self._item, "userValidationRules", self._path):
            self._reader.errors.append(field.forbidden(f"{self._path}.userValidationRules", NO_EXPRESSIONS))

    def _mapping(self, mappings: Object, key: str, *, needed: bool = False) -> tuple[str, str]:
        """Claim and prefix."""
        reader, path = self._reader, f"{self._path}.claimMappings.{key}"
        mapping = reader.object(mappings.get(key), path, key)
        claim, expression = reader.text(mapping, "claim", path), reader.text(mapping, "expression", path)
        if claim and expression:
            reader.errors.append(field.invalid(path, "", "claim and expression can't both be set"))
        elif expression:
            reader.errors.append(field.forbidden(f"{path}.expression", NO_EXPRESSIONS))
        elif claim and mapping.get("prefix") is None:
            detail = "prefix is required when claim is set. It can be set to an empty string to disable prefixing"
            reader.errors.append(field.required(f"{path}.prefix", detail))
        elif needed and not claim:
            reader.errors.append(field.required(path, "claim or expression is required"))
        return claim, reader.text(mapping, "prefix", path)

    def _uid(self, mappings: Object) -> str:
        reader, path = self._reader, f"{self._path}.claimMappings.uid"
        mapping = reader.object(mappings.get("uid"), path, "uid")
        claim, expression = reader.text(mapping, "claim", path), reader.text(mapping, "expression", path)
        if claim and expression:
            reader.errors.append(field.invalid(path, "", "claim and expression can't both be set"))
        elif expression:
            reader.errors.append(field.forbidden(f"{path}.expression", NO_EXPRESSIONS))
        return claim


def _repeated(issuers: Sequence[JwtIssuer]) -> Iterator[FieldError]:
    for key, attribute in (("url", "url"), ("discoveryURL", "discovery_url")):
        seen: set[str] = set()
        for index, issuer in enumerate(issuers):
            value = getattr(issuer, attribute)
            if value and value in seen:
                yield field.duplicate(f"jwt[{index}].issuer.{key}", value)
            seen.add(value)


def _anonymous(reader: _Reader, root: Object) -> Anonymous | None:
    if root.get("anonymous") is None:
        return None
    said = reader.object(root["anonymous"], "anonymous", "anonymous")
    enabled, paths = said.get("enabled", False), list[str]()
    if not isinstance(enabled, bool):
        reader.wrong_kind("anonymous.enabled", "true or false")
    for index, item in enumerate(reader.list(said, "conditions", "anonymous")):
        where = f"anonymous.conditions[{index}]"
        paths.append(reader.text(reader.object(item, where, "condition"), "path", where))
    if paths and not enabled:
        detail = "enabled should be set to true when conditions are defined"
        reader.errors.append(field.invalid("anonymous.conditions", paths, detail))
    return Anonymous(enabled is True, tuple(paths))


def url_errors(url: str, path: str, disallowed: Collection[str] = ()) -> list[FieldError]:
    """What is wrong with an issuer's URL."""
    errors = []
    if url in disallowed:
        listed = " ".join(sorted(disallowed))
        errors.append(field.invalid(path, url, f"URL must not overlap with disallowed issuers: [{listed}]"))
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError as error:
        return [*errors, field.invalid(path, url, str(error))]
    wrong = (
        (parts.scheme != "https", "URL scheme must be https"),
        (parts.username is not None, "URL must not contain a username or password"),
        (bool(parts.query), "URL must not contain a query"),
        (bool(parts.fragment), "URL must not contain a fragment"),
        (not host, "URL must name a host"),
    )
    return errors + [field.invalid(path, url, detail) for found, detail in wrong if found]


def is_authority(pem: str) -> bool:
    """Whether there are certificates in it that TLS can use."""
    try:
        ssl.create_default_context(cadata=pem)
    except (ssl.SSLError, ValueError):
        return False
    return True


def issuer_of_flags(
    url: str,
    client_id: str,
    *,
    authorities: bytes = b"",
    username_claim: str = "sub",
    username_prefix: str = "",
    groups_claim: str = "",
    groups_prefix: str = "",
    algorithms: Sequence[str] = ("RS256",),
    required: Sequence[tuple[str, str]] = (),
) -> JwtIssuer:
    """The issuer that ``--oidc-*`` describe. Raises ConfigurationError, which names the flag."""
    if not (url and client_id):
        raise ConfigurationError(
            "--oidc-issuer-url and --oidc-client-id must be specified together when any --oidc-* flags are set"
        )
    errors = url_errors(url, "--oidc-issuer-url")
    errors += [
        field.not_supported("--oidc-signing-algs", name, ALGORITHMS) for name in algorithms if name not in ALGORITHMS
    ]
    if authorities and not is_authority(authorities.decode("latin-1")):
        errors.append(field.invalid_unshown("--oidc-ca-file", "data does not contain any valid certificates"))
    if not username_claim:
        errors.append(field.required("--oidc-username-claim"))
    if errors:
        raise ConfigurationError("; ".join(str(error) for error in errors))
    prefix = username_prefix
    if prefix == "-":
        prefix = ""
    elif not prefix and username_claim != "email":
        prefix = f"{url}#"  # so that nobody elsewhere is taken for a user of this cluster
    return JwtIssuer(
        url,
        (client_id,),
        "",
        authorities,
        username_claim,
        prefix,
        groups_claim,
        groups_prefix,
        "",
        tuple(required),
        tuple(algorithms),
    )
