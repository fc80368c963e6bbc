"""Flags of auditing."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from apilayer.audit.options import FORMATS, LOG_SINK, MODES, VERSIONS, WEBHOOK_SINK, AuditOptions, SinkOptions
from apilayer.cli.serve_flags.values import add_truth, count, duration

if TYPE_CHECKING:
    from collections.abc import Callable


def add_audit(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of auditing."""
    audit = parser.add_argument_group("audit")
    audit.add_argument(
        "--audit-policy-file", type=Path, metavar="FILE", help="which requests are recorded, and how much of them"
    )
    audit.add_argument("--audit-log-path", default="", metavar="FILE", help="where to; - is standard output")
    audit.add_argument("--audit-log-maxage", type=count, default=0, metavar="DAYS", help="so long former logs are kept")
    audit.add_argument(
        "--audit-log-maxbackup", type=count, default=0, metavar="N", help="so many former logs are kept; 0: all"
    )
    audit.add_argument(
        "--audit-log-maxsize", type=count, default=0, metavar="MEGABYTES", help="a log of this size is put aside"
    )
    add_truth(audit, "--audit-log-compress", "former logs are compressed (gzip)", default=False)
    audit.add_argument(
        "--audit-log-format", default="json", metavar="FORMAT", help=f"{' or '.join(FORMATS)} (default json)"
    )
    _add_sink(audit, "log", LOG_SINK)
    audit.add_argument(
        "--audit-webhook-config-file", type=Path, metavar="FILE", help="kubeconfig of who is sent the events"
    )
    audit.add_argument(
        "--audit-webhook-initial-backoff",
        type=duration,
        default=10.0,
        metavar="DURATION",
        help="before a failed request is tried again (default 10s)",
    )
    _add_sink(audit, "webhook", WEBHOOK_SINK)


def _add_sink(group: argparse._ArgumentGroup, sink: str, default: SinkOptions) -> None:
    def add(name: str, kind: Callable[[str], object], metavar: str, text: str) -> None:
        value = getattr(default, name.replace("-", "_"))
        shown = f"{value:g}" if isinstance(value, float) else value
        group.add_argument(
            f"--audit-{sink}-{name}", type=kind, default=value, metavar=metavar, help=f"{text} (default {shown})"
        )

    add("mode", str, "MODE", f"how events are sent: {', '.join(MODES)}")
    add("batch-buffer-size", count, "N", "events that wait at most, in batch mode")
    add("batch-max-size", count, "N", "events that go together, in batch mode")
    add("batch-max-wait", duration, "DURATION", "so long events are gathered, in seconds")
    enable = f"--audit-{sink}-batch-throttle-enable"
    add_truth(group, enable, "batches are limited in their rate", default=default.batch_throttle_enable)
    add("batch-throttle-qps", _rate, "N", "batches a second on average")
    add("batch-throttle-burst", count, "N", "batches at once")
    add_truth(group, f"--audit-{sink}-truncate-enabled", "events and batches are bounded in bytes", default=False)
    add("truncate-max-batch-size", count, "BYTES", "of a batch")
    add("truncate-max-event-size", count, "BYTES", "of an event; a larger one loses its bodies, else it is dropped")
    add("version", str, "VERSION", f"of the events: {', '.join(VERSIONS)}")


def _rate(text: str) -> float:
    """A number. Raises ArgumentTypeError."""
    try:
        return float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from error


def audit_options(arguments: argparse.Namespace) -> AuditOptions:
    """What the flags say."""
    return AuditOptions(
        arguments.audit_policy_file,
        arguments.audit_log_path,
        arguments.audit_log_maxage,
        arguments.audit_log_maxbackup,
        arguments.audit_log_maxsize,
        arguments.audit_log_compress,
        arguments.audit_log_format,
        _sink(arguments, "log"),
        arguments.audit_webhook_config_file,
        arguments.audit_webhook_initial_backoff,
        _sink(arguments, "webhook"),
    )


def _sink(arguments: argparse.Namespace, sink: str) -> SinkOptions:
    values = {name: getattr(arguments, f"audit_{sink}_{name}") for name in SinkOptions.__annotations__}
    return SinkOptions(**values)
