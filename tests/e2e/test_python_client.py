"""The official Python client against a real server: typed and dynamic API, watches, informer, apply, retries."""

from __future__ import annotations

import contextlib
import json
import queue
import ssl
from typing import TYPE_CHECKING, Any

import kubernetes.client
import kubernetes.config
import kubernetes.dynamic
import kubernetes.watch
import pytest
import websocket
from kubernetes.client.exceptions import (
    BadRequestException,
    ConflictException,
    NotFoundException,
    UnauthorizedException,
    UnprocessableEntityException,
)
from kubernetes.informer import ADDED, DELETED, MODIFIED, SharedInformer
from kubernetes.utils.retry import retry_on_conflict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.on_etcd import Cluster

pytestmark = pytest.mark.slow

SECONDS = 20
APPLY = "application/apply-patch+yaml"
PATCHES = {
    "application/json-patch+json": [{"op": "add", "path": "/data/json", "value": "1"}],
    "application/merge-patch+json": {"data": {"merge": "1", "a": None}},
    "application/strategic-merge-patch+json": {"metadata": {"labels": {"strategic": "1"}}},
}


@pytest.fixture(scope="module")
def api(on_either: Cluster) -> Iterator[kubernetes.client.ApiClient]:
    """The administrator's client, by the kubeconfig: TLS with a client certificate."""
    with closing_client(kubernetes.config.new_client_from_config(str(on_either.kubeconfig))) as client:
        yield client


@contextlib.contextmanager
def closing_client(client: kubernetes.client.ApiClient) -> Iterator[kubernetes.client.ApiClient]:
    """Closes the connections too, which leaving the client's own block does not."""
    with client:
        yield client
    client.rest_client.pool_manager.clear()


@pytest.fixture
def core(api: kubernetes.client.ApiClient) -> Iterator[kubernetes.client.CoreV1Api]:
    """The core API and a clean namespace "default"."""
    core = kubernetes.client.CoreV1Api(api)
    yield core
    core.delete_collection_namespaced_config_map("default", field_selector="metadata.name!=kube-root-ca.crt")


def configmap(name: str, labels: dict[str, str] | None = None, **data: str) -> kubernetes.client.V1ConfigMap:
    metadata = kubernetes.client.V1ObjectMeta(name=name, labels=labels)
    return kubernetes.client.V1ConfigMap(metadata=metadata, data=data)


def events(watch: kubernetes.watch.Watch, count: int, *arguments: Any, **options: Any) -> list[tuple[str, str]]:
    """The next events of a watch as (type, name)."""
    found = []
    with contextlib.closing(watch.stream(*arguments, timeout_seconds=SECONDS, **options)) as stream:
        for event in stream:
            found.append((event["type"], event["object"].metadata.name))
            if len(found) == count:
                break
    return found


def test_create_read_replace_delete(core) -> None:
    created = core.create_namespaced_config_map("default", configmap("a", a="1"))
    assert created.metadata.creation_timestamp.tzinfo is not None
    assert core.read_namespaced_config_map("a", "default").data == {"a": "1"}
    created.data = {"a": "2"}
    replaced = core.replace_namespaced_config_map("a", "default", created)
    assert int(replaced.metadata.resource_version) > int(created.metadata.resource_version)
    listed = core.list_namespaced_config_map("default", field_selector="metadata.name=a")
    assert [item.data for item in listed.items] == [{"a": "2"}]
    status = core.delete_namespaced_config_map("a", "default")
    assert (status["status"], status["details"]["uid"]) == ("Success", created.metadata.uid)
    with pytest.raises(NotFoundException):
        core.read_namespaced_config_map("a", "default")


def test_every_kind_of_patch(core) -> None:
    core.create_namespaced_config_map("default", configmap("a", a="1"))
    for content_type, body in PATCHES.items():
        core.patch_namespaced_config_map("a", "default", body, _content_type=content_type)
    found = core.read_namespaced_config_map("a", "default")
    assert (found.data, found.metadata.labels) == ({"json": "1", "merge": "1"}, {"strategic": "1"})


def test_pages(core) -> None:
    for index in range(5):
        core.create_namespaced_config_map("default", configmap(f"a{index}", {"page": "1"}))
    names, token = [], None
    while token is None or token:
        page = core.list_namespaced_config_map("default", label_selector="page=1", limit=2, _continue=token)
        names.append([item.metadata.name for item in page.items])
        token = page.metadata._continue or ""
    assert names == [["a0", "a1"], ["a2", "a3"], ["a4"]]


def test_a_watch_goes_on_where_another_ended(core) -> None:
    listed = core.list_namespaced_config_map("default")
    for name in "abc":
        core.create_namespaced_config_map("default", configmap(name))
    core.delete_namespaced_config_map("b", "default")
    first = kubernetes.watch.Watch()
    start = listed.metadata.resource_version
    seen = events(first, 2, core.list_namespaced_config_map, "default", resource_version=start)
    second = kubernetes.watch.Watch()
    seen += events(second, 2, core.list_namespaced_config_map, "default", resource_version=first.resource_version)
    assert seen == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "c"), ("DELETED", "b")]


def test_a_watch_that_lists_first(core) -> None:
    core.create_namespaced_config_map("default", configmap("a", {"mine": "1"}))
    stream = kubernetes.watch.Watch().stream(
        core.list_namespaced_config_map,
        "default",
        label_selector="mine=1",
        send_initial_events=True,
        resource_version_match="NotOlderThan",
        allow_watch_bookmarks=True,
        timeout_seconds=SECONDS,
    )
    with contextlib.closing(stream):
        assert next(stream)["object"].metadata.name == "a"
        bookmark = next(stream)
        assert bookmark["type"] == "BOOKMARK"
        assert bookmark["raw_object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_an_informer(core) -> None:
    seen: queue.Queue[tuple[str, str]] = queue.Queue()
    core.create_namespaced_config_map("default", configmap("a", {"mine": "1"}))
    informer = SharedInformer(core.list_namespaced_config_map, namespace="default", label_selector="mine=1")
    for kind in (ADDED, MODIFIED, DELETED):
        informer.add_event_handler(kind, lambda obj, kind=kind: seen.put((kind, obj.metadata.name)))
    informer.start()
    try:
        assert seen.get(timeout=SECONDS) == (ADDED, "a")
        core.create_namespaced_config_map("default", configmap("b", {"mine": "1"}))
        core.create_namespaced_config_map("default", configmap("other"))
        core.patch_namespaced_config_map("b", "default", {"data": {"x": "y"}})
        core.delete_namespaced_config_map("a", "default")
        expected = [(ADDED, "b"), (MODIFIED, "b"), (DELETED, "a")]
        assert [seen.get(timeout=SECONDS) for _ in expected] == expected
        assert [item.data for item in informer.cache.list()] == [{"x": "y"}]
    finally:
        informer.stop()


def test_apply_and_its_conflicts(core) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}}

    def apply(manager: str, value: str, *, force: bool = False) -> Any:
        config = body | {"data": {"x": value}}
        options = {"field_manager": manager, "force": force, "_content_type": APPLY}
        return core.patch_namespaced_config_map("a", "default", config, **options)

    first = apply("one", "1")
    assert apply("one", "1").metadata.resource_version == first.metadata.resource_version
    with pytest.raises(ConflictException) as caught:
        apply("two", "2")
    causes = json.loads(caught.value.body)["details"]["causes"]
    assert [(cause["reason"], cause["field"]) for cause in causes] == [("FieldManagerConflict", ".data.x")]
    forced = apply("two", "2", force=True)
    assert [entry.manager for entry in forced.metadata.managed_fields] == ["two"]


def test_errors_have_types(core) -> None:
    core.create_namespaced_config_map("default", configmap("a"))
    with pytest.raises(ConflictException) as conflict:
        core.create_namespaced_config_map("default", configmap("a"))
    assert json.loads(conflict.value.body)["reason"] == "AlreadyExists"
    with pytest.raises(UnprocessableEntityException) as invalid:
        core.create_namespaced_config_map("default", configmap("Not A Name"))
    assert json.loads(invalid.value.body)["details"]["causes"][0]["field"] == "metadata.name"
    with pytest.raises(BadRequestException):
        core.list_namespaced_config_map("default", label_selector="!!")


def test_conflicts_are_tried_again(core) -> None:
    core.create_namespaced_config_map("default", configmap("a", n="0"))
    tries = []

    def add_one() -> Any:
        found = core.read_namespaced_config_map("a", "default")
        if not tries:
            core.patch_namespaced_config_map("a", "default", {"data": {"other": "1"}})
        tries.append(found.metadata.resource_version)
        found.data["n"] = str(int(found.data["n"]) + 1)
        return core.replace_namespaced_config_map("a", "default", found)

    assert retry_on_conflict(add_one).data == {"n": "1", "other": "1"}
    assert len(tries) == 2


def test_the_dynamic_client(api, core) -> None:
    dynamic = kubernetes.dynamic.DynamicClient(api)
    maps = dynamic.resources.get(api_version="v1", kind="ConfigMap")
    assert (maps.name, maps.namespaced) == ("configmaps", True)
    assert dynamic.resources.get(api_version="apps/v1", kind="Deployment").subresources.keys() == {"scale", "status"}
    maps.create(namespace="default", body={"metadata": {"name": "a"}, "data": {"x": "1"}})
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"y": "2"}}
    applied = maps.server_side_apply(namespace="default", name="a", body=body, field_manager="me")
    assert applied.data.to_dict() == {"x": "1", "y": "2"}
    maps.patch(namespace="default", name="a", body={"data": {"x": None}}, content_type="application/merge-patch+json")
    watched = maps.watch(namespace="default", name="a", timeout=SECONDS)
    with contextlib.closing(watched):
        assert next(watched)["object"].data.to_dict() == {"y": "2"}
    maps.delete(namespace="default", name="a")
    with pytest.raises(kubernetes.dynamic.exceptions.NotFoundError):
        maps.get(namespace="default", name="a")


def test_bearer_tokens(on_either, core) -> None:
    configuration = kubernetes.client.Configuration(host=f"https://127.0.0.1:{on_either.api_port}")
    configuration.ssl_ca_cert = str(on_either.ca)
    configuration.api_key = {"authorization": on_either.bearer}
    configuration.api_key_prefix = {"authorization": "Bearer"}
    with closing_client(kubernetes.client.ApiClient(configuration)) as client:
        assert kubernetes.client.VersionApi(client).get_code().minor == "36"
        assert kubernetes.client.CoreV1Api(client).list_namespaced_config_map("default").kind == "ConfigMapList"
    configuration.api_key = {"authorization": "nobody"}
    with closing_client(kubernetes.client.ApiClient(configuration)) as client, pytest.raises(UnauthorizedException):
        kubernetes.client.CoreV1Api(client).list_namespaced_config_map("default")


def test_a_watch_over_websocket(on_either, core) -> None:
    """websocket-client is what the official client runs commands through."""
    core.create_namespaced_config_map("default", configmap("a", {"mine": "1"}))
    path = "/api/v1/namespaces/default/configmaps?watch=1&resourceVersion=0&labelSelector=mine&timeoutSeconds=1"
    socket = websocket.create_connection(
        f"wss://127.0.0.1:{on_either.api_port}{path}",
        header=[f"Authorization: Bearer {on_either.bearer}"],
        sslopt={"ca_certs": str(on_either.ca), "cert_reqs": ssl.CERT_REQUIRED},
        timeout=SECONDS,
    )
    try:
        assert json.loads(socket.recv())["object"]["metadata"]["name"] == "a"
        opcode, frame = socket.recv_data(control_frame=True)
        assert (opcode, frame[:2]) == (websocket.ABNF.OPCODE_CLOSE, b"\x03\xe8")
    finally:
        socket.shutdown()
