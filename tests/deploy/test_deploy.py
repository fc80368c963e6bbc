"""What is shipped for operators fits the program: flags that parse, metrics that exist."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from kvraft.cli.serve import load
from kvraft.server.observe.metrics import exposition
from tests.kvraft.members import open_members

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPLOY = Path(__file__).parents[2] / "deploy"
METRIC = re.compile(r"\b((?:etcd|kvraft|process|grpc_server|os)_[a-z_]+)")
PARTS = ("_bucket", "_sum", "_count")


def _unit() -> dict[str, list[str]]:
    """Settings of the unit, each with all its values, lines that go on joined."""
    found: dict[str, list[str]] = {}
    text = (DEPLOY / "systemd" / "kvraft.service").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def test_the_unit_starts_the_program_with_flags_that_it_has() -> None:
    unit = _unit()
    program, command, *flags = shlex.split(unit["ExecStart"][0].replace("%H", "m1"))
    assert (Path(program).name, command) == ("kvraft", "serve")
    settings = load(flags, {"KVRAFT_INITIAL_CLUSTER": "m1=http://localhost:2380"})
    assert settings.warnings == []
    assert str(settings.member.data_dir) == f"/var/lib/{unit['StateDirectory'][0]}"
    assert unit["Type"] == ["notify"]
    assert float(unit["TimeoutStopSec"][0]) >= 2


ETCDS_UNIT = """
ExecStart=/usr/bin/etcd --name=m1 --data-dir /var/lib/etcd \\
  --initial-advertise-peer-urls=https://10.0.0.1:2380 --listen-peer-urls=https://10.0.0.1:2380 \\
  --listen-client-urls=https://127.0.0.1:2379,https://10.0.0.1:2379 --advertise-client-urls=https://10.0.0.1:2379 \\
  --listen-metrics-urls=http://127.0.0.1:2381 --initial-cluster=m1=https://10.0.0.1:2380 \\
  --cert-file=/etc/kubernetes/pki/etcd/server.crt --key-file=/etc/kubernetes/pki/etcd/server.key \\
  --client-cert-auth=true --trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt \\
  --peer-cert-file=/etc/kubernetes/pki/etcd/peer.crt --peer-key-file=/etc/kubernetes/pki/etcd/peer.key \\
  --peer-client-cert-auth=true --peer-trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt \\
  --snapshot-count=10000 --logger=zap --log-outputs=stderr --enable-v2=false --max-wals=5 --pre-vote=true
"""


def test_a_unit_written_for_etcd_needs_only_the_programs_name_changed() -> None:
    flags = shlex.split(ETCDS_UNIT.replace("\\\n", " "))[1:]
    settings = load(flags, {})
    assert settings.warnings == []
    assert settings.member.client_tls.client_cert_auth
    assert settings.member.peer_tls.trusted_ca_file == "/etc/kubernetes/pki/etcd/ca.crt"


def test_the_container_starts_with_flags_that_the_program_has() -> None:
    text = (DEPLOY / "container" / "Containerfile").read_text()
    (entry,) = re.findall(r"^ENTRYPOINT (.*)$", text, re.MULTILINE)
    (command,) = re.findall(r"^CMD (.*)$", text, re.MULTILINE)
    assert json.loads(entry) == ["kvraft", "serve"]
    config = load(json.loads(command), {"KVRAFT_NAME": "m1"}).member
    volume = next(line.split()[1] for line in text.splitlines() if line.startswith("VOLUME"))
    assert str(config.data_dir) == volume


def _expressions(value: Any) -> Iterator[str]:
    """Every PromQL expression in a document, however deep."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("expr", "query") and isinstance(inner, str):
                yield inner
            else:
                yield from _expressions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _expressions(inner)


@pytest.mark.parametrize("file", ["prometheus/rules.yaml", "grafana/kvraft.json"])
async def test_rules_and_dashboard_ask_for_metrics_that_exist(tmp_path: Path, file: str) -> None:
    text = (DEPLOY / file).read_text()
    document = json.loads(text) if file.endswith("json") else yaml.safe_load(text)
    expressions = list(_expressions(document))
    wanted = {name for expression in expressions for name in METRIC.findall(expression)}
    assert len(wanted) > 10
    assert all(expression.count("(") == expression.count(")") for expression in expressions)
    async with open_members(tmp_path, 1) as members:
        (member,) = members.running.values()
        families = list(text_string_to_metric_families(exposition(member).decode()))
    known = {sample.name for family in families for sample in family.samples}
    known |= {f"{family.name}{suffix}" for family in families for suffix in ("", "_total", *PARTS)}
    assert wanted <= known


def test_alerts_say_what_is_wrong_and_panels_have_places_of_their_own() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "rules.yaml").read_text())["groups"][0]["rules"]
    assert all(rule["annotations"]["summary"] and rule["labels"]["severity"] for rule in rules)
    assert len({rule["alert"] for rule in rules}) == len(rules)
    panels = json.loads((DEPLOY / "grafana" / "kvraft.json").read_text())["panels"]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in panels}) == len(panels)
