"""The controllers of a whole server: which run, what a wrong flag says, and two servers over one store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from apilayer.server.controllers import ControllerOptions, chosen, known
from apilayer.server.errors import OptionsError

ACCOUNT = "/api/v1/namespaces/default/serviceaccounts/default"


def leaves(group: BaseException) -> list[BaseException]:
    if isinstance(group, BaseExceptionGroup):
        return [leaf for part in group.exceptions for leaf in leaves(part)]
    return [group]


def test_a_ca_is_published_and_signs_only_when_there_is_one() -> None:
    everything = frozenset(known(ControllerOptions()))
    publishes, signs = "root-ca-certificate-publisher-controller", "certificatesigningrequest-signing-controller"
    assert chosen(ControllerOptions(root_ca="PEM")) == everything - {signs}
    authorities: Any = {"example.com/signer": object()}
    assert chosen(ControllerOptions(authorities=authorities)) == everything - {publishes}
    assert chosen(ControllerOptions("")) == frozenset()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"controllers": "nothing"}, '--controllers: "nothing" is not in the list of known controllers: '),
        (
            {"encryption_provider_config": Path("/none")},
            "--encryption-provider-config: error opening encryption provider",
        ),
        ({"cluster_signing_key_file": Path("/none")}, '"cluster-signing": cannot specify key without cert'),
        ({"service_cluster_ip_range": "x"}, "--service-cluster-ip-range: 'x' is not a CIDR"),
        ({"service_node_port_range": "9-1"}, "--service-node-port-range: '9-1': the range ends before it starts"),
    ],
)
async def test_flags_that_cannot_be_used(start_server: Any, options: dict[str, Any], text: str) -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        async with start_server(**options):
            pass
    (error,) = leaves(caught.value)
    assert isinstance(error, OptionsError)
    assert str(error).startswith(text)


async def account(client: Any) -> int:
    status: int = (await client.request("GET", ACCOUNT)).status
    return status


async def test_another_server_takes_over_when_the_leader_stops(start_server: Any) -> None:
    """The account is kept by whoever leads; the first server gives the lead up when it stops."""
    with trio.fail_after(30):
        async with start_server(controllers="*") as second:
            async with start_server(controllers="*") as first, first.connect() as client:
                while await account(client) != 200:
                    await trio.lowlevel.checkpoint()
                first.nursery.cancel_scope.cancel()
            async with second.connect() as client:
                await client.request("DELETE", ACCOUNT)
                while await account(client) != 200:
                    await trio.lowlevel.checkpoint()


async def test_none_run_when_none_are_wanted(start_server: Any) -> None:
    async with start_server(controllers="") as server, server.connect() as client:
        leases = (await client.request("GET", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases")).json
        assert [item["metadata"]["name"].split("-")[0] for item in leases["items"]] == ["apiserver"]
        assert await account(client) == 404
