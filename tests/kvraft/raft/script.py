"""The interpreter of ``tests/raft_scripts/*.txt``: protocol stories with their expected course.

A script is a list of blocks, parted by blank lines: comments (``#``), commands, ``----``, and what they print. A
command is a name and words; ``N`` is a node id, ``A->B`` a link, ``*`` all nodes:

    cluster SIZE [learners=N] [spare=N,N] [term=T logN=term,term...] [setting=value ...]   start anew, in term T
                              with these logs on disk; spare nodes are no members yet; settings are RaftConfig's, on/off
                              for true/false
    change N voters=N,N [learners=N]   propose that these be the members
    campaign N | propose N data ... | read N id | transfer N to | step-down N reason | tick N|* count
    deliver [A->B] [count]    hand over messages, by default until the network is quiet; each one is printed
    settle                    the same without printing messages
    drop A->B [count]         lose messages in flight
    cut A->B|A<->B|N ... | heal    lose what is sent from now on; end all cuts
    slow N | persist N [count] | fast N   let batches wait; write them; let them pass again (all that wait first)
    crash N                   restart from what the disk holds
    compact N index | unreachable N peer | snapshot-failed N peer
    status [N ...] | log N | network    print, change nothing

After each command the nodes do what their cores ask for. Printed are changes of role, term, leader
and configuration, applied entries and answered reads, and the messages as ``from->to KIND t=term ...``; read contexts
are numbered r1, r2, ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.raft.messages import Configuration, Entry, EntryKind, Message, MessageKind, ProposalDropped, Role
from tests.kvraft.raft.harness import Cluster, Disk, Node, encode_change, fill, make_cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvraft.raft.core import Raft

SEPARATOR = "----"


def show_entry(entry: Entry) -> str:
    kind = "change " if entry.kind == EntryKind.CONFIGURATION else ""
    return f'{entry.index}/{entry.term} {kind}"{entry.data.decode()}"'


def show_configuration(configuration: Configuration) -> str:
    text = f"voters {configuration.voters}"
    if configuration.outgoing:
        text += f" and {configuration.outgoing}"
    if configuration.learners:
        text += f", learners {configuration.learners}"
    return text


def numbers_of(text: str) -> tuple[int, ...]:
    return tuple(int(n) for n in text.split(",") if n)


def numbers(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}..{last}"


class Interpreter:
    def __init__(self) -> None:
        self.cluster = Cluster({})
        self.contexts: dict[int, str] = {}
        self.lines: list[str] = []
        self.seen: dict[int, tuple[Role, int, int]] = {}
        self.configurations: dict[int, Configuration] = {}
        self.applied: dict[int, int] = {}
        self.commands: dict[str, Callable[..., object]] = {
            "cluster": self.do_cluster,
            "campaign": lambda n: self.cluster[int(n)].campaign(),
            "propose": lambda n, *data: self.cluster[int(n)].propose([word.encode() for word in data]),
            "change": self.do_change,
            "read": lambda n, request: self.cluster[int(n)].read_index(int(request)),
            "transfer": lambda n, to: self.cluster[int(n)].transfer_leadership(int(to)),
            "step-down": lambda n, *reason: self.cluster[int(n)].step_down(" ".join(reason)),
            "tick": self.do_tick,
            "deliver": self.do_deliver,
            "settle": lambda: self.deliver(self.cluster.network, None, silent=True),
            "drop": self.do_drop,
            "cut": self.do_cut,
            "heal": lambda: self.cluster.cut.clear(),
            "slow": lambda n: setattr(self.cluster.nodes[int(n)], "slow_disk", True),
            "fast": self.do_fast,
            "persist": self.do_persist,
            "crash": self.do_crash,
            "compact": lambda n, index: self.cluster.nodes[int(n)].compact(int(index)),
            "unreachable": lambda n, peer: self.cluster[int(n)].report_unreachable(int(peer)),
            "snapshot-failed": lambda n, peer: self.cluster[int(n)].report_snapshot(int(peer), 0),
            "status": self.do_status,
            "log": self.do_log,
            "network": lambda: self.lines.extend(self.show(m) for m in self.cluster.network),
        }

    def run(self, line: str) -> list[str]:
        """One command; what it prints."""
        self.lines = []
        name, *words = line.split()
        try:
            self.commands[name](*words)
        except ProposalDropped as error:
            self.lines.append(f"dropped: {error.reason}" + (f" (leader {error.leader})" if error.leader else ""))
        self.pump()
        return self.lines

    # -- commands

    def do_cluster(self, size: str, *settings: str) -> None:
        values = dict(setting.split("=") for setting in settings)
        learners, spare = (numbers_of(values.pop(name, "")) for name in ("learners", "spare"))
        voters = tuple(n for n in range(1, int(size) + 1) if n not in learners and n not in spare)
        term = int(values.pop("term", "0"))
        disks = {
            int(name[3:]): fill(
                Disk(Configuration(voters, (), learners)), [int(t) for t in values.pop(name).split(",")], term
            )
            for name in list(values)
            if name.startswith("log")
        }
        flags = {"on": True, "off": False}
        parsed = {name: flags[value] if value in flags else int(value) for name, value in values.items()}
        self.cluster = make_cluster(int(size), learners, disks, spare, **parsed)
        self.configurations = {n: raft.configuration for n, raft in self.rafts()}
        self.seen = {n: self.standing(n) for n in self.cluster.nodes}
        self.applied = dict.fromkeys(self.cluster.nodes, 0)
        self.contexts.clear()

    def do_change(self, n: str, *parts: str) -> None:
        values = {name: numbers_of(ids) for name, ids in (part.split("=") for part in parts)}
        self.cluster[int(n)].propose_configuration(encode_change(**values))

    def do_tick(self, who: str, count: str) -> None:
        for _ in range(int(count)):
            for n in self.ids(who):
                self.cluster[n].tick()
                self.pump()

    def do_deliver(self, link: str = "", count: str = "") -> None:
        if not link:
            self.deliver(self.cluster.network, None)
        else:
            chosen = self.on_link(link, count)
            self.deliver(chosen, len(chosen))

    def do_drop(self, link: str, count: str = "") -> None:
        for message in self.on_link(link, count):
            self.lines.append("lost: " + self.show(message))
            self.take(message)

    def do_cut(self, *links: str) -> None:
        for link in links:
            if "<->" in link:
                a, b = map(int, link.split("<->"))
                self.cluster.cut |= {(a, b), (b, a)}
            elif "->" in link:
                a, b = map(int, link.split("->"))
                self.cluster.cut.add((a, b))
            else:
                self.cluster.isolate(int(link))

    def do_fast(self, n: str) -> None:
        node = self.cluster.nodes[int(n)]
        self.persist(node, len(node.batches))
        node.slow_disk = False

    def do_persist(self, n: str, count: str = "1") -> None:
        self.persist(self.cluster.nodes[int(n)], int(count))

    def do_crash(self, n: str) -> None:
        node = self.cluster.nodes[int(n)]
        node.boot()
        self.applied[int(n)] = node.raft.applied_index

    def do_status(self, *who: str) -> None:
        for n in [int(word) for word in who] or self.cluster.nodes:
            s = self.cluster[n].status()
            self.lines.append(
                f"{n}: {self.show_standing(n)} vote={s.vote or '-'} compacted={s.compacted_index}"
                f" applied={s.applied_index} commit={s.commit_index} durable={s.durable_index} last={s.last_index}"
                + (f" transferee={s.transferee}" if s.transferee else "")
            )
            for peer, p in s.progress.items():
                self.lines.append(
                    f"   {peer}: {p.state.name} match={p.match} next={p.next} inflight={p.inflight_messages}"
                    f" ({p.inflight_bytes} bytes)" + ("" if p.active else " inactive")
                )

    def do_log(self, n: str) -> None:
        raft = self.cluster[int(n)]
        for index in range(raft.first_index, raft.last_index + 1):
            entry = raft._log.read(index, index + 1, 0)[0][0]
            marks = " committed" * (index <= raft.commit_index) + " volatile" * (index > raft.durable_index)
            self.lines.append(f"{n}: {show_entry(entry)}{marks}")

    # -- how

    def ids(self, who: str) -> Sequence[int]:
        return list(self.cluster.nodes) if who == "*" else [int(who)]

    def on_link(self, link: str, count: str) -> list[Message]:
        sender, to = map(int, link.split("->"))
        chosen = [m for m in self.cluster.network if (m.sender, m.to) == (sender, to)]
        return chosen[: int(count)] if count else chosen

    def take(self, message: Message) -> None:
        network = self.cluster.network
        del network[next(i for i, m in enumerate(network) if m is message)]

    def deliver(self, source: list[Message], count: int | None, silent: bool = False) -> None:
        for _ in range(1000 if count is None else count):
            if not source:
                return
            message = source[0]
            self.take(message)
            if source is not self.cluster.network:
                del source[0]
            if not silent:
                self.lines.append(self.show(message))
            self.cluster.deliver_one(message)
            self.pump()

    def persist(self, node: Node, count: int) -> None:
        for _ in range(count):
            ready = node.batches[0].ready
            what = []
            if ready.snapshot is not None:
                what.append(f"snapshot {ready.snapshot.index}/{ready.snapshot.term}")
            if ready.hard_state is not None:
                h = ready.hard_state
                what.append(f"term={h.term} vote={h.vote or '-'} commit={h.commit}")
            if ready.entries:
                what.append("entries " + numbers(ready.entries[0].index, ready.entries[-1].index))
            self.lines.append(f"{node.config.node_id} wrote: " + (", ".join(what) or "nothing"))
            sent = node.persist()
            self.cluster.network += [m for m in sent if (m.sender, m.to) not in self.cluster.cut]
            self.pump()

    def pump(self) -> None:
        self.cluster.pump()
        for n, node in self.cluster.nodes.items():
            if self.seen[n] != self.standing(n):
                self.seen[n] = self.standing(n)
                self.lines.append(f"  {n} is now {self.show_standing(n)}")
            if node.raft.applied_index > self.applied[n]:
                self.lines.append(f"  {n} applied {numbers(self.applied[n] + 1, node.raft.applied_index)}")
                self.applied[n] = node.raft.applied_index
            if node.raft.configuration != self.configurations[n]:
                self.configurations[n] = node.raft.configuration
                self.lines.append(f"  {n} has {show_configuration(node.raft.configuration)}")
            self.lines += [f"  {n} may answer read {r.request_id} at {r.index}" for r in node.reads]
            self.lines += [f"  {n} dropped read {request}" for request in node.dropped_reads]
            node.reads.clear()
            node.dropped_reads.clear()

    def rafts(self) -> list[tuple[int, Raft]]:
        return [(n, node.raft) for n, node in self.cluster.nodes.items()]

    def standing(self, n: int) -> tuple[Role, int, int]:
        raft = self.cluster[n]
        return raft.role, raft.term, raft.leader

    def show_standing(self, n: int) -> str:
        role, term, leader = self.standing(n)
        return f"{role.name.lower()} t={term} leader={leader or '-'}"

    def show(self, m: Message) -> str:
        kind = MessageKind(m.kind)
        words = [f"{m.sender}->{m.to} {kind.name} t={m.term}"]
        if kind in (MessageKind.APPEND, MessageKind.VOTE, MessageKind.PREVOTE):
            words.append(f"at={m.index}/{m.log_term}")
        elif kind in (MessageKind.VOTE_RESPONSE, MessageKind.PREVOTE_RESPONSE):
            words += [f"no, committed={m.index}/{m.log_term}"] if m.reject else []
        elif m.index:
            words.append(f"{'refused' if m.reject else 'index'}={m.index}")
        if m.reject and kind == MessageKind.APPEND_RESPONSE and m.index:
            words.append(f"hint={m.reject_hint}/{m.log_term}")
        elif m.reject and kind in (MessageKind.APPEND_RESPONSE, MessageKind.READ_INDEX_RESPONSE):
            words.append("no")
        if m.commit:
            words.append(f"commit={m.commit}")
        if m.context:
            words.append(self.contexts.setdefault(m.context, f"r{len(self.contexts) + 1}"))
        if m.force:
            words.append("force")
        if m.entries:
            words.append("[" + ", ".join(map(show_entry, m.entries)) + "]")
        return " ".join(words)


def run_script(text: str) -> str:
    """Run a script and return it with the output that it has now."""
    interpreter = Interpreter()
    blocks = []
    for block in text.strip().split("\n\n"):
        head = block.splitlines()
        head = head[: head.index(SEPARATOR)] if SEPARATOR in head else head
        blocks.append("\n".join(run_block(interpreter, head)))
    return "\n\n".join(blocks) + "\n"


def run_block(interpreter: Interpreter, head: list[str]) -> list[str]:
    commands = [line for line in head if line and not line.startswith("#")]
    if not commands:
        return head
    output = [line for command in commands for line in interpreter.run(command)]
    return [*head, SEPARATOR, *output]
