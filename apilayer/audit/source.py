"""Where a request came from and what it asked for, as events show it. Pure.

Source: Kubernetes' ``apimachinery/pkg/util/net`` (SourceIPs) and ``apiserver/pkg/audit/request.go``.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_USER_AGENT = 1024
MAX_ADDRESSES = 64
"""Of a chain of proxies; nobody has more, and whoever says so fills the log."""
_TRUNCATED = "...TRUNCATED"
_PATH_SAFE = "/:@!$&'()*+,;=~"


def source_ips(headers: Mapping[str, str], peer: str) -> tuple[str, ...]:
    """The chain that proxies tell of, and who really sent the request, each address that is one."""
    forwarded, real = headers.get("x-forwarded-for"), headers.get("x-real-ip")
    if not forwarded and not real:
        return _alone(peer)
    chain = [address for part in (forwarded or "").split(",")[:MAX_ADDRESSES] if (address := _address(part))]
    claimed = _address(real or "")
    if claimed and claimed not in chain:
        chain.append(claimed)
    remote = _address(peer)
    if remote and (not chain or chain[-1] != remote):
        chain.append(remote)
    return tuple(chain)


@lru_cache(maxsize=256)
def _alone(peer: str) -> tuple[str, ...]:
    address = _address(peer)
    return (address,) if address else ()


def _address(text: str) -> str:
    """The address in its one spelling, "" when it is none."""
    try:
        address = ip_address(text.strip().partition("%")[0])
    except ValueError:
        return ""
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def user_agent(text: str) -> str:
    """Cut short when it is very long."""
    return text if len(text) <= MAX_USER_AGENT else text[:MAX_USER_AGENT] + _TRUNCATED


def request_uri(path: str, query: str) -> str:
    """Path and query as a URL has them; `path` is percent-decoded."""
    shown = quote(path, safe=_PATH_SAFE)
    return f"{shown}?{query}" if query else shown
