"""One member: opens its disk, runs its driver, serves peers and clients, until it is told to stop."""

from __future__ import annotations

import logging
import random
import secrets
from contextlib import ExitStack
from functools import cached_property, partial
from typing import TYPE_CHECKING, cast

import trio

from kvraft.apply.alarms import describe
from kvraft.apply.machine import StateMachine
from kvraft.arrivals import Arrivals
from kvraft.channel import WakeUp, accept
from kvraft.errors import Compacted, Corrupt, KvraftError, NoLeader
from kvraft.logs import fields
from kvraft.raft.core import Raft
from kvraft.raft.messages import NO_NODE, Configuration, RaftConfig, RaftStart, Role, SnapshotMeta
from kvraft.server.alarms import SpaceWatch
from kvraft.server.auth import AuthService
from kvraft.server.autocompact import parse_retention
from kvraft.server.clients import ClientConnection, see_off
from kvraft.server.commits import COMMIT_SECONDS, CommitClock
from kvraft.server.config import ConfigError, MemberConfig
from kvraft.server.corruption import CorruptionCheck
from kvraft.server.driver import Driver, DriverConfig
from kvraft.server.joining import FOUNDING_INDEX, Beginning, found, stand_alone
from kvraft.server.listeners import Listeners
from kvraft.server.membership import Membership
from kvraft.server.observe.counters import Counters
from kvraft.server.observe.sampling import Sampler
from kvraft.server.observe.timed import SyncWatch, TimedMachine
from kvraft.server.peers import Peers
from kvraft.server.service import Service
from kvraft.server.timers import Timers
from kvraft.server.turns import Turns
from kvraft.storage.log import LogStore
from kvraft.storage.writer import LogWriter
from kvraft.types import CompactRequest, Status
from kvraft.version import VERSION
from kvraft.watch.encoding import Shared
from kvraft.wire import native, peer

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from kvraft.server.autocompact import AutoCompaction
    from kvraft.server.contracts import Machine
    from kvraft.server.etcd.services import EtcdServices
    from kvraft.server.http.app import Route
    from kvraft.types import Response

log = logging.getLogger(__name__)

TICK_SECONDS = 0.05
APPLY_BYTES = 64 << 10
"""What one turn applies: its answers leave at the end of the turn, so that clients work while the rest is applied."""
SLOW_LOG_SECONDS = 0.1
MAX_LATE_TICKS = 3
"""After a pause of the whole process only so many ticks are made up for: the peers deserve a chance to speak."""
HANDOVER_SECONDS = 0.9
CLOSE_SECONDS = 0.3
"""For so long the last write to the log may take at the end: with the others, less than the process has left."""


class Member:
    """See the module. Create it, then ``run`` it once."""

    config: MemberConfig
    counters: Counters
    machine: StateMachine
    driver: Driver
    peers: Peers
    log_store: LogStore
    writer: LogWriter
    service: Service

    def __init__(self, config: MemberConfig, joined: Beginning | None = None) -> None:
        """``joined`` is what ``joining.join`` found, for a member that joins a cluster and has no data yet."""
        self.config = config
        self.wake = WakeUp()
        self.membership = Membership(self)
        self.request_seconds = 5 + 2 * config.election_ms / 1000
        """For so long a request may take, as in etcd."""
        self.auth = AuthService(self)
        self.counters = Counters()
        self.syncs = SyncWatch(self.counters)
        self.sampler = Sampler(self)
        self.dirty: list[ClientConnection] = []
        self.connections: dict[ClientConnection, None] = {}
        self.timers = Timers()
        self.clock = trio.current_time
        """The time that ``timers`` go by, in seconds."""
        self.ready = trio.Event()
        """Set when clients are served and a leader is known."""
        self.client_urls: tuple[str, ...] = ()
        self._stopping = trio.Event()
        self.turns = Turns(self)
        self.arrivals = Arrivals(self.turns.all_arrived)
        self._failure: BaseException | None = None
        self.encode_batch, self.encode_events = Shared(native.encode_body), Shared(native.encode_events)
        self._opened = ExitStack()
        self._opened.callback(self.arrivals.close)
        self._nursery: trio.Nursery | None = None
        try:
            self._open(joined)
        except BaseException:
            self._opened.close()
            raise

    # ------------------------------------------------------------------ opening

    def _open(self, joined: Beginning | None) -> None:
        config = self.config
        # First: what cannot serve must leave no trace in the data directory.
        self.listeners = Listeners(config, self, self._opened)
        self.client_urls = self.listeners.client_urls
        member_dir = config.data_dir / "member"
        log_dir = config.wal_dir or member_dir / "log"
        for flag, directory in (("data", member_dir / "state"), ("wal" if config.wal_dir else "data", log_dir)):
            try:
                directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            except OSError as error:
                raise ConfigError(f"--{flag}-dir: cannot use {directory}: {error}") from error
        sync = not config.unsafe_no_fsync
        self.machine = StateMachine.open(
            member_dir / "state",
            quota_bytes=config.quota_backend_bytes,
            sync=sync,
            watch_progress_seconds=config.watch_progress_seconds,
        )
        self._opened.callback(self.machine.close)
        self.machine.auth.tokens = self.auth.tokens
        self.machine.in_pieces = True
        self.log_store = LogStore.open(log_dir, sync=sync)
        self._log_background = self.log_store.background_write()
        reports = self._durable, self._write_failed, self.syncs.written
        self.writer = LogWriter(self.log_store, *reports, self._log_background)
        self._opened.callback(self._close_log)
        self._know_each_other(joined)
        self._build()

    def _know_each_other(self, joined: Beginning | None) -> None:
        """State and log must speak of the same member; on the first start they are told. Flags count only then."""
        config, machine, store = self.config, self.machine, self.log_store
        if machine.member_id:
            if not store.member_id:
                # Votes and acknowledged entries were in it: a member that goes on without them breaks its promises.
                raise Corrupt(f"{store.path}: there is a state but no log; this member's data is incomplete")
            store.initialise(machine.cluster_id, machine.member_id)
            known = {member.member_id: member for member in machine.members}
            if machine.member_id in known and known[machine.member_id].name not in ("", config.name):
                raise ConfigError(
                    f"{config.data_dir} belongs to member {known[machine.member_id].name} of cluster "
                    f"{machine.cluster_id:x}, but --name is {config.name}"
                )
        else:
            if store.last_index:
                raise Corrupt(f"{store.path}: there is a log but no state; this member's data is incomplete")
            if joined is None and config.initial_cluster_state == "existing":
                raise ConfigError(f"{config.data_dir} has no data, and the cluster to join has not been asked")
            start = joined or found(config)
            store.initialise(start.cluster_id, start.member_id)  # before the state, for a crash in between: see above
            index = 0 if start.configuration is None else FOUNDING_INDEX
            machine.initialise(start.configuration, start.cluster_id, start.member_id, start.members, index)
        self.member_id, self.cluster_id = machine.member_id, machine.cluster_id
        if machine.configuration is not None:
            store.align(SnapshotMeta(machine.applied_index, machine.applied_term, machine.configuration))
            if config.force_new_cluster:
                stand_alone(machine, store)

    def _build(self) -> None:
        config, machine, store = self.config, self.machine, self.log_store
        election_ticks = round(config.election_ms / 1000 / TICK_SECONDS)
        raft = Raft(
            RaftConfig(
                node_id=self.member_id,
                election_ticks=max(election_ticks, 2),
                max_committed_bytes=APPLY_BYTES,
                heartbeat_ticks=max(round(config.heartbeat_ms / 1000 / TICK_SECONDS), 1),
            ),
            RaftStart(
                hard_state=store.hard_state,
                configuration=machine.configuration or Configuration(()),
                compacted_index=store.compacted_index,
                compacted_term=store.compacted_term,
                last_index=store.last_index,
                applied_index=machine.applied_index,
            ),
            store,
            random.Random(secrets.randbits(64)),
        )
        self.peers = Peers(
            self.member_id,
            self._hello,
            machine,
            self.listeners.tls,
            self.turns.soon,
            self.arrivals,
            self.membership.removed,
            config.snapshot_send_bytes_per_second,
            self.counters,
        )
        self.peers.follow(machine.members, machine.removed)
        self.driver = self.peers.driver = Driver(
            raft,
            cast("Machine", TimedMachine(machine, self.counters, config.warning_apply_seconds)),
            self.writer,
            self.peers,
            DriverConfig(
                election_ticks=max(election_ticks, 2),
                request_timeout_ticks=round(self.request_seconds / TICK_SECONDS),
                stalled_disk_seconds=config.election_ms / 1000,
                snapshot_entries=config.snapshot_count,
                keep_entries=config.snapshot_catchup_entries,
            ),
            self.client_url_of,
            self.flush,
        )
        self.service = Service(self)
        self.driver.forwarder.serve = self.service.serve_peer
        self.service.leases.open(self.driver, machine, config.election_ms)
        self._space = SpaceWatch(machine, self.driver, self.member_id)
        self.corruption = CorruptionCheck(self, self.service.maintenance.hashes, config.corrupt_check_seconds)

    # ------------------------------------------------------------------ running

    async def run(self) -> None:
        """Serve until ``stop``. Raises what made it impossible to go on."""
        clean = False
        try:
            self._token = trio.lowlevel.current_trio_token()
            self.writer.start()
            if self.driver.raft.configuration.voters == (self.member_id,):
                self.driver.raft.campaign()  # nobody else to wait for
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self.turns.run)
                nursery.start_soon(self.arrivals.run)
                nursery.start_soon(self._tick)
                if self._log_background is not None:
                    self.arrivals.add(self._log_background.descriptor, self._report_write)
                nursery.start_soon(self.peers.run)
                nursery.start_soon(self.membership.leave_when_removed)
                for url, sock in self.listeners.peers:
                    nursery.start_soon(self._accept_peers, sock, nursery)
                    log.info("serving peer traffic", extra=fields(address=url))
                nursery.start_soon(self.corruption.run)
                nursery.start_soon(self._compact_by_itself)
                await self.corruption.at_start()
                self.listeners.serve_clients(nursery)
                await self._stopping.wait()
                self.driver.stop()
                self.membership.stop()
                for connection in self.connections:
                    connection.stop()
                self.flush()  # while there are connections: who waits learns how it stands
                nursery.cancel_scope.cancel()
            clean = self._failure is None
        finally:
            self._close(clean=clean)
        if self._failure is not None:
            raise self._failure

    def _close(self, *, clean: bool) -> None:
        """``clean``: what has been applied is worth a commit; after a failure the log has it."""
        try:
            if not self.writer.close(CLOSE_SECONDS):
                log.warning("the log disk hangs; ending without it", extra=fields(path=self.log_store.path))
                clean = False  # it is likely the same disk
            if clean:
                self.machine.commit()
        finally:
            self._opened.close()

    def spawn(self, task: Callable[..., Awaitable[object]], *args: object) -> None:
        """Start a task that ends with the member. It must not raise. Only while the member runs."""
        assert self._nursery is not None
        self._nursery.start_soon(task, *args)

    async def ask(self, peer_id: int, request: native.Request) -> Response:
        """Have another member answer a request. Raises what it answers; Unavailable when it cannot be reached."""
        answered = trio.Event()
        answers: list[Response | KvraftError] = []

        def take(answer: object) -> None:
            answers.append(answer)  # type: ignore[arg-type]
            answered.set()

        self.driver.ask(peer_id, native.encode_request_body(request), take)
        self.wake.set()
        await answered.wait()
        if isinstance(answers[0], KvraftError):
            raise answers[0]
        return answers[0]

    def _close_log(self) -> None:
        if not self.writer.running:  # else its thread is still in there, for as long as the disk hangs
            self.log_store.close()
            if self._log_background is not None:
                self._log_background.close()

    async def stop(self) -> None:
        """Hand leadership over if it is ours and somebody can take it, then end ``run``."""
        for connection in self.connections:
            connection.leave()
        heir = self._heir()
        if heir != NO_NODE:
            log.info("handing leadership over", extra=fields(to=f"{heir:x}"))
            self.turns.handing_over = trio.Event()
            self.driver.raft.transfer_leadership(heir)
            self.wake.set()
            with trio.move_on_after(HANDOVER_SECONDS):
                await self.turns.handing_over.wait()
        await see_off(self.connections, self.flush)
        self._stopping.set()

    def _heir(self) -> int:
        """The member to hand leadership to: of those connected the furthest; nobody if it is not ours to give."""
        raft = self.driver.raft
        if raft.role is not Role.LEADER:
            return NO_NODE
        progress = raft.status().progress
        heirs = [peer for peer in self.peers.connected() if peer in raft.configuration.voters]
        return max(heirs, key=lambda peer: progress[peer].match, default=NO_NODE)

    def flush(self) -> None:
        """Send what this turn has queued for clients."""
        dirty, self.dirty = self.dirty, []
        for connection in dirty:
            connection.flush()

    async def _tick(self) -> None:
        due = trio.current_time() + TICK_SECONDS
        next_look, commits = due, CommitClock(due)
        while True:
            await trio.sleep_until(due)
            now = trio.current_time()
            self.timers.run(now)
            late = int((now - due) / TICK_SECONDS)
            for _ in range(1 + min(late, MAX_LATE_TICKS)):
                self.driver.tick()
            self.membership.tick()
            self.service.leases.tick()
            due = max(due + TICK_SECONDS, now)
            self.machine.watch.notify_progress(now)
            if now >= next_look and self.writer.oldest_pending_seconds() < SLOW_LOG_SECONDS:
                next_look = now + COMMIT_SECONDS
                self._space.look()
                try:
                    machine = self.machine
                    self.driver.commit_if_due(due=commits.due(now, machine.uncommitted, machine.uncommitted_bytes))
                except KvraftError as error:
                    self.fail(error)
                    return
            self.sampler.look(now, late)
            self.wake.set()  # which also sends what has been queued here

    async def _compact_by_itself(self) -> None:
        compaction = parse_retention(self.config.auto_compaction_mode, self.config.auto_compaction_retention)
        while compaction is not None:
            leads = self.driver.raft.role is Role.LEADER
            target = compaction.look(trio.current_time(), self.machine.revision, leads=leads)
            if target is not None:
                log.info("compacting by itself", extra=fields(revision=target))
                body = self.auth.as_root(native.encode_request_body(CompactRequest(target)))
                self.driver.propose(body, partial(self._compacted_by_itself, compaction, target))
                self.wake.set()
            await trio.sleep(compaction.pause_seconds)

    @staticmethod
    def _compacted_by_itself(compaction: AutoCompaction, target: int, answer: object) -> None:
        if not isinstance(answer, KvraftError) or isinstance(answer, Compacted):
            compaction.done(trio.current_time(), target)
        else:
            log.warning("compaction failed; trying again", extra=fields(revision=target, error=str(answer)))

    async def _accept_peers(self, sock: socket.socket, nursery: trio.Nursery) -> None:
        async for accepted in accept(sock):
            nursery.start_soon(self.peers.serve, accepted)

    # ------------------------------------------------------------------ the log's reports

    def _report_write(self) -> None:
        try:
            seq = self.writer.finish()
        except KvraftError as error:
            self.fail(error)
            return
        if seq:
            self.turns.durable(seq)

    def _durable(self, seq: int) -> None:
        self._token.run_sync_soon(self.turns.durable, seq)

    def _write_failed(self, error: BaseException) -> None:
        self._token.run_sync_soon(self.fail, error)

    def fail(self, error: BaseException) -> None:
        """End this member: ``run`` raises ``error``."""
        log.error("cannot go on", extra=fields(error=str(error)))
        self._failure = self._failure or error
        self._stopping.set()

    # ------------------------------------------------------------------ membership

    @property
    def is_learner(self) -> bool:
        """Whether this member has no vote: a learner, or one who has not received its first state."""
        raft = self.driver.raft
        return self.member_id not in raft.configuration.voters + raft.configuration.outgoing

    def end(self) -> None:
        """End ``run``, at once and in good order."""
        self._stopping.set()

    # ------------------------------------------------------------------ what connections ask

    @cached_property
    def etcd(self) -> EtcdServices:
        """etcd's services. Loading protobuf takes a tenth of a second, so it waits for the first client that asks."""
        from kvraft.server.etcd.services import EtcdServices

        return EtcdServices(self)

    def status(self) -> Status:
        """This member's view of itself."""
        raft, machine = self.driver.raft, self.machine
        return Status(
            version=VERSION,
            cluster_id=self.cluster_id,
            member_id=self.member_id,
            name=self.config.name,
            leader=raft.leader,
            term=raft.term,
            raft_index=raft.last_index,
            applied_index=machine.applied_index,
            revision=machine.revision,
            db_size=machine.db_size,
            db_size_in_use=machine.db_size_in_use,
            is_learner=self.is_learner,
            errors=self._errors(),
            storage_version=VERSION,
            quota_bytes=machine.quota_bytes,
        )

    def _errors(self) -> list[str]:
        """What is wrong, as etcd's Status says it."""
        leaderless = [NoLeader.text] if self.driver.raft.leader == NO_NODE else []
        return leaderless + [describe(alarm) for alarm in self.machine.alarms.active()]

    @cached_property
    def routes(self) -> dict[str, Route]:
        """What HTTP asks by path alone."""
        from kvraft.server.http.routes import routes

        return routes(self)

    def _hello(self, to: int, purpose: int) -> peer.Hello:
        config = self.config
        urls = config.initial_advertise_peer_urls
        return peer.Hello(self.cluster_id, self.member_id, to, purpose, self.client_urls, config.name, urls)

    def client_url_of(self, member_id: int) -> str:
        """Where clients find that member; "" if it has not said."""
        if member_id == self.member_id:
            return self.client_urls[0]
        link = self.peers.links.get(member_id)
        return link.client_urls[0] if link is not None and link.client_urls else ""
