"""/metrics: kube-apiserver's names, and numbers that follow what happens."""

from __future__ import annotations

from contextlib import suppress
from math import inf

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from apilayer.pipeline import request_info
from apilayer.pipeline.metrics import MAX_FRESH, Histogram, Labels, RequestMetrics, as_patched, labels_of
from apilayer.server.request_metrics import request_families

APPLY = "application/apply-patch+yaml"
LISTED = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


def value(text: str, start: str, *parts: str) -> float:
    """The value of the one line that starts so and has all the parts."""
    (line,) = [line for line in text.splitlines() if line.startswith(start) and all(part in line for part in parts)]
    return float(line.rpartition(" ")[2])


def labels(method: str, path: str, content_type: str = "", **query: list[str]) -> Labels:
    """What a request is counted under."""
    return as_patched(labels_of(request_info.parse(method, path), query), content_type)


async def metrics(client, path: str = "/metrics") -> str:
    answer = await client.request("GET", path)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return answer.body.decode()


@given(st.lists(st.sampled_from([-1.0, 0.5, 1.0, 1.5, 2.0, 9.0]), max_size=3 * MAX_FRESH), st.integers(1, 400))
def test_values_are_in_their_buckets_whenever_somebody_looks(values: list[float], look: int) -> None:
    histogram, bounds = Histogram((1.0, 2.0)), (1.0, 2.0, inf)
    for number, observed in enumerate(values, 1):
        histogram.observe(observed)
        if number % look == 0:
            assert sum(histogram.counts) == number
    if values:
        histogram.take_back(values.pop())
    assert histogram.cumulative() == [
        (text, sum(value <= bound for value in values)) for text, bound in zip(("1", "2", "+Inf"), bounds, strict=True)
    ]
    assert histogram.total == sum(values), "none of these is rounded"
    both = Histogram((1.0, 2.0))
    both.add(histogram)
    both.observe(1.0)
    assert (sum(both.counts), both.total) == (len(values) + 1, sum(values) + 1)


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
    for bound in ("0.005", "1", "1.25", "60"):
        assert value(text, "apiserver_request_duration_seconds_bucket", *wanted, f'le="{bound}"') <= 4
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
            counted.observe(labels("GET", path, dryRun=[f"x{number}"]), 404, 0.01)
    assert len(counted.requests) == 4
    assert len(counted.durations) == 4


def test_durations_are_counted_by_bucket() -> None:
    counted = RequestMetrics()
    for seconds in (0.001, 0.03, 0.03, 100.0):
        counted.observe(labels("GET", "/api/v1/pods"), 200, seconds)
    (histogram,) = counted.durations.values()
    cumulative = dict(histogram.cumulative())
    assert (cumulative["0.005"], cumulative["0.05"], cumulative["60"], cumulative["+Inf"]) == (1, 3, 3, 4)


@pytest.mark.parametrize(
    ("method", "path", "content_type", "query", "expected"),
    [
        ("POST", CONFIGMAPS, "", {}, ("POST", "", "v1", "configmaps", "", "resource", "")),
        ("PUT", f"{CONFIGMAPS}/c", "", {}, ("PUT", "", "v1", "configmaps", "", "resource", "")),
        ("PATCH", f"{CONFIGMAPS}/c", APPLY, {}, ("APPLY", "", "v1", "configmaps", "", "resource", "")),
        ("PATCH", f"{CONFIGMAPS}/c", "x/y", {}, ("PATCH", "", "v1", "configmaps", "", "resource", "")),
        ("DELETE", CONFIGMAPS, "", {}, ("DELETE", "", "v1", "configmaps", "", "namespace", "")),
        ("DELETE", CONFIGMAPS, "", {"dryRun": ["All"]}, ("DELETE", "", "v1", "configmaps", "", "namespace", "All")),
        ("GET", "/api/v1/pods", "", {"dryRun": ["x"]}, ("LIST", "", "v1", "pods", "", "cluster", "invalid")),
        ("GET", "/api/v1/namespaces/a/pods/p/log", "", {}, ("CONNECT", "", "v1", "pods", "log", "resource", "")),
        ("PUT", "/apis/apps/v1/namespaces/a/replicasets/d/scale", "", {},
         ("PUT", "apps", "v1", "replicasets", "scale", "resource", "")),
        ("GET", "/readyz/ping", "", {}, ("GET", "", "", "", "/readyz", "", "")),
    ],
)  # fmt: skip
def test_labels_are_kube_apiservers(method: str, path: str, content_type: str, query: dict, expected: Labels) -> None:
    assert labels(method, path, content_type, **query) == expected


async def test_watches_are_counted_while_they_last_and_when_they_end(client, server) -> None:
    watches = ('verb="WATCH"', 'resource="configmaps"', 'scope="namespace"')
    async with server.connect() as other:
        watching = await other.watch(f"{CONFIGMAPS}?{LISTED}&timeoutSeconds=1")
        assert (await watching.event())["type"] == "BOOKMARK"
        text = await metrics(client)
        assert value(text, "apiserver_longrunning_requests", *watches) == 1
        assert value(text, "apiserver_watch_list_duration_seconds_count", *watches[1:]) == 1
        counted = [line for line in text.splitlines() if line.startswith("apiserver_request_total")]
        assert not any("WATCH" in line for line in counted)
        while await watching.event() is not None:
            pass
        text = await metrics(client)
    assert value(text, "apiserver_longrunning_requests", *watches) == 0
    assert value(text, "apiserver_request_total", *watches, 'code="200"') == 1
    assert value(text, "apiserver_request_duration_seconds_sum", *watches) > 0.9


async def test_how_long_admission_takes(client) -> None:
    await client.request("POST", CONFIGMAPS, {"metadata": {"name": "c"}})
    missing = await client.request("POST", CONFIGMAPS.replace("default", "nowhere"), {"metadata": {"name": "c"}})
    assert missing.status == 404
    text = await metrics(client)
    family, creates = "apiserver_admission_step_admission_duration_seconds_count", 'operation="CREATE"'
    assert value(text, family, creates, 'rejected="true"', 'type="admit"') == 1
    assert value(text, family, creates, 'rejected="false"', 'type="admit"') >= 1


async def test_what_reads_cost(client, server) -> None:
    await client.request("POST", CONFIGMAPS, {"metadata": {"name": "c"}, "data": {"x": "y" * 20_000}})
    for query in ("", "?labelSelector=a", "?limit=1", "?dryRun=All"):
        assert (await client.request("GET", f"{CONFIGMAPS}{query}")).status == 200
    assert (await client.request("GET", "/api/v1/namespaces/default/endpoints")).status == 200
    text = await metrics(client)
    lists = ('verb="LIST"', 'resource="configmaps"')
    assert value(text, "apiserver_response_sizes_count", *lists) == 4
    assert value(text, "apiserver_response_sizes_bucket", *lists, 'le="10000"') == 1, "nothing was selected"
    assert value(text, "apiserver_request_sli_duration_seconds_count", *lists) == 4, "whether dry run or not"
    assert value(text, "apiserver_request_duration_seconds_count", *lists, 'dry_run="All"') == 1
    cached = 'resource="configmaps"'
    assert value(text, "apiserver_cache_list_total", cached) == 4
    assert value(text, "apiserver_cache_list_fetched_objects_total", cached) == 4
    assert value(text, "apiserver_cache_list_returned_objects_total", cached) == 3
    assert value(text, "apiserver_watch_cache_events_received_total", cached) >= 1
    assert value(text, "apiserver_watch_cache_initializations_total", cached) == 1
    revision = (await client.request("GET", CONFIGMAPS)).json["metadata"]["resourceVersion"]
    assert value(text, "apiserver_watch_cache_resource_version", cached) == int(revision)
    assert value(text, "apiserver_terminated_watchers_total", cached) == 0
    assert value(text, "apiserver_requested_deprecated_apis", 'resource="endpoints"', 'version="v1"') == 1
    assert value(text, "apiserver_tls_handshake_errors_total") == 0


async def test_certificates_and_handshakes(server) -> None:
    async with server.connect(token="", certificate="admin") as client:
        text = await metrics(client)
        assert value(text, "apiserver_client_certificate_expiration_seconds_count") == 1
        assert value(text, "apiserver_client_certificate_expiration_seconds_bucket", 'le="0"') == 0
        plain = await trio.open_tcp_stream("127.0.0.1", server.port)
        await plain.send_all(b"GET / HTTP/1.1\r\n\r\n")
        with suppress(trio.BrokenResourceError):
            while await plain.receive_some(1024):
                pass
        await plain.aclose()
        assert value(await metrics(client), "apiserver_tls_handshake_errors_total") == 1


async def test_results_of_health_checks(client) -> None:
    assert "kubernetes_healthcheck{" not in await metrics(client, "/metrics/slis")
    for path in ("/readyz", "/readyz?exclude=etcd", "/readyz/ping"):
        assert (await client.request("GET", path)).status == 200
    text = await metrics(client, "/metrics/slis")
    assert value(text, "kubernetes_healthcheck{", 'name="ping"', 'type="readyz"') == 1
    assert value(text, "kubernetes_healthchecks_total", 'name="ping"', 'status="success"', 'type="readyz"') == 2
    assert value(text, "kubernetes_healthchecks_total", 'name="etcd"', 'status="success"', 'type="readyz"') == 1
    assert 'type="livez"' not in text


def test_time_in_a_queue_is_no_part_of_what_a_request_takes() -> None:
    counted = RequestMetrics()
    for seconds, waited in ((0.01, 0.0), (7.0, 6.9), (0.3, 0.0)):
        counted.observe(labels("GET", "/api/v1/pods"), 200, seconds, 10, waited)
    shown = {family.name: family for family in request_families(counted, (0, 0))}

    def samples(name: str) -> dict[str, float]:
        found = shown[name].samples
        buckets = {sample.labels["le"]: sample.value for sample in found if sample.name.endswith("_bucket")}
        return buckets | {sample.name.rpartition("_")[2]: sample.value for sample in found if "le" not in sample.labels}

    whole = samples("apiserver_request_duration_seconds")
    alone = samples("apiserver_request_sli_duration_seconds")
    assert (whole["0.2"], whole["0.4"], whole["8"], whole["count"]) == (1, 2, 3, 3)
    assert (alone["0.05"], alone["0.2"], alone["0.4"], alone["count"]) == (1, 2, 3, 3)
    assert "0.025" not in alone
    assert alone["sum"] == pytest.approx(0.41)


def test_requests_that_end_without_an_answer() -> None:
    counted = RequestMetrics()
    listing = labels("GET", "/api/v1/pods")
    counted.given_up(listing, timed_out=True)
    counted.given_up(listing, timed_out=False)
    counted.given_up(listing, timed_out=False)
    shown = {family.name: family.samples for family in request_families(counted, (0, 0))}
    (late,) = shown["apiserver_request_terminations"]
    assert (late.labels["code"], late.labels["verb"], late.value) == ("504", "LIST", 1)
    assert [sample.value for sample in shown["apiserver_request_aborts"]] == [2]
