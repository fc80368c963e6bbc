"""What holds for every test: how long something takes on a busy machine fails no Hypothesis test, and Ctrl-C works.

A shell that starts a job in the background (``nohup make test &``) has it ignore SIGINT, and so would every process
that a test starts, to end it with Ctrl-C.
"""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
