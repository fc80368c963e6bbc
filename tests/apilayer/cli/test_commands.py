"""What the children are started with."""

from __future__ import annotations

from pathlib import Path

from apilayer.audit.policy import Level
from apilayer.audit.policy_file import read_policy
from apilayer.cli.cluster.audit_policy import ensure_policy
from apilayer.cli.cluster.commands import children, stop_order
from apilayer.cli.cluster.ports import plan
from apilayer.pipeline.authentication import User
from apilayer.pipeline.request_info import parse

D = Path("/d")


def flags(arguments: tuple[str, ...]) -> dict[str, str]:
    return {name: value for name, _, value in (argument.partition("=") for argument in arguments)}


def test_members_get_etcds_flags() -> None:
    specs = children(D, plan(3, None), (), ())
    assert [spec.name for spec in specs] == ["kvraft-1", "kvraft-2", "kvraft-3", "apiserver"]
    second = specs[1]
    assert (second.module, second.arguments[0]) == ("kvraft.cli.main", "serve")
    assert second.log == Path("/d/logs/kvraft-2.log")
    given = flags(second.arguments[1:])
    assert given["--name"] == "kvraft-2"
    assert given["--data-dir"] == "/d/members/kvraft-2"
    assert given["--listen-client-urls"] == given["--advertise-client-urls"] == "https://127.0.0.1:22379"
    assert given["--listen-peer-urls"] == given["--initial-advertise-peer-urls"] == "https://127.0.0.1:22380"
    assert given["--initial-cluster"] == (
        "kvraft-1=https://127.0.0.1:2380,kvraft-2=https://127.0.0.1:22380,kvraft-3=https://127.0.0.1:32380"
    )
    assert given["--client-cert-auth"] == given["--peer-client-cert-auth"] == ""
    assert given["--trusted-ca-file"] == given["--peer-trusted-ca-file"] == "/d/pki/etcd/ca.crt"


def test_the_api_server_gets_kube_apiservers_flags() -> None:
    api = children(D, plan(3, 7000), (), ())[-1]
    assert (api.module, api.arguments[0]) == ("apilayer.cli.main", "serve")
    given = flags(api.arguments[1:])
    assert given["--secure-port"] == "7006"
    assert given["--etcd-servers"] == "https://127.0.0.1:7000,https://127.0.0.1:7001,https://127.0.0.1:7002"
    assert given["--etcd-cafile"] == "/d/pki/etcd/ca.crt"
    assert given["--client-ca-file"] == "/d/pki/ca.crt"
    assert given["--token-auth-file"] == "/d/tokens.csv"
    assert given["--audit-policy-file"] == "/d/audit-policy.yaml"
    assert given["--audit-log-path"] == "/d/logs/audit.log"


def test_flags_that_are_passed_on_come_last() -> None:
    specs = children(D, plan(3, None), ("--name=x", "--snapshot-count=5"), ("--v=2",))
    for member in specs[:3]:
        assert member.arguments[-2:] == ("--name=x", "--snapshot-count=5")
    assert specs[3].arguments[-1] == "--v=2"


def test_one_node_is_one_process_with_both_sets_of_flags() -> None:
    (only,) = children(D, plan(1, None), ("--snapshot-count=5",), ("--v=2",))
    at = only.arguments.index("--apiserver")
    assert flags(only.arguments[:at])["--name"] == "kvraft-1"
    assert only.arguments[at - 1] == "--snapshot-count=5"
    assert flags(only.arguments[at + 1 :])["--secure-port"] == "6443"
    assert only.arguments[-1] == "--v=2"


def test_the_api_server_ends_before_its_store() -> None:
    assert stop_order(children(D, plan(3, None), (), ())) == (("apiserver",), ("kvraft-1", "kvraft-2", "kvraft-3"))
    assert stop_order(children(D, plan(1, None), (), ())) == ((), ("kvraft-1",))


def test_the_audit_policy_is_made_once_and_can_be_used(tmp_path: Path) -> None:
    path = tmp_path / "audit-policy.yaml"
    ensure_policy(path)
    policy, unknown = read_policy(path)
    assert (path.stat().st_mode & 0o777, unknown) == (0o600, [])
    levels = [
        policy.decide(User("x"), parse(method, path)).level
        for method, path in (
            ("POST", "/api/v1/namespaces/a/secrets"),
            ("GET", "/api/v1/namespaces/a/secrets"),
            ("PUT", "/apis/coordination.k8s.io/v1/namespaces/a/leases/x"),
            ("POST", "/api/v1/namespaces/a/events"),
            ("POST", "/api/v1/namespaces/a/pods/x/eviction"),
        )
    ]
    assert levels == [Level.METADATA, Level.NONE, Level.NONE, Level.NONE, Level.METADATA]
    path.write_text("mine")
    ensure_policy(path)
    assert path.read_text() == "mine"
