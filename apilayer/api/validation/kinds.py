"""Which rules hold for which kind: the table that `validate_create` and `validate_update` look into.

A kind without an entry has the rules of metadata alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from apilayer.api import names
from apilayer.api.validation import cluster, config, deployment, pod, pod_update

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from apilayer.api.validation.common import Errors, Object

    Rule = Callable[[Object], Errors]
    ChangeRule = Callable[[Object, Object], Errors]


@attrs.frozen
class KindRules:
    """The rules of one kind.

    `name` is the rule for its names, `every` hold on creation and update, `create` on creation alone,
    `update` for a change, `status` for a change through the status subresource and `subresources` for one through
    another. `meta_on_update` says
    whether the whole metadata is checked once more on update, as Kubernetes does for some kinds;
    `meta_first` whether metadata is checked before the rest or only when the rest is right.
    """

    name: Callable[[str], list[str]] = names.dns_subdomain
    every: tuple[Rule, ...] = ()
    create: tuple[Rule, ...] = ()
    update: tuple[ChangeRule, ...] = ()
    status: tuple[ChangeRule, ...] = ()
    subresources: Mapping[str, tuple[ChangeRule, ...]] = attrs.field(factory=dict)
    meta_first: bool = True
    meta_on_update: bool = False

    def changes(self, subresource: str) -> tuple[ChangeRule, ...]:
        """The rules for a change made directly ("") or through a subresource."""
        if not subresource:
            return self.update
        return self.status if subresource == "status" else self.subresources.get(subresource, ())


NO_RULES = KindRules()
_PATH_SEGMENT = KindRules(name=names.path_segment)

RULES: dict[str, KindRules] = {
    "configmaps": KindRules(every=(config.config_map,), update=(config.config_map_update,), meta_on_update=True),
    "secrets": KindRules(every=(config.secret,), update=(config.secret_update,), meta_on_update=True),
    "namespaces": KindRules(
        name=names.namespace_name,
        create=(cluster.namespace,),
        status=(cluster.namespace_status,),
    ),
    "leases.coordination.k8s.io": KindRules(every=(cluster.lease,)),
    "events": KindRules(name=names.path_segment, every=(cluster.event,), meta_first=False),
    "pods": KindRules(
        every=(pod.pod,),
        create=(pod.new_pod,),
        update=(pod_update.pod_update,),
        status=(pod_update.pod_status,),
        meta_on_update=True,
    ),
    "deployments.apps": KindRules(
        every=(deployment.deployment,),
        update=(deployment.deployment_update,),
        status=(deployment.deployment_status,),
    ),
    "services": KindRules(name=names.dns_label_1035),
    "roles.rbac.authorization.k8s.io": _PATH_SEGMENT,
    "rolebindings.rbac.authorization.k8s.io": _PATH_SEGMENT,
    "clusterroles.rbac.authorization.k8s.io": _PATH_SEGMENT,
    "clusterrolebindings.rbac.authorization.k8s.io": _PATH_SEGMENT,
    "certificatesigningrequests.certificates.k8s.io": _PATH_SEGMENT,
    "ipaddresses.networking.k8s.io": _PATH_SEGMENT,
    "apiservices.apiregistration.k8s.io": _PATH_SEGMENT,
}
