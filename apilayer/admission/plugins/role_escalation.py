"""Nobody gives away what he does not have: roles and bindings are held to the rights of who writes them.

No plugin of Kubernetes' chain, whose registry does this itself: it is on whenever roles decide, whatever flags say.

Source: Kubernetes documentation, "Using RBAC Authorization", "Privilege escalation prevention and bootstrapping".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.admission.plugin import CREATE, UPDATE, Plugin, on
from apilayer.api import status
from apilayer.api.gotext import quote
from apilayer.pipeline.authorization import MASTERS, Authorizer, permits
from apilayer.pipeline.rbac import missing_from, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from apilayer.admission.listers import Listers
    from apilayer.admission.plugin import Attributes, Object
    from apilayer.pipeline.rbac import RoleAuthorizer

GROUP = "rbac.authorization.k8s.io"
ROLES = (f"roles.{GROUP}", f"clusterroles.{GROUP}")
BINDINGS = (f"rolebindings.{GROUP}", f"clusterrolebindings.{GROUP}")
_EVERYTHING = (
    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
    {"verbs": ["*"], "nonResourceURLs": ["*"]},
)


class RoleEscalation(Plugin):
    """Knows the roles that decide."""

    name = "RoleEscalation"
    interests = (on(*ROLES, *BINDINGS, operations=(CREATE, UPDATE)),)

    def __init__(self, listers: Listers, authorizer: Authorizer, roles: RoleAuthorizer) -> None:
        self.listers = listers
        self._authorizer = authorizer
        self._roles = roles

    async def mutate(self, attributes: Attributes) -> None:
        """Raises StatusError 403; 404 for a binding to a role that is not there."""
        if MASTERS in attributes.user.groups:
            return
        if attributes.resource.group_resource in ROLES:
            await self._role(attributes)
        else:
            await self._binding(attributes)

    async def _role(self, attributes: Attributes) -> None:
        new, old = attributes.new, attributes.old or {}
        if _only_for_garbage(new, old):
            return
        asked_for = "" if attributes.operation == CREATE else attributes.name
        if await self._may(attributes, "escalate", attributes.resource.plural, asked_for):
            return
        self._confirm(attributes, new.get("rules") or ())
        if new.get("aggregationRule") or old.get("aggregationRule"):
            owned, _ = self._roles.owned(attributes.user, "")
            if missing_from(owned, _EVERYTHING):
                raise attributes.forbidden("must have cluster-admin privileges to use an aggregationRule")

    async def _binding(self, attributes: Attributes) -> None:
        new = attributes.new
        if _only_for_garbage(new, attributes.old or {}):
            return
        reference = new.get("roleRef") or {}
        plural = "roles" if reference.get("kind") == "Role" else "clusterroles"
        name = reference.get("name") or ""
        if await self._may(attributes, "bind", plural, name):
            return
        rules = self._roles.referred(reference, attributes.namespace)
        if rules is None:
            raise status.not_found(attributes.resource.plural, attributes.resource.group, name)
        self._confirm(attributes, (rule.written for rule in rules))

    async def _may(self, attributes: Attributes, verb: str, plural: str, name: str) -> bool:
        return await permits(self._authorizer, attributes.user, verb, GROUP, plural, attributes.namespace, name)

    def _confirm(self, attributes: Attributes, rules: Iterable[Object]) -> None:
        user = attributes.user
        owned, wrong = self._roles.owned(user, attributes.namespace)
        missing = missing_from(owned, rules)
        if missing:
            errors = f"; resolution errors: [{wrong}]" if wrong else ""
            groups = " ".join(quote(group) for group in user.groups)
            raise attributes.forbidden(
                f"user {quote(user.name)} (groups=[{groups}]) is attempting to grant RBAC permissions "
                f"not currently held:\n{shown(missing)}{errors}"
            )


_OF_GARBAGE = ("ownerReferences", "finalizers")
_OF_THE_SERVER = ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "namespace")
_TYPE = ("kind", "apiVersion", "metadata")


def _only_for_garbage(new: Object, old: Object) -> bool:
    """Whether an update changes nothing but what garbage collection needs to."""
    return bool(old) and _essence(new) == _essence(old)


def _essence(obj: Object) -> Object:
    """All that it says, but for what garbage collection and the server set."""
    left_out = (*_OF_GARBAGE, *_OF_THE_SERVER)
    metadata = {key: value for key, value in obj["metadata"].items() if value and key not in left_out}
    return metadata | {f".{key}": value for key, value in obj.items() if value and key not in _TYPE}
