"""What keeps a server from starting."""

from __future__ import annotations


class OptionsError(Exception):
    """A flag, or the file that it names, cannot be used; one line that names the flag, never a secret."""
