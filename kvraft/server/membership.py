"""Changes of the membership: which ones this leader proposes, when they are answered, and what follows from them.

Requests wait in a queue, as only one change may be under way; whether one is refused is decided when its turn has
come, on what all before it have led to. A removal is answered once the joint configuration is over, so that the
member may be stopped; everything else when it has been applied.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from kvraft.apply.membership import check_urls_are_free
from kvraft.channel import check_urls
from kvraft.errors import (
    BadLeaderTransferee,
    BadMemberUrls,
    InvalidArgument,
    KvraftError,
    LearnerNotReady,
    MemberNotFound,
    NotEnoughStarted,
    NotLeader,
    OutcomeUnknown,
    TimeoutLeaderTransfer,
    TooManyLearners,
    TooManyRequests,
    Unavailable,
)
from kvraft.logs import fields
from kvraft.raft.messages import NO_NODE, ProposalDropped, Role
from kvraft.raft.progress import ProgressState
from kvraft.server.peers import LINGER_SECONDS, REMOVED
from kvraft.types import (
    MemberAddRequest,
    MemberListRequest,
    MemberListResponse,
    MemberPromoteRequest,
    MemberPublishRequest,
    MemberRemoveRequest,
    MembershipCommand,
    MemberUpdateRequest,
    MoveLeaderRequest,
    MoveLeaderResponse,
)

if TYPE_CHECKING:
    from kvraft.server.member import Member
    from kvraft.server.service import Answer, Caller, Handler
    from kvraft.types import MemberInfo, Response

log = logging.getLogger(__name__)

MAX_WAITING = 100
READY_PERCENT = 90
"""A learner may be promoted when it has so much of the leader's log."""

_encode = msgspec.msgpack.Encoder().encode


class Membership:
    """One member's part in changing the membership. ``turn`` follows each turn of the driver, ``tick`` each tick."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._queue: deque[tuple[float, MembershipCommand, Answer]] = deque()
        self._under_way = False
        self._leaving: list[tuple[float, int, Answer]] = []
        self._transfers: list[tuple[float, int, Answer]] = []
        self._seen: tuple[MemberInfo, ...] = ()
        self._removed = trio.Event()

    @property
    def handlers(self) -> dict[type, Handler]:
        """What the service asks, by the kind of request."""
        return {
            MemberListRequest: self._list,
            MemberAddRequest: self._change,
            MemberRemoveRequest: self._change,
            MemberUpdateRequest: self._change,
            MemberPromoteRequest: self._change,
            MoveLeaderRequest: self._move_leader,
        }

    # ------------------------------------------------------------------ requests

    def _list(self, request: MemberListRequest, body: bytes, caller: Caller, answer: Answer) -> None:
        def read(error: KvraftError | None) -> None:
            answer(self._members() if error is None else error)

        if request.linearizable:
            self._member.driver.read(read)
        else:
            read(None)

    def _members(self) -> MemberListResponse:
        machine = self._member.machine
        return MemberListResponse(machine.revision, list(machine.members))

    def _change(self, request: Any, body: bytes, caller: Caller, answer: Answer) -> None:
        if isinstance(request, MemberAddRequest):
            request = MemberAddRequest(_peer_urls(request.peer_urls), request.is_learner)
        elif isinstance(request, MemberUpdateRequest):
            request = MemberUpdateRequest(request.member_id, _peer_urls(request.peer_urls))
        if not self._leads(body, caller, answer):
            return
        if len(self._queue) >= MAX_WAITING:
            raise TooManyRequests
        self._enqueue(request, answer)

    def _enqueue(self, request: MembershipCommand, answer: Answer) -> None:
        if isinstance(request, MemberPromoteRequest):
            answer = partial(self._promoted, answer)
        self._queue.append((self._deadline(), request, answer))
        self._member.wake.set()

    def _promoted(self, answer: Answer, outcome: Response | KvraftError) -> None:
        """A learner's promotion has ended: well, or not."""
        counters = self._member.counters
        if not isinstance(outcome, KvraftError):
            counters.learners_promoted += 1
        elif not isinstance(outcome, NotLeader):
            counters.learners_not_promoted[outcome.text] += 1
        answer(outcome)

    def _leads(self, body: bytes, caller: Caller, answer: Answer) -> bool:
        """Whether this member leads. Else the leader is asked, for callers that want that, or they learn who it is."""
        driver = self._member.driver
        if driver.raft.role is Role.LEADER:
            return True
        if caller.forwards:
            driver.ask_leader(body, answer)  # type: ignore[arg-type]
        else:
            answer(driver.no_leader())
        return False

    def _deadline(self) -> float:
        return trio.current_time() + self._member.request_seconds

    def _move_leader(self, request: MoveLeaderRequest, body: bytes, caller: Caller, answer: Answer) -> None:
        """As in etcd only the leader does it, and is not asked by others."""
        if self._member.driver.raft.role is not Role.LEADER:
            raise self._member.driver.no_leader()
        target = self._find(request.target_id)
        if target is None or target.is_learner:
            raise BadLeaderTransferee
        try:
            self._member.driver.raft.transfer_leadership(request.target_id)
        except ProposalDropped as dropped:
            raise BadLeaderTransferee from dropped
        self._transfers.append((self._deadline(), request.target_id, answer))
        self._member.wake.set()

    # ------------------------------------------------------------------ in turn

    def turn(self) -> None:
        """Answer what the driver's turn has decided, and propose the next change when the last one is over."""
        machine, raft = self._member.machine, self._member.driver.raft
        if machine.members is not self._seen:
            self._follow()
        if self._leaving:
            self._answer_removals()
        if self._transfers:
            self._transfers = [
                waiting for waiting in self._transfers if not self._answer_transfer(waiting[1], waiting[2], raft.leader)
            ]
        while self._queue and not self._under_way and raft.may_change:
            deadline, request, answer = self._queue.popleft()
            try:
                self._propose(self._prepared(request), deadline, answer)
            except KvraftError as error:
                answer(error)
        if self._queue and raft.role is not Role.LEADER:
            self._refuse_all()

    def tick(self) -> None:
        """Give up what has waited for too long; let the leader write down what members say of themselves."""
        now = trio.current_time()
        for deadline, _, answer in list(self._queue):
            if deadline <= now:  # it was not proposed: the change before it does not come to an end
                answer(Unavailable(OutcomeUnknown.text))
        self._queue = deque(waiting for waiting in self._queue if waiting[0] > now)
        for deadline, _, answer in self._leaving:
            if deadline <= now:
                answer(OutcomeUnknown())
        self._leaving = [waiting for waiting in self._leaving if waiting[0] > now]
        for deadline, _, answer in self._transfers:
            if deadline <= now:
                answer(TimeoutLeaderTransfer())
        self._transfers = [waiting for waiting in self._transfers if waiting[0] > now]
        if not self._queue and not self._under_way and self._member.driver.raft.may_change:
            self._lead_by_itself()

    def stop(self) -> None:
        """Answer everybody who still waits."""
        self._refuse_all()
        for _, _, answer in (*self._leaving, *self._transfers):
            answer(OutcomeUnknown())
        self._leaving, self._transfers = [], []

    def _refuse_all(self) -> None:
        queue, self._queue = self._queue, deque()
        leader = self._member.client_url_of(self._member.driver.raft.leader)
        for _, _, answer in queue:
            answer(NotLeader(leader=leader))

    def _follow(self) -> None:
        """The members are others now: connect to whom there is, and end if this one is not among them."""
        member, machine = self._member, self._member.machine
        self._seen = machine.members
        member.peers.follow(machine.members, machine.removed)
        if member.member_id in machine.removed:
            self.removed()

    def removed(self) -> None:
        """This member has learned that it is none any more, by itself or from a peer."""
        self._answer_removals(also=self._member.member_id)
        if not self._removed.is_set():
            self._removed.set()
            member = self._member
            log.warning(REMOVED, extra=fields(member=f"{member.member_id:x}", data_dir=str(member.config.data_dir)))
            log.warning("data-dir used by this member must be removed")

    async def leave_when_removed(self) -> None:
        """End the member then, once whoever waits has been answered."""
        await self._removed.wait()
        await trio.sleep(LINGER_SECONDS)
        self._member.end()

    def _answer_removals(self, also: int = NO_NODE) -> None:
        """``also`` is gone, too, though this member's state does not say so yet."""
        listed = self._members()
        members = [member for member in listed.members if member.member_id != also]
        present = {member.member_id for member in members}
        for _, member_id, answer in self._leaving:
            if member_id not in present:
                answer(MemberListResponse(listed.revision, members))
        self._leaving = [waiting for waiting in self._leaving if waiting[1] in present]

    def _answer_transfer(self, target: int, answer: Answer, leader: int) -> bool:
        if leader != target:
            return False
        answer(MoveLeaderResponse(self._member.machine.revision))
        return True

    def _propose(self, request: MembershipCommand, deadline: float, answer: Answer) -> None:
        def decided(outcome: object) -> None:
            self._under_way = False
            self._member.wake.set()
            if isinstance(request, MemberRemoveRequest) and not isinstance(outcome, KvraftError):
                self._leaving.append((deadline, request.member_id, answer))
            else:
                answer(outcome)  # type: ignore[arg-type]

        log.info("changing the membership", extra=fields(request=type(request).__name__, id=f"{request.member_id:x}"))
        self._under_way = True
        self._member.driver.change(_encode(request), decided)

    # ------------------------------------------------------------------ what the leader does by itself

    def _lead_by_itself(self) -> None:
        """One thing at a time: publish a member's name and URLs, or promote a learner that has caught up."""
        request = self._unpublished() or (self._caught_up() if self._member.config.auto_promote_learners else None)
        if request is not None:
            self._enqueue(request, _ignore)

    @property
    def published(self) -> bool:
        """Whether the members' list names this member and its client URLs as they are now (etcd's readiness)."""
        member = self._member
        own = self._find(member.member_id)
        return own is not None and (own.name, own.client_urls) == (member.config.name, member.client_urls)

    def _unpublished(self) -> MemberPublishRequest | None:
        member = self._member
        for known in member.machine.members:
            name, urls = known.name, known.client_urls
            link = member.peers.links.get(known.member_id)
            if known.member_id == member.member_id:
                name, urls = member.config.name, member.client_urls
            elif link is not None and link.introduced:
                name, urls = link.name, link.client_urls
            if (name, urls) != (known.name, known.client_urls):
                return MemberPublishRequest(known.member_id, name, urls)
        return None

    def _caught_up(self) -> MemberPromoteRequest | None:
        progress = self._member.driver.raft.status().progress
        for known in self._member.machine.members:
            if known.is_learner and known.name and progress[known.member_id].state is ProgressState.REPLICATE:
                try:
                    self._check_promotion(known.member_id)
                except KvraftError:
                    continue
                return MemberPromoteRequest(known.member_id)
        return None

    # ------------------------------------------------------------------ refusals

    def _find(self, member_id: int) -> MemberInfo | None:
        return next((member for member in self._member.machine.members if member.member_id == member_id), None)

    def _prepared(self, request: MembershipCommand) -> MembershipCommand:
        """What to propose for ``request``. Raises what it is refused with, as etcd refuses it."""
        if isinstance(request, MemberAddRequest):
            self._check_addition(request)
            token = self._member.config.initial_cluster_token
            member_id = new_member_id(request.peer_urls, token, int(time.time()))
            return msgspec.structs.replace(request, member_id=member_id)
        if isinstance(request, MemberRemoveRequest):
            self._check_removal(request.member_id)
        elif isinstance(request, MemberPromoteRequest):
            self._check_promotion(request.member_id)
        return request

    def _voters(self, besides: int = NO_NODE) -> list[MemberInfo]:
        members = self._member.machine.members
        return [member for member in members if not member.is_learner and member.member_id != besides]

    def _is_healthy(self, member: MemberInfo) -> bool:
        return member.member_id == self._member.member_id or member.member_id in self._member.peers.connected()

    def _check_addition(self, request: MemberAddRequest) -> None:
        """In etcd's order: clients see the first refusal."""
        config, members, voters = self._member.config, self._member.machine.members, self._voters()
        if config.strict_reconfig_check:
            started = sum(bool(voter.name) for voter in voters)
            # The second member of a cluster is always welcome: so a cluster of one is restored.
            if not request.is_learner and (started, len(voters)) != (1, 1) and started < (len(voters) + 1) // 2 + 1:
                raise NotEnoughStarted
            if not all(map(self._is_healthy, voters)):
                raise Unavailable
        check_urls_are_free(members, request.peer_urls)
        if request.is_learner and len(members) - len(voters) >= config.max_learners:
            raise TooManyLearners

    def _check_removal(self, member_id: int) -> None:
        target = self._find(member_id)
        if not self._member.config.strict_reconfig_check or (target is not None and target.is_learner):
            return
        others = self._voters(besides=member_id)
        if sum(bool(voter.name) for voter in others) < len(others) // 2 + 1:
            raise NotEnoughStarted
        if target is None or not self._is_healthy(target):
            return  # whoever is down is no part of the quorum that works
        voters = self._voters()
        healthy = sum(map(self._is_healthy, voters))
        if healthy - 1 < 1 + (len(voters) - 1) // 2:
            raise Unavailable

    def _check_promotion(self, member_id: int) -> None:
        raft = self._member.driver.raft
        progress = raft.status().progress.get(member_id)
        if progress is None:
            if member_id == self._member.member_id:
                return  # it leads, so it is no learner: the state machine says so
            raise MemberNotFound
        if progress.match * 100 < raft.last_index * READY_PERCENT:
            raise LearnerNotReady
        if not self._member.config.strict_reconfig_check:
            return
        voters = self._voters()
        started = sum(bool(voter.name) for voter in voters) + 1
        if started < (len(voters) + 1) // 2 + 1:
            raise NotEnoughStarted


def new_member_id(peer_urls: tuple[str, ...], token: str, unix_seconds: int) -> int:
    """The id of a member that is added, made as etcd makes it: SHA-1 over URLs, the cluster's token and the time."""
    data = "".join(sorted(peer_urls)) + token + str(unix_seconds)
    return int.from_bytes(hashlib.sha1(data.encode(), usedforsecurity=False).digest()[:8])


def _peer_urls(urls: tuple[str, ...]) -> tuple[str, ...]:
    """In order, as etcd keeps them. Raises ``BadMemberUrls``."""
    try:
        check_urls(urls)
    except ValueError as error:
        raise BadMemberUrls from error
    return tuple(sorted(urls))


def _ignore(outcome: Response | KvraftError) -> None:
    """What the leader does by itself it tries again if need be."""
    if isinstance(outcome, InvalidArgument):
        log.warning("a change of the membership was refused", extra=fields(error=str(outcome)))
