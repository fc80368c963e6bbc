"""/metrics: kube-apiserver's names, and numbers that follow what happens."""

from __future__ import annotations

from apilayer.pipeline import request_info
from apilayer.pipeline.metrics import RequestMetrics

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


def value(text: str, start: str, *parts: str) -> float:
    """The value of the one line that starts so and has all the parts."""
    (line,) = [line for line in text.splitlines() if line.startswith(start) and all(part in line for part in parts)]
    return float(line.rpartition(" ")[2])


async def metrics(client) -> str:
    answer = await client.request("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return answer.body.decode()


async def test_what_is_counted(client, server) -> None:
    await client.request("POST", CONFIGMAPS, {"metadata": {"name": "c"}})
    for _ in range(3):
        await client.request("GET", f"{CONFIGMAPS}/c")
    await client.request("GET", f"{CONFIGMAPS}/none")
    async with server.connect() as other:
        watching = await other.watch(f"{CONFIGMAPS}?watch=1&resourceVersion=0&fieldSelector=metadata.name=c")
        await watching.event()
        text = await metrics(client)
        watchers = value(text, "apiserver_registered_watchers", 'kind="ConfigMap"')
    assert watchers == 1
    wanted = ('resource="configmaps"', 'verb="GET"', 'scope="resource"')
    assert value(text, "apiserver_request_total", *wanted, 'code="200"') == 3
    assert value(text, "apiserver_request_total", *wanted, 'code="404"') == 1
    assert value(text, "apiserver_request_total", 'verb="POST"', 'code="201"', 'resource="configmaps"') == 1
    assert value(text, "apiserver_request_duration_seconds_count", *wanted) == 4
    assert value(text, "apiserver_request_duration_seconds_bucket", *wanted, 'le="+Inf"') == 4
    assert value(text, "authorization_attempts_total", 'result="allowed"') >= 6
    assert value(text, "authorization_duration_seconds_count", 'result="allowed"') >= 6
    assert value(text, "apiserver_current_inflight_requests", 'request_kind="readOnly"') >= 1
    assert value(text, "apiserver_storage_objects", 'resource="configmaps"') == 2, "one is the server's own"
    assert value(text, "apiserver_resource_objects", 'resource="namespaces"') == 4
    assert value(text, "apiserver_watch_events_total", 'kind="ConfigMap"') == 1
    created = ('operation="create"', 'resource="configmaps"')
    assert value(text, "etcd_request_duration_seconds_count", *created) == 2
    assert value(text, "authentication_attempts_total", 'result="success"') >= 6
    assert value(text, "authentication_attempts_total", 'result="error"') == 0
    assert value(text, "authentication_duration_seconds_count", 'result="success"') >= 6
    assert value(text, "authenticated_user_requests_total", 'username="admin"') >= 6
    assert value(text, "kubernetes_build_info", 'major="1"', 'minor="36"') == 1
    assert value(text, "process_resident_memory_bytes") > 1e6


async def test_only_who_may_reads_them(server) -> None:
    async with server.connect(token="plain") as bob:
        assert (await bob.request("GET", "/metrics")).status == 403


def test_labels_are_bounded() -> None:
    """Whatever is asked for, only what is served has labels of its own."""
    counted = RequestMetrics()
    for number in range(100):
        for path in (f"/api/v1/nothing{number}", f"/x{number}/y", f"/api/v1/pods/p/sub{number}", f"/healthz/x{number}"):
            counted.observe(request_info.parse("GET", path), 404, 0.01)
    assert len(counted.requests) == 4
    assert len(counted.durations) == 4


def test_durations_are_counted_by_bucket() -> None:
    counted = RequestMetrics()
    info = request_info.parse("GET", "/api/v1/pods")
    for seconds in (0.001, 0.03, 0.03, 100.0):
        counted.observe(info, 200, seconds)
    (histogram,) = counted.durations.values()
    cumulative = dict(histogram.cumulative())
    assert (cumulative["0.005"], cumulative["0.05"], cumulative["60.0"], cumulative["+Inf"]) == (1, 3, 3, 4)
