"""Events to a real webhook over TLS: what it gets, what is tried again, what is counted when it stays away."""

from __future__ import annotations

import pytest
import trio

from apilayer.audit.delivery import WriteError
from apilayer.audit.options import WEBHOOK_SINK, AuditOptions
from apilayer.audit.webhook import WebhookWriter
from apilayer.outbound.client import Client
from apilayer.outbound.target import Target
from apilayer.server.audit import read_audit
from apilayer.server.errors import OptionsError
from tests.apilayer.https_server import Asked, Reply, https_server


async def test_failures_are_tried_again_up_to_a_bound(autojump_clock) -> None:
    replies = [Reply(status=404), None, Reply()]

    async def handler(_asked: Asked) -> Reply | None:
        return replies.pop(0)

    async with https_server(None, handler) as server:
        writer = WebhookWriter(Client(Target(server.url)), 10.0)
        started = trio.current_time()
        await writer.write([b'{"level":"None"}', b'{"level":"Request"}'])
        assert 25 <= trio.current_time() - started < 31
        replies[:] = [Reply(status=500)] * 6
        with pytest.raises(WriteError, match="status 500"):
            await writer.write([b"{}"])
        await writer.aclose()
    assert (len(server.asked), len(replies)) == (8, 1)
    assert server.asked[2].json == {
        "kind": "EventList",
        "apiVersion": "audit.k8s.io/v1",
        "metadata": {},
        "items": [{"level": "None"}, {"level": "Request"}],
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "fast"}, 'invalid audit webhook mode fast, allowed modes are "batch,blocking,blocking-strict"'),
        ({"batch_buffer_size": 0}, "invalid audit batch webhook buffer size 0, must be a positive number"),
        ({"batch_max_size": 0}, "invalid audit batch webhook max batch size 0, must be a positive number"),
        ({"batch_throttle_qps": 0.0}, "invalid audit batch webhook throttle QPS 0, must be a positive number"),
        ({"batch_throttle_burst": 0}, "invalid audit batch webhook throttle burst 0, must be a positive number"),
        (
            {"truncate_enabled": True, "truncate_max_event_size": 0},
            "invalid audit truncate webhook max event size 0, must be a positive number",
        ),
        (
            {"truncate_enabled": True, "truncate_max_batch_size": 5},
            "invalid audit truncate webhook max batch size 5, must be greater than max event size (102400)",
        ),
        ({"version": "audit.k8s.io/v1beta1"}, 'invalid group version, allowed versions are "audit.k8s.io/v1"'),
    ],
)
def test_options_that_cannot_be(tmp_path, options: dict[str, object], message: str) -> None:
    import attrs

    wrong = AuditOptions(webhook_config_file=tmp_path / "none", webhook=attrs.evolve(WEBHOOK_SINK, **options))
    assert list(wrong.errors()) == [message]
    with pytest.raises(OptionsError):
        read_audit(wrong)


def test_files_that_cannot_be_used(tmp_path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n")
    file = tmp_path / "file"
    file.write_text("x")
    for options, message in (
        (AuditOptions(policy_file=tmp_path / "none", log_path="-"), "--audit-policy-file: loading audit policy file: "),
        (AuditOptions(policy_file=policy, log_path=f"{file}/sub/audit.log"), "--audit-log-path: .*: Not a directory"),
        (AuditOptions(policy_file=policy, webhook_config_file=file), "--audit-webhook-config-file: .*must be an obj"),
        (
            AuditOptions(log_path="x", log_format="xml"),
            'invalid audit log format xml, allowed formats are "legacy,json"',
        ),
    ):
        with pytest.raises(OptionsError, match=message):
            read_audit(options)


def test_a_sink_without_a_policy_gets_nothing_and_that_is_said(caplog) -> None:
    assert read_audit(AuditOptions(log_path="-")).counts is None
    assert "No audit policy file provided, no events will be recorded for log backend" in caplog.text
