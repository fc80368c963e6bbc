"""Commands of the unmodified kubectl beyond create, get, apply and patch, against one API server that they share."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.cluster import needs_kubectl

if TYPE_CHECKING:
    from tests.e2e.on_etcd import Cluster

pytestmark = pytest.mark.slow

BOUND_S = 60.0
NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": {"zone": "a"}}}


@pytest.fixture(scope="module")
def k(own_on_either: Cluster) -> Cluster:
    """An API server with a Deployment ``web``; kubectl's namespace is one of the module's own."""
    needs_kubectl()
    cluster = own_on_either
    cluster.kubectl("create", "namespace", "commands")
    cluster.kubectl("config", "set-context", "--current", "--namespace=commands")
    cluster.kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=60s")
    cluster.kubectl("create", "deployment", "web", "--image=nginx:1", "--replicas=2", "--port=80")
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(NODE))
    return cluster


def got(k: Cluster, *what: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(k.kubectl("get", *what, "-o", "json"))
    return found


def words(text: str) -> list[list[str]]:
    """The words of every line."""
    return [line.split() for line in text.splitlines()]


def complaint(k: Cluster, *arguments: str) -> str:
    """What kubectl says on stderr; it must fail."""
    command = ["kubectl", *arguments]
    answer = subprocess.run(command, env=k.kubectl_env(), capture_output=True, text=True, timeout=BOUND_S, check=False)
    assert answer.returncode == 1
    return answer.stderr


def event(name: str, about: dict[str, Any], reason: str) -> str:
    """An Event about an object."""
    subject = {key: about[key] for key in ("apiVersion", "kind")}
    subject |= {key: about["metadata"][key] for key in ("name", "namespace", "uid")}
    body = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name},
        "involvedObject": subject,
        "reason": reason,
        "message": f"{reason} happened",
        "type": "Normal",
        "source": {"component": "tester"},
        "firstTimestamp": "2024-01-01T00:00:00Z",
        "lastTimestamp": "2024-01-01T00:00:00Z",
        "count": 3,
    }
    return json.dumps(body)


def test_describe_shows_an_object_with_its_events(k: Cluster) -> None:
    for name in ("one", "two"):
        k.kubectl("run", name, "--image=busybox:1", "--labels=app=described", "--env=X=y")
        k.kubectl("create", "-f", "-", stdin=event(f"about-{name}", got(k, "pod", name), f"Reason-{name}"))
    lines = words(k.kubectl("describe", "pod", "one"))
    assert lines[:2] == [["Name:", "one"], ["Namespace:", "commands"]]
    assert ["Labels:", "app=described"] in lines
    assert ["X:", "y"] in lines
    assert ["QoS", "Class:", "BestEffort"] in lines
    about = lines[lines.index(["Type", "Reason", "Age", "From", "Message"]) + 2 :]
    assert [line[:2] + line[-3:] for line in about] == [
        ["Normal", "Reason-one", "tester", "Reason-one", "happened"],
    ], "and none of the other pod"
    header, *shown = words(k.kubectl("events", "--for=pod/two"))
    assert header == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert [line[-5:] for line in shown] == [["Normal", "Reason-two", "Pod/two", "Reason-two", "happened"]]


def test_explain_shows_all_fields_below_a_field(k: Cluster) -> None:
    explained = k.kubectl("explain", "pod.spec.tolerations", "--recursive")
    assert words(explained)[:2] == [["KIND:", "Pod"], ["VERSION:", "v1"]]
    fields = [line for line in words(explained) if line[-1:] and line[-1].startswith("<") and len(line) == 2]
    assert [name for name, _ in fields] == ["effect", "key", "operator", "tolerationSeconds", "value"]
    assert dict(fields)["tolerationSeconds"] == "<integer>"
    assert "lastTransitionTime" in k.kubectl("explain", "deployment.status", "--recursive")
    assert complaint(k, "explain", "pod.nosuch") == 'error: field "nosuch" does not exist\n'


def test_api_resources(k: Cluster) -> None:
    rows = words(k.kubectl("api-resources", "--api-group=apps", "-o", "wide"))
    header, *found = rows
    assert header == ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND", "VERBS", "CATEGORIES"]
    deployments = next(row for row in found if row[0] == "deployments")
    verbs = "create,delete,deletecollection,get,list,patch,update,watch"
    assert deployments == ["deployments", "deploy", "apps/v1", "true", "Deployment", verbs, "all"]
    cluster_wide = k.kubectl("api-resources", "--namespaced=false", "-o", "name").splitlines()
    assert {"nodes", "namespaces", "persistentvolumes", "priorityclasses.scheduling.k8s.io"} <= set(cluster_wide)


def test_scale_autoscale_and_expose(k: Cluster) -> None:
    assert k.kubectl("scale", "deployment", "web", "--replicas=3") == "deployment.apps/web scaled\n"
    assert got(k, "deployment", "web")["spec"]["replicas"] == 3
    wrong = complaint(k, "scale", "deployment", "web", "--current-replicas=9", "--replicas=1")
    assert wrong == "error: Expected replicas to be 9, was 3\n"
    scaled = k.kubectl("autoscale", "deployment", "web", "--min=2", "--max=5", "--cpu-percent=50")
    assert scaled == "horizontalpodautoscaler.autoscaling/web autoscaled\n"
    metric = got(k, "hpa", "web")["spec"]["metrics"][0]["resource"]
    assert metric == {"name": "cpu", "target": {"averageUtilization": 50, "type": "Utilization"}}
    assert k.kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080") == "service/web exposed\n"
    service = got(k, "service", "web")["spec"]
    assert (service["selector"], service["ports"][0]["targetPort"]) == ({"app": "web"}, 8080)
    assert service["clusterIP"]
    assert 'services "web" already exists' in complaint(k, "expose", "deployment", "web", "--port=80")


def test_set(k: Cluster) -> None:
    k.kubectl("create", "deployment", "changed", "--image=nginx:1")
    assert k.kubectl("set", "image", "deployment/changed", "nginx=nginx:2") == (
        "deployment.apps/changed image updated\n"
    )
    assert k.kubectl("set", "env", "deployment/changed", "A=b") == "deployment.apps/changed env updated\n"
    limits = ("--limits=cpu=1", "--requests=cpu=100m")
    done = k.kubectl("set", "resources", "deployment/changed", *limits)
    assert done == "deployment.apps/changed resource requirements updated\n"
    changed = got(k, "deployment", "changed")
    (container,) = changed["spec"]["template"]["spec"]["containers"]
    assert (container["image"], container["env"]) == ("nginx:2", [{"name": "A", "value": "b"}])
    assert container["resources"] == {"limits": {"cpu": "1"}, "requests": {"cpu": "100m"}}
    assert changed["metadata"]["generation"] == 4, "each change is one"


def replica_set(deployment: dict[str, Any], revision: int, image: str) -> str:
    """What the deployment controller makes of a revision."""
    meta, labels = deployment["metadata"], {"app": "rolled", "revision": str(revision)}
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": meta["name"], "uid": meta["uid"]}
    containers = [{"name": "nginx", "image": image}]
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    body = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"rolled-{revision}",
            "labels": labels,
            "annotations": {"deployment.kubernetes.io/revision": str(revision)},
            "ownerReferences": [{**owner, "controller": True}],
        },
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
    }
    return json.dumps(body)


def test_rollouts(k: Cluster) -> None:
    k.kubectl("create", "deployment", "rolled", "--image=nginx:2", "--replicas=1")
    made = got(k, "deployment", "rolled")
    for revision, image in ((1, "nginx:1"), (2, "nginx:2")):
        k.kubectl("create", "-f", "-", stdin=replica_set(made, revision, image))
    history = k.kubectl("rollout", "history", "deployment/rolled")
    assert words(history) == [
        ["deployment.apps/rolled"],
        ["REVISION", "CHANGE-CAUSE"],
        ["1", "<none>"],
        ["2", "<none>"],
        [],
    ]
    k.kubectl("annotate", "deployment", "rolled", "deployment.kubernetes.io/revision=2")
    assert (
        k.kubectl("rollout", "undo", "deployment/rolled", "--to-revision=1") == "deployment.apps/rolled rolled back\n"
    )
    assert got(k, "deployment", "rolled")["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:1"
    assert k.kubectl("rollout", "pause", "deployment/rolled") == "deployment.apps/rolled paused\n"
    assert k.kubectl("rollout", "resume", "deployment/rolled") == "deployment.apps/rolled resumed\n"
    assert k.kubectl("rollout", "restart", "deployment/rolled") == "deployment.apps/rolled restarted\n"
    waiting = k.kubectl("rollout", "status", "deployment/rolled", "--watch=false")
    assert waiting == "Waiting for deployment spec update to be observed...\n"


def test_nodes_are_tainted_cordoned_and_drained(k: Cluster) -> None:
    assert k.kubectl("taint", "node", "n1", "a=b:NoSchedule") == "node/n1 tainted\n"
    assert {"key": "a", "value": "b", "effect": "NoSchedule"} in got(k, "node", "n1")["spec"]["taints"]
    again = complaint(k, "taint", "node", "n1", "a=b:NoSchedule")
    assert again == "error: node n1 already has a taint(s) with same effect(s) and --overwrite is false\n"
    assert k.kubectl("taint", "node", "n1", "a-") == "node/n1 untainted\n"
    assert k.kubectl("cordon", "n1") == "node/n1 cordoned\n"
    assert "SchedulingDisabled" in k.kubectl("get", "node", "n1")
    assert k.kubectl("uncordon", "n1") == "node/n1 uncordoned\n"
    overrides = json.dumps({"spec": {"nodeName": "n1"}})
    k.kubectl("run", "placed", "--image=busybox:1", f"--overrides={overrides}")
    drained = k.kubectl("drain", "n1", "--force", "--dry-run=server").splitlines()
    assert drained == [
        "node/n1 cordoned (server dry run)",
        "evicting pod commands/placed (server dry run)",
        "node/n1 drained (server dry run)",
    ]
    assert "unschedulable" not in got(k, "node", "n1")["spec"]
    assert got(k, "pod", "placed")["metadata"].get("deletionTimestamp") is None


def test_proxy(k: Cluster) -> None:
    with subprocess.Popen(
        ["kubectl", "proxy", "--port=0"], env=k.kubectl_env(), stdout=subprocess.PIPE, text=True
    ) as proxy:
        try:
            assert proxy.stdout is not None
            address = proxy.stdout.readline().split()[-1]
            with urllib.request.urlopen(f"http://{address}/api/v1/namespaces/commands", timeout=BOUND_S) as answer:
                assert json.load(answer)["metadata"]["name"] == "commands"
            watch = f"http://{address}/apis/apps/v1/deployments?watch=1&timeoutSeconds=1&resourceVersion=0"
            with urllib.request.urlopen(watch, timeout=BOUND_S) as stream:
                assert json.loads(stream.readline())["type"] == "ADDED"
        finally:
            proxy.terminate()
