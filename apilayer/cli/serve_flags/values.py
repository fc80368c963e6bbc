"""What flags take: text to value; ``argparse`` prints what is wrong with it."""

from __future__ import annotations

import argparse


def duration(text: str) -> float:
    """A duration as Go writes it, in seconds. Raises ArgumentTypeError."""
    from apilayer.pipeline.deadline import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def seconds(text: str) -> float:
    """A plain number of seconds, as kube-apiserver takes it, or a duration."""
    return float(text) if text.isdecimal() else duration(text)


def port(text: str) -> int:
    """A TCP port; 0 picks a free one. Raises ArgumentTypeError."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (0-65535)")
    return int(text)


def count(text: str) -> int:
    """A number of 0 or more. Raises ArgumentTypeError."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return int(text)


def names(text: str) -> tuple[str, ...]:
    """Names between commas. Raises ArgumentTypeError."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def urls(text: str) -> list[str]:
    """URLs between commas. Raises ArgumentTypeError."""
    found = [url.strip().rstrip("/") for url in text.split(",") if url.strip()]
    for url in found:
        if not url.startswith(("http://", "https://")):
            raise argparse.ArgumentTypeError(f"{url!r} is not a URL (http://host:port or https://host:port)")
    if not found:
        raise argparse.ArgumentTypeError("at least one URL is required")
    return found


def backend(text: str) -> str:
    """A storage backend that this server has. Raises ArgumentTypeError."""
    from apilayer.server.backend import BACKENDS

    if text not in BACKENDS:
        allowed = ", ".join(BACKENDS)
        raise argparse.ArgumentTypeError(
            f"{text!r} is invalid, allowed values: {allowed}. If not specified, it will default to 'etcd3'"
        )
    return text


def truth(text: str) -> bool:
    """true or false. Raises ArgumentTypeError."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def pair(text: str) -> tuple[str, str]:
    """Two texts with ``=`` between them. Raises ArgumentTypeError."""
    name, found, value = text.partition("=")
    if not found or not name.strip():
        raise argparse.ArgumentTypeError("malformed pair, expect string=string")
    return name.strip(), value.strip()


def chance(text: str) -> float:
    """A probability between 0 and 0.02. Raises ArgumentTypeError."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 0.02:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 0.02")
    return value


def add_truth(
    group: argparse._ArgumentGroup, name: str, text: str, *, default: bool, decided_later: bool = False
) -> None:
    """A flag that is on when it is given without a value. ``decided_later``: None where it is not given."""
    group.add_argument(
        name,
        type=truth,
        nargs="?",
        const=True,
        default=None if decided_later else default,
        metavar="true|false",
        help=f"{text} (default {str(default).lower()})",
    )
