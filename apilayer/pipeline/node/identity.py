"""Which users are nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apilayer.pipeline.authentication import User

USER_PREFIX = "system:node:"
GROUP = "system:nodes"


def node_of(user: User) -> str | None:
    """The name of the node that `user` is, "" when it does not say which, None when it is none."""
    if not user.name.startswith(USER_PREFIX) or GROUP not in user.groups:
        return None
    return user.name[len(USER_PREFIX) :]
