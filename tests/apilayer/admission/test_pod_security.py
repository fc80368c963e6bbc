"""PodSecurity: which standard holds in a namespace, for whom, and what changing it tells."""

from __future__ import annotations

from typing import Any

import pytest

from apilayer.admission.plugin import CREATE, UPDATE, ConfigurationError
from apilayer.admission.plugins.pod_security import PodSecurity
from apilayer.pipeline.authentication import User
from tests.apilayer.admitting import ALICE, Cluster, Outcome, review, setup

Object = dict[str, Any]
PREFIX = "pod-security.kubernetes.io/"
PRIVILEGED: Object = {
    "metadata": {"name": "p"},
    "spec": {"containers": [{"name": "c", "image": "i", "securityContext": {"privileged": True}}]},
}
DETAIL = 'privileged (container "c" must not set securityContext.privileged=true)'


def cluster(**labels: str) -> Cluster:
    named = {f"{PREFIX}{key.replace('_', '-')}": value for key, value in labels.items()}
    return Cluster().namespace("ns", labels=named)


def create(where: Cluster, obj: Object = PRIVILEGED, resource: str = "pods", **more: Any) -> Outcome:
    return review(PodSecurity(setup(where)), CREATE, resource, obj, **more)


@pytest.mark.parametrize(
    ("labels", "refused", "warned"),
    [
        ({}, "", []),
        ({"enforce": "privileged"}, "", []),
        ({"enforce": "baseline"}, f'violates PodSecurity "baseline:latest": {DETAIL}', []),
        ({"warn": "baseline"}, "", [f'would violate PodSecurity "baseline:latest": {DETAIL}']),
        ({"audit": "baseline"}, "", []),
        (
            {"enforce": "baseline", "enforce_version": "v1.20"},
            f'violates PodSecurity "baseline:v1.20": {DETAIL}',
            [],
        ),
    ],
)
def test_modes(labels: dict[str, str], refused: str, warned: list[str]) -> None:
    outcome = create(cluster(**labels))
    assert outcome.refusal == (f'pods "p" is forbidden: {refused}' if refused else "")
    assert outcome.attributes.warnings == warned
    if "audit" in labels:
        noted = outcome.attributes.annotations["pod-security.kubernetes.io/audit-violations"]
        assert noted == f'would violate PodSecurity "baseline:latest": {DETAIL}'


def deployment(template: Object) -> Object:
    return {"metadata": {"name": "d"}, "spec": {"template": template}}


@pytest.mark.parametrize(
    ("resource", "obj"),
    [
        ("deployments.apps", deployment(PRIVILEGED)),
        ("jobs.batch", deployment(PRIVILEGED)),
        ("podtemplates", {"metadata": {"name": "t"}, "template": PRIVILEGED}),
        ("cronjobs.batch", {"metadata": {"name": "t"}, "spec": {"jobTemplate": deployment(PRIVILEGED)}}),
    ],
)
def test_templates_are_warned_of_and_not_refused(resource: str, obj: Object) -> None:
    outcome = create(cluster(enforce="baseline"), obj, resource)
    assert outcome.error is None
    assert outcome.attributes.warnings == [f'would violate PodSecurity "baseline:latest": {DETAIL}']


def test_a_controller_without_a_template_is_fine() -> None:
    bare = {"metadata": {"name": "r"}, "spec": {}}
    assert create(cluster(warn="restricted"), bare, "replicationcontrollers").attributes.warnings == []


def test_labels_that_mean_nothing_ask_for_everything() -> None:
    outcome = create(cluster(enforce="bogus"))
    assert outcome.refusal.startswith('pods "p" is forbidden: violates PodSecurity "restricted:latest": ')
    assert "Failed to parse policy" in outcome.attributes.annotations[f"{PREFIX}error"]


@pytest.mark.parametrize(
    ("new", "refused"),
    [
        ({**PRIVILEGED, "metadata": {"name": "p", "labels": {"a": "b"}}}, False),
        ({**PRIVILEGED, "spec": {"containers": [{**PRIVILEGED["spec"]["containers"][0], "image": "j"}]}}, True),
    ],
)
def test_an_update_counts_when_it_brings_an_image(new: Object, refused: bool) -> None:
    outcome = review(PodSecurity(setup(cluster(enforce="baseline"))), UPDATE, "pods", new, PRIVILEGED)
    assert bool(outcome.error) is refused


def test_containers_for_debugging_count() -> None:
    new = {**PRIVILEGED, "spec": {**PRIVILEGED["spec"], "ephemeralContainers": [{"name": "e", "image": "x"}]}}
    plugin = PodSecurity(setup(cluster(enforce="baseline")))
    assert review(plugin, UPDATE, "pods", new, PRIVILEGED, subresource="ephemeralcontainers").error
    assert review(plugin, UPDATE, "pods", new, PRIVILEGED, subresource="status").error is None


# ---------------------------------------------------------------------- namespaces


def namespace(**labels: str) -> Object:
    named = {f"{PREFIX}{key.replace('_', '-')}": value for key, value in labels.items()}
    return {"metadata": {"name": "ns", "labels": named}}


@pytest.mark.parametrize(
    ("labels", "causes"),
    [
        ({"enforce": "baseline", "enforce_version": "v1.30"}, []),
        ({"enforce": "bad"}, [f"metadata.labels[{PREFIX}enforce]"]),
        (
            {"warn_version": "1.2", "audit": "x"},
            [f"metadata.labels[{PREFIX}audit]", f"metadata.labels[{PREFIX}warn-version]"],
        ),
    ],
)
def test_labels_of_a_new_namespace(labels: dict[str, str], causes: list[str]) -> None:
    outcome = create(Cluster(), namespace(**labels), "namespaces")
    if not causes:
        assert outcome.error is None
        return
    assert outcome.error is not None
    assert outcome.error.code == 422
    assert [cause["field"] for cause in outcome.error.status["details"]["causes"]] == causes


def test_what_a_wrong_label_is_told() -> None:
    outcome = create(Cluster(), namespace(enforce="bad"), "namespaces")
    assert outcome.refusal == (
        f'Namespace "ns" is invalid: metadata.labels[{PREFIX}enforce]: Invalid value: "bad": '
        "must be one of privileged, baseline, restricted"
    )


def test_wrong_labels_that_were_there_before_stay() -> None:
    old, new = namespace(enforce="bad"), namespace(enforce="bad", audit="baseline")
    assert review(PodSecurity(setup(Cluster())), UPDATE, "namespaces", new, old).error is None


HEAD = 'existing pods in namespace "ns" violate the new PodSecurity enforce level "baseline:latest"'


@pytest.mark.parametrize(
    ("pods", "before", "after", "warnings"),
    [
        (1, {}, {"enforce": "baseline"}, [HEAD, "p0: privileged"]),
        (2, {}, {"enforce": "baseline"}, [HEAD, "p0 (and 1 other pod): privileged"]),
        (3, {}, {"enforce": "baseline"}, [HEAD, "p0 (and 2 other pods): privileged"]),
        (0, {}, {"enforce": "baseline"}, []),
        (1, {"enforce": "restricted"}, {"enforce": "baseline"}, []),
        (1, {"enforce": "baseline"}, {"enforce": "baseline", "audit": "restricted"}, []),
        (1, {"enforce": "baseline"}, {}, []),
    ],
)
def test_raising_the_level_tells_of_pods_below_it(
    pods: int, before: dict[str, str], after: dict[str, str], warnings: list[str]
) -> None:
    where = Cluster()
    for index in range(pods):
        where.put("pods", {**PRIVILEGED, "metadata": {"name": f"p{index}"}}, "ns")
    outcome = review(PodSecurity(setup(where)), UPDATE, "namespaces", namespace(**after), namespace(**before))
    assert outcome.error is None
    assert outcome.attributes.warnings == warnings


# ---------------------------------------------------------------------- configuration

CONFIGURED = {
    "apiVersion": "pod-security.admission.config.k8s.io/v1",
    "kind": "PodSecurityConfiguration",
    "defaults": {"enforce": "baseline", "enforce-version": "v1.30"},
    "exemptions": {"usernames": ["root"], "namespaces": ["free"], "runtimeClasses": ["vm"]},
}


@pytest.mark.parametrize(
    ("namespace", "user", "runtime_class", "refused"),
    [
        ("ns", ALICE, None, True),
        ("ns", User("root"), None, False),
        ("free", ALICE, None, False),
        ("ns", ALICE, "vm", False),
        ("ns", ALICE, "other", True),
    ],
)
def test_defaults_and_who_is_exempt(namespace: str, user: User, runtime_class: str | None, refused: bool) -> None:
    where = Cluster().namespace("ns").namespace("free")
    pod = {**PRIVILEGED, "spec": {**PRIVILEGED["spec"], "runtimeClassName": runtime_class}}
    outcome = review(PodSecurity(setup(where, CONFIGURED)), CREATE, "pods", pod, namespace=namespace, user=user)
    assert bool(outcome.error) is refused
    if refused:
        assert 'PodSecurity "baseline:v1.30"' in outcome.refusal


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "Other"}, "not a PodSecurityConfiguration"),
        ({"defaults": {"enforce": "x"}}, "defaults.enforce: must be one of"),
        ({"defaults": {"warn-version": "x"}}, "defaults.warn-version: must be"),
        ({"defaults": []}, "defaults: must be an object"),
        ({"exemptions": {"usernames": "x"}}, "exemptions.usernames: must be a list of names"),
        ({"exemptions": {"namespaces": ["a", "a"]}}, "exemptions.namespaces: duplicate value 'a'"),
    ],
)
def test_configurations_that_cannot_be_used(change: Object, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        PodSecurity(setup(Cluster(), {**CONFIGURED, **change}))
