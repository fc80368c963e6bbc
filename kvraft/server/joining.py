"""How a member comes by its first state: as a founder, by joining a running cluster, or alone after a disaster."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import attrs
import trio

from kvraft.channel import Closed, dial
from kvraft.errors import KvraftError, ProtocolError
from kvraft.logs import fields
from kvraft.raft.messages import Configuration
from kvraft.server.config import ConfigError
from kvraft.server.snapshots import HELLO_SECONDS, next_control
from kvraft.types import MemberInfo
from kvraft.wire import peer as wire
from kvraft.wire.frames import FrameDecoder

if TYPE_CHECKING:
    import ssl

    from kvraft.apply.machine import StateMachine
    from kvraft.server.config import MemberConfig
    from kvraft.storage.log import LogStore

log = logging.getLogger(__name__)

FOUNDING_INDEX = 1
"""A cluster's founders begin behind an entry that no log has, so that whoever joins later needs a snapshot, and has
the members that the founders were told of from there instead of from flags."""
REPLAY_BYTES = 4 << 20


@attrs.frozen
class Beginning:
    """What a member without data starts from; ``configuration`` is None for one who joins."""

    cluster_id: int
    member_id: int
    members: tuple[MemberInfo, ...]
    configuration: Configuration | None


def found(config: MemberConfig) -> Beginning:
    """Everybody whom the flags name founds the cluster together."""
    ids = config.member_ids
    members = sorted(
        (MemberInfo(ids[name], name, tuple(sorted(urls))) for name, urls in config.initial_cluster.items()),
        key=lambda member: member.member_id,
    )
    configuration = Configuration(tuple(member.member_id for member in members))
    return Beginning(config.cluster_id, ids[config.name], tuple(members), configuration)


async def join(config: MemberConfig, tls: ssl.SSLContext | None) -> Beginning:
    """Ask the other members of ``--initial-cluster`` who the members are, and find this one among them.

    Raises ``ConfigError`` when nobody answers, or the flags and the cluster disagree.
    """
    failures = []
    for name, urls in config.initial_cluster.items():
        if name == config.name:
            continue
        for url in urls:
            try:
                answer = await _ask(url, tls)
            except (KvraftError, OSError, trio.TooSlowError) as error:
                failures.append(f"{url}: {error or 'no answer in time'}")
                continue
            if answer.members:
                return _recognise(config, answer)
            failures.append(f"{url}: does not know the cluster yet")
    raise ConfigError(f"cannot fetch cluster info from peer urls: {'; '.join(failures) or 'no other member is named'}")


async def _ask(url: str, tls: ssl.SSLContext | None) -> wire.Members:
    with trio.fail_after(HELLO_SECONDS):
        channel = await dial(url, tls)
        try:
            await channel.send(wire.PREFACE + wire.encode_control(wire.MembersQuestion()))
            answer = await next_control(channel, FrameDecoder(wire.MAX_FRAME_BYTES))
        finally:
            channel.close()
    if isinstance(answer, wire.Refusal):
        raise Closed(answer.reason)
    if not isinstance(answer, wire.Members):
        raise ProtocolError("the members were asked for")
    return answer


def _recognise(config: MemberConfig, answer: wire.Members) -> Beginning:
    """Which of the members is the one with these flags: etcd's check, by peer URLs."""
    flags = {name: tuple(sorted(urls)) for name, urls in config.initial_cluster.items()}
    known = {member.peer_urls: member for member in answer.members}
    where = ",".join(url for urls in flags.values() for url in urls)
    if len(flags) != len(answer.members):
        raise ConfigError(
            f"error validating peerURLs {where}: member count is unequal: "
            f"--initial-cluster names {len(flags)}, the cluster has {len(answer.members)}"
        )
    for name, urls in flags.items():
        if urls not in known:
            raise ConfigError(
                f"error validating peerURLs {where}: unmatched member while checking PeerURLs: "
                f"{name} with {','.join(urls)} is not in the cluster"
            )
    me = known[flags[config.name]]
    log.info("joining a cluster", extra=fields(cluster=f"{answer.cluster_id:x}", member=f"{me.member_id:x}"))
    return Beginning(answer.cluster_id, me.member_id, answer.members, None)


def stand_alone(machine: StateMachine, store: LogStore) -> None:
    """Go on as the only member, with everything that this member's disk has (``--force-new-cluster``).

    What was acknowledged is in its log if it was in a quorum with this member, whether or not it had heard of the
    commit; so all of the log counts. The others count as removed: should one come back, it is told.
    """
    while machine.applied_index < store.last_index:
        machine.apply(store.entries(machine.applied_index + 1, store.last_index + 1, REPLAY_BYTES))
    machine.stand_alone()
    log.warning("standing alone: every other member has been dropped", extra=fields(applied=machine.applied_index))
