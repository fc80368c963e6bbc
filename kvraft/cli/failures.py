"""What a command ends with when it does not end well: etcdctl's exit codes, and errors in one line."""

from __future__ import annotations

ERROR, BAD_CONNECTION, INVALID_INPUT, BAD_FEATURE, INTERRUPTED = 1, 2, 3, 4, 5
BAD_ARGUMENTS = 128


class CommandError(Exception):
    """What went wrong, for standard error, and the exit code. "" when it has been said already."""

    def __init__(self, message: str, code: int = ERROR) -> None:
        super().__init__(message)
        self.code = code


def bad_arguments(message: str) -> CommandError:
    """The arguments are not what the command takes."""
    return CommandError(message, BAD_ARGUMENTS)
