"""Entry point of every child process: ``python -m apilayer.cli.cluster.child MODULE ARGUMENTS...``.

Runs MODULE as ``python -m`` would, after it has tied this process's life to the supervisor's: when the supervisor
dies, however that happens, the kernel kills the child. Without that, a ``kill -9`` of the supervisor would leave
servers behind that hold their ports.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys

PARENT_VARIABLE = "APILAYER_SUPERVISOR_PID"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Tie the knot, then become the module that the command line names."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != int(os.environ.pop(PARENT_VARIABLE)):
        sys.exit("the supervisor is gone")  # it died before the knot was tied
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
