"""A whole API server: store client, registry, controllers, listener; from options to a drained shutdown."""

from __future__ import annotations

import gc
import logging
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from apilayer.admission.choice import ChoiceError
from apilayer.admission.configuration import choose
from apilayer.api.services.ranges import RangeError, parse_ip_ranges, parse_port_range
from apilayer.controllers.choice import UnknownController
from apilayer.later import import_next
from apilayer.registry.bootstrap import keep_trying
from apilayer.registry.registry import Registry
from apilayer.registry.services.pool import ServiceNetwork
from apilayer.registry.services.repair import Repair
from apilayer.server.access import read_access
from apilayer.server.application import Application
from apilayer.server.audit import read_audit
from apilayer.server.authorization import watch_roles
from apilayer.server.backend import open_store, store_context
from apilayer.server.controllers import ControllerOptions, chosen, run_controllers
from apilayer.server.encryption import read_encryption
from apilayer.server.errors import OptionsError
from apilayer.server.flow import check_flow, flow_control_of, keep_flow_control
from apilayer.server.health import Health
from apilayer.server.kubernetes_service import KubernetesService
from apilayer.server.listener import Listener, bind
from apilayer.server.shutdown import drain
from apilayer.server.signing import read_authorities
from apilayer.server.tls import ServingTls
from apilayer.server.tls_policy import read_policy
from apilayer.server.trust_publisher import publish_trust
from apilayer.storage.compactor import run_compactor
from apilayer.storage.measured import MeasuredStore
from apilayer.storage.prefix import Prefix

if TYPE_CHECKING:
    from apilayer.admission.choice import Choice
    from apilayer.pipeline.flow_control import FlowControl
    from apilayer.server.encryption import Encryption
    from apilayer.server.options import ServerOptions
    from apilayer.storage.interface import Store


IMPORT_PAUSE_SECONDS = 0.02

log = logging.getLogger("apilayer.server")


@attrs.frozen(eq=False)
class RunningServer:
    """Handed out once the server is ready."""

    url: str
    port: int
    _stop: trio.Event

    def stop(self) -> None:
        """Begins the shutdown; the server's task ends when it is drained."""
        self._stop.set()


async def run_apiserver(
    options: ServerOptions,
    *,
    stop: trio.Event | None = None,
    task_status: trio.TaskStatus[RunningServer] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves until cancelled, or until `stop` is set and the server is drained.

    Reports started once it is ready. Raises OptionsError, CertificateError or ListenError when it cannot start.
    """
    files = read_access(options)
    check_flow(options)
    tls = ServingTls(
        options.tls_cert_file,
        options.tls_private_key_file,
        options.client_ca_file,
        options.requestheader_client_ca_file,
        read_policy(options),
    )
    tls.bound_streams(options.http2_max_streams_per_connection)
    store_tls = store_context(options)
    network = _network(options)
    controlled = _controlled(options)
    admission = _admission(options)
    encryption = read_encryption(options)
    audit = read_audit(options.audit)
    sock = bind(options.bind_address, options.secure_port)
    try:
        port = sock.getsockname()[1]
        async with open_store(options, store_tls) as opened:
            sealed = encryption.over(opened, Prefix(options.etcd_prefix))
            store = MeasuredStore(sealed, sealed.counts)
            registry = _registry(options, store, network, admission)
            health = Health(
                store,
                registry.cache,
                live_seconds=options.etcd_healthcheck_timeout,
                ready_seconds=options.etcd_readycheck_timeout,
            )
            encryption.watch_health(health)
            host = options.advertise_address or _reachable(options.bind_address)
            access, issuer = files.over(registry, tls)
            if issuer is not None:
                controlled = attrs.evolve(controlled, issue=issuer.tokens.issue_legacy)
            watch_roles(registry, health)
            app = Application(
                registry,
                access,
                health,
                server_address=f"{host}:{port}",
                issuer=issuer,
                store=store,
                flow_control=flow_control_of(options, registry),
                request_timeout_seconds=options.request_timeout,
                goaway_chance=options.goaway_chance,
                audit=audit,
            )
            listener = Listener(sock, tls, app)
            running = RunningServer(f"https://{host}:{port}", port, trio.Event() if stop is None else stop)
            prepare = partial(_prepare, registry, options, health, controlled, encryption, app.flow_control)
            own = KubernetesService(registry, host.strip("[]"), port)
            async with aclosing(access.authenticator), trio.open_nursery() as nursery:
                nursery.start_soon(encryption.run)
                nursery.start_soon(audit.run)
                nursery.start_soon(files.run)
                nursery.start_soon(registry.cache.run)
                nursery.start_soon(run_compactor, store, options.etcd_compaction_interval)
                nursery.start_soon(prepare, nursery, own, running, task_status)
                nursery.start_soon(_drain_when_stopped, running, options, app, registry, own, listener)
                await listener.run()
                nursery.cancel_scope.cancel()
    finally:
        sock.close()
        await files.close()


def _controlled(options: ServerOptions) -> ControllerOptions:
    root_ca = ""
    if options.root_ca_file is not None:
        try:
            root_ca = options.root_ca_file.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise OptionsError(f"--root-ca-file: {options.root_ca_file}: {error}") from error
    authorities = read_authorities(options)
    controlled = ControllerOptions(options.controllers, root_ca, options.event_ttl, authorities)
    try:
        chosen(controlled)
    except UnknownController as error:
        raise OptionsError(f"--controllers: {error}") from error
    return controlled


def _admission(options: ServerOptions) -> Choice:
    try:
        return choose(
            options.enable_admission_plugins,
            options.disable_admission_plugins,
            options.admission_control,
            options.admission_control_config_file,
        )
    except ChoiceError as error:
        raise OptionsError(f"--{error}") from error


def _registry(options: ServerOptions, store: Store, network: ServiceNetwork, admission: Choice) -> Registry:
    try:
        return Registry(
            store, network=network, admission=admission, min_watch_timeout_seconds=options.min_request_timeout
        )
    except ChoiceError as error:
        raise OptionsError(f"--admission-control-config-file: {error}") from error


def _network(options: ServerOptions) -> ServiceNetwork:
    try:
        ranges = parse_ip_ranges(options.service_cluster_ip_range)
    except RangeError as error:
        raise OptionsError(f"--service-cluster-ip-range: {error}") from error
    try:
        return ServiceNetwork(ranges, parse_port_range(options.service_node_port_range))
    except RangeError as error:
        raise OptionsError(f"--service-node-port-range: {error}") from error


def _reachable(host: str) -> str:
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - nothing is bound here
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


async def _prepare(
    registry: Registry,
    options: ServerOptions,
    health: Health,
    controlled: ControllerOptions,
    encryption: Encryption,
    flow_control: FlowControl,
    nursery: trio.Nursery,
    own: KubernetesService,
    running: RunningServer,
    task_status: trio.TaskStatus[RunningServer],
) -> None:
    """Once the cache is loaded: what every cluster has, then the controllers; then the server is ready."""
    await registry.cache.loaded.wait()
    await encryption.claim(registry.store)
    await keep_trying(registry)
    await nursery.start(own.run)
    keep_flow_control(flow_control, registry, nursery)
    nursery.start_soon(run_controllers, registry, controlled)
    nursery.start_soon(Repair(registry).run)
    nursery.start_soon(publish_trust, registry, options)
    health.started = True
    log.info("serving securely on %s", running.url)
    task_status.started(running)
    nursery.start_soon(_import_the_rest)


async def _import_the_rest() -> None:
    """A module at a time, so that the first to want them need not wait and nobody waits long."""
    more = True
    while more:
        await trio.sleep(IMPORT_PAUSE_SECONDS)
        try:
            more = import_next()
        except OSError as error:  # out of descriptors, say: who wants it comes to it again
            log.warning("a module cannot be loaded ahead of its use: %s", error)
    gc.collect()
    gc.freeze()  # what is here now stays: to look for garbage in it again and again costs a write more than its rules


async def _drain_when_stopped(
    running: RunningServer,
    options: ServerOptions,
    app: Application,
    registry: Registry,
    own: KubernetesService,
    listener: Listener,
) -> None:
    await running._stop.wait()
    app.health.shutting_down = True
    await own.stop()
    await drain(options, app, listener, registry.cache)
