"""Subresources that speak other kinds, or change only a part: scale, binding, eviction, finalize and their kin."""

from __future__ import annotations

import pytest

from apilayer.api.encoding import base64text
from apilayer.api.protobuf import envelope, message_encoder, type_head
from tests.apilayer.certificates import certificate, signing_request

MERGE = "application/merge-patch+json"
PROTOBUF = "application/vnd.kubernetes.protobuf"
APPLY = "application/apply-patch+yaml"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
_INVALID_REQUEST = 'CertificateSigningRequest.certificates.k8s.io "r" is invalid: '
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"


def pod(name: str, **spec: object) -> dict:
    containers = [{"name": "c", "image": "i"}]
    return {"metadata": {"name": name, "labels": {"app": name}}, "spec": {"containers": containers, **spec}}


def deployment(name: str) -> dict:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    return {"metadata": {"name": name}, "spec": spec}


async def test_scale(client) -> None:
    await client.request("POST", DEPLOYMENTS, deployment("d"))
    scale = f"{DEPLOYMENTS}/d/scale"
    shown = (await client.request("GET", scale)).json
    assert (shown["kind"], shown["apiVersion"], shown["spec"]) == ("Scale", "autoscaling/v1", {"replicas": 2})
    assert shown["status"] == {"replicas": 0, "selector": "a=b"}
    patched = await client.request("PATCH", scale, {"spec": {"replicas": 5}}, Content_Type=MERGE)
    assert (patched.status, patched.json["spec"]) == (200, {"replicas": 5})
    owner = (await client.request("GET", f"{DEPLOYMENTS}/d")).json
    assert (owner["spec"]["replicas"], owner["metadata"]["generation"]) == (5, 2)
    assert patched.json["metadata"]["resourceVersion"] == owner["metadata"]["resourceVersion"]
    stale = await client.request("PUT", scale, shown)
    assert (stale.status, stale.json["details"]["kind"]) == (409, "deployments")
    negative = await client.request("PUT", scale, {"metadata": {"name": "d"}, "spec": {"replicas": -1}})
    expected = 'Scale.autoscaling "d" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0'
    assert negative.message == expected
    table = (await client.request("GET", scale, Accept=TABLE)).json
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Desired", "Available", "Age"]
    assert table["rows"][0]["cells"][:3] == ["d", 5, 0]
    other_uid = {"metadata": {"name": "d", "uid": "x"}, "spec": {"replicas": 1}}
    assert (await client.request("PUT", scale, other_uid)).status == 409
    applied = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": 3}}
    answer = await client.request("PATCH", f"{scale}?fieldManager=hpa&force=true", applied, Content_Type=APPLY)
    assert (answer.status, answer.json["spec"]) == (200, {"replicas": 3})
    fields = (await client.request("GET", f"{DEPLOYMENTS}/d")).json["metadata"]["managedFields"]
    (own,) = [entry for entry in fields if entry["manager"] == "hpa"]
    assert (own["subresource"], own["fieldsV1"]) == ("scale", {"f:spec": {"f:replicas": {}}})
    assert (await client.request("GET", f"{DEPLOYMENTS}/none/scale")).message == 'deployments.apps "none" not found'
    assert (await client.request("POST", scale, {})).status == 405


async def test_binding(client) -> None:
    await client.request("POST", PODS, pod("p"))
    to_node = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}}
    done = await client.request("POST", f"{PODS}/p/binding", to_node)
    assert (done.status, done.json["status"], done.json["code"]) == (201, "Success", 201)
    bound = (await client.request("GET", f"{PODS}/p")).json
    assert bound["spec"]["nodeName"] == "n1"
    assert bound["status"]["conditions"][0]["type"] == "PodScheduled"
    again = await client.request("POST", f"{PODS}/p/binding", to_node)
    assert again.message == (
        'Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n1"'
    )
    nowhere = await client.request("POST", f"{PODS}/p/binding", {"metadata": {"name": "p"}, "target": {}})
    assert (nowhere.status, nowhere.message) == (500, "target.name: Required value")
    await client.request("POST", PODS, pod("q"))
    named = {"metadata": {"name": "q"}, "target": {"kind": "Node", "name": "n2"}}
    assert (await client.request("POST", "/api/v1/namespaces/default/bindings", named)).status == 201
    assert (await client.request("GET", f"{PODS}/q")).json["spec"]["nodeName"] == "n2"
    gated = pod("g", schedulingGates=[{"name": "a.b/c"}])
    await client.request("POST", PODS, gated)
    named = {"metadata": {"name": "g"}, "target": {"name": "n"}}
    assert (await client.request("POST", f"{PODS}/g/binding", named)).status == 409


async def test_what_is_posted_to_a_pod_is_read_as_strictly_as_objects(client) -> None:
    await client.request("POST", PODS, pod("p"))
    bodies = {"binding": {"metadata": {"name": "p"}, "target": {"name": "n"}}, "eviction": {"metadata": {"name": "p"}}}
    for part, body in bodies.items():
        target = f"{PODS}/p/{part}?dryRun=All"
        warned = await client.request("POST", target, {**body, "bogus": 1})
        assert (warned.status, warned.headers["warning"]) == (201, '299 - "unknown field \\"bogus\\""')
        repeated = b'{"metadata":{"name":"p","name":"p"},"target":{"name":"n"}}'
        if part == "binding":
            told = await client.request("POST", target, repeated)
            assert told.headers["warning"] == '299 - "duplicate field \\"metadata.name\\""'
        strict = await client.request("POST", f"{target}&fieldValidation=Strict", {**body, "bogus": 1})
        assert (strict.status, strict.message.endswith('strict decoding error: unknown field "bogus"')) == (400, True)
        ignored = await client.request("POST", f"{target}&fieldValidation=Ignore", {**body, "bogus": 1})
        assert (ignored.status, "warning" in ignored.headers) == (201, False)
    assert "nodeName" not in (await client.request("GET", f"{PODS}/p")).json["spec"]


async def running_pod(client, name: str, ready: str = "True") -> None:
    await client.request("POST", PODS, pod(name))
    state = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}}
    await client.request("PATCH", f"{PODS}/{name}/status", state, Content_Type=MERGE)


async def budget(client, name: str, app: str, **state: int) -> None:
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": app}}}
    await client.request("POST", BUDGETS, {"metadata": {"name": name}, "spec": spec})
    if state:
        await client.request("PATCH", f"{BUDGETS}/{name}/status", {"status": state}, Content_Type=MERGE)


def eviction(name: str, **options: object) -> dict:
    return {"metadata": {"name": name}, "deleteOptions": options}


async def test_evictions_count_against_a_budget(client) -> None:
    await running_pod(client, "e1")
    await budget(client, "b", "e1", observedGeneration=1, disruptionsAllowed=1, desiredHealthy=1, currentHealthy=2)
    dry = await client.request("POST", f"{PODS}/e1/eviction", eviction("e1", dryRun=["All"]))
    assert (dry.status, dry.json["status"]) == (201, "Success")
    assert (await client.request("GET", f"{PODS}/e1")).status == 200
    assert (await client.request("POST", f"{PODS}/e1/eviction", eviction("e1"))).status == 201
    assert (await client.request("GET", f"{PODS}/e1")).status == 404
    state = (await client.request("GET", f"{BUDGETS}/b")).json["status"]
    assert (state["disruptionsAllowed"], list(state["disruptedPods"])) == (0, ["e1"])
    (condition,) = state["conditions"]
    assert (condition["type"], condition["status"], condition["observedGeneration"]) == (
        "DisruptionAllowed",
        "False",
        1,
    )
    await running_pod(client, "e1")
    refused = await client.request("POST", f"{PODS}/e1/eviction", eviction("e1"))
    assert refused.status == 429
    assert refused.message == "Cannot evict pod as it would violate the pod's disruption budget."
    (cause,) = refused.json["details"]["causes"]
    assert cause["reason"] == "DisruptionBudget"
    assert cause["message"] == "The disruption budget b needs 1 healthy pods and has 2 currently"


async def test_evictions_of_what_disrupts_nobody(client) -> None:
    await client.request("POST", PODS, pod("pending"))
    await budget(client, "none", "pending")
    assert (await client.request("POST", f"{PODS}/pending/eviction", eviction("pending"))).status == 201
    await running_pod(client, "unready", ready="False")
    await budget(client, "u", "unready", observedGeneration=1, desiredHealthy=1, currentHealthy=1)
    assert (await client.request("POST", f"{PODS}/unready/eviction", eviction("unready"))).status == 201


@pytest.mark.parametrize(("budgets", "code"), [(1, 429), (2, 500)])
async def test_evictions_that_are_refused(client, budgets: int, code: int) -> None:
    await running_pod(client, "r")
    for number in range(budgets):
        await budget(client, f"b{number}", "r")
    answer = await client.request("POST", f"{PODS}/r/eviction", eviction("r"))
    assert answer.status == code
    if code == 429:
        assert answer.headers["retry-after"] == "10"
    else:
        assert answer.message.startswith("This pod has more than one PodDisruptionBudget")


async def test_evictions_of_the_earlier_version_are_taken(client) -> None:
    for name in ("json", "protobuf"):
        await client.request("POST", PODS, pod(name))
    earlier = {"apiVersion": "policy/v1beta1", "kind": "Eviction"}
    target = f"{PODS}/{{0}}/eviction?fieldValidation=Strict"
    done = await client.request("POST", target.format("json"), {**earlier, **eviction("json")})
    assert (done.status, done.json["status"]) == (201, "Success")
    message = message_encoder("policy/v1.Eviction")(eviction("protobuf", preconditions={"uid": "x"}))
    packed = envelope(type_head("policy/v1beta1", "Eviction"), message)
    refused = await client.request("POST", target.format("protobuf"), packed, Content_Type=PROTOBUF)
    assert (refused.status, refused.json["reason"]) == (409, "Conflict"), "what it says is read"
    later = await client.request("POST", target.format("protobuf"), {**earlier, "apiVersion": "policy/v2"})
    assert later.status == 400


async def test_an_evicted_pod_says_why_it_ends(client) -> None:
    await client.request("POST", PODS, pod("e", nodeName="n"))
    assert (await client.request("POST", f"{PODS}/e/eviction", eviction("e", dryRun=["All"]))).status == 201
    before = (await client.request("GET", f"{PODS}/e")).json
    assert "conditions" not in before["status"]
    stale = eviction("e", preconditions={"resourceVersion": "1"})
    refused = await client.request("POST", f"{PODS}/e/eviction", stale)
    assert (refused.status, refused.json["details"]) == (409, {"name": "e", "kind": "Pod"})
    wrong = eviction("e", preconditions={"uid": "x"})
    assert (await client.request("POST", f"{PODS}/e/eviction", wrong)).status == 409
    assert "conditions" not in (await client.request("GET", f"{PODS}/e")).json["status"], "it does not end"
    exact = eviction("e", preconditions={"resourceVersion": before["metadata"]["resourceVersion"]})
    assert (await client.request("POST", f"{PODS}/e/eviction", exact)).status == 201
    ending = (await client.request("GET", f"{PODS}/e")).json
    (condition,) = ending["status"]["conditions"]
    assert (condition["type"], condition["reason"]) == ("DisruptionTarget", "EvictionByEvictionAPI")
    assert ending["metadata"]["deletionGracePeriodSeconds"] == 30
    assert (await client.request("POST", f"{PODS}/e/eviction", eviction("e"))).status == 201
    again = (await client.request("GET", f"{PODS}/e")).json
    assert again["status"]["conditions"] == [condition], "the second eviction finds it ending"


async def test_evictions_of_the_wrong_pod(client) -> None:
    await client.request("POST", PODS, pod("p"))
    other = await client.request("POST", f"{PODS}/p/eviction", eviction("q"))
    assert (other.status, other.message) == (400, "name in URL does not match name in Eviction object")
    stale = await client.request("POST", f"{PODS}/p/eviction", eviction("p", preconditions={"uid": "x"}))
    assert stale.status == 409
    assert (await client.request("POST", f"{PODS}/none/eviction", eviction("none"))).status == 404


async def test_parts_of_a_pod_have_endpoints_of_their_own(client) -> None:
    spec = {"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "100m"}}}]}
    await client.request("POST", PODS, {"metadata": {"name": "p"}, "spec": spec})
    resized = {"spec": {"containers": [{"name": "c", "image": "z", "resources": {"requests": {"cpu": "200m"}}}]}}
    answer = await client.request("PATCH", f"{PODS}/p/resize", resized, Content_Type=MERGE)
    (container,) = answer.json["spec"]["containers"]
    assert (container["image"], container["resources"]["requests"]) == ("i", {"cpu": "200m"})
    assert answer.json["metadata"]["generation"] == 2
    added = {"metadata": {"labels": {"x": "y"}}, "spec": {"ephemeralContainers": [{"name": "e", "image": "i"}]}}
    answer = await client.request("PATCH", f"{PODS}/p/ephemeralcontainers", added, Content_Type=MERGE)
    assert [item["name"] for item in answer.json["spec"]["ephemeralContainers"]] == ["e"]
    assert "labels" not in answer.json["metadata"]
    main = await client.request("PATCH", f"{PODS}/p", {"status": {"phase": "Failed"}}, Content_Type=MERGE)
    assert main.json["status"]["phase"] == "Pending"


async def test_what_needs_a_node_is_not_offered(client) -> None:
    await client.request("POST", PODS, pod("p", nodeName="n"))
    for part in ("log", "exec"):
        answer = await client.request("GET", f"{PODS}/p/{part}")
        assert (answer.status, answer.json["reason"]) == (501, "NotImplemented")
        assert (await client.request("GET", f"{PODS}/none/{part}")).status == 404
    names = {entry["name"] for entry in (await client.request("GET", "/api/v1")).json["resources"]}
    assert not names & {"pods/log", "pods/exec", "nodes/proxy"}


async def test_a_pod_on_no_node_has_no_logs(client) -> None:
    two = [{"name": name, "image": "i"} for name in ("c", "d")]
    for name, spec in (("one", {}), ("two", {"containers": two, "initContainers": [{"name": "e", "image": "i"}]})):
        await client.request("POST", PODS, pod(name, **spec))
    assert (await client.request("GET", f"{PODS}/one/log?container=c&tailLines=1")).status == 204
    choose = "a container name must be specified for pod two, choose one of: [c d] or one of the init containers: [e]"
    wrong = {
        "two/log": (400, choose),
        "two/log?container=x": (400, "container x is not valid for pod two"),
        "one/log?tailLines=x": (400, 'strconv.ParseInt: parsing "x": invalid syntax'),
    }
    for path, expected in wrong.items():
        answer = await client.request("GET", f"{PODS}/{path}")
        assert (answer.status, answer.message) == expected
    assert (await client.request("GET", f"{PODS}/two/log?container=e")).status == 204
    bad = await client.request("GET", f"{PODS}/none/log?tailLines=-1&limitBytes=0&sinceSeconds=0")
    assert bad.status == 422
    assert [cause["field"] for cause in bad.json["details"]["causes"]] == ["tailLines", "limitBytes", "sinceSeconds"]
    both = await client.request("GET", f"{PODS}/none/log?sinceSeconds=1&sinceTime=2024-01-01T00:00:00Z")
    assert both.message.endswith("Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified")


async def test_certificate_requests_say_who_asks(client) -> None:
    requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    request = base64text.encode(signing_request())
    spec = {"request": request, "signerName": "a.b/c", "usages": ["client auth"], "username": "somebody"}
    made = await client.request("POST", requests, {"metadata": {"name": "r"}, "spec": spec})
    assert made.json["spec"]["username"] == "admin"
    assert made.json["spec"]["groups"] == ["system:masters", "system:authenticated"]
    approved = {"type": "Approved", "status": "True", "reason": "R"}
    body = {"status": {"conditions": [approved], "certificate": "eA=="}, "spec": {"signerName": "x.y/z"}}
    answer = await client.request("PATCH", f"{requests}/r/approval", body, Content_Type=MERGE)
    (condition,) = answer.json["status"]["conditions"]
    assert {"type", "status", "reason", "lastUpdateTime", "lastTransitionTime"} == set(condition)
    assert answer.json["spec"]["signerName"] == "a.b/c"
    assert "certificate" not in answer.json["status"]


async def test_decisions_on_certificate_requests_are_final(client) -> None:
    requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    request = base64text.encode(signing_request())
    spec = {"request": request, "signerName": "a.b/c", "usages": ["client auth"]}
    await client.request("POST", requests, {"metadata": {"name": "r"}, "spec": spec})

    async def change(part: str, conditions: list | None = None, issued: bytes | None = None) -> str:
        """The answer's message without its head, "" for success."""
        body = {"conditions": conditions, "certificate": issued and base64text.encode(issued)}
        status = {key: value for key, value in body.items() if value is not None}
        answer = await client.request("PATCH", f"{requests}/r/{part}", {"status": status}, Content_Type=MERGE)
        return "" if answer.status == 200 else answer.message.removeprefix(_INVALID_REQUEST)

    approved, denied = ({"type": kind, "status": "True"} for kind in ("Approved", "Denied"))
    adding = 'status.conditions: Forbidden: updates may not add a condition of type "Approved"'
    assert await change("status", [approved]) == adding
    assert await change("approval", [approved]) == ""
    assert await change("approval", [approved, denied]) == (
        'status.conditions: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive'
    )
    for part in ("approval", "status"):
        removing = 'status.conditions: Forbidden: updates may not remove a condition of type "Approved"'
        assert await change(part, []) == removing
    wrong = 'status.conditions[0].status: Unsupported value: "False": supported values: "True"'
    assert await change("approval", [{**approved, "status": "False"}]) == wrong
    assert await change("status", [{**approved, "message": "other"}, {"type": "Own", "status": "Unknown"}]) == ""
    kept = (await client.request("GET", f"{requests}/r")).json["status"]["conditions"]
    assert [(item["type"], item.get("message")) for item in kept] == [("Approved", None), ("Own", None)]
    await change("approval", issued=certificate())
    assert "certificate" not in (await client.request("GET", f"{requests}/r")).json["status"]
    about = 'status.certificate: Invalid value: "<certificate data>": '
    assert await change("status", issued=b"x") == about + "must contain at least one CERTIFICATE PEM block"
    key = certificate().replace(b"CERTIFICATE", b"PRIVATE KEY")
    only = about + 'only CERTIFICATE PEM blocks are allowed, found "PRIVATE KEY"'
    assert await change("status", issued=certificate() + key) == only
    assert await change("status", issued=certificate()) == ""
    again = "status.certificate: Forbidden: updates may not modify existing certificate content"
    assert await change("status", issued=certificate() * 2) == again


async def test_jobs_leave_their_pods_behind_unless_told_otherwise(client) -> None:
    jobs = "/apis/batch/v1/namespaces/default/jobs"
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
    for name in ("a", "b"):
        await client.request("POST", jobs, {"metadata": {"name": name}, "spec": {"template": template}})
    made = (await client.request("GET", f"{jobs}/a")).json
    label = "batch.kubernetes.io/controller-uid"
    assert made["spec"]["selector"]["matchLabels"] == {label: made["metadata"]["uid"]}
    assert made["spec"]["template"]["metadata"]["labels"]["job-name"] == "a"
    orphaning = await client.request("DELETE", f"{jobs}/a")
    assert orphaning.json["metadata"]["finalizers"] == ["orphan"]
    assert "child pods are preserved by default" in orphaning.headers["warning"]
    told = await client.request("DELETE", f"{jobs}/b?propagationPolicy=Background")
    assert (told.json["status"], "warning" in told.headers) == ("Success", False)


async def test_component_statuses(client) -> None:
    listed = await client.request("GET", "/api/v1/componentstatuses")
    assert listed.headers["warning"] == '299 - "v1 ComponentStatus is deprecated in v1.19+"'
    (item,) = listed.json["items"]
    assert item["metadata"] == {"name": "etcd-0"}
    assert item["conditions"] == [{"type": "Healthy", "status": "True", "message": "ok"}]
    missing = await client.request("GET", "/api/v1/componentstatuses/none")
    assert (missing.status, "warning" in missing.headers) == (404, True)


async def test_namespaces_are_finalized_by_whoever_empties_them(client) -> None:
    await client.request("POST", "/api/v1/namespaces", {"metadata": {"name": "fin"}})
    body = {"metadata": {"name": "fin"}, "spec": {"finalizers": ["a.b/c"]}, "status": {"phase": "X"}}
    answer = await client.request("PUT", "/api/v1/namespaces/fin/finalize", body)
    assert (answer.status, answer.json["spec"]) == (200, {"finalizers": ["a.b/c"]})
    assert answer.json["status"]["phase"] == "Active"
