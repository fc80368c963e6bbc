"""Ranges that cluster IPs and node ports come from. The lower part of each is kept for values that are asked for."""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

IPV4, IPV6 = "IPv4", "IPv6"
MIN_IPV6_PREFIX = 64
MAX_IPV6_HOST_BITS_FLAG = 20
"""The widest IPv6 range that the flag takes is a /108."""
_MAX_SERVICE_CIDRS = 2
_BAND_MIN, _IP_BAND_MAX, _IP_BAND_STEP = 16, 256, 16
_PORT_BAND_MAX, _PORT_BAND_STEP = 128, 32
MAX_PORT = 65535


class RangeError(ValueError):
    """A range that cannot be used; the message says why."""


def family_of(address: str) -> str:
    """``IPv4`` or ``IPv6``. Raises ValueError for what is no address."""
    return IPV4 if ip_address(address).version == 4 else IPV6


@attrs.frozen
class IpRange:
    """The addresses of a network that services may have: `first` to `last`, both included."""

    network: IPv4Network | IPv6Network

    @property
    def family(self) -> str:
        """``IPv4`` or ``IPv6``."""
        return IPV4 if self.network.version == 4 else IPV6

    @property
    def first(self) -> IPv4Address | IPv6Address:
        """The network's own address is never given out."""
        return self.network.network_address + 1

    @property
    def last(self) -> IPv4Address | IPv6Address:
        """Nor is the broadcast address of IPv4."""
        last = self.network.broadcast_address
        return last - 1 if self.network.version == 4 else last

    def __contains__(self, address: IPv4Address | IPv6Address) -> bool:
        return address.version == self.network.version and int(self.first) <= int(address) <= int(self.last)

    def pick(self, taken: Callable[[str], bool], start: Callable[[int], int] = random.randrange) -> str | None:
        """A free address, from a random place on, of the upper band while that has one; None: all are taken."""
        low, high = int(self.first), int(self.last)
        band = low + _band(self.network.num_addresses, _IP_BAND_STEP, _IP_BAND_MAX)
        make = IPv4Address if self.network.version == 4 else IPv6Address
        for begin, end in ((band, high + 1), (low, band)):
            for number in _around(begin, end, start):
                address = str(make(number))
                if not taken(address):
                    return address
        return None


@attrs.frozen
class PortRange:
    """Node ports from `first` to `last`, both included."""

    first: int
    last: int

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    @property
    def size(self) -> int:
        """How many ports there are."""
        return self.last - self.first + 1

    def pick(self, taken: Callable[[int], bool], start: Callable[[int], int] = random.randrange) -> int | None:
        """A free port, as `IpRange.pick`."""
        band = self.first + _band(self.size, _PORT_BAND_STEP, _PORT_BAND_MAX)
        for begin, end in ((band, self.last + 1), (self.first, band)):
            for port in _around(begin, end, start):
                if not taken(port):
                    return port
        return None


def _band(size: int, step: int, largest: int) -> int:
    """How many values at the start of a range are given out only when the rest is taken."""
    return 0 if size <= _BAND_MIN else min(max(size // step, _BAND_MIN), largest)


def _around(begin: int, end: int, start: Callable[[int], int]) -> Iterator[int]:
    """Every number from `begin` to before `end` once, from a chosen one on."""
    if begin >= end:
        return
    first = begin + start(end - begin)
    yield from range(first, end)
    yield from range(begin, first)


def parse_port_range(text: str) -> PortRange:
    """``30000-32767``, ``30000+2767`` or a single port. Raises RangeError."""
    first, mark, second = text.partition("-") if "-" in text else text.partition("+")
    numbers = [first, second] if mark else [first]
    if not all(part.isascii() and part.isdecimal() and len(part) <= 5 for part in numbers):
        raise RangeError(f"{text!r} is not a range of ports: write it as 30000-32767")
    low = int(first)
    high = low if not mark else int(second) + (low if mark == "+" else 0)
    if low < 1 or high > MAX_PORT:
        raise RangeError(f"{text!r}: ports are between 1 and {MAX_PORT}")
    if high < low:
        raise RangeError(f"{text!r}: the range ends before it starts")
    return PortRange(low, high)


def parse_ip_ranges(text: str) -> tuple[IpRange, ...]:
    """One CIDR, or two of different families, separated by a comma. Raises RangeError."""
    ranges = tuple(parse_cidr(part.strip()) for part in text.split(","))
    if len(ranges) > _MAX_SERVICE_CIDRS:
        raise RangeError(f"{text!r}: at most {_MAX_SERVICE_CIDRS} ranges, one of each family")
    if len({item.family for item in ranges}) != len(ranges):
        raise RangeError(f"{text!r}: the two ranges must be of different families")
    for item in ranges:
        if item.family == IPV6 and item.network.max_prefixlen - item.network.prefixlen > MAX_IPV6_HOST_BITS_FLAG:
            raise RangeError(f"{item.network}: an IPv6 range must be a /108 or smaller")
    return ranges


def parse_cidr(text: str) -> IpRange:
    """A network with room for services. Raises RangeError."""
    try:
        network = ip_network(text, strict=False)
    except ValueError as error:
        raise RangeError(f"{text!r} is not a CIDR such as 10.0.0.0/24") from error
    if network.num_addresses < 8:
        raise RangeError(f"{text!r}: the range must hold at least 8 addresses")
    if network.version == 6 and network.prefixlen < MIN_IPV6_PREFIX:
        raise RangeError(f"{text!r}: the shortest prefix of an IPv6 range is {MIN_IPV6_PREFIX}")
    return IpRange(network)


def contains_any(ranges: Sequence[IpRange], address: str) -> bool:
    """Whether the address may be given out from one of the ranges."""
    parsed = ip_address(address)
    return any(parsed in item for item in ranges)
