"""Asks somebody else: a SubjectAccessReview goes to a webhook, whose answer holds for a while.

Source: Kubernetes documentation, "Webhook Mode"; ``apiserver/plugin/pkg/authorizer/webhook``.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import attrs
import trio

from apilayer.outbound.client import OutboundError, TooSlow
from apilayer.pipeline.authorization import Rules, Verdict
from apilayer.pipeline.subject_access import review_spec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from apilayer.pipeline.authentication import User
    from apilayer.pipeline.request_info import RequestInfo

Object = dict[str, Any]

MAX_REMEMBERED = 8192
MAX_REMEMBERED_CHARS = 10_000
"""Answers about requests whose attributes are longer are not remembered: clients choose these."""


class BadAnswer(Exception):
    """The webhook's answer is no review; says why."""


@attrs.frozen
class WebhookRules:
    """How long answers hold (0: not at all), and what no answer means."""

    version: str = "v1"
    """Of the SubjectAccessReview: v1 or v1beta1."""
    authorized_seconds: float = 300.0
    unauthorized_seconds: float = 30.0
    denies_on_error: bool = False

    def seconds(self, verdict: Verdict) -> float:
        """How long an answer holds."""
        return self.authorized_seconds if verdict.allowed else self.unauthorized_seconds


class Remembered:
    """Verdicts until their time is over; of too many, those that were not asked for longest go."""

    def __init__(self, size: int = MAX_REMEMBERED) -> None:
        self._size = size
        self._kept: OrderedDict[tuple[User, RequestInfo], tuple[float, Verdict]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: tuple[User, RequestInfo], now: float) -> Verdict | None:
        """What was answered, None for nothing that holds at `now` (in seconds of one clock)."""
        found = self._kept.get(key)
        if found is None:
            return None
        if found[0] <= now:
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return found[1]

    def put(self, key: tuple[User, RequestInfo], verdict: Verdict, until: float) -> None:
        """Keeps an answer."""
        self._kept[key] = until, verdict
        self._kept.move_to_end(key)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)


class WebhookAuthorizer:
    """`apilayer.pipeline.authorization.Authorizer` that asks. `ask` posts a review and answers it with its status."""

    def __init__(self, ask: Callable[[Object], Awaitable[Any]], rules: WebhookRules) -> None:
        self._ask = ask
        self._rules = rules
        self._remembered = Remembered()
        self.evaluations: dict[str, int] = {}
        """How often it was asked, by what came of it: success, timeout, error."""

    def decide(self, user: User, info: RequestInfo) -> Verdict | Awaitable[Verdict]:
        """See `Authorizer.decide`."""
        found = self._remembered.get((user, info), trio.current_time())
        return self._asked(user, info) if found is None else found

    async def _asked(self, user: User, info: RequestInfo) -> Verdict:
        rules = self._rules
        try:
            verdict = verdict_in(await self._ask(review_of(user, info, rules.version)), rules.version)
        except (OutboundError, BadAnswer) as error:
            self._count("timeout" if isinstance(error, TooSlow) else "error")
            return Verdict(False, denied=rules.denies_on_error, error=str(error))
        self._count("success")
        seconds = rules.seconds(verdict)
        if seconds and not verdict.error and may_be_remembered(info):
            self._remembered.put((user, info), verdict, trio.current_time() + seconds)
        return verdict

    def _count(self, result: str) -> None:
        self.evaluations[result] = self.evaluations.get(result, 0) + 1

    def rules(self, user: User, namespace: str) -> Rules:
        """See `Authorizer.rules`."""
        del user, namespace
        return Rules(error="webhook authorizer does not support user rule resolution")


def review_of(user: User, info: RequestInfo, version: str) -> Object:
    """The question. Pure."""
    return {
        "kind": "SubjectAccessReview",
        "apiVersion": f"authorization.k8s.io/{version}",
        "metadata": {},
        "spec": review_spec(user, info, version),
        "status": {"allowed": False},
    }


def verdict_in(answer: Object, version: str) -> Verdict:
    """What an answer says. Pure. Raises BadAnswer."""
    if answer.get("kind") != "SubjectAccessReview" or answer.get("apiVersion") != f"authorization.k8s.io/{version}":
        raise BadAnswer(f"the webhook's answer is not a SubjectAccessReview of authorization.k8s.io/{version}")
    said = answer.get("status")
    if not isinstance(said, dict):
        raise BadAnswer("the webhook's answer has no status")
    allowed, denied, reason = said.get("allowed", False), said.get("denied", False), said.get("reason", "")
    if not isinstance(allowed, bool) or not isinstance(denied, bool) or not isinstance(reason, str):
        raise BadAnswer("the status of the webhook's answer is malformed")
    if allowed and denied:
        error = "webhook subject access review returned both allow and deny response"
        return Verdict(False, reason, denied=True, error=error)
    return Verdict(allowed, reason, denied=denied)


def may_be_remembered(info: RequestInfo) -> bool:
    """Whether what clients choose of a request is short enough to be kept. Pure."""
    texts = (info.namespace, info.verb, info.group, info.version, info.resource, info.subresource, info.name, info.path)
    selectors = sum(len(term.label) + len(term.value) for term in info.fields)
    selectors += sum(len(item.key) + sum(map(len, item.values)) for item in info.labels)
    return sum(map(len, texts)) + selectors < MAX_REMEMBERED_CHARS
