"""Which form an answer takes: JSON, YAML or protobuf, the object itself, a Table or its metadata. Pure, memoised.

Source: Kubernetes API concepts, "Alternate representations of resources".
"""

from __future__ import annotations

from functools import lru_cache

import attrs

from apilayer.api import status

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
SERVED = (JSON, YAML, PROTOBUF)
TABLE_MEDIA = (JSON, YAML)
FORMS = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")
FORM_VERSIONS = ("v1", "v1beta1")
DISCOVERY_LIST = "APIGroupDiscoveryList"
MAX_CLAUSES = 64
MAX_REMEMBERED_CHARS = 512
"""Longer headers are parsed each time, so that what is remembered stays small."""
BROWSERS = ("curl", "Wget", "Mozilla/5.0")
"""How the User-Agent of people begins, who like their JSON indented."""
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})


@attrs.frozen
class Accepted:
    """The media type to answer in, and the form ("" is the object itself) with its version; indented if `pretty`."""

    media: str = JSON
    form: str = ""
    version: str = ""
    pretty: bool = False

    @property
    def content_type(self) -> bytes:
        """The Content-Type of the answer."""
        return self.media.encode()


_PLAIN = Accepted()


class NotAcceptable(Exception):
    """Nothing that the client accepts can be made; `known` when it did ask for a media type that exists."""

    def __init__(self, *, known: bool) -> None:
        super().__init__("not acceptable")
        self.known = known

    def status_error(self, served: tuple[str, ...] = SERVED) -> status.StatusError:
        """The 406 answer."""
        if self.known:
            return status.not_acceptable(served)
        error = status.not_acceptable(())
        listed = ", ".join(SERVED)
        error.status["message"] = f"406: Not Acceptable\n\nAvailable representations: {listed}"
        code = error.status.pop("code")
        error.status.update(details={}, code=code)
        return error


def negotiate(accept: str) -> Accepted:
    """The first acceptable clause, the client's quality values respected. Raises NotAcceptable."""
    return _negotiate_short(accept) if len(accept) <= MAX_REMEMBERED_CHARS else _negotiate(accept)


def _negotiate(accept: str) -> Accepted:
    if not accept.strip():
        return _PLAIN
    known = False
    for media, parameters in _clauses(accept):
        if media != "*/*" and media not in SERVED:
            continue
        known = True
        served = JSON if media == "*/*" else media
        form, pretty = parameters.get("as", ""), parameters.get("pretty") == "1"
        if not form:
            return Accepted(served, pretty=pretty)
        version = parameters.get("v", "")
        if form == "Table" and served not in TABLE_MEDIA:
            continue
        if form in FORMS and parameters.get("g") == "meta.k8s.io" and version in FORM_VERSIONS:
            return Accepted(served, form, version, pretty)
    raise NotAcceptable(known=known)


_negotiate_short = lru_cache(maxsize=512)(_negotiate)


def wants_aggregated_discovery(accept: str) -> bool:
    """Whether the client's first acceptable clause is the aggregated discovery list, version v2."""
    for media, parameters in _clauses(accept):
        if media not in (JSON, "*/*"):
            continue
        form = parameters.get("as", "")
        if not form:
            return False
        if form == DISCOVERY_LIST and parameters.get("g") == "apidiscovery.k8s.io" and parameters.get("v") == "v2":
            return True
    return False


def wants_pretty(pretty: str | None, user_agent: str) -> bool:
    """Indented output: as ``?pretty=`` says, else for people with a browser or curl."""
    if pretty:
        return pretty in _TRUE
    return user_agent.startswith(BROWSERS)


def _clauses(accept: str) -> list[tuple[str, dict[str, str]]]:
    """Media types with parameters, best quality first, otherwise in the client's order; wildcards come last."""
    found: list[tuple[float, str, dict[str, str]]] = []
    for clause in accept.split(",")[:MAX_CLAUSES]:
        media, *rest = (part.strip() for part in clause.split(";"))
        if not media:
            continue
        parameters = {}
        for part in rest:
            name, _, value = part.partition("=")
            parameters[name.strip()] = value.strip().strip('"')
        found.append((_quality(parameters.get("q", "1")), media.lower(), parameters))
    found.sort(key=lambda item: ("*" in item[1], -item[0]))
    return [(media, parameters) for _, media, parameters in found]


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 1.0
