"""What services hold compared with what is recorded as held. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from apilayer.api.services.spec import claims_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Object = dict[str, Any]
Owner = tuple[str, str]
"""A service's namespace and name."""

ROUNDS = 3
"""A value that no service uses is freed when so many audits in a row find it: a service may be about to use it."""


@attrs.frozen
class Findings:
    """Held but not recorded (`missing_*`), and recorded but held by nobody (`leaked_*`)."""

    missing_ips: Mapping[str, Owner]
    leaked_ips: frozenset[str]
    missing_ports: frozenset[int]
    leaked_ports: frozenset[int]


def audit(services: Iterable[Object], recorded_ips: Mapping[str, Owner], recorded_ports: Iterable[int]) -> Findings:
    """`recorded_ips` are the managed IPAddresses with the service each names."""
    ips: dict[str, Owner] = {}
    ports: set[int] = set()
    for service in services:
        claims = claims_of(service)
        metadata = service["metadata"]
        for ip in claims.ips:
            ips.setdefault(ip, (metadata.get("namespace") or "", metadata["name"]))
        ports |= claims.ports
    recorded = set(recorded_ports)
    return Findings(
        {ip: owner for ip, owner in ips.items() if ip not in recorded_ips},
        frozenset(ip for ip in recorded_ips if ip not in ips),
        frozenset(ports - recorded),
        frozenset(recorded - ports),
    )


class Suspects:
    """Counts in how many audits in a row each value was found to be leaked."""

    def __init__(self) -> None:
        self._seen: dict[str | int, int] = {}

    def convicted(self, leaked: Iterable[str | int]) -> set[str | int]:
        """Those of `leaked` that were so in the last `ROUNDS` calls; values not mentioned are cleared."""
        self._seen = {value: self._seen.get(value, 0) + 1 for value in leaked}
        return {value for value, count in self._seen.items() if count >= ROUNDS}
