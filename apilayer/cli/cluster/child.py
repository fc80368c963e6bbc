"""Entry point of every child process: ``python -m apilayer.cli.cluster.child LOADS MODULE ARGUMENTS...``.

Runs MODULE as ``python -m`` would, after it has tied this process's life to the supervisor's: when the supervisor
dies, however that happens, the kernel kills the child. Without that, a ``kill -9`` of the supervisor would leave
servers behind that hold their ports.

Before it becomes MODULE it imports the modules in LOADS (names between commas, or nothing) and waits for the end of
its standard input: the supervisor starts its children first, and makes their certificates while they load.
"""

from __future__ import annotations

import ctypes
import gc
import os
import runpy
import signal
import sys
from importlib import import_module

PARENT_VARIABLE = "APILAYER_SUPERVISOR_PID"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Tie the knot, load, wait; then become the module that the command line names."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != int(os.environ.pop(PARENT_VARIABLE)):
        sys.exit("the supervisor is gone")  # it died before the knot was tied
    loads, *sys.argv = sys.argv[1:]
    gc.disable()  # nothing of what is loaded is garbage
    for name in filter(None, loads.split(",")):
        import_module(name)
    gc.enable()
    _await_release()
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _await_release() -> None:
    """Until the supervisor has closed its end of standard input, which is empty from then on."""
    while os.read(0, 1):
        pass
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


if __name__ == "__main__":
    main()
