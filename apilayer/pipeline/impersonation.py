"""Acting as somebody else: the ``Impersonate-*`` headers of a user who may do that. Pure.

Source: Kubernetes documentation, "User impersonation".
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

import attrs

from apilayer.api import status
from apilayer.api.gotext import quote, string_slice
from apilayer.audit.interface import UNRECORDED
from apilayer.pipeline.account_tokens import ACCOUNTS_GROUP, USER_PREFIX
from apilayer.pipeline.authentication import ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, User
from apilayer.pipeline.authorization import permits, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from apilayer.audit.interface import Record
    from apilayer.pipeline.authorization import Authorizer
    from apilayer.pipeline.request_info import RequestInfo

_PREFIX = "impersonate-"
_EXTRA = "impersonate-extra-"
_AUTHENTICATION = "authentication.k8s.io"


async def impersonate(
    authorizer: Authorizer, user: User, headers: Mapping[str, str], info: RequestInfo, record: Record = UNRECORDED
) -> User:
    """Who the request is to be judged as: `user`, or who its headers name, of which the record is told.

    Raises StatusError 400 for headers that name no user, 403 when `user` may not act as all that they name.
    """
    if not any(name.startswith(_PREFIX) for name in headers):
        return user
    asked = User(
        headers.get("impersonate-user", ""),
        headers.get("impersonate-uid", ""),
        tuple(_values(headers.get("impersonate-group", ""))),
        tuple(
            sorted(
                (unquote(name[len(_EXTRA) :]).lower(), tuple(_values(value)))
                for name, value in headers.items()
                if name.startswith(_EXTRA)
            )
        ),
    )
    if not asked.name:
        groups = string_slice(list(asked.groups))
        extra = (
            "map[string][]string{"
            + ", ".join(f"{quote(name)}:{string_slice(list(values))}" for name, values in asked.extra)
            + "}"
            if asked.extra
            else "map[string][]string(nil)"
        )
        shown = f"&user.DefaultInfo{{Name:{quote('')}, UID:{quote(asked.uid)}, Groups:{groups}, Extra:{extra}}}"
        raise status.bad_request(f"requested {shown} without impersonating a user name")
    for target in _targets(asked):
        if not await permits(authorizer, user, "impersonate", *target):
            raise refusal(user, attrs.evolve(info, verb=f"impersonate-on:user-info:{info.verb}"))
    judged = _judged(asked)
    record.impersonated(judged)
    return judged


def _values(header: str) -> list[str]:
    return [value.strip() for value in header.split(",") if value.strip()]


def _targets(asked: User) -> Iterator[tuple[str, str, str, str]]:
    """What must be allowed to be impersonated: group, resource, namespace and name of each."""
    namespace, _, name = asked.name.removeprefix(USER_PREFIX).partition(":")
    if asked.name.startswith(USER_PREFIX) and name:
        yield "", "serviceaccounts", namespace, name
    else:
        yield "", "users", "", asked.name
    if asked.uid:
        yield _AUTHENTICATION, "uids", "", asked.uid
    for group in asked.groups:
        yield "", "groups", "", group
    for key, values in asked.extra:
        for value in values:
            yield _AUTHENTICATION, f"userextras/{key}", "", value


def _judged(asked: User) -> User:
    """With the groups that such a user has anyway."""
    if asked.name == ANONYMOUS.name:
        return attrs.evolve(asked, groups=(*asked.groups, UNAUTHENTICATED))
    groups = asked.groups
    if asked.name.startswith(USER_PREFIX) and not groups:
        namespace = asked.name[len(USER_PREFIX) :].partition(":")[0]
        groups = (ACCOUNTS_GROUP, f"{ACCOUNTS_GROUP}:{namespace}")
    return attrs.evolve(asked, groups=(*groups, AUTHENTICATED))
