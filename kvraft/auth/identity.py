"""On whose behalf something is asked: what a caller shows, and who that is."""

from __future__ import annotations

import msgspec


class Credentials(msgspec.Struct, frozen=True, gc=False):
    """What a caller shows: a token, and the common name of its verified certificate; "" where there is none."""

    token: str = ""
    common_name: str = ""

    def __repr__(self) -> str:
        return f"Credentials(token={'***' if self.token else ''!r}, common_name={self.common_name!r})"


class Identity(msgspec.Struct, frozen=True, gc=False):
    """A user, and the revision of users and roles at which that was established."""

    user: str
    auth_revision: int


NO_CREDENTIALS = Credentials()
NOBODY = Identity("", 0)
"""Who shows no credentials."""
ROOT = "root"
"""The user, and the role, that may do everything."""
ALWAYS = (1 << 63) - 1
"""The revision of an identity that no change of users and roles makes doubtful."""
