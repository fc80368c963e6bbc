"""Who may do what: members of system:masters everything, everybody else nothing but the public paths. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.api import status
from apilayer.pipeline.authentication import ANONYMOUS

if TYPE_CHECKING:
    from apilayer.pipeline.authentication import User
    from apilayer.pipeline.request_info import RequestInfo

MASTERS = "system:masters"
PUBLIC_PATHS = ("/healthz", "/livez", "/readyz", "/version")


def authorize(user: User, info: RequestInfo) -> None:
    """Returns when `user` may do what `info` says. Raises StatusError 401 for nobody, 403 for somebody."""
    if MASTERS in user.groups:
        return
    if not info.is_resource and info.verb == "get" and _public(info.path):
        return
    if user is ANONYMOUS:
        raise status.unauthorized()
    if not info.is_resource:
        raise status.forbidden_path(user.name, info.verb, info.path)
    resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    raise status.forbidden_verb(user.name, info.verb, resource, info.group, info.namespace, info.name)


def _public(path: str) -> bool:
    return any(path == public or path.startswith(public + "/") for public in PUBLIC_PATHS)
