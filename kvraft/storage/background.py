"""A write that the kernel does in the background: Linux's asynchronous I/O, directly to the disk and durable.

A thread of ours that waits for the disk needs the interpreter's lock before it and after it, which the loop has. The
kernel needs nothing of ours, and tells by a descriptor that the loop waits for like for any other. It really goes on in
the background if it goes past the page cache; see :mod:`kvraft.storage.direct`, io_submit(2), and ``linux/aio_abi.h``,
where the numbers are from.
"""

from __future__ import annotations

import ctypes
import os
import platform
import select
import sys
from typing import TYPE_CHECKING, Self

from kvraft.storage.direct import check_whole

if TYPE_CHECKING:
    import mmap

_PWRITE = 1
_RWF_DSYNC = 2
_FLAG_RESFD = 1
_CALLS = {"x86_64": (206, 207, 208, 209), "aarch64": (0, 1, 4, 2)}
"""The numbers of io_setup, io_destroy, io_getevents and io_submit, by machine."""


class _ControlBlock(ctypes.Structure):
    """``struct iocb`` of a little-endian machine."""

    _fields_ = (
        ("data", ctypes.c_uint64),
        ("key", ctypes.c_uint32),
        ("rw_flags", ctypes.c_int32),
        ("opcode", ctypes.c_uint16),
        ("priority", ctypes.c_int16),
        ("descriptor", ctypes.c_uint32),
        ("buffer", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("offset", ctypes.c_int64),
        ("reserved", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
        ("result_descriptor", ctypes.c_uint32),
    )


class _Event(ctypes.Structure):
    """``struct io_event``."""

    _fields_ = (
        ("data", ctypes.c_uint64),
        ("block", ctypes.c_uint64),
        ("result", ctypes.c_int64),
        ("second_result", ctypes.c_int64),
    )


class BackgroundWrite:
    """One write of ``buffer`` at a time. ``descriptor`` becomes readable when it has ended; :meth:`finish` says how."""

    def __init__(self, buffer: mmap.mmap) -> None:
        """Raises ``OSError`` where the system has none."""
        if not sys.platform.startswith("linux") or platform.machine() not in _CALLS:
            raise OSError("no asynchronous I/O is known on this system")
        setup, self._destroy, get_events, submit = _CALLS[platform.machine()]
        # None of these calls waits, so none has to give up the interpreter's lock.
        self._call = ctypes.PyDLL(None, use_errno=True).syscall
        self._call.restype = ctypes.c_long
        self._context = ctypes.c_ulong(0)
        self._checked(self._call(ctypes.c_long(setup), ctypes.c_uint(1), ctypes.byref(self._context)))
        self.descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._buffer = ctypes.c_char.from_buffer(buffer)
        self._block = _ControlBlock(
            opcode=_PWRITE,
            rw_flags=_RWF_DSYNC,
            buffer=ctypes.addressof(self._buffer),
            flags=_FLAG_RESFD,
            result_descriptor=self.descriptor,
        )
        self._blocks = (ctypes.c_void_p * 1)(ctypes.addressof(self._block))
        self._event = _Event()
        self._submit_arguments = (ctypes.c_long(submit), self._context, ctypes.c_long(1), self._blocks)
        self._events_arguments = (
            ctypes.c_long(get_events),
            self._context,
            ctypes.c_long(1),
            ctypes.c_long(1),
            ctypes.byref(self._event),
            None,
        )
        self.busy = False

    @classmethod
    def open(cls, buffer: mmap.mmap, descriptor: int, offset: int, size: int) -> Self:
        """Tried with this write; see :meth:`start`. A disk that hangs holds it up.

        Raises ``OSError`` where that fails: on another system, in a sandbox, past ``fs.aio-max-nr`` ...
        """
        found = cls(buffer)
        try:
            if not found.start(descriptor, offset, size):
                raise _last_error()
            # With a limit to this it might come to its end later, over what has been written to its place since.
            found.wait(None)
            found.finish()
        except OSError:
            found.close()
            raise
        return found

    @staticmethod
    def _checked(result: int) -> None:
        if result < 0:
            raise _last_error()

    def start(self, descriptor: int, offset: int, size: int) -> bool:
        """Make the first ``size`` bytes of the buffer, which stays as it is meanwhile, durable at ``offset`` of a file.

        False: the kernel does not take it, for want of resources perhaps; nothing has been started.
        """
        block = self._block
        block.descriptor, block.offset, block.size = descriptor, offset, size
        self.busy = self._call(*self._submit_arguments) == 1
        return self.busy

    def finish(self) -> bool:
        """Whether the write has ended. Raises ``OSError`` if it has failed."""
        try:
            os.eventfd_read(self.descriptor)
        except BlockingIOError:
            return False
        self._checked(self._call(*self._events_arguments))
        self.busy = False
        result = self._event.result
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        check_whole(result, self._block.size)
        return True

    def wait(self, timeout_seconds: float | None) -> bool:
        """Wait until the write has ended, for so long at most. Whether ``finish`` has something to say."""
        poll = select.poll()
        poll.register(self.descriptor, select.POLLIN)
        return bool(poll.poll(None if timeout_seconds is None else timeout_seconds * 1000))

    def close(self) -> None:
        """Not while ``busy``: the kernel would have us wait for the write."""
        os.close(self.descriptor)
        self._call(ctypes.c_long(self._destroy), self._context)


def _last_error() -> OSError:
    return OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
