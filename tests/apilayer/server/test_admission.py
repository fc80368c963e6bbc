"""Admission in the path of a write: what plugins change is validated, what they warn of is told."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.apilayer.server.conftest import Client

POD = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
PODS = "/api/v1/namespaces/default/pods"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
LABEL = "pod-security.kubernetes.io/enforce"
MERGE = "application/merge-patch+json"


async def caught_up(client: Client, resource: str) -> None:
    """A list of the present state: when it is there, the cache that plugins decide from has it too."""
    assert (await client.request("GET", f"/api/v1/{resource}")).status == 200


async def test_plugins_fill_in_a_pod_before_it_is_validated(client: Client) -> None:
    answer = await client.request("POST", PODS, POD)
    assert answer.status == 201, answer.message
    spec = answer.json["spec"]
    assert (spec["priority"], spec["preemptionPolicy"]) == (0, "PreemptLowerPriority")
    assert [item["tolerationSeconds"] for item in spec["tolerations"]] == [300, 300]
    owned = answer.json["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]
    assert "f:tolerations" not in owned, "what admission adds belongs to nobody"


async def test_what_plugins_made_is_what_limits_count(client: Client) -> None:
    limits = [{"type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"}}]
    limit = {"metadata": {"name": "l"}, "spec": {"limits": limits}}
    assert (await client.request("POST", "/api/v1/namespaces/default/limitranges", limit)).status == 201
    await caught_up(client, "limitranges")
    answer = await client.request("POST", f"{PODS}?dryRun=All", POD)
    assert answer.json["status"]["qosClass"] == "Burstable"
    assert answer.json["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "100m"}


async def test_levels_of_a_namespace_hold_and_warn(client: Client) -> None:
    labels = {"metadata": {"labels": {LABEL: "baseline"}}}
    assert (await client.request("PATCH", "/api/v1/namespaces/default", labels, Content_Type=MERGE)).status == 200
    await caught_up(client, "namespaces")
    privileged: dict[str, Any] = {**POD, "spec": {**POD["spec"], "hostNetwork": True}}
    refused = await client.request("POST", PODS, privileged)
    assert refused.status == 403
    assert refused.message == (
        'pods "p" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)'
    )
    template = {"metadata": {"labels": {"a": "b"}}, "spec": privileged["spec"]}
    deployment = {
        "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template},
    }
    warned = await client.request("POST", "/apis/apps/v1/namespaces/default/deployments", deployment)
    assert warned.status == 201
    text = 'would violate PodSecurity \\"baseline:latest\\": host namespaces (hostNetwork=true)'
    assert warned.headers["warning"] == f'299 - "{text}"'
    bad = {"metadata": {"labels": {LABEL: "none"}}}
    invalid = await client.request("PATCH", "/api/v1/namespaces/default", bad, Content_Type=MERGE)
    assert (invalid.status, invalid.json["reason"]) == (422, "Invalid")


@pytest.mark.parametrize("path", ["/api/v1/namespaces/default", "/api/v1/namespaces/kube-system"])
async def test_namespaces_that_stay(client: Client, path: str) -> None:
    assert (await client.request("DELETE", path)).message.endswith("is forbidden: this namespace may not be deleted")


async def test_nothing_is_created_in_no_namespace(client: Client) -> None:
    for method, path in (("POST", ""), ("PATCH", "/p?fieldManager=x")):
        answer = await client.request(
            method,
            f"/api/v1/namespaces/none/pods{path}",
            {"apiVersion": "v1", "kind": "Pod", **POD},
            Content_Type="application/json" if method == "POST" else "application/apply-patch+yaml",
        )
        assert (answer.status, answer.message) == (404, 'namespaces "none" not found')


async def test_a_pod_waits_for_its_account(start_server: Callable[..., Any]) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(start_server(disable_admission_plugins=()))
        client, other = [await stack.enter_async_context(server.connect()) for _ in range(2)]
        refused = await client.request("POST", PODS, {**POD, "spec": {**POD["spec"], "serviceAccountName": "none"}})
        looked = 'error looking up service account default/none: serviceaccount "none" not found'
        assert refused.message == f'pods "p" is forbidden: {looked}'
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other.request, "POST", ACCOUNTS, {"metadata": {"name": "default"}})
            answer = await client.request("POST", PODS, POD)
        assert answer.status == 201, answer.message
        assert answer.json["spec"]["volumes"][0]["name"].startswith("kube-api-access-")


async def test_a_server_for_reading(start_server: Callable[..., Any]) -> None:
    async with start_server(enable_admission_plugins=("AlwaysDeny",)) as server, server.connect() as client:
        refused = await client.request("POST", PODS, POD)
        assert refused.message == 'pods "p" is forbidden: admission control is denying all modifications'
        assert (await client.request("DELETE", "/api/v1/namespaces/kube-node-lease")).status == 403
        assert (await client.request("GET", PODS)).status == 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"enable_admission_plugins": ("Nope",)},
            '--enable-admission-plugins plugin "Nope" is unknown',
        ),
        (
            {"enable_admission_plugins": ("EventRateLimit",)},
            '--admission-control-config-file: configuration of admission plugin "EventRateLimit": '
            "limits: must not be empty",
        ),
    ],
)
async def test_choices_that_stop_the_start(
    start_server: Callable[..., Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        async with start_server(**options):
            pass
    error: BaseException = caught.value
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert str(error) == message
