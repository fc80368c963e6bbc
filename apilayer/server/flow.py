"""From flags to flow control: priority and fairness, or a bound on requests in flight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from apilayer.pipeline.fairness.control import Fairness
from apilayer.pipeline.flow_control import InFlightLimit
from apilayer.registry.flow_control import CachedFlowControl, FlowControlKeeper, default_objects
from apilayer.server.errors import OptionsError

if TYPE_CHECKING:
    import trio

    from apilayer.pipeline.flow_control import FlowControl
    from apilayer.registry.registry import Registry


class FlowFlags(Protocol):
    """What the flags say (see `ServerOptions`)."""

    @property
    def enable_priority_and_fairness(self) -> bool: ...
    @property
    def max_requests_inflight(self) -> int: ...
    @property
    def max_mutating_requests_inflight(self) -> int: ...


def check_flow(flags: FlowFlags) -> None:
    """Raises OptionsError."""
    if flags.enable_priority_and_fairness and not flags.max_requests_inflight + flags.max_mutating_requests_inflight:
        raise OptionsError(
            "invalid configuration: MaxRequestsInFlight=0 and MaxMutatingRequestsInFlight=0; they must add up to"
            " something positive"
        )


def flow_control_of(flags: FlowFlags, registry: Registry) -> FlowControl:
    """Who decides which requests run."""
    reads, writes = flags.max_requests_inflight, flags.max_mutating_requests_inflight
    if not flags.enable_priority_and_fairness:
        return InFlightLimit(reads, writes)
    return Fairness(CachedFlowControl(registry), reads + writes, default_objects())


def keep_flow_control(flow_control: FlowControl, registry: Registry, nursery: trio.Nursery) -> None:
    """Starts what runs beside the server."""
    if isinstance(flow_control, Fairness):
        nursery.start_soon(flow_control.run)
        nursery.start_soon(FlowControlKeeper(registry).run)
