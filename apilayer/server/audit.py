"""From the ``--audit-*`` flags to what records requests. What a server without them does not need is imported late."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from apilayer.audit.interface import NO_AUDIT, Audit
from apilayer.audit.options import BATCH, STANDARD_OUTPUT, STRICT, AuditOptions, SinkOptions
from apilayer.server.errors import OptionsError

if TYPE_CHECKING:
    from apilayer.audit.counts import AuditCounts
    from apilayer.audit.delivery import Output, Writer

log = logging.getLogger("apilayer.audit")


def read_audit(options: AuditOptions) -> Audit:
    """What the flags ask for; files are read and the log is opened. Raises OptionsError."""
    errors = list(options.errors())
    if errors:
        raise OptionsError("; ".join(errors))
    sinks = [name for name, given in (("log", options.log_path), ("webhook", options.webhook_config_file)) if given]
    if options.policy_file is None:
        for name in sinks:
            log.warning("No audit policy file provided, no events will be recorded for %s backend", name)
        return NO_AUDIT
    return _recording(options, options.policy_file, sinks)


def _recording(options: AuditOptions, policy_file: Path, sinks: list[str]) -> Audit:
    from apilayer.audit.counts import AuditCounts
    from apilayer.audit.delivery import Outputs
    from apilayer.audit.policy_file import PolicyError, read_policy
    from apilayer.audit.record import RecordingAudit

    try:
        policy, unknown = read_policy(policy_file)
    except PolicyError as error:
        raise OptionsError(f"--audit-policy-file: loading audit policy file: {error}") from error
    for field in unknown:
        log.warning('Audit policy contains errors, which are passed over: unknown field "%s"', field)
    if not sinks:
        return NO_AUDIT
    counts = AuditCounts()
    made = {"log": _log, "webhook": _webhook}
    return RecordingAudit(policy, Outputs([made[name](options, counts) for name in sinks]), counts)


def _log(options: AuditOptions, counts: AuditCounts) -> Output:
    from apilayer.audit.log_file import Descriptor, LogFile
    from apilayer.audit.rotation import DEFAULT_MEGABYTES, MEGABYTE, Retention

    if options.log_path == STANDARD_OUTPUT:
        return _output(options.log, options.log_format, Descriptor(sys.stdout.fileno()), counts)
    kept = Retention(options.log_maxage, options.log_maxbackup, options.log_compress)
    try:
        writer = LogFile(Path(options.log_path), (options.log_maxsize or DEFAULT_MEGABYTES) * MEGABYTE, kept)
    except OSError as error:
        raise OptionsError(f"--audit-log-path: {options.log_path}: {error.strerror}") from error
    return _output(options.log, options.log_format, writer, counts)


def _webhook(options: AuditOptions, counts: AuditCounts) -> Output:
    from apilayer.audit.shape import LIST_ITEM
    from apilayer.audit.webhook import WebhookWriter
    from apilayer.outbound.client import Client
    from apilayer.outbound.kubeconfig import read_kubeconfig
    from apilayer.outbound.target import TargetError

    assert options.webhook_config_file is not None
    try:
        client = Client(read_kubeconfig(options.webhook_config_file))
    except TargetError as error:
        raise OptionsError(f"--audit-webhook-config-file: {error}") from error
    return _output(options.webhook, LIST_ITEM, WebhookWriter(client, options.webhook_initial_backoff), counts)


def _output(options: SinkOptions, form: str, writer: Writer, counts: AuditCounts) -> Output:
    from apilayer.audit.delivery import Batched, BatchOptions, Blocking, Delivery, Output
    from apilayer.audit.shape import Shape

    delivery: Delivery
    if options.mode == BATCH:
        batch = BatchOptions(
            options.batch_buffer_size,
            options.batch_max_size,
            options.batch_max_wait,
            options.batch_throttle_qps if options.batch_throttle_enable else 0.0,
            options.batch_throttle_burst,
            options.truncate_max_batch_size if options.truncate_enabled else 0,
        )
        delivery = Batched(writer, batch, counts)
    else:
        delivery = Blocking(writer, counts, strict=options.mode == STRICT)
    shape = Shape(form, options.truncate_max_event_size if options.truncate_enabled else 0)
    return Output(shape, delivery, writer, counts)
