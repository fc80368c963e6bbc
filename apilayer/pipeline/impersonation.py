"""Impersonation: a request that is to be judged as somebody else's, if its sender may act as all that he names.

There are several modes, the narrower ones first. Each constrained mode asks for two rights: to do this very thing
while acting as somebody (``impersonate-on:MODE:VERB``), and to act as each part of him (``impersonate:MODE``); the
plain mode asks for the second only (``impersonate``).

Source: Kubernetes documentation, "User impersonation" and "Constrained impersonation"; KEP-5284.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

import attrs
import msgspec

from apilayer.api import status
from apilayer.api.gotext import quote, string_slice
from apilayer.api.names import dns_subdomain, domain_prefixed_path, namespace_name
from apilayer.audit.interface import UNRECORDED
from apilayer.pipeline.account_tokens import ACCOUNTS_GROUP, USER_PREFIX
from apilayer.pipeline.authentication import ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, User
from apilayer.pipeline.authorization import MASTERS, refusal, verdict_of
from apilayer.pipeline.request import Repeated, values_of
from apilayer.pipeline.request_info import RequestInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from apilayer.audit.interface import Record
    from apilayer.pipeline.authorization import Authorizer

NODES_GROUP = "system:nodes"
NODE_PREFIX = "system:node:"
MANY = 4
"""From so many groups or values on, a right to all of them is asked for first."""
_PREFIX = "impersonate-"
_OTHERS = frozenset({"host", "user-agent", "accept", "accept-encoding", "content-type", "content-length", "connection"})
"""What nearly every request has and nothing else."""
_EXTRA = "impersonate-extra-"
_AUTHENTICATION = "authentication.k8s.io"
_NODE_NAME = "authentication.kubernetes.io/node-name"


def names_somebody(headers: dict[str, str]) -> bool:
    """Whether one of the headers may be about impersonation; with none `impersonate` has nothing to do."""
    return not _OTHERS.issuperset(headers) and _PREFIX in " ".join(headers)


async def impersonate(
    authorizer: Authorizer, user: User, headers: dict[str, str], info: RequestInfo, record: Record = UNRECORDED
) -> User:
    """Who the request is to be judged as: `user`, or who its headers name, of which the record is told.

    Headers that were used are taken out. Raises StatusError 400 for headers that name no user, 403 when `user` may
    not act as all that they name.
    """
    asked = wanted(headers)
    if asked is None:
        return user
    refused: status.StatusError | None = None
    for mode in _MODES:
        if not mode.applies(asked, user):
            continue
        error = await _refused(authorizer, user, mode.checks(asked, info))
        if error is None:
            for name in [name for name in headers if name.startswith(_PREFIX)]:
                del headers[name]
            judged = mode.judged(asked)
            record.impersonated(judged, mode.verb if mode.name else "")
            return judged
        refused = refused or error
    assert refused is not None, "the plain mode always applies"
    raise refused


def wanted(headers: dict[str, str]) -> User | None:
    """Whom the headers name, as they say it; None for nobody. Raises StatusError 400."""
    for name in ("impersonate-user", "impersonate-uid"):
        if isinstance(headers.get(name), Repeated):
            raise status.bad_request(f"header {name} is given more than once")
    extra: dict[str, list[str]] = {}
    for name, value in headers.items():
        if name.startswith(_EXTRA):
            extra.setdefault(unquote(name[len(_EXTRA) :]), []).extend(values_of(value))
    asked = User(
        headers.get("impersonate-user", ""),
        headers.get("impersonate-uid", ""),
        values_of(headers["impersonate-group"]) if "impersonate-group" in headers else (),
        tuple(sorted((key, tuple(values)) for key, values in extra.items())),
    )
    if asked.name:
        return asked
    if asked == User(""):
        return None
    raise status.bad_request(f"requested {_shown(asked)} without impersonating a user name")


def _shown(asked: User) -> str:
    """As Go prints it."""
    extra = "map[string][]string(nil)"
    if asked.extra:
        pairs = ", ".join(f"{quote(name)}:{string_slice(list(values))}" for name, values in asked.extra)
        extra = f"map[string][]string{{{pairs}}}"
    groups = string_slice(list(asked.groups)) if asked.groups else "[]string(nil)"
    return f"&user.DefaultInfo{{Name:{quote('')}, UID:{quote(asked.uid)}, Groups:{groups}, Extra:{extra}}}"


# ---------------------------------------------------------------------- what is asked of the authorizer


@attrs.frozen
class _Check:
    """A right that is needed; `instead` is one that makes the others of its kind unnecessary."""

    info: RequestInfo
    never: str = ""
    """Why nobody has it."""
    instead: RequestInfo | None = None
    further: tuple[RequestInfo, ...] = ()


async def _refused(authorizer: Authorizer, user: User, checks: Iterator[_Check]) -> status.StatusError | None:
    """Why `user` lacks one of the rights, None if he has them all."""
    for check in checks:
        if check.never:
            return refusal(user, check.info, check.never)
        if check.instead is not None and (await verdict_of(authorizer, user, check.instead)).allowed:
            continue
        for info in (check.info, *check.further):
            verdict = await verdict_of(authorizer, user, info)
            if not verdict.allowed:
                return refusal(user, info, ": ".join(filter(None, (verdict.error, verdict.reason))))
    return None


@attrs.frozen
class _Mode:
    """A way to act as somebody; `name` "" is the plain one."""

    name: str
    applies: Callable[[User, User], bool]

    def checks(self, asked: User, info: RequestInfo) -> Iterator[_Check]:
        """Every right that is needed, in kube-apiserver's order."""
        if self.name:
            yield _Check(msgspec.structs.replace(info, verb=f"impersonate-on:{self.name}:{info.verb}"))
        yield _Check(self._of_name(asked.name))
        if asked.uid:
            yield _Check(self._right(_AUTHENTICATION, "uids", asked.uid))
        if asked.groups:
            yield self._of_groups(asked.groups)
        if asked.extra:
            yield self._of_extra(asked)

    def _right(self, group: str, resource: str, name: str, namespace: str = "", subresource: str = "") -> RequestInfo:
        return RequestInfo(
            "",
            self.verb,
            is_resource=True,
            group=group,
            version="v1",
            namespace=namespace,
            resource=resource,
            name=name,
            subresource=subresource,
        )

    @property
    def verb(self) -> str:
        """The right to act as a part of somebody."""
        return f"impersonate:{self.name}" if self.name else "impersonate"

    @property
    def _group(self) -> str:
        return _AUTHENTICATION if self.name else ""

    def _of_name(self, name: str) -> RequestInfo:
        account = _account(name)
        if account is not None:
            return self._right(self._group, "serviceaccounts", account[1], account[0])
        node = _node(name) if self.name else ""
        return self._right(self._group, "nodes" if node else "users", node or name)

    def _of_groups(self, groups: tuple[str, ...]) -> _Check:
        rights = [self._right(self._group, "groups", name) for name in groups]
        never, everything = "", None
        if self.name:
            if "" in groups:
                never = "impersonating the empty string group is not allowed"
                rights = [self._right(self._group, "groups", "")]
            elif MASTERS in groups:
                never = f"impersonating the {MASTERS} group is not allowed"
                rights = [self._right(self._group, "groups", MASTERS)]
            if len(groups) >= MANY:
                everything = self._right(self._group, "groups", "*")
        return _Check(rights[0], never, everything, tuple(rights[1:]))

    def _of_extra(self, asked: User) -> _Check:
        pairs = [(key, value) for key, values in asked.extra for value in values]
        rights = [self._right(_AUTHENTICATION, "userextras", value, subresource=key) for key, value in pairs]
        never = _wrong_extra(asked) if self.name else ""
        everything = None
        if self.name and len(pairs) >= MANY:
            everything = self._right(_AUTHENTICATION, "userextras", "*", subresource="*")
        first = self._right(_AUTHENTICATION, "userextras", "") if never else rights[0]
        return _Check(first, never, everything, tuple(rights[1:]))

    def judged(self, asked: User) -> User:
        """With the groups that such a user has anyway."""
        groups = asked.groups
        account = _account(asked.name)
        if account is not None and not groups:
            groups = (ACCOUNTS_GROUP, f"{ACCOUNTS_GROUP}:{account[0]}")
        elif self.name and _node(asked.name):
            groups = (NODES_GROUP,)
        wanted_group = AUTHENTICATED
        if asked.name == ANONYMOUS.name or UNAUTHENTICATED in groups:
            wanted_group = UNAUTHENTICATED
        return msgspec.structs.replace(asked, groups=groups if wanted_group in groups else (*groups, wanted_group))


class _AssociatedNode(_Mode):
    """A service account acts as the node that its pod runs on; the right holds for every node, so none is named."""

    def checks(self, asked: User, info: RequestInfo) -> Iterator[_Check]:
        """See `_Mode.checks`."""
        yield _Check(msgspec.structs.replace(info, verb=f"impersonate-on:{self.name}:{info.verb}"))
        yield _Check(self._right(_AUTHENTICATION, "nodes", "*"))


def _wrong_extra(asked: User) -> str:
    for key, values in asked.extra:
        wrong = domain_prefixed_path(key)
        if not key:
            return "impersonating the empty string key in extra is not allowed"
        if wrong:
            shown = f"extra.key: Invalid value: {quote(key)}: {wrong[0]}"
            return f"impersonating an invalid key in extra is not allowed: {shown}"
        if key != key.lower():
            return f"impersonating a non-lowercase key in extra is not allowed: {quote(key)}"
        if "" in values:
            return "impersonating the empty string value in extra is not allowed"
    return ""


# ---------------------------------------------------------------------- which mode is for whom


def _account(name: str) -> tuple[str, str] | None:
    """Namespace and name of the service account, None for other users."""
    namespace, found, account = name.removeprefix(USER_PREFIX).partition(":")
    if not name.startswith(USER_PREFIX) or not found or namespace_name(namespace) or dns_subdomain(account):
        return None
    return namespace, account


def _node(name: str) -> str:
    """The node's name, "" for other users."""
    node = name.removeprefix(NODE_PREFIX)
    return node if name.startswith(NODE_PREFIX) and not dns_subdomain(node) else ""


def _name_alone(asked: User) -> bool:
    return not (asked.uid or asked.groups or asked.extra)


def _is_associated(asked: User, user: User) -> bool:
    node = _node(asked.name)
    known = dict(user.extra).get(_NODE_NAME, ())
    return bool(node) and _name_alone(asked) and _account(user.name) is not None and known == (node,)


_MODES = (
    _AssociatedNode("associated-node", _is_associated),
    _Mode("arbitrary-node", lambda asked, _: _name_alone(asked) and bool(_node(asked.name))),
    _Mode("serviceaccount", lambda asked, _: _name_alone(asked) and _account(asked.name) is not None),
    _Mode("user-info", lambda asked, _: not _node(asked.name) and _account(asked.name) is None),
    _Mode("", lambda *_: True),
)
