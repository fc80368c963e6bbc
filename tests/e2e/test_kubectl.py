"""The unmodified kubectl against an API server over three members of kvraft, and over etcd."""

from __future__ import annotations

import json
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.e2e.canary import CANARY
from tests.e2e.cluster import needs_kubectl

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tests.e2e.on_etcd import Cluster

pytestmark = pytest.mark.slow

BOUND_S = 60.0
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: nginx, image: "nginx:1.27", ports: [{containerPort: 80}]}
      - {name: sidecar, image: "busybox:1.36"}
"""


def config_map(**data: str) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": data})


@pytest.fixture(scope="module", params=["three_nodes", "one_on_etcd"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """What the tests of this module share, by store."""
    needs_kubectl()
    found: Cluster = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def k(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The cluster, with a namespace of the test's own as kubectl's default."""
    needs_kubectl()
    name = request.node.name.replace("_", "-").replace("[", "-").rstrip("]")[:60]
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("config", "set-context", "--current", f"--namespace={name}")
    yield cluster
    cluster.kubectl("delete", "namespace", name)


def data_of(k: Cluster, name: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(k.kubectl("get", "configmap", name, "-o", "json")).get("data", {})
    return found


def test_the_namespaces_of_a_new_cluster(cluster: Cluster) -> None:
    needs_kubectl()
    lines = cluster.kubectl("get", "ns").splitlines()
    assert lines[0].split() == ["NAME", "STATUS", "AGE"]
    assert {"default", "kube-system"} <= {line.split()[0] for line in lines[1:]}
    assert all(line.split()[1] == "Active" for line in lines[1:])


def test_version_and_discovery(cluster: Cluster) -> None:
    needs_kubectl()
    version = json.loads(cluster.kubectl("version", "-o", "json"))
    assert version["serverVersion"]["major"] == "1"
    rows = {line.split()[0] for line in cluster.kubectl("api-resources").splitlines()}
    assert {"configmaps", "secrets", "pods", "events", "leases", "deployments", "namespaces"} <= rows
    assert "apps/v1" in cluster.kubectl("api-versions").splitlines()


def test_create_get_and_delete(k: Cluster) -> None:
    assert k.kubectl("create", "configmap", "settings", "--from-literal=a=1") == "configmap/settings created\n"
    assert data_of(k, "settings") == {"a": "1"}
    assert yaml.safe_load(k.kubectl("get", "cm", "settings", "-o", "yaml"))["data"] == {"a": "1"}
    header, row = k.kubectl("get", "cm", "settings", "-o", "wide").splitlines()
    assert header.split() == ["NAME", "DATA", "AGE"]
    assert row.split()[:2] == ["settings", "1"]
    assert k.kubectl("get", "cm/settings", "-o", "name") == "configmap/settings\n"
    assert k.kubectl("get", "cm", "settings", "-o", "jsonpath={.data.a}") == "1"
    k.kubectl("create", "configmap", "settings", codes=(1,))
    assert k.kubectl("delete", "cm", "settings").startswith('configmap "settings" deleted')
    k.kubectl("get", "cm", "settings", codes=(1,))


def test_a_secret_is_described_without_its_value(k: Cluster) -> None:
    k.kubectl("create", "secret", "generic", "key", f"--from-literal=token={CANARY}")
    described = k.kubectl("describe", "secret", "key")
    assert f"token:  {len(CANARY)} bytes" in described
    assert CANARY not in described


def test_apply_says_created_configured_and_unchanged(k: Cluster) -> None:
    assert k.kubectl("apply", "-f", "-", stdin=config_map(a="1", b="2")) == "configmap/settings created\n"
    assert k.kubectl("apply", "-f", "-", stdin=config_map(a="1", b="2")) == "configmap/settings unchanged\n"
    assert k.kubectl("apply", "-f", "-", stdin=config_map(a="3")) == "configmap/settings configured\n"
    assert data_of(k, "settings") == {"a": "3"}, "what apply no longer mentions is gone"


def test_diff_shows_what_apply_would_change(k: Cluster) -> None:
    k.kubectl("apply", "-f", "-", stdin=config_map(a="1"))
    assert k.kubectl("diff", "-f", "-", stdin=config_map(a="1")) == ""
    difference = k.kubectl("diff", "-f", "-", stdin=config_map(a="2"), codes=(1,)).splitlines()
    assert '-  a: "1"' in difference
    assert '+  a: "2"' in difference
    assert data_of(k, "settings") == {"a": "1"}


def test_server_side_apply_after_apply_on_the_clients_side(k: Cluster) -> None:
    k.kubectl("apply", "-f", "-", stdin=config_map(a="1", b="2"))
    applied = k.kubectl("apply", "--server-side", "-f", "-", stdin=config_map(a="1", c="3"))
    assert applied == "configmap/settings serverside-applied\n"
    assert data_of(k, "settings") == {"a": "1", "c": "3"}, "no conflict with itself, and what is not mentioned goes"
    assert k.kubectl("apply", "-f", "-", stdin=config_map(a="1", c="4")) == "configmap/settings configured\n"
    assert data_of(k, "settings") == {"a": "1", "c": "4"}


def test_two_appliers(k: Cluster) -> None:
    def apply(manager: str, *more: str, codes: tuple[int, ...] = (0,), **data: str) -> str:
        command = ("apply", "--server-side", f"--field-manager={manager}", *more, "-f", "-")
        return k.kubectl(*command, stdin=config_map(**data), codes=codes)

    apply("alpha", a="1")
    apply("beta", a="1", b="1")
    apply("alpha", a="2", codes=(1,))
    assert data_of(k, "settings") == {"a": "1", "b": "1"}
    apply("alpha", "--force-conflicts", a="2")
    assert data_of(k, "settings") == {"a": "2", "b": "1"}
    apply("alpha", c="1")
    assert data_of(k, "settings") == {"b": "1", "c": "1"}, "alpha let go of a, which nobody else owned any more"
    shown = json.loads(k.kubectl("get", "cm", "settings", "-o", "json", "--show-managed-fields"))
    owners = {entry["manager"]: entry["fieldsV1"] for entry in shown["metadata"]["managedFields"]}
    assert owners == {"alpha": {"f:data": {"f:c": {}}}, "beta": {"f:data": {"f:b": {}}}}


def test_labels_annotations_and_selectors(k: Cluster) -> None:
    for name in ("one", "two"):
        k.kubectl("create", "configmap", name)
    assert k.kubectl("label", "cm", "one", "tier=front") == "configmap/one labeled\n"
    assert k.kubectl("annotate", "cm", "one", "note=hello world") == "configmap/one annotated\n"
    metadata = json.loads(k.kubectl("get", "cm", "one", "-o", "json"))["metadata"]
    assert (metadata["labels"], metadata["annotations"]) == ({"tier": "front"}, {"note": "hello world"})
    assert k.kubectl("get", "cm", "-l", "tier=front", "-o", "name") == "configmap/one\n"
    assert "configmap/two" in k.kubectl("get", "cm", "-l", "tier!=front", "-o", "name").splitlines()
    assert k.kubectl("get", "cm", "--field-selector=metadata.name=two", "-o", "name") == "configmap/two\n"
    k.kubectl("label", "cm", "one", "tier=back", codes=(1,))
    k.kubectl("label", "cm", "one", "tier=back", "--overwrite")
    k.kubectl("label", "cm", "one", "tier-")
    assert "labels" not in json.loads(k.kubectl("get", "cm", "one", "-o", "json"))["metadata"]


def test_edit(k: Cluster, tmp_path: Path) -> None:
    k.kubectl("create", "configmap", "settings", "--from-literal=a=before")
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i s/before/after/ "$1"\n')
    editor.chmod(0o755)
    assert k.kubectl("edit", "cm", "settings", EDITOR=str(editor)) == "configmap/settings edited\n"
    assert data_of(k, "settings") == {"a": "after"}


def test_patches_of_every_kind(k: Cluster) -> None:
    k.kubectl("apply", "-f", "-", stdin=DEPLOYMENT)

    def patch(kind: str, change: object) -> None:
        k.kubectl("patch", "deployment", "web", f"--type={kind}", "-p", json.dumps(change))

    def spec() -> dict[str, object]:
        found: dict[str, object] = json.loads(k.kubectl("get", "deployment", "web", "-o", "json"))["spec"]
        return found

    def images() -> dict[str, str]:
        pods = json.loads(k.kubectl("get", "deployment", "web", "-o", "json"))["spec"]["template"]["spec"]
        return {container["name"]: container["image"] for container in pods["containers"]}

    patch("json", [{"op": "replace", "path": "/spec/replicas", "value": 5}])
    assert spec()["replicas"] == 5
    patch("merge", {"spec": {"replicas": 4}})
    assert spec()["replicas"] == 4
    container = {"name": "nginx", "image": "nginx:1.28"}
    patch("strategic", {"spec": {"template": {"spec": {"containers": [container]}}}})
    assert images() == {"nginx": "nginx:1.28", "sidecar": "busybox:1.36"}, "lists merge by name"
    patch("merge", {"spec": {"template": {"spec": {"containers": [container]}}}})
    assert images() == {"nginx": "nginx:1.28"}, "lists are replaced"
    header, row = k.kubectl("get", "deployments", "-o", "wide").splitlines()
    assert header.split()[:2] == ["NAME", "READY"]
    assert row.split()[:2] == ["web", "0/4"]


def test_delete_by_selector(k: Cluster) -> None:
    for name in ("one", "two", "three"):
        k.kubectl("create", "configmap", name)
    k.kubectl("label", "cm", "one", "two", "old=yes")
    k.kubectl("delete", "cm", "-l", "old=yes")
    left = k.kubectl("get", "cm", "-o", "name").splitlines()
    assert "configmap/three" in left
    assert not {"configmap/one", "configmap/two"} & set(left)


def test_watch_in_the_background(k: Cluster) -> None:
    k.kubectl("create", "configmap", "first")
    command = ["kubectl", "get", "cm", "-w", "--output-watch-events", "-o", "json"]
    seen = []
    with subprocess.Popen(command, env=k.kubectl_env(), stdout=subprocess.PIPE, text=True) as watch:
        limit = threading.Timer(BOUND_S, watch.kill)  # then the events end, and with them the test
        limit.start()
        assert watch.stdout is not None
        events = _objects(watch.stdout)
        while next(events)["object"]["metadata"]["name"] != "first":
            continue  # what exists is shown first; from then on the watch stands
        k.kubectl("create", "configmap", "second", "--from-literal=a=1")
        k.kubectl("patch", "cm", "second", "-p", '{"data":{"a":"2"}}')
        k.kubectl("delete", "cm", "second")
        while len(seen) < 3:
            event = next(events)
            if event["object"]["metadata"]["name"] == "second":
                seen.append((event["type"], event["object"]["data"]["a"]))
        limit.cancel()
        watch.terminate()
    assert seen == [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")]


def _objects(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """kubectl prints one JSON object after the other, each on one line or indented over several."""
    text = ""
    for line in lines:
        text += line
        if line.endswith("}\n") and (line[0] == "{" or line == "}\n"):
            yield json.loads(text)
            text = ""


def test_waits_end_when_the_status_says_so(k: Cluster) -> None:
    k.kubectl("create", "deployment", "awaited", "--image=nginx:1", "--replicas=1")
    made = json.loads(k.kubectl("get", "deployment", "awaited", "-o", "json"))
    generation = made["metadata"]["generation"]
    waits = [
        ["wait", "--for=condition=Available", "deployment/awaited"],
        ["wait", "--for=jsonpath={.status.readyReplicas}=1", "deployment/awaited"],
        ["rollout", "status", "deployment/awaited"],
    ]
    started = [
        subprocess.Popen(["kubectl", *wait, "--timeout=60s"], env=k.kubectl_env(), stdout=subprocess.PIPE, text=True)
        for wait in waits
    ]
    ready = {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}
    condition = {"type": "Available", "status": "True", "reason": "R", "message": "m"}
    status = {"observedGeneration": generation, "conditions": [condition], **ready}
    change = json.dumps({"status": status})
    k.kubectl("patch", "deployment", "awaited", "--subresource=status", "--type=merge", "-p", change)
    printed = [process.communicate(timeout=BOUND_S)[0].splitlines()[-1] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert printed[:2] == ["deployment.apps/awaited condition met"] * 2
    assert printed[2] == 'deployment "awaited" successfully rolled out'
    with subprocess.Popen(
        ["kubectl", "wait", "--for=delete", "deployment/awaited", "--timeout=60s"], env=k.kubectl_env()
    ) as gone:
        k.kubectl("delete", "deployment", "awaited")
        assert gone.wait(BOUND_S) == 0


def test_explain(cluster: Cluster) -> None:
    needs_kubectl()
    explained = cluster.kubectl("explain", "configmap")
    assert "KIND:       ConfigMap" in explained
    assert "binaryData" in explained
    assert "immutable" in explained
    assert "FIELD: finalizers" in cluster.kubectl("explain", "configmap.metadata.finalizers")


def test_errors_are_kubernetes_own(k: Cluster) -> None:
    def complaint(*arguments: str, stdin: str | None = None) -> str:
        answer = subprocess.run(
            ["kubectl", *arguments],
            input=stdin,
            env=k.kubectl_env(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert answer.returncode != 0
        return answer.stderr

    assert complaint("get", "cm", "none") == 'Error from server (NotFound): configmaps "none" not found\n'
    k.kubectl("create", "configmap", "twice")
    assert 'configmaps "twice" already exists' in complaint("create", "configmap", "twice")
    assert 'namespaces "nowhere" not found' in complaint("create", "configmap", "x", "-n", "nowhere")
    assert "a lowercase RFC 1123 subdomain" in complaint("create", "configmap", "Not_A_Name")
    wrong = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "w"}, "daata": {"a": "b"}})
    assert 'unknown field "daata"' in complaint("apply", "-f", "-", stdin=wrong)
