"""Acting as somebody else: the ``Impersonate-*`` headers of a user who may do that. Pure.

Source: Kubernetes documentation, "User impersonation".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.api import status
from apilayer.api.gotext import quote, string_slice
from apilayer.pipeline.authentication import ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, User
from apilayer.pipeline.authorization import MASTERS

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICE_ACCOUNT = "system:serviceaccount:"
_PREFIX = "impersonate-"


def impersonate(user: User, headers: Mapping[str, str]) -> User:
    """Who the request is to be judged as: `user`, or who its headers name.

    Raises StatusError 400 for headers that name no user, 401 or 403 when `user` may not impersonate.
    """
    if not any(name.startswith(_PREFIX) for name in headers):
        return user
    name = headers.get("impersonate-user", "")
    uid = headers.get("impersonate-uid", "")
    groups = [group.strip() for group in headers.get("impersonate-group", "").split(",") if group.strip()]
    if not name:
        asked = f"&user.DefaultInfo{{Name:{quote('')}, UID:{quote(uid)}, Groups:{string_slice(groups)}}}"
        raise status.bad_request(f"requested {asked} without impersonating a user name")
    if MASTERS not in user.groups:
        if user is ANONYMOUS:
            raise status.unauthorized()
        resource = "serviceaccounts" if name.startswith(SERVICE_ACCOUNT) else "users"
        raise status.forbidden_verb(user.name, "impersonate", resource, "", "", name)
    if name == ANONYMOUS.name:
        return ANONYMOUS if not groups else User(name, uid, (*groups, UNAUTHENTICATED))
    if name.startswith(SERVICE_ACCOUNT) and not groups:
        namespace = name[len(SERVICE_ACCOUNT) :].partition(":")[0]
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"]
    return User(name, uid, (*groups, AUTHENTICATED))
