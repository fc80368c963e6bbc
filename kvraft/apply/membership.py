"""The members of a cluster as replicated state: what a CONFIGURATION entry changes in it.

An entry's data is one membership command; empty data ends a joint configuration. Who takes part in the configuration
is in the table of members, and the other way round, at every index: a member that is removed stays in both until the
joint configuration that leaves it out is over, and is among the removed from then on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from kvraft.errors import (
    InvalidArgument,
    MemberExists,
    MemberNotFound,
    MemberNotLearner,
    NotEnoughStarted,
    PeerUrlExists,
)
from kvraft.raft.changes import enter, leave
from kvraft.types import (
    MemberAddRequest,
    MemberAddResponse,
    MemberInfo,
    MemberListResponse,
    MemberPromoteRequest,
    MemberPublishRequest,
    MemberRemoveRequest,
    MembershipCommand,
    MemberUpdateRequest,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvraft.raft.messages import Configuration
    from kvraft.storage.tables import StateMeta

MAX_MEMBERS = 100
MAX_REMOVED = 1000
"""Ids of removed members that are remembered, so that they can be told. Who is forgotten is a stranger."""

_decoder: msgspec.msgpack.Decoder[MembershipCommand] = msgspec.msgpack.Decoder(MembershipCommand)


def apply_change(meta: StateMeta, data: bytes) -> MemberAddResponse | MemberListResponse | None:
    """Change ``meta`` by the CONFIGURATION entry with ``data``; the answer to who proposed it.

    Raises the refusal as a ``KvraftError``, and ``msgspec.MsgspecError`` for data that is no command: then nothing
    is changed.
    """
    assert meta.configuration is not None, "a member without a configuration applies nothing"
    if not data:
        meta.configuration = leave(meta.configuration)
        _forget_who_left(meta)
        return None
    command = _decoder.decode(data)
    if type(command) is MemberAddRequest:
        added = _add(meta, command)
        return MemberAddResponse(meta.revision, added, list(meta.members))
    if type(command) is MemberRemoveRequest:
        _remove(meta, command.member_id)
    elif type(command) is MemberPromoteRequest:
        _promote(meta, command.member_id)
    elif type(command) is MemberUpdateRequest:
        member = _member(meta, command.member_id)
        check_urls_are_free(meta.members, command.peer_urls, besides=member.member_id)
        _replace(meta, msgspec.structs.replace(member, peer_urls=command.peer_urls))
    elif type(command) is MemberPublishRequest:
        member = _member(meta, command.member_id)
        _replace(meta, msgspec.structs.replace(member, name=command.name, client_urls=command.client_urls))
    return MemberListResponse(meta.revision, list(meta.members))


def _member(meta: StateMeta, member_id: int) -> MemberInfo:
    for member in meta.members:
        if member.member_id == member_id:
            return member
    raise MemberNotFound


def _replace(meta: StateMeta, changed: MemberInfo) -> None:
    meta.members = tuple(changed if member.member_id == changed.member_id else member for member in meta.members)


def check_urls_are_free(members: Iterable[MemberInfo], urls: Iterable[str], besides: int = 0) -> None:
    """Raises PeerUrlExists for a URL of any member but ``besides``."""
    taken = {url for member in members if member.member_id != besides for url in member.peer_urls}
    if taken.intersection(urls):
        raise PeerUrlExists


def _enter(configuration: Configuration | None, voters: set[int], learners: set[int]) -> Configuration:
    assert configuration is not None
    try:
        return enter(configuration, voters, learners)
    except ValueError as error:
        raise InvalidArgument(f"etcdserver: {error}") from error


def _add(meta: StateMeta, command: MemberAddRequest) -> MemberInfo:
    assert meta.configuration is not None
    if command.member_id in meta.removed:
        raise MemberNotFound
    if any(member.member_id == command.member_id for member in meta.members):
        raise MemberExists
    check_urls_are_free(meta.members, command.peer_urls)
    if len(meta.members) >= MAX_MEMBERS:
        raise InvalidArgument(f"etcdserver: a cluster has at most {MAX_MEMBERS} members")
    voters, learners = set(meta.configuration.voters), set(meta.configuration.learners)
    (learners if command.is_learner else voters).add(command.member_id)
    meta.configuration = _enter(meta.configuration, voters, learners)
    added = MemberInfo(command.member_id, "", command.peer_urls, (), command.is_learner)
    meta.members = tuple(sorted((*meta.members, added), key=lambda member: member.member_id))
    return added


def _remove(meta: StateMeta, member_id: int) -> None:
    assert meta.configuration is not None
    _member(meta, member_id)
    voters = set(meta.configuration.voters) - {member_id}
    if not voters:
        raise NotEnoughStarted
    meta.configuration = _enter(meta.configuration, voters, set(meta.configuration.learners) - {member_id})
    _forget_who_left(meta)


def _promote(meta: StateMeta, member_id: int) -> None:
    assert meta.configuration is not None
    member = _member(meta, member_id)
    if not member.is_learner:
        raise MemberNotLearner
    voters, learners = {*meta.configuration.voters, member_id}, set(meta.configuration.learners) - {member_id}
    meta.configuration = _enter(meta.configuration, voters, learners)
    _replace(meta, msgspec.structs.replace(member, is_learner=False))


def _forget_who_left(meta: StateMeta) -> None:
    configuration = meta.configuration
    assert configuration is not None
    present = {*configuration.voters, *configuration.outgoing, *configuration.learners}
    gone = tuple(member.member_id for member in meta.members if member.member_id not in present)
    if gone:
        meta.members = tuple(member for member in meta.members if member.member_id in present)
        meta.removed = (*meta.removed, *gone)[-MAX_REMOVED:]
        meta.alarms = tuple(alarm for alarm in meta.alarms if alarm[0] not in gone)  # nobody else would clear them
