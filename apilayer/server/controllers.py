"""The controllers of this process: which there are, and running the chosen ones while this server leads."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING
from uuid import uuid4

import attrs
import trio

from apilayer.client.leader import LeaderElection
from apilayer.controllers.aggregation import ClusterRoleAggregation
from apilayer.controllers.certificates.approving import Approving
from apilayer.controllers.certificates.cleaning import Cleaning
from apilayer.controllers.certificates.signing import Signing
from apilayer.controllers.choice import parse_choice
from apilayer.controllers.endpoints import EndpointsController
from apilayer.controllers.endpointslices import EndpointSliceController
from apilayer.controllers.expiry import EventExpiry, FinishedJobs, TokenCleaner
from apilayer.controllers.garbage_collector import GarbageCollector
from apilayer.controllers.namespace import NamespaceController
from apilayer.controllers.protection import ClaimProtection, VolumeProtection
from apilayer.controllers.resource_quota import ResourceQuotaController
from apilayer.controllers.root_ca import RootCaPublisher
from apilayer.controllers.service_accounts import ServiceAccountController
from apilayer.controllers.service_cidrs import ServiceCidrController
from apilayer.server.controller_api import LocalCluster
from apilayer.server.signing import requester_may

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from apilayer.client.interface import Cluster
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


async def nobody_may(*_: object) -> bool:
    """Whether somebody may do something, where nobody can be asked."""
    return False


def known(options: ControllerOptions, may: May = nobody_may) -> dict[str, Callable[[Cluster], Controller]]:
    """Every controller by its name."""
    return {
        NamespaceController.name: NamespaceController,
        GarbageCollector.name: GarbageCollector,
        ServiceAccountController.name: ServiceAccountController,
        RootCaPublisher.name: lambda cluster: RootCaPublisher(cluster, options.root_ca),
        EndpointSliceController.name: EndpointSliceController,
        EndpointsController.name: EndpointsController,
        ResourceQuotaController.name: ResourceQuotaController,
        VolumeProtection.name: VolumeProtection,
        ClaimProtection.name: ClaimProtection,
        ClusterRoleAggregation.name: ClusterRoleAggregation,
        ServiceCidrController.name: ServiceCidrController,
        TokenCleaner.name: TokenCleaner,
        FinishedJobs.name: FinishedJobs,
        EventExpiry.name: lambda cluster: EventExpiry(cluster, options.event_ttl_seconds),
        Signing.name: lambda cluster: Signing(cluster, options.authorities),
        Approving.name: lambda cluster: Approving(cluster, may),
        Cleaning.name: Cleaning,
    }


def chosen(options: ControllerOptions) -> frozenset[str]:
    """The names of those that run. Raises UnknownController."""
    names = parse_choice(options.chosen, list(known(options)))
    without = {RootCaPublisher.name: options.root_ca, Signing.name: options.authorities}
    return names - {name for name, needed in without.items() if not needed}


async def run_controllers(registry: Registry, options: ControllerOptions) -> None:
    """Runs the chosen controllers whenever this server leads, until cancelled."""
    names = chosen(options)
    if not names:
        return
    makers = known(options, requester_may(registry))

    async def lead() -> None:
        cluster = LocalCluster(registry)
        controllers = [makers[name](cluster) for name in sorted(names)]
        async with trio.open_nursery() as nursery:
            await nursery.start(cluster.run)
            for controller in controllers:
                nursery.start_soon(controller.run)

    identity = f"{socket.gethostname().lower()}_{uuid4()}"
    await LeaderElection(LocalCluster(registry), LEASE_NAMESPACE, LEASE_NAME, identity).run(lead)
