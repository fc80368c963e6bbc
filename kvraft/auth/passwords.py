"""Passwords to hashes and back to yes or no, with bcrypt. Both take long on purpose: call them from a worker thread."""

from __future__ import annotations

from functools import cache

import bcrypt

from kvraft.errors import InvalidArgument

MIN_COST, MAX_COST, DEFAULT_COST = 4, 31, 10
MAX_BYTES = 72
"""What bcrypt looks at; more would be cut off without a word."""


def check_length(password: str) -> None:
    """Raise InvalidArgument for a password that cannot be hashed whole."""
    if len(password.encode()) > MAX_BYTES:
        raise InvalidArgument(f"etcdserver: invalid argument: password is longer than {MAX_BYTES} bytes")


def hash_password(password: str, cost: int) -> str:
    """A salted hash of 60 characters. Raises InvalidArgument; see ``check_length``."""
    check_length(password)
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


def verify(password: str, hashed: str, cost: int) -> bool:
    """Whether ``hashed`` was made from ``password``; compared in constant time.

    ``hashed`` "" is somebody who does not exist or has no password: as much time goes by (as much as ``cost`` says),
    so that the answer does not tell who exists.
    """
    given = password.encode()[:MAX_BYTES]
    try:
        same = bcrypt.checkpw(given, (hashed or _nobody(cost)).encode())
    except ValueError:  # what was stored is no bcrypt hash
        return False
    return same and bool(hashed) and len(password.encode()) <= MAX_BYTES


@cache
def _nobody(cost: int) -> str:
    return bcrypt.hashpw(b"", bcrypt.gensalt(cost)).decode()
