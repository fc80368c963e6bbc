"""What recording costs: CPU of one request's way through the audit, into a file, in one process."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import orjson
import trio

from apilayer.audit.options import BATCH, LOG_SINK, AuditOptions
from apilayer.pipeline.authentication import User
from apilayer.pipeline.authorization import Verdict
from apilayer.pipeline.request import Request, Response
from apilayer.pipeline.request_info import parse
from apilayer.server.audit import read_audit

if TYPE_CHECKING:
    from apilayer.audit.interface import Audit

REQUESTS = 1000
TURNS = 5
DRAIN_SECONDS = 0.02
HEAD = "apiVersion: audit.k8s.io/v1\nkind: Policy\n"
ONE_STAGE = f"{HEAD}omitStages: [RequestReceived]\n"
POLICIES = {
    "no rule wants it": f"{HEAD}rules: [{{level: None}}]",
    "Metadata, one stage": f"{ONE_STAGE}rules: [{{level: Metadata}}]",
    "Metadata, two stages": f"{HEAD}rules: [{{level: Metadata}}]",
    "RequestResponse, one stage": f"{ONE_STAGE}rules: [{{level: RequestResponse}}]",
}
PATH = "/api/v1/namespaces/default/configmaps"
USER = User("kubernetes-admin", groups=("system:masters", "system:authenticated"))
VERDICT = Verdict(
    True, 'RBAC: allowed by ClusterRoleBinding "cluster-admin" of ClusterRole "cluster-admin" to Group "x"'
)
BODY = orjson.dumps({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "c"}, "data": {"a": "x" * 900}})


def run() -> list[str]:
    """The table's lines."""
    lines = ["| a creation of 1 KB | blocking us | batch us |", "| --- | ---: | ---: |"]
    for name, policy in POLICIES.items():
        costs = [f"{_cost(policy, mode):.1f}" for mode in (LOG_SINK.mode, BATCH)]
        lines.append(f"| {name} | {' | '.join(costs)} |")
    return lines


def _cost(policy: str, mode: str) -> float:
    """Microseconds of CPU, the least of several turns."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.yaml"
        path.write_text(policy)
        sink = attrs.evolve(LOG_SINK, mode=mode, batch_max_size=400)
        audit = read_audit(AuditOptions(policy_file=path, log_path=f"{folder}/audit.log", log=sink))
        return trio.run(_measure, audit)


async def _measure(audit: Audit) -> float:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(audit.run)
        least = float("inf")
        for _ in range(TURNS):
            begun = time.process_time()
            for _ in range(REQUESTS):
                await _request(audit)
            await trio.sleep(DRAIN_SECONDS)  # batches are written meanwhile, which counts as well
            least = min(least, time.process_time() - begun)
        nursery.cancel_scope.cancel()
    return least / REQUESTS * 1e6


async def _request(audit: Audit) -> None:
    """What the pipeline says of one request."""
    request = Request("POST", PATH, "", {"user-agent": "kubectl/v1.36"}, None, _body, PATH, "127.0.0.1")
    record = audit.begin(request, "0f5e4b2c-1111-2222-3333-444444444444")
    info = parse("POST", PATH)
    if record.concerns(info, USER):
        await record.received()
    record.decided(VERDICT)
    await request.read_body()
    if record.tells:
        await record.answered(info, Response(201, BODY))


async def _body() -> bytes:
    return BODY
