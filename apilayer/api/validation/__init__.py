"""Rules for objects of each kind: what is wrong with a new object, or with a change.

Objects come in canonical form with defaults applied. Rules stand in tables and small functions by schema
part; this module only says which apply to which kind. Errors come in the order of kube-apiserver.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from apilayer.api import names
from apilayer.api.validation import cluster, config, deployment, pod, pod_update
from apilayer.api.validation.common import part
from apilayer.api.validation.metadata import (
    validate_finalizers,
    validate_labels,
    validate_meta,
    validate_meta_update,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from apilayer.api.resources import Resource
    from apilayer.api.validation.common import Errors, Object

    Rule = Callable[[Object], Errors]
    ChangeRule = Callable[[Object, Object], Errors]

__all__ = ["KindRules", "validate_create", "validate_update"]


@attrs.frozen
class KindRules:
    """The rules of one kind.

    `name` is the rule for its names, `every` hold on creation and update, `create` on creation alone,
    `update` for a change and `status` for a change through the status subresource. `meta_on_update` says
    whether the whole metadata is checked once more on update, as Kubernetes does for some kinds;
    `meta_first` whether metadata is checked before the rest or only when the rest is right.
    """

    name: Callable[[str], list[str]] = names.dns_subdomain
    every: tuple[Rule, ...] = ()
    create: tuple[Rule, ...] = ()
    update: tuple[ChangeRule, ...] = ()
    status: tuple[ChangeRule, ...] = ()
    meta_first: bool = True
    meta_on_update: bool = False


_RULES: dict[str, KindRules] = {
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
}


def validate_create(resource: Resource, obj: Object) -> Errors:
    """What is wrong with a new object; its name and namespace must be set already."""
    rules = _RULES[resource.group_resource]
    meta = part(obj, "metadata")
    wrong: Errors = []
    if rules.meta_first:
        wrong += validate_meta(meta, namespaced=resource.namespaced, name_rule=rules.name)
    for rule in rules.every + rules.create:
        wrong += rule(obj)
    if not rules.meta_first and not wrong:
        wrong += validate_meta(meta, namespaced=resource.namespaced, name_rule=rules.name)
    return wrong


def validate_update(resource: Resource, new: Object, old: Object, subresource: str = "") -> Errors:
    """What is wrong with a change from `old` to `new`, made directly or through a subresource.

    Errors of metadata come more than once, as from kube-apiserver: its generic checks and those of the kind
    overlap.
    """
    rules = _RULES[resource.group_resource]
    meta = part(new, "metadata")
    wrong = validate_meta_update(meta, part(old, "metadata"))
    if rules.meta_first:
        wrong += wrong
        wrong += validate_finalizers(meta)
    changes = rules.status if subresource == "status" else rules.update
    if subresource != "status":
        if rules.meta_on_update:
            wrong += validate_meta(meta, namespaced=resource.namespaced, name_rule=rules.name)
        if resource.kind == "Pod":
            wrong += validate_labels(meta.get("labels") or {}, "metadata.labels")
        for rule in rules.every:
            wrong += rule(new)
    for change in changes:
        wrong += change(new, old)
    return wrong
