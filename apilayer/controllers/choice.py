"""Which controllers run: kube-controller-manager's grammar of ``--controllers``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ALL = "*"
ALIASES = {
    "clusterrole-aggregation": "clusterrole-aggregation-controller",
    "csrapproving": "certificatesigningrequest-approving-controller",
    "csrcleaner": "certificatesigningrequest-cleaner-controller",
    "csrsigning": "certificatesigningrequest-signing-controller",
    "endpoint": "endpoints-controller",
    "endpointslice": "endpointslice-controller",
    "garbagecollector": "garbage-collector-controller",
    "namespace": "namespace-controller",
    "pv-protection": "persistentvolume-protection-controller",
    "pvc-protection": "persistentvolumeclaim-protection-controller",
    "resourcequota": "resourcequota-controller",
    "root-ca-cert-publisher": "root-ca-certificate-publisher-controller",
    "serviceaccount": "serviceaccount-controller",
    "tokencleaner": "token-cleaner-controller",
    "ttl-after-finished": "ttl-after-finished-controller",
}
"""What kube-controller-manager called them before 1.28, and still takes."""


class UnknownController(ValueError):
    """A name that no controller has."""


def parse_choice(text: str, known: Sequence[str]) -> frozenset[str]:
    """The names that run. ``*`` stands for all, ``name`` for one more, ``-name`` for one less; "" is none.

    What is said first of a name holds. Raises UnknownController.
    """
    items = [_canonical(item.strip()) for item in text.split(",") if item.strip()]
    unknown = [item for item in items if item != ALL and item.removeprefix("-") not in known]
    if unknown:
        listed = ", ".join(sorted(known))
        raise UnknownController(f'"{unknown[0].removeprefix("-")}" is not in the list of known controllers: {listed}')
    return frozenset(name for name in known if _runs(name, items))


def _canonical(item: str) -> str:
    name = item.removeprefix("-")
    return item[: len(item) - len(name)] + ALIASES.get(name, name)


def _runs(name: str, items: Iterable[str]) -> bool:
    starred = False
    for item in items:
        if item == name:
            return True
        if item == f"-{name}":
            return False
        starred = starred or item == ALL
    return starred
