"""Priority and fairness on a real server: headers, refusals, metrics, dumps, and what clients change while it runs."""

from __future__ import annotations

import re

import pytest
import trio

from apilayer.server.errors import OptionsError

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
FLOW_CONTROL = "/apis/flowcontrol.apiserver.k8s.io/v1"


async def uid(client, resource: str, name: str) -> str:
    with trio.fail_after(10):
        while (answer := await client.request("GET", f"{FLOW_CONTROL}/{resource}/{name}")).status == 404:
            await trio.lowlevel.checkpoint()
    return str(answer.json["metadata"]["uid"])


async def test_what_clients_see(start_server) -> None:
    async with (
        start_server(enable_priority_and_fairness=True, max_requests_inflight=20) as server,
        server.connect() as admin,
        server.connect(token="plain") as bob,
        server.connect(token="wrong") as nobody,
    ):
        exempt = await uid(admin, "prioritylevelconfigurations", "exempt")
        schema = await uid(admin, "flowschemas", "exempt")
        await uid(admin, "flowschemas", "catch-all")  # the last one that is made
        answer = await admin.request("GET", "/api")
        assert answer.headers["x-kubernetes-pf-flowschema-uid"] == schema
        assert answer.headers["x-kubernetes-pf-prioritylevel-uid"] == exempt
        assert "x-kubernetes-pf-flowschema-uid" not in (await nobody.request("GET", CONFIGMAPS)).headers

        forbidden = await bob.request("GET", CONFIGMAPS)
        assert forbidden.status == 403
        level = await uid(admin, "prioritylevelconfigurations", "global-default")
        assert forbidden.headers["x-kubernetes-pf-prioritylevel-uid"] == level

        # A level of one seat that refuses what does not fit, for all that bob does.
        limited = {"nominalConcurrencyShares": 1, "limitResponse": {"type": "Reject"}, "borrowingLimitPercent": 0}
        made = {"metadata": {"name": "narrow"}, "spec": {"type": "Limited", "limited": limited}}
        assert (await admin.request("POST", f"{FLOW_CONTROL}/prioritylevelconfigurations", made)).status == 201
        rules = [
            {
                "subjects": [{"kind": "User", "user": {"name": "bob"}}],
                "resourceRules": [
                    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": True}
                ],
            }
        ]
        spec = {"priorityLevelConfiguration": {"name": "narrow"}, "matchingPrecedence": 50, "rules": rules}
        made = {"metadata": {"name": "narrow"}, "spec": spec}
        assert (await admin.request("POST", f"{FLOW_CONTROL}/flowschemas", made)).status == 201
        narrow = await uid(admin, "prioritylevelconfigurations", "narrow")

        reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        async with server.connect(token="plain") as slow:
            await slow.stream.send_all(slow.encode("POST", reviews, None, {"Content-Length": "100"}))
            with trio.fail_after(10):
                while True:
                    refused = await bob.request("GET", CONFIGMAPS)
                    if refused.status == 429:
                        break
                    assert refused.status == 403
        assert refused.headers["x-kubernetes-pf-prioritylevel-uid"] == narrow
        assert refused.headers["retry-after"] == "1"
        assert refused.json["reason"] == "TooManyRequests"
        assert (await admin.request("GET", CONFIGMAPS)).status == 200

        metrics = (await admin.request("GET", "/metrics")).body.decode()
        both = '{flow_schema="narrow",priority_level="narrow",reason="concurrency-limit"}'
        assert re.search(rf"^apiserver_flowcontrol_rejected_requests_total{re.escape(both)} \d", metrics, re.MULTILINE)
        assert 'apiserver_flowcontrol_nominal_limit_seats{priority_level="workload-low"} 90.0' in metrics

        dump = await admin.request("GET", "/debug/api_priority_and_fairness/dump_priority_levels")
        lines = dump.body.decode().splitlines()
        assert lines[0].split() == [
            *("PriorityLevelName,", "ActiveQueues,", "IsIdle,", "IsQuiescing,", "WaitingRequests,"),
            "ExecutingRequests",
        ]
        assert "exempt, 0, false, false, 0, 1" in [" ".join(line.split()) for line in lines]
        for what in ("queues", "requests"):
            assert (await admin.request("GET", f"/debug/api_priority_and_fairness/dump_{what}")).status == 200
        assert (await bob.request("GET", "/debug/api_priority_and_fairness/dump_queues")).status == 403
        assert (await admin.request("GET", "/debug/api_priority_and_fairness/dump_x")).status == 404


async def test_no_bound_at_all_is_no_priority_and_fairness(start_server) -> None:
    options = {"max_requests_inflight": 0, "max_mutating_requests_inflight": 0}
    with pytest.RaisesGroup(
        pytest.RaisesExc(OptionsError, match="must add up to something positive"), flatten_subgroups=True
    ):
        async with start_server(enable_priority_and_fairness=True, **options):
            pass
