"""What services may be given in this cluster: the configured families, the ServiceCIDRs, the node ports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from apilayer.api.services.ranges import (
    MAX_PORT,
    IpRange,
    PortRange,
    RangeError,
    parse_cidr,
    parse_ip_ranges,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from apilayer.registry.services.ports import PortBitmap
    from apilayer.storage.codec import Entry
    from apilayer.storage.resource_cache import ResourceCache

Object = dict[str, Any]

DEFAULT_IP_RANGES = parse_ip_ranges("10.0.0.0/24")
DEFAULT_PORT_RANGE = PortRange(30000, 32767)
_FIRST_PLACEHOLDER_PORT = 32769


def _first(count: int) -> int:
    del count
    return 0


@attrs.frozen
class ServiceNetwork:
    """What the flags say about services; the first range's family is the cluster's default."""

    ip_ranges: tuple[IpRange, ...] = DEFAULT_IP_RANGES
    port_range: PortRange = DEFAULT_PORT_RANGE


class ServicePool:
    """`apilayer.api.services.allocate.Pool` over the watch cache and the bitmap of ports."""

    def __init__(
        self, network: ServiceNetwork, addresses: ResourceCache, cidrs: ResourceCache, ports: PortBitmap
    ) -> None:
        self.families: Sequence[str] = [item.family for item in network.ip_ranges]
        self.port_range = network.port_range
        self.network = network
        self._addresses = addresses
        self._cidrs = cidrs
        self._ports = ports
        self._ranges: tuple[int, Sequence[IpRange]] = (-1, ())

    def ip_ranges(self) -> Sequence[IpRange]:
        """The ranges of every ServiceCIDR that is in use; those of the flags until there is one."""
        revision = self._cidrs.last_change
        if self._ranges[0] != revision:
            self._ranges = (revision, self._read_ranges())
        return self._ranges[1]

    def _read_ranges(self) -> Sequence[IpRange]:
        found: list[IpRange] = list(self.network.ip_ranges) if not len(self._cidrs) else []
        for entry in self._cidrs.entries():
            found += _usable(entry)
        return found

    def ip_taken(self, address: str) -> bool:
        """Whether an IPAddress of that name is known."""
        return self._addresses.get(self._addresses.prefix + address.encode()) is not None

    def port_taken(self, port: int) -> bool:
        """Whether the bitmap has the port."""
        return self._ports.taken(port)


@attrs.frozen
class _AnyAddress(IpRange):
    """A range of which nothing is given out."""

    def pick(self, taken: Callable[[str], bool], start: Callable[[int], int] = _first) -> str | None:
        """The network's own address, which no service ever has."""
        del taken, start
        return str(self.network.network_address)


@attrs.frozen
class _AnyPort(PortRange):
    """Node ports of which nothing is given out."""

    def pick(self, taken: Callable[[int], bool], start: Callable[[int], int] = _first) -> int | None:
        """The first that is not taken of those above the usual range, as kube-apiserver counts them."""
        del start
        return next((port for port in range(_FIRST_PLACEHOLDER_PORT, MAX_PORT + 1) if not taken(port)), None)


class RehearsalPool:
    """The pool of a dry run: what was asked for is checked, what was not is a placeholder, always the same."""

    def __init__(self, pool: ServicePool) -> None:
        self.families = pool.families
        self.port_range: PortRange = _AnyPort(pool.port_range.first, pool.port_range.last)
        self.ip_taken = pool.ip_taken
        self.port_taken = pool.port_taken
        self._pool = pool

    def ip_ranges(self) -> Sequence[IpRange]:
        """Those of the cluster."""
        return [_AnyAddress(item.network) for item in self._pool.ip_ranges()]


def _usable(entry: Entry) -> list[IpRange]:
    obj = entry.object()
    conditions = (obj.get("status") or {}).get("conditions") or ()
    ready = next((item.get("status") for item in conditions if item.get("type") == "Ready"), "True")
    if obj["metadata"].get("deletionTimestamp") or ready != "True":
        return []
    found = []
    for text in (obj.get("spec") or {}).get("cidrs") or ():
        try:
            found.append(parse_cidr(text))
        except RangeError:
            continue  # stored by a server with other rules; nothing can be given out of it
    return found
