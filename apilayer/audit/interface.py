"""What the pipeline tells an audit about a request. This one, which is on without a policy, does nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apilayer.audit.counts import AuditCounts
    from apilayer.pipeline.authentication import User
    from apilayer.pipeline.authorization import Verdict
    from apilayer.pipeline.request import Request, Response
    from apilayer.pipeline.request_info import RequestInfo


class Record:
    """One request on its way. The pipeline calls these in their order."""

    __slots__ = ()
    tells: bool = False
    """Whether anything further is to be told; otherwise it need not be."""

    def concerns(self, info: RequestInfo, user: User) -> bool:
        """Somebody who is known asks for something; answers whether that is to be told, see `received`."""
        del info, user
        return False

    async def received(self) -> None:
        """It is going to be answered. Raises StatusError 500 when this must be written and cannot be."""

    def impersonated(self, user: User, constraint: str = "") -> None:
        """The request is judged as if `user` had made it, by a constrained right or (``""``) the plain one."""

    def decided(self, verdict: Verdict) -> None:
        """An authorizer has allowed or refused it."""

    def names(self, metadata: Mapping[str, Any]) -> None:
        """The object in the request's body, as it came, has these metadata: so nobody has to look for them again."""

    def share(self, annotations: dict[str, str]) -> None:
        """Further annotations are put into this dictionary until the request is answered."""

    def annotate(self, key: str, value: str) -> None:
        """Adds an annotation; the first value of a key stays."""

    def panicked(self, error: Exception) -> None:
        """Handling it has failed in a way that nobody foresaw."""

    async def answered(self, info: RequestInfo | None, response: Response) -> None:
        """This is the answer. A stream is followed to its end."""

    def given_up(self) -> None:
        """There is no answer: its time is over, or the client has gone."""


class Audit:
    """Begins records."""

    __slots__ = ()
    counts: AuditCounts | None = None
    """What there is to count; without an audit, nothing."""

    def begin(self, request: Request, audit_id: str) -> Record:
        """The record of a request of which nothing but its head is known."""
        del request, audit_id
        return UNRECORDED

    async def run(self) -> None:
        """Writes what was recorded until it is cancelled, and then what is left."""


UNRECORDED = Record()
NO_AUDIT = Audit()
