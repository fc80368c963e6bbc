"""``cluster.json``: what a data directory remembers and what runs now. Files that are either whole or absent."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

from apilayer.cli.cluster.failure import ClusterError

if TYPE_CHECKING:
    from pathlib import Path

    from apilayer.cli.cluster.ports import Topology

_KEYS = {"nodes", "portBase", "ephemeral", "pid", "kubeconfig", "members", "apiservers"}


def write_atomic(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace ``path`` with ``data``: readers see the old file or the new one, and never a wider mode."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


class Settings(NamedTuple):
    """What a data directory remembers from one start to the next."""

    nodes: int
    port_base: int | None
    ephemeral: bool


class Runtime(NamedTuple):
    """A child as it runs now: ``pid`` is None while it waits to be restarted."""

    pid: int | None
    restarts: int


def save(
    data_dir: Path, settings: Settings, topology: Topology, supervisor: int | None, children: dict[str, Runtime]
) -> None:
    """Write ``cluster.json``. ``children`` is keyed by process name; a name that is missing is not running."""
    idle = Runtime(None, 0)
    alone = children.get("apiserver", children.get(topology.members[0].name, idle))
    document = {
        "nodes": settings.nodes,
        "portBase": settings.port_base,
        "ephemeral": settings.ephemeral,
        "pid": supervisor,
        "kubeconfig": str(data_dir / "kubeconfig"),
        "members": [
            {
                "name": member.name,
                "pid": children.get(member.name, idle).pid,
                "restarts": children.get(member.name, idle).restarts,
                "clientURL": member.client_url,
                "peerURL": member.peer_url,
            }
            for member in topology.members
        ],
        "apiservers": [{"name": "apiserver", "pid": alone.pid, "restarts": alone.restarts, "url": topology.api_url}],
    }
    write_atomic(data_dir / "cluster.json", json.dumps(document, indent=2).encode() + b"\n", 0o600)


def load(data_dir: Path) -> dict[str, Any] | None:
    """``cluster.json`` as last written, None when there is none. Raises ``ClusterError`` when it cannot be read."""
    path = data_dir / "cluster.json"
    try:
        document = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise ClusterError(f"{path} is damaged: {error}") from error
    if not isinstance(document, dict) or not document.keys() >= _KEYS:
        raise ClusterError(f"{path} is damaged: {', '.join(sorted(_KEYS))} are expected in it")
    return document


def settle(data_dir: Path, nodes: int | None, port_base: int | None, *, ephemeral: bool) -> Settings:
    """What was asked for, completed by what the directory remembers; three nodes on the usual ports otherwise.

    Raises ``ClusterError`` when the directory's members are another number or on other ports: a member cannot be
    added, removed or moved by starting processes in another way.
    """
    remembered = load(data_dir) or {}
    if has_members(data_dir) and remembered:
        known, base = remembered["nodes"], remembered["portBase"]
        if nodes not in (None, known):
            raise ClusterError(
                f"{data_dir} holds a cluster of {known}, not of {nodes}: leave --nodes out or take another --data-dir"
            )
        if port_base not in (None, base):
            raise ClusterError(
                f"the members in {data_dir} know each other by {f'--port-base {base}' if base else 'the usual ports'}: "
                f"leave --port-base {port_base} out or take another --data-dir"
            )
        return Settings(known, base, ephemeral)
    return Settings(3 if nodes is None else nodes, port_base, ephemeral)


def has_members(data_dir: Path) -> bool:
    """Whether the directory holds data of store members."""
    members = data_dir / "members"
    return members.is_dir() and any(members.iterdir())


def forget(data_dir: Path) -> None:
    """Undo a first start that failed: nobody was told that this cluster exists. Logs and certificates stay."""
    shutil.rmtree(data_dir / "members")
    (data_dir / "cluster.json").unlink(missing_ok=True)
