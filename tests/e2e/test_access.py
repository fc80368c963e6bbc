"""Roles, tokens of service accounts and quotas with the unmodified kubectl, on a local cluster as it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.canary import CANARY
from tests.e2e.cluster import needs_kubectl, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.cluster import LocalCluster

pytestmark = pytest.mark.slow

NAMESPACE = "access"


@pytest.fixture(scope="module")
def k(one_node: LocalCluster) -> Iterator[LocalCluster]:
    """The shared cluster with a namespace of the module's own."""
    needs_kubectl()
    one_node.kubectl("create", "namespace", NAMESPACE)
    one_node.kubectl("wait", "--for=create", "serviceaccount/default", f"-n={NAMESPACE}", "--timeout=60s")
    yield one_node
    one_node.kubectl("delete", "namespace", NAMESPACE, "--timeout=60s")


def test_an_account_gets_what_its_role_gives(k: LocalCluster) -> None:
    inside = f"-n={NAMESPACE}"
    k.kubectl("create", "serviceaccount", "robot", inside)
    k.kubectl("create", "role", "reader", "--verb=get,list", "--resource=configmaps", inside)
    k.kubectl("create", "rolebinding", "robots", "--role=reader", f"--serviceaccount={NAMESPACE}:robot", inside)
    token = k.kubectl("create", "token", "robot", inside).strip()

    def as_robot(*arguments: str) -> tuple[str, str]:
        server = f"--server=https://127.0.0.1:{k.api_port}"
        authority = f"--certificate-authority={k.data_dir / 'pki' / 'ca.crt'}"
        command = ["kubectl", "--kubeconfig=/dev/null", server, authority, f"--token={token}", inside, *arguments]
        answer = run(command, env=k.kubectl_env())
        return answer.stdout, answer.stderr

    assert f"system:serviceaccount:{NAMESPACE}:robot" in as_robot("auth", "whoami")[0]
    assert "kube-root-ca.crt" in as_robot("get", "configmaps")[0]
    assert as_robot("auth", "can-i", "list", "configmaps")[0] == "yes\n"
    assert as_robot("auth", "can-i", "delete", "configmaps")[0] == "no\n"
    assert "configmaps" in as_robot("auth", "can-i", "--list")[0]
    refused = as_robot("get", "secrets")[1]
    assert f'User "system:serviceaccount:{NAMESPACE}:robot" cannot list resource "secrets"' in refused
    k.kubectl("delete", "serviceaccount", "robot", inside)
    assert "Unauthorized" in as_robot("get", "configmaps")[1]


def test_the_administrator_asks_for_others(k: LocalCluster) -> None:
    assert k.kubectl("auth", "can-i", "get", "pods", "--as=jane", codes=(1,)) == "no\n"
    assert k.kubectl("auth", "can-i", "*", "*", "--as=jane", "--as-group=system:masters") == "yes\n"
    # What others are made of is filled in by the controller of aggregated roles.
    k.kubectl("wait", "clusterrole/view", "--for=jsonpath={.rules[0].verbs[0]}", "--timeout=60s")
    binding = ("create", "rolebinding", "viewers", "--clusterrole=view", "--user=jane", f"-n={NAMESPACE}")
    k.kubectl(*binding)
    assert k.kubectl("auth", "can-i", "list", "pods", "--as=jane", f"-n={NAMESPACE}") == "yes\n"
    assert k.kubectl("auth", "can-i", "list", "secrets", "--as=jane", f"-n={NAMESPACE}", codes=(1,)) == "no\n"


def test_a_node_reaches_what_its_pods_need(k: LocalCluster) -> None:
    inside = f"-n={NAMESPACE}"
    for name in ("used", "unused"):
        k.kubectl("create", "secret", "generic", name, f"--from-literal=k={CANARY}", inside)
    spec = '{"spec": {"nodeName": "n1", "imagePullSecrets": [{"name": "used"}]}}'
    k.kubectl("run", "on-n1", "--image=i", "--restart=Never", f"--overrides={spec}", inside)

    def as_node(node: str, *arguments: str) -> str:
        command = ["kubectl", f"--as=system:node:{node}", "--as-group=system:nodes", inside, *arguments]
        answer = run(command, env=k.kubectl_env())
        return answer.stdout + answer.stderr

    assert as_node("n1", "get", "secret", "used", "-o=name") == "secret/used\n"
    refused = "no relationship found between node 'n1' and this object"
    assert refused in as_node("n1", "get", "secret", "unused")
    assert "no relationship found between node 'n2'" in as_node("n2", "get", "secret", "used")
    assert as_node("n1", "get", "pods", "--field-selector=spec.nodeName=n1", "-o=name") == "pod/on-n1\n"
    assert "can only list/watch pods with spec.nodeName field selector" in as_node("n1", "get", "pods")
    k.kubectl("delete", "pod", "on-n1", "--force", inside)
    assert refused in as_node("n1", "get", "secret", "used")


def test_a_quota_is_kept_and_given_back(k: LocalCluster) -> None:
    inside = f"-n={NAMESPACE}"
    k.kubectl("create", "quota", "one", "--hard=pods=1,count/secrets=0", inside)
    k.kubectl("wait", "quota/one", "--for=jsonpath={.status.used.pods}=0", "--timeout=60s", inside)
    k.kubectl("run", "a", "--image=i", "--restart=Never", inside)
    refused = run(["kubectl", "run", "b", "--image=i", "--restart=Never", inside], env=k.kubectl_env())
    assert "exceeded quota: one, requested: pods=1, used: pods=1, limited: pods=1" in refused.stderr
    k.kubectl("delete", "pod", "a", inside)
    k.kubectl("wait", "quota/one", "--for=jsonpath={.status.used.pods}=0", "--timeout=60s", inside)
    k.kubectl("run", "b", "--image=i", "--restart=Never", inside)
