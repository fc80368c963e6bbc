"""What the ``--audit-*`` flags say, and what is wrong with it. Pure.

Source: Kubernetes' ``apiserver/pkg/server/options/audit.go``, whose defaults and texts these are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODES = ("batch", "blocking", "blocking-strict")
BATCH, BLOCKING, STRICT = MODES
FORMATS = ("legacy", "json")
VERSIONS = ("audit.k8s.io/v1",)
STANDARD_OUTPUT = "-"
MAX_BUFFER_EVENTS = 1_000_000


@attrs.frozen
class SinkOptions:
    """Of one sink; times in seconds."""

    mode: str
    batch_max_size: int
    batch_max_wait: float
    batch_throttle_enable: bool
    batch_throttle_qps: float
    batch_throttle_burst: int
    batch_buffer_size: int = 10_000
    truncate_enabled: bool = False
    truncate_max_batch_size: int = 10 * 1024 * 1024
    truncate_max_event_size: int = 100 * 1024
    version: str = VERSIONS[0]

    def errors(self, sink: str) -> Iterator[str]:
        """What cannot be, for the sink of this name."""
        if self.mode not in MODES:
            yield f'invalid audit {sink} mode {self.mode}, allowed modes are "{",".join(MODES)}"'
        if self.mode == BATCH:
            yield from self._batch_errors(sink)
        most, batch = self.truncate_max_event_size, self.truncate_max_batch_size
        if self.truncate_enabled and most <= 0:
            yield f"invalid audit truncate {sink} max event size {most}, must be a positive number"
        if self.truncate_enabled and batch < most:
            yield f"invalid audit truncate {sink} max batch size {batch}, must be greater than max event size ({most})"
        if self.version not in VERSIONS:
            yield f'invalid group version, allowed versions are "{",".join(VERSIONS)}"'

    def _batch_errors(self, sink: str) -> Iterator[str]:
        if not 0 < self.batch_buffer_size <= MAX_BUFFER_EVENTS:
            yield f"invalid audit batch {sink} buffer size {self.batch_buffer_size}, must be a positive number"
        if self.batch_max_size <= 0:
            yield f"invalid audit batch {sink} max batch size {self.batch_max_size}, must be a positive number"
        if self.batch_throttle_enable and self.batch_throttle_qps <= 0:
            yield f"invalid audit batch {sink} throttle QPS {self.batch_throttle_qps:g}, must be a positive number"
        if self.batch_throttle_enable and self.batch_throttle_burst <= 0:
            yield f"invalid audit batch {sink} throttle burst {self.batch_throttle_burst}, must be a positive number"


LOG_SINK = SinkOptions(BLOCKING, 1, 0.0, batch_throttle_enable=False, batch_throttle_qps=0.0, batch_throttle_burst=0)
WEBHOOK_SINK = SinkOptions(
    BATCH, 400, 30.0, batch_throttle_enable=True, batch_throttle_qps=10.0, batch_throttle_burst=15
)


@attrs.frozen
class AuditOptions:
    """All of them. Nothing is recorded without a policy file, or without a sink."""

    policy_file: Path | None = None
    log_path: str = ""
    log_maxage: int = 0
    log_maxbackup: int = 0
    log_maxsize: int = 0
    log_compress: bool = False
    log_format: str = "json"
    log: SinkOptions = LOG_SINK
    webhook_config_file: Path | None = None
    webhook_initial_backoff: float = 10.0
    webhook: SinkOptions = WEBHOOK_SINK

    def errors(self) -> Iterator[str]:
        """What cannot be."""
        if self.log_path:
            yield from self.log.errors("log")
            if self.log_format not in FORMATS:
                yield f'invalid audit log format {self.log_format}, allowed formats are "{",".join(FORMATS)}"'
        if self.webhook_config_file is not None:
            yield from self.webhook.errors("webhook")


NO_OPTIONS = AuditOptions()
