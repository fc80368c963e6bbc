"""Ranges of addresses and ports: what they hold, what they give out, how flags spell them."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from apilayer.api.services.ranges import (
    IpRange,
    PortRange,
    RangeError,
    parse_cidr,
    parse_ip_ranges,
    parse_port_range,
)


def first(_: int) -> int:
    return 0


@pytest.mark.parametrize(
    ("cidr", "lowest", "highest"),
    [
        ("10.0.0.0/24", "10.0.0.1", "10.0.0.254"),
        ("10.0.0.0/29", "10.0.0.1", "10.0.0.6"),
        ("fd00::/112", "fd00::1", "fd00::ffff"),
    ],
)
def test_network_and_broadcast_address_are_not_given_out(cidr: str, lowest: str, highest: str) -> None:
    found = parse_cidr(cidr)
    assert (str(found.first), str(found.last)) == (lowest, highest)
    assert ip_address(lowest) in found
    assert ip_address(highest) in found
    assert ip_address(lowest) - 1 not in found
    assert ip_address("192.168.0.1") not in found


def test_every_address_is_given_out_once_and_the_lower_band_last() -> None:
    network = parse_cidr("10.0.0.0/27")
    taken: list[str] = []
    while (address := network.pick(lambda known: known in taken, first)) is not None:
        taken.append(address)
    assert len(taken) == 30
    assert taken[:2] == ["10.0.0.17", "10.0.0.18"]
    assert taken[-1] == "10.0.0.16"


def test_the_search_goes_round() -> None:
    assert PortRange(30000, 30007).pick(lambda port: port > 30002, lambda size: size - 1) == 30000
    assert PortRange(30000, 30001).pick(lambda _: True) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30000-32767", (30000, 32767)), ("30000+10", (30000, 30010)), ("80", (80, 80)), ("1-65535", (1, 65535))],
)
def test_port_ranges(text: str, expected: tuple[int, int]) -> None:
    found = parse_port_range(text)
    assert (found.first, found.last) == expected


@pytest.mark.parametrize("text", ["", "a-b", "0-10", "5-1", "1-65536", "1-2-3", "-1", "123456"])
def test_port_ranges_that_are_none(text: str) -> None:
    with pytest.raises(RangeError):
        parse_port_range(text)


def test_ip_ranges() -> None:
    assert [str(item.network) for item in parse_ip_ranges("10.0.0.1/16, fd00::/112")] == ["10.0.0.0/16", "fd00::/112"]
    assert parse_ip_ranges("10.0.0.0/24") == (IpRange(parse_cidr("10.0.0.0/24").network),)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not a CIDR"),
        ("x", "is not a CIDR"),
        ("10.0.0.0/30", "at least 8"),
        ("10.0.0.0/24,10.1.0.0/24", "different families"),
        ("10.0.0.0/24,fd00::/112,fd01::/112", "at most 2"),
        ("fd00::/64", "/108"),
        ("fd00::/48", "shortest prefix"),
    ],
)
def test_ip_ranges_that_cannot_be_used(text: str, why: str) -> None:
    with pytest.raises(RangeError, match=why):
        parse_ip_ranges(text)
