"""One call of a command: what it was given, where its answer goes, and the client that it uses."""

from __future__ import annotations

import os
import sys
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, BinaryIO

import attrs

from kvraft.cli.command import FORMATS
from kvraft.cli.failures import BAD_CONNECTION, BAD_FEATURE, ERROR, CommandError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from kvraft.cli.command import Command
    from kvraft.cli.flags import CommandLine, Flag
    from kvraft.cli.options import Options
    from kvraft.client import Client


@attrs.define
class Call:
    """What a command's function works with. Raises ``CommandError`` when made with a format that it does not have."""

    command: Command
    options: Options
    line: CommandLine
    environment: Mapping[str, str] = attrs.field(factory=lambda: os.environ)
    stdin: BinaryIO = attrs.field(factory=lambda: sys.stdin.buffer)
    stdout: BinaryIO = attrs.field(factory=lambda: sys.stdout.buffer)
    stderr: BinaryIO = attrs.field(factory=lambda: sys.stderr.buffer)

    def __attrs_post_init__(self) -> None:
        wanted = self.options.write_out
        if wanted not in FORMATS:
            raise CommandError("unsupported output format", BAD_FEATURE)
        if wanted not in self.command.formats:  # before anything is done, so that nothing is done without an answer
            raise CommandError(f"{wanted} not supported as output format", BAD_FEATURE)

    @property
    def arguments(self) -> list[str]:
        """What was given besides flags."""
        return self.line.arguments

    def flag(self, name: str) -> Any:
        """The value of one of the command's own flags."""
        for flag in self.command.flags:
            if flag.name == name:
                return self.line.values.get(name, flag.default)
        raise KeyError(name)

    def is_given(self, flag: Flag) -> bool:
        """Whether a global flag has a value from the command line or the environment."""
        from kvraft.cli.options import variable

        return flag.name in self.line.values or bool(self.environment.get(variable(flag)))

    @property
    def format(self) -> str:
        """The output format."""
        return self.options.write_out

    def say(self, *lines: str | bytes) -> None:
        """Lines on standard output, at once."""
        _write(self.stdout, lines)

    def complain(self, *lines: str | bytes) -> None:
        """Lines on standard error, at once."""
        _write(self.stderr, lines)

    @asynccontextmanager
    async def open(self, endpoints: tuple[str, ...], timeout_seconds: float | None = None) -> AsyncIterator[Client]:
        """A client of these endpoints, by the global flags; without ``timeout_seconds`` operations have theirs."""
        import trio

        from kvraft.cli.passwords import ask_password
        from kvraft.client import Patience, open_client
        from kvraft.errors import UserEmpty

        options = self.options
        urls = [options.url(endpoint) for endpoint in endpoints]
        is_secure = options.is_secure or any(url.startswith("https:") for url in urls)
        user, password, must_ask = options.credentials()
        if must_ask:
            password = ask_password(self, "Password: ")
        async with open_client(
            urls,
            ssl_context=options.tls() if is_secure else None,
            timeout_seconds=timeout_seconds or options.command_timeout,
            patience=Patience(options.dial_timeout, options.keepalive_time, options.keepalive_timeout),
            user=user,
            password=password,
        ) as client:
            if user:  # at once, as etcdctl does: a certificate may make us somebody else until then
                await client.log_in(UserEmpty(), client.token, trio.current_time() + options.command_timeout)
            yield client


def _write(stream: BinaryIO, lines: tuple[str | bytes, ...]) -> None:
    encoded = (line.encode("utf-8", "surrogateescape") if isinstance(line, str) else line for line in lines)
    stream.write(b"".join(line + b"\n" for line in encoded))
    stream.flush()


def run(call: Call) -> int:
    """Run the command; the exit code. Errors are told on standard error."""
    try:
        _run(call)
    except CommandError as error:
        if str(error):
            call.complain(f"Error: {error}")
        return error.code
    return 0


def _run(call: Call) -> None:
    module, _, name = call.command.run.partition(".")
    function: Any = getattr(import_module(f"kvraft.cli.{module}"), name)
    if call.command.alone:
        function(call)
        return
    import trio

    from kvraft.errors import AuthFailed, KvraftError

    async def with_client() -> None:
        async with call.open(call.options.endpoints) as client:
            await function(call, client)

    if call.options.debug:
        from kvraft.cli.options import settings

        call.complain(*settings(call.options))
    try:
        trio.run(with_client)
    except AuthFailed as error:  # nobody gets a connection with the wrong password
        raise CommandError(str(error), BAD_CONNECTION) from error
    except KvraftError as error:
        raise CommandError(describe(error), ERROR) from error


def describe(error: Exception) -> str:
    """An error as etcdctl words it, which is the member's text; for members out of reach also the reason."""
    from kvraft.errors import Unavailable

    text = str(error)
    if type(error) is Unavailable and not text.startswith("etcdserver: "):
        return f"context deadline exceeded: {text}"
    return text
