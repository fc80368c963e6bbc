"""The controllers of this process: which there are, and running the chosen ones while this server leads."""

from __future__ import annotations

import logging
import socket
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import attrs
import trio

from apilayer.client.leader import LeaderElection
from apilayer.controllers.choice import parse_choice
from apilayer.server.controller_api import LocalCluster
from apilayer.server.signing import requester_may

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from apilayer.client.interface import Cluster
    from apilayer.controllers.account_secrets import Issue
    from apilayer.controllers.certificates.approving import May
    from apilayer.controllers.certificates.authority import Authority
    from apilayer.controllers.controller import Controller
    from apilayer.registry.registry import Registry

LEASE_NAMESPACE, LEASE_NAME = "kube-system", "apilayer-controllers"

log = logging.getLogger("apilayer.server.controllers")


@attrs.frozen
class ControllerOptions:
    """What controllers are told by flags; `root_ca` is a PEM bundle, "" for none to publish.

    `authorities` sign certificates, by the name of the signer.
    """

    chosen: str = "*"
    root_ca: str = ""
    event_ttl_seconds: float = 3600.0
    authorities: Mapping[str, Authority] = attrs.field(factory=dict)
    issue: Issue | None = None
    """Makes tokens of service accounts that are kept in Secrets; None without a key."""


ROOT_CA_PUBLISHER = "root-ca-certificate-publisher-controller"
EVENT_EXPIRY = "event-expiry-controller"
SIGNING = "certificatesigningrequest-signing-controller"
APPROVING = "certificatesigningrequest-approving-controller"
CLASSES = {
    "namespace-controller": "namespace.NamespaceController",
    "garbage-collector-controller": "garbage_collector.GarbageCollector",
    "serviceaccount-controller": "service_accounts.ServiceAccountController",
    ROOT_CA_PUBLISHER: "root_ca.RootCaPublisher",
    "endpointslice-controller": "endpointslices.EndpointSliceController",
    "endpoints-controller": "endpoints.EndpointsController",
    "resourcequota-controller": "resource_quota.ResourceQuotaController",
    "persistentvolume-protection-controller": "protection.VolumeProtection",
    "persistentvolumeclaim-protection-controller": "protection.ClaimProtection",
    "clusterrole-aggregation-controller": "aggregation.ClusterRoleAggregation",
    "service-cidr-controller": "service_cidrs.ServiceCidrController",
    "token-cleaner-controller": "expiry.TokenCleaner",
    "ttl-after-finished-controller": "expiry.FinishedJobs",
    EVENT_EXPIRY: "expiry.EventExpiry",
    SIGNING: "certificates.signing.Signing",
    APPROVING: "certificates.approving.Approving",
    "certificatesigningrequest-cleaner-controller": "certificates.cleaning.Cleaning",
}
"""Every controller by its name; imported by the server that leads."""


async def nobody_may(*_: object) -> bool:
    """Whether somebody may do something, where nobody can be asked."""
    return False


def known(options: ControllerOptions, may: May = nobody_may) -> dict[str, Callable[[Cluster], Controller]]:
    """What makes each controller, by its name."""
    further: dict[str, Any] = {
        ROOT_CA_PUBLISHER: options.root_ca,
        EVENT_EXPIRY: options.event_ttl_seconds,
        SIGNING: options.authorities,
        APPROVING: may,
    }
    return {name: partial(_make, path, [further[name]] if name in further else []) for name, path in CLASSES.items()}


def _make(path: str, further: list[Any], cluster: Cluster) -> Controller:
    module, _, name = path.rpartition(".")
    return cast("Controller", getattr(import_module(f"apilayer.controllers.{module}"), name)(cluster, *further))


def chosen(options: ControllerOptions) -> frozenset[str]:
    """The names of those that run. Raises UnknownController."""
    names = parse_choice(options.chosen, list(known(options)))
    without = {ROOT_CA_PUBLISHER: options.root_ca, SIGNING: options.authorities}
    return names - {name for name, needed in without.items() if not needed}


async def run_controllers(registry: Registry, options: ControllerOptions) -> None:
    """Runs the chosen controllers whenever this server leads, until cancelled."""
    names = chosen(options)
    if not names:
        return
    makers = known(options, requester_may(registry))

    async def lead() -> None:
        cluster = LocalCluster(registry)
        controllers = []
        for name in sorted(names):
            controllers.append(makers[name](cluster))
            await trio.lowlevel.checkpoint()  # each takes a while to import
        async with trio.open_nursery() as nursery:
            await nursery.start(cluster.run)
            for controller in controllers:
                nursery.start_soon(controller.run)

    identity = f"{socket.gethostname().lower()}_{uuid4()}"
    await LeaderElection(LocalCluster(registry), LEASE_NAMESPACE, LEASE_NAME, identity).run(lead)
