"""Who may do what: what every authorizer answers, and those that know no roles. Pure.

A request's attributes are its `RequestInfo`; a review makes one of what it asks about.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from apilayer.api import status
from apilayer.api.gotext import quote
from apilayer.audit.interface import UNRECORDED
from apilayer.pipeline.authentication import AUTHENTICATED
from apilayer.pipeline.request_info import RequestInfo

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

    from apilayer.audit.interface import Record
    from apilayer.pipeline.authentication import User
    from apilayer.reloads import Reloads

Object = dict[str, Any]

MASTERS = "system:masters"
PUBLIC_PATHS = ("/healthz", "/livez", "/readyz", "/version")
REVIEWS_OF_ONESELF = {
    "authentication.k8s.io": ("selfsubjectreviews",),
    "authorization.k8s.io": ("selfsubjectaccessreviews", "selfsubjectrulesreviews"),
}
"""What everybody who is known may ask about himself, by group."""


@attrs.frozen
class Verdict:
    """An authorizer's answer. One that is neither allowed nor denied has no opinion: another may have one.

    `error` is what went wrong meanwhile, "" for nothing; an answer holds all the same.
    """

    allowed: bool
    reason: str = ""
    denied: bool = False
    error: str = ""


NO_OPINION = Verdict(False)
_MASTER = Verdict(True)


@attrs.frozen
class Rules:
    """What somebody may do in a namespace, as SelfSubjectRulesReviews show it; `error` when that is not all."""

    resources: tuple[Object, ...] = ()
    paths: tuple[Object, ...] = ()
    error: str = ""


class Authorizer(Protocol):
    """Decides at once, from memory, where it can."""

    def decide(self, user: User, info: RequestInfo) -> Verdict | Awaitable[Verdict]:
        """Whether `user` may do what `info` says; to be awaited where somebody else is asked. Use `verdict_of`."""

    def rules(self, user: User, namespace: str) -> Rules:
        """What `user` may do in the namespace."""


class Privileged:
    """Members of system:masters may do everything, everybody else read the public paths and ask about himself."""

    def decide(self, user: User, info: RequestInfo) -> Verdict:
        """See `Authorizer.decide`."""
        if MASTERS in user.groups:
            return Verdict(True)
        if info.is_resource:
            known = AUTHENTICATED in user.groups and info.verb == "create" and not info.subresource
            return Verdict(known and info.resource in REVIEWS_OF_ONESELF.get(info.group, ()))
        return Verdict(info.verb == "get" and _public(info.path))

    def rules(self, user: User, namespace: str) -> Rules:
        """See `Authorizer.rules`."""
        del namespace
        found: list[Object] = []
        paths: list[Object] = []
        if MASTERS in user.groups:
            found.append({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})
            paths.append({"verbs": ["*"], "nonResourceURLs": ["*"]})
        if AUTHENTICATED in user.groups:
            for group, resources in REVIEWS_OF_ONESELF.items():
                found.append({"verbs": ["create"], "apiGroups": [group], "resources": list(resources)})
        public = [url for path in PUBLIC_PATHS for url in (path, f"{path}/*")]
        paths.append({"verbs": ["get"], "nonResourceURLs": public})
        return Rules(tuple(found), tuple(paths))


class Constant:
    """Says the same to everybody."""

    def __init__(self, verdict: Verdict, rules: Rules = Rules()) -> None:  # it never changes
        self._verdict = verdict
        self._rules = rules

    def decide(self, user: User, info: RequestInfo) -> Verdict:
        """See `Authorizer.decide`."""
        del user, info
        return self._verdict

    def rules(self, user: User, namespace: str) -> Rules:
        """See `Authorizer.rules`."""
        del user, namespace
        return self._rules


ALWAYS_ALLOW = Constant(
    Verdict(True),
    Rules(
        ({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},),
        ({"verbs": ["*"], "nonResourceURLs": ["*"]},),
    ),
)
ALWAYS_DENY = Constant(Verdict(False, "Everything is forbidden."))


@attrs.define
class Step:
    """One authorizer of several: its mode and name, and how often it was the one that decided."""

    authorizer: Authorizer
    mode: str = ""
    name: str = ""
    allowed: int = 0
    denied: int = 0


class InTurn:
    """Members of system:masters may do everything; else the first authorizer that allows or denies decides."""

    def __init__(self, steps: Sequence[Step], reloads: Reloads | None = None) -> None:
        """`reloads` are those of the file that names the authorizers, if there is one."""
        self.steps = steps
        self.reloads = reloads

    def decide(
        self, user: User, info: RequestInfo, left: Iterator[Step] | None = None, heard: Sequence[Verdict] = ()
    ) -> Verdict | Awaitable[Verdict]:
        """See `Authorizer.decide`; by the steps that are `left` (None: all of them) after others were `heard`."""
        if MASTERS in user.groups:
            return _MASTER
        left = iter(self.steps) if left is None else left
        for step in left:
            verdict = step.authorizer.decide(user, info)
            if not isinstance(verdict, Verdict):
                return self._asked(step, verdict, user, info, left, heard)
            if verdict.allowed:
                step.allowed += 1
                return verdict
            if verdict.denied:
                step.denied += 1
                return verdict
            heard = (*heard, verdict)
        reasons = "\n".join(verdict.reason for verdict in heard if verdict.reason)
        return Verdict(False, reasons, error=aggregate(verdict.error for verdict in heard if verdict.error))

    async def _asked(
        self,
        step: Step,
        pending: Awaitable[Verdict],
        user: User,
        info: RequestInfo,
        left: Iterator[Step],
        heard: Sequence[Verdict],
    ) -> Verdict:
        """As `decide`, from a step on that asks somebody."""
        verdict = await pending
        if verdict.allowed:
            step.allowed += 1
        elif verdict.denied:
            step.denied += 1
        else:
            rest = self.decide(user, info, left, (*heard, verdict))
            verdict = rest if isinstance(rest, Verdict) else await rest
        return verdict

    def rules(self, user: User, namespace: str) -> Rules:
        """See `Authorizer.rules`."""
        found = [step.authorizer.rules(user, namespace) for step in self.steps]
        return Rules(
            tuple(rule for rules in found for rule in rules.resources),
            tuple(rule for rules in found for rule in rules.paths),
            aggregate(rules.error for rules in found if rules.error),
        )


async def verdict_of(authorizer: Authorizer, user: User, info: RequestInfo) -> Verdict:
    """What the authorizer says, whomever it has to ask."""
    verdict = authorizer.decide(user, info)
    return verdict if isinstance(verdict, Verdict) else await verdict


def outcome(verdict: Verdict) -> str:
    """The verdict as metrics name it."""
    if verdict.error:
        return "error"
    return "allowed" if verdict.allowed else "denied" if verdict.denied else "no-opinion"


async def require(
    authorizer: Authorizer,
    user: User,
    info: RequestInfo,
    record: Record = UNRECORDED,
    observe: Callable[[str, float], None] | None = None,
) -> Verdict:
    """Why `user` may do what `info` says; the record, and who observes outcomes and seconds, are told either way.

    Raises StatusError 403, 500 when that could not be found out.
    """
    start = perf_counter()
    verdict = authorizer.decide(user, info)
    if not isinstance(verdict, Verdict):
        verdict = await verdict
    if observe is not None:
        observe(outcome(verdict), perf_counter() - start)
    if record.tells:
        record.decided(verdict)
    if not verdict.allowed:
        if verdict.error:
            raise status.raw(500, f"Internal Server Error: {quote(info.path)}: {verdict.error}")
        raise refusal(user, info, verdict.reason)
    return verdict


async def permits(
    authorizer: Authorizer, user: User, verb: str, group: str, resource: str, namespace: str, name: str
) -> bool:
    """Whether `user` may do `verb` to a resource ("pods" or "pods/status"), which no request has asked for."""
    plural, _, subresource = resource.partition("/")
    asked = RequestInfo(
        "",
        verb,
        is_resource=True,
        group=group,
        namespace=namespace,
        resource=plural,
        name=name,
        subresource=subresource,
    )
    return (await verdict_of(authorizer, user, asked)).allowed


def refusal(user: User, info: RequestInfo, reason: str = "") -> status.StatusError:
    """403: why `user` may not."""
    if not info.is_resource:
        return status.forbidden_path(user.name, info.verb, info.path)
    resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    error = status.forbidden_verb(user.name, info.verb, resource, info.group, info.namespace, info.name)
    if reason:
        error.status["message"] += f": {reason}"
    return error


def aggregate(texts: Iterable[str]) -> str:
    """Errors as Go puts them together: each text once, "" for none."""
    distinct = list(dict.fromkeys(texts))
    return distinct[0] if len(distinct) == 1 else f"[{', '.join(distinct)}]" if distinct else ""


def _public(path: str) -> bool:
    return any(path == public or path.startswith(public + "/") for public in PUBLIC_PATHS)
