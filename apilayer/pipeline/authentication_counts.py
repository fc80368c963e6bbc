"""What is counted about authentication. Labels are bounded: few users are told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.pipeline.metrics import Histogram

if TYPE_CHECKING:
    from apilayer.reloads import Reloads

BUCKETS = tuple(0.001 * 2**power for power in range(15))
"""Upper bounds in seconds, as kube-apiserver's."""
SUCCESS, FAILURE, ERROR = "success", "failure", "error"
LIFETIME_BUCKETS = (
    *(0.0, 1800.0, 3600.0, 7200.0, 21600.0, 43200.0, 86400.0, 172800.0, 345600.0, 604800.0),
    *(2592000.0, 7776000.0, 15552000.0, 31104000.0),
)
"""Upper bounds in seconds, as kube-apiserver's."""
_KNOWN = frozenset({"admin", "client", "kube_proxy", "kubelet", "system:serviceaccount:kube-system:default"})


class AuthenticationCounts:
    """Attempts by how they ended: who it is, nobody, a credential that does not hold; and requests by user."""

    def __init__(self, reloads: Reloads | None = None) -> None:
        """`reloads` are those of the file that names issuers, if there is one."""
        self.reloads = reloads
        self.durations = {result: Histogram(BUCKETS) for result in (SUCCESS, FAILURE, ERROR)}
        self.users: dict[str, int] = {}
        self.lifetimes = Histogram(LIFETIME_BUCKETS)
        """Seconds that the client certificates of requests still held."""

    def attempt(self, result: str, seconds: float) -> None:
        """Counts an attempt."""
        self.durations[result].observe(seconds)

    def request_of(self, name: str) -> None:
        """Counts a request of a user, who is named only where everybody has such a user."""
        shown = name if name in _KNOWN else "email_id" if "@" in name else "other"
        self.users[shown] = self.users.get(shown, 0) + 1
