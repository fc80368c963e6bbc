"""Ports: which, whether free, and whose they are."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import pytest

from apilayer.cli.cluster.failure import ClusterError
from apilayer.cli.cluster.ports import MAX_NODES, Member, Owner, Topology, check_free, owners, plan
from tests.ports import free_port


def own_name() -> str:
    return Path("/proc/self/comm").read_text().strip()


def test_the_usual_ports() -> None:
    topology = plan(3, None)
    assert [member.client_port for member in topology.members] == [2379, 22379, 32379]
    assert [member.peer_port for member in topology.members] == [2380, 22380, 32380]
    assert topology.api_url == "https://127.0.0.1:6443"
    assert topology.members[1].client_url == "https://127.0.0.1:22379"
    assert topology.members[1].peer_url == "https://127.0.0.1:22380"


def test_more_members_go_on_in_the_same_way() -> None:
    assert [member.client_port for member in plan(MAX_NODES, None).members][3:] == [42379, 52379, 62379]


def test_a_base_moves_all_ports_together() -> None:
    topology = plan(3, 7000)
    assert [member.client_port for member in topology.members] == [7000, 7001, 7002]
    assert [member.peer_port for member in topology.members] == [7003, 7004, 7005]
    assert topology.api_port == 7006


@pytest.mark.parametrize("nodes", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("base", [None, 20000])
def test_no_port_is_used_twice(nodes: int, base: int | None) -> None:
    used = [port for port, _ in plan(nodes, base).uses()]
    assert len(set(used)) == len(used) == 2 * nodes + 1


@pytest.mark.parametrize("nodes", [-1, 0, 7])
def test_a_number_of_members_out_of_range(nodes: int) -> None:
    with pytest.raises(ClusterError, match=rf"--nodes {nodes}: must be from 1 to 6"):
        plan(nodes, None)


@pytest.mark.parametrize(("base", "fits"), [(0, False), (1, True), (65529, True), (65530, False)])
def test_a_base_out_of_range(base: int, fits: bool) -> None:
    if fits:
        plan(3, base)
    else:
        with pytest.raises(ClusterError, match=rf"--port-base {base}: 7 ports .* 1 to 65535"):
            plan(3, base)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])  # noqa: S104 - for a moment
def test_a_taken_port_names_its_process(host: str) -> None:
    with socket.socket() as taken:
        taken.bind((host, 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        topology = Topology((Member("kvraft-1", port, free_port()),), free_port())
        who = re.escape(f"{own_name()} (pid {os.getpid()})")
        with pytest.raises(ClusterError, match=rf"port {port} \(kvraft-1's client URL\) is taken by {who};"):
            check_free(topology)


def test_a_listener_on_ipv6_is_found_too() -> None:
    try:
        taken = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"no IPv6 loopback here: {error}")
    with taken:
        assert owners(taken.getsockname()[1]) == [Owner(os.getpid(), own_name())]


def test_a_connection_that_happens_to_use_the_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        # The kernel may give the same port to somebody else's connection to another server.
        assert Owner(os.getpid(), own_name()) in owners(client.getsockname()[1])


def test_every_taken_port_is_named_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        first, second = one.getsockname()[1], two.getsockname()[1]
        with pytest.raises(ClusterError) as caught:
            check_free(Topology((Member("kvraft-1", free_port(), first),), second))
    assert f"port {first} (kvraft-1's peer URL)" in str(caught.value)
    assert f"port {second} (the API server)" in str(caught.value)


def test_free_ports_pass() -> None:
    check_free(Topology((Member("kvraft-1", free_port(), free_port()),), free_port()))
