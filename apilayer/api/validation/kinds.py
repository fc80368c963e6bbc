"""Which rules hold for which kind: the table that `validate_create` and `validate_update` look into.

A kind without an entry has the rules of metadata alone.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import attrs

from apilayer.api import names
from apilayer.api.validation.vocabulary import still
from apilayer.later import modules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from apilayer.api.validation import (
        claims,
        cluster,
        config,
        deployment,
        devices,
        endpoints,
        events,
        flow_control,
        job_status,
        jobs,
        networking,
        nodes,
        pod,
        pod_status,
        pod_subresources,
        pod_update,
        policies,
        quotas,
        rbac,
        registration,
        scaling,
        scheduling_kinds,
        service,
        signing,
        storage,
        webhooks,
        workloads,
    )
    from apilayer.api.validation.common import Errors, Object

    Rule = Callable[[Object], Errors]
    ChangeRule = Callable[[Object, Object], Errors]
    Table = dict[str, Callable[[], "KindRules"]]
else:
    (
        claims,
        cluster,
        config,
        deployment,
        devices,
        endpoints,
        events,
        flow_control,
        job_status,
        jobs,
        networking,
        nodes,
        pod,
        pod_status,
        pod_subresources,
        pod_update,
        policies,
        quotas,
        rbac,
        registration,
        scaling,
        scheduling_kinds,
        service,
        signing,
        storage,
        webhooks,
        workloads,
    ) = modules(
        "apilayer.api.validation",
        "claims",
        "cluster",
        "config",
        "deployment",
        "devices",
        "endpoints",
        "events",
        "flow_control",
        "job_status",
        "jobs",
        "networking",
        "nodes",
        "pod",
        "pod_status",
        "pod_subresources",
        "pod_update",
        "policies",
        "quotas",
        "rbac",
        "registration",
        "scaling",
        "scheduling_kinds",
        "service",
        "signing",
        "storage",
        "webhooks",
        "workloads",
    )


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


def _core() -> Table:
    return {
        "configmaps": lambda: KindRules(
            every=(config.config_map,), update=(config.config_map_update,), meta_on_update=True
        ),
        "secrets": lambda: KindRules(every=(config.secret,), update=(config.secret_update,), meta_on_update=True),
        "namespaces": lambda: KindRules(
            name=names.namespace_name,
            create=(cluster.namespace,),
            status=(cluster.namespace_status,),
            subresources={"finalize": (cluster.namespace_finalize,)},
        ),
        "leases.coordination.k8s.io": lambda: KindRules(every=(cluster.lease,)),
        "events": lambda: KindRules(name=names.path_segment, every=(events.core_event,), meta_first=False),
        "events.events.k8s.io": lambda: KindRules(
            name=names.path_segment,
            every=(events.event,),
            create=(events.new_event,),
            update=(events.event_update,),
            meta_first=False,
        ),
        "pods": lambda: KindRules(
            every=(pod.pod,),
            create=(pod.new_pod,),
            update=(pod_update.pod_update,),
            status=(pod_status.pod_status,),
            subresources={
                "ephemeralcontainers": (still(pod.pod), pod_subresources.ephemeral_containers_update),
                "resize": (still(pod.pod), pod_subresources.resize),
            },
            meta_on_update=True,
        ),
    }


def _workloads() -> Table:
    return {
        "deployments.apps": lambda: KindRules(
            every=(deployment.deployment,),
            update=(deployment.deployment_update,),
            status=(deployment.deployment_status,),
        ),
        "replicasets.apps": lambda: KindRules(
            every=(workloads.replica_set,),
            update=workloads.REPLICA_SET_UPDATE,
            status=workloads.REPLICA_STATUS,
        ),
        "replicationcontrollers": lambda: KindRules(
            every=(workloads.replication_controller,),
            update=workloads.REPLICATION_CONTROLLER_UPDATE,
            status=workloads.REPLICA_STATUS,
        ),
        "statefulsets.apps": lambda: KindRules(
            name=names.namespace_name,
            every=(workloads.stateful_set,),
            update=workloads.STATEFUL_SET_UPDATE,
            status=workloads.STATEFUL_SET_STATUS,
        ),
        "daemonsets.apps": lambda: KindRules(
            every=(workloads.daemon_set,),
            update=workloads.DAEMON_SET_UPDATE,
            status=workloads.DAEMON_SET_STATUS,
        ),
        "podtemplates": lambda: KindRules(
            every=(workloads.template_object,),
            update=(still(workloads.template_object),),
            meta_on_update=True,
        ),
        "controllerrevisions.apps": lambda: KindRules(
            every=(workloads.controller_revision,),
            update=workloads.CONTROLLER_REVISION_UPDATE,
            meta_on_update=True,
        ),
        "jobs.batch": lambda: KindRules(every=jobs.JOB, update=jobs.JOB_UPDATE, status=(job_status.job_status,)),
        "cronjobs.batch": lambda: KindRules(every=(jobs.cron_job,), create=(jobs.cron_job_name,)),
        "horizontalpodautoscalers.autoscaling": lambda: KindRules(
            every=(scaling.autoscaler,), status=scaling.AUTOSCALER_STATUS
        ),
        "poddisruptionbudgets.policy": lambda: KindRules(
            name=names.path_segment,
            every=(scaling.disruption_budget,),
            status=scaling.DISRUPTION_BUDGET_STATUS,
        ),
    }


def _network() -> Table:
    return {
        "services": lambda: KindRules(
            name=names.namespace_name,
            every=(service.service,),
            update=(service.service_update,),
            status=(service.service_status,),
            meta_on_update=True,
        ),
        "endpoints": lambda: KindRules(every=(endpoints.endpoints,), meta_on_update=True),
        "endpointslices.discovery.k8s.io": lambda: KindRules(
            create=(endpoints.endpoint_slice,),
            update=endpoints.ENDPOINT_SLICE_UPDATE,
            meta_on_update=True,
        ),
        "ingresses.networking.k8s.io": lambda: KindRules(
            every=(networking.ingress,),
            create=(networking.ingress_class_annotation,),
            status=(networking.ingress_status,),
        ),
        "ingressclasses.networking.k8s.io": lambda: KindRules(
            every=(networking.ingress_class,),
            update=networking.INGRESS_CLASS_UPDATE,
        ),
        "networkpolicies.networking.k8s.io": lambda: KindRules(every=(networking.network_policy,)),
        "servicecidrs.networking.k8s.io": lambda: KindRules(
            every=(networking.service_cidr,),
            update=(networking.service_cidr_update,),
        ),
        "ipaddresses.networking.k8s.io": lambda: KindRules(
            name=networking.address_name,
            every=(networking.ip_address,),
            update=networking.IP_ADDRESS_UPDATE,
        ),
    }


def _storage() -> Table:
    return {
        "persistentvolumes": lambda: KindRules(
            every=(storage.volume,), update=storage.VOLUME_UPDATE, meta_on_update=True
        ),
        "persistentvolumeclaims": lambda: KindRules(
            every=(claims.claim,), update=(claims.claim_update,), meta_on_update=True
        ),
        "storageclasses.storage.k8s.io": lambda: KindRules(
            every=(storage.storage_class,), update=storage.STORAGE_CLASS_UPDATE
        ),
        "csidrivers.storage.k8s.io": lambda: KindRules(
            every=(storage.csi_driver,), update=(storage.csi_driver_update,)
        ),
        "csinodes.storage.k8s.io": lambda: KindRules(every=(storage.csi_node,), update=(storage.csi_node_update,)),
        "volumeattachments.storage.k8s.io": lambda: KindRules(
            every=(storage.attachment,), update=(storage.attachment_update,)
        ),
        "csistoragecapacities.storage.k8s.io": lambda: KindRules(
            every=(storage.storage_capacity,),
            update=storage.STORAGE_CAPACITY_UPDATE,
        ),
        "volumeattributesclasses.storage.k8s.io": lambda: KindRules(
            every=(storage.attributes_class,),
            update=storage.ATTRIBUTES_CLASS_UPDATE,
        ),
    }


def _cluster() -> Table:
    return {
        "roles.rbac.authorization.k8s.io": lambda: KindRules(name=names.path_segment, every=(rbac.role,)),
        "clusterroles.rbac.authorization.k8s.io": lambda: KindRules(
            name=names.path_segment, every=(rbac.cluster_role,)
        ),
        "rolebindings.rbac.authorization.k8s.io": lambda: KindRules(
            name=names.path_segment,
            every=(rbac.role_binding,),
            update=(rbac.binding_update,),
        ),
        "clusterrolebindings.rbac.authorization.k8s.io": lambda: KindRules(
            name=names.path_segment,
            every=(rbac.cluster_role_binding,),
            update=(rbac.binding_update,),
        ),
        "nodes": lambda: KindRules(
            every=(nodes.node,),
            update=(nodes.node_update,),
            status=(nodes.node_update,),
            meta_on_update=True,
        ),
        "limitranges": lambda: KindRules(every=(quotas.limit_range,), meta_on_update=True),
        "resourcequotas": lambda: KindRules(
            every=(quotas.resource_quota,),
            update=(quotas.resource_quota_update,),
            status=(quotas.resource_quota_status,),
        ),
        "priorityclasses.scheduling.k8s.io": lambda: KindRules(
            create=(scheduling_kinds.priority_class,),
            update=scheduling_kinds.PRIORITY_CLASS_UPDATE,
        ),
        "runtimeclasses.node.k8s.io": lambda: KindRules(
            create=(scheduling_kinds.runtime_class,),
            update=scheduling_kinds.RUNTIME_CLASS_UPDATE,
        ),
    }


def _extensions() -> Table:
    return {
        "certificatesigningrequests.certificates.k8s.io": lambda: KindRules(
            name=names.path_segment,
            create=(signing.signing_request,),
            status=signing.STATUS,
            subresources={"approval": signing.APPROVAL},
        ),
        "apiservices.apiregistration.k8s.io": lambda: KindRules(
            name=names.path_segment, every=(registration.api_service,)
        ),
        "validatingwebhookconfigurations.admissionregistration.k8s.io": lambda: KindRules(every=(webhooks.validating,)),
        "mutatingwebhookconfigurations.admissionregistration.k8s.io": lambda: KindRules(every=(webhooks.mutating,)),
        "validatingadmissionpolicies.admissionregistration.k8s.io": lambda: KindRules(
            every=(policies.validating_policy,)
        ),
        "validatingadmissionpolicybindings.admissionregistration.k8s.io": lambda: KindRules(
            every=(policies.validating_binding,)
        ),
        "mutatingadmissionpolicies.admissionregistration.k8s.io": lambda: KindRules(every=(policies.mutating_policy,)),
        "mutatingadmissionpolicybindings.admissionregistration.k8s.io": lambda: KindRules(
            every=(policies.mutating_binding,)
        ),
        "flowschemas.flowcontrol.apiserver.k8s.io": lambda: KindRules(every=(flow_control.flow_schema,)),
        "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io": lambda: KindRules(
            every=(flow_control.priority_level,)
        ),
        "resourceclaims.resource.k8s.io": lambda: KindRules(
            create=(devices.resource_claim,),
            update=devices.CLAIM_UPDATE,
            status=(devices.claim_status,),
        ),
        "resourceclaimtemplates.resource.k8s.io": lambda: KindRules(
            create=(devices.claim_template,),
            update=devices.TEMPLATE_UPDATE,
        ),
        "resourceslices.resource.k8s.io": lambda: KindRules(
            every=(devices.resource_slice,), update=devices.SLICE_UPDATE
        ),
        "deviceclasses.resource.k8s.io": lambda: KindRules(every=(devices.device_class,)),
    }


_RULES: Table = {**_core(), **_workloads(), **_network(), **_storage(), **_cluster(), **_extensions()}
"""Made when an object of the kind first comes: the modules of the rules are many, and a server starts without most."""


@cache
def rules_of(group_resource: str) -> KindRules:
    """The rules of a kind."""
    make = _RULES.get(group_resource)
    return NO_RULES if make is None else make()
