"""``up --detach``: the supervisor in the background, its start told to the command that waits in the foreground.

The two share a pipe. Lines on it are for the terminal, except those that begin with NUL: they carry the supervisor's
pid or, at the end, an exit code and an error as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING, TextIO

from apilayer.cli.cluster.failure import ClusterError
from apilayer.cli.cluster.operate import Interrupted, Options, operate
from apilayer.cli.cluster.screen import Screen

if TYPE_CHECKING:
    from types import FrameType

_CONTROL = "\0"


def run_detached(options: Options) -> int:
    """Start a supervisor in the background and wait until its cluster is ready. Returns the exit code.

    Raises ``ClusterError`` when the cluster did not start, ``Interrupted`` when a signal ended the wait: the
    supervisor then stops the cluster.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    read_end, write_end = os.pipe()
    first = os.fork()
    if first == 0:
        os.close(read_end)
        os.setsid()
        if os.fork() == 0:
            _in_background(options, write_end)
        os._exit(0)
    os.close(write_end)
    os.waitpid(first, 0)
    with open(read_end, encoding="utf-8") as pipe:
        return _relay(pipe, options)


def _in_background(options: Options, write_end: int) -> None:
    """The supervisor's process. Never returns."""
    code = 1
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.close(null)
        pipe = open(write_end, "w", encoding="utf-8")  # noqa: SIM115 - closed when the start has been told
        screen = Screen(pipe)

        def ready() -> None:
            screen.remove(pipe)
            _tell(pipe, code=0, error="")
            pipe.close()

        _tell(pipe, pid=os.getpid())
        try:
            operate(options, screen, ready)
            code = 0
        except ClusterError as error:
            if pipe.closed:
                print(f"error: {error}", flush=True)
            else:
                _tell(pipe, code=1, error=str(error))
        except Interrupted as error:
            code = 128 + error.args[0]
    except BaseException:
        traceback.print_exc()  # into up.log, once there is one
    finally:
        os._exit(code)


def _tell(pipe: TextIO, **message: object) -> None:
    try:
        print(_CONTROL + json.dumps(message), file=pipe, flush=True)
    except BrokenPipeError:
        return  # whoever waited is gone; the cluster is wanted all the same


def _relay(pipe: TextIO, options: Options) -> int:
    supervisor = 0
    interrupted = 0

    def forward(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = number
        if supervisor:
            os.kill(supervisor, signal.SIGTERM)

    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        for line in pipe:
            if not line.startswith(_CONTROL):
                print(line, end="", flush=True)
                continue
            message = json.loads(line[1:])
            if "pid" in message:
                supervisor = message["pid"]
                if interrupted:
                    os.kill(supervisor, signal.SIGTERM)
            elif message["error"]:
                pipe.read()  # to the end, which is the supervisor's: nothing is left when this is told
                raise ClusterError(message["error"])
            else:
                return int(message["code"])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if interrupted:
        raise Interrupted(interrupted)
    raise ClusterError(f"the supervisor died while starting; see {options.data_dir / 'logs' / 'up.log'}")
