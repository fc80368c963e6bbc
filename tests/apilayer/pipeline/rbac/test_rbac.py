"""Rules and roles: tables, and the index against an evaluator that looks at everything each time."""

from __future__ import annotations

from itertools import product
from sys import getrefcount
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apilayer.api.selectors import FieldTerm, Requirement
from apilayer.api.status import StatusError
from apilayer.pipeline.authentication import User
from apilayer.pipeline.authorization import ALWAYS_ALLOW, ALWAYS_DENY, InTurn, Rules, Step, Verdict, require, verdict_of
from apilayer.pipeline.rbac import RoleAuthorizer, RoleIndex, missing_from, parse_rule, parse_rules, shown
from apilayer.pipeline.request_info import RequestInfo, parse
from apilayer.pipeline.selected import selected

Object = dict[str, Any]
GROUP = "rbac.authorization.k8s.io"


def rule(verbs: str, resources: str = "", groups: str = "", names: str = "", paths: str = "") -> Object:
    made: Object = {"verbs": verbs.split()}
    if resources:
        made |= {"apiGroups": [word.strip("'") for word in groups.split()] or [""], "resources": resources.split()}
    if names:
        made["resourceNames"] = names.split()
    if paths:
        made["nonResourceURLs"] = paths.split()
    return made


@pytest.mark.parametrize(
    ("written", "method", "path", "allowed"),
    [
        (rule("get", "pods"), "GET", "/api/v1/namespaces/n/pods/p", True),
        (rule("get", "pods"), "GET", "/api/v1/namespaces/n/pods", False),
        (rule("*", "pods"), "DELETE", "/api/v1/namespaces/n/pods", True),
        (rule("get", "pods"), "GET", "/api/v1/namespaces/n/pods/p/status", False),
        (rule("get", "pods/status"), "GET", "/api/v1/namespaces/n/pods/p/status", True),
        (rule("get", "pods/status"), "GET", "/api/v1/namespaces/n/pods/p", False),
        (rule("get", "*/status"), "GET", "/api/v1/namespaces/n/pods/p/status", True),
        (rule("get", "*/status"), "GET", "/api/v1/namespaces/n/pods/p", False),
        (rule("get", "*"), "GET", "/api/v1/namespaces/n/pods/p/status", True),
        (rule("get", "deployments", "apps"), "GET", "/apis/apps/v1/namespaces/n/deployments/d", True),
        (rule("get", "deployments"), "GET", "/apis/apps/v1/namespaces/n/deployments/d", False),
        (rule("get", "deployments", "*"), "GET", "/apis/apps/v1/namespaces/n/deployments/d", True),
        (rule("get", "pods", names="p q"), "GET", "/api/v1/namespaces/n/pods/p", True),
        (rule("get", "pods", names="q"), "GET", "/api/v1/namespaces/n/pods/p", False),
        (rule("create", "pods", names="p"), "POST", "/api/v1/namespaces/n/pods", False),
        (rule("get", paths="/healthz"), "GET", "/healthz", True),
        (rule("get", paths="/healthz"), "GET", "/healthz/etcd", False),
        (rule("get", paths="/healthz/*"), "GET", "/healthz/etcd", True),
        (rule("get", paths="*"), "GET", "/anything", True),
        (rule("*", "*", "*"), "GET", "/healthz", False),
        (rule("*", paths="*"), "GET", "/api/v1/pods", False),
    ],
)
def test_what_a_rule_allows(written: Object, method: str, path: str, allowed: bool) -> None:
    assert parse_rule(written).allows(parse(method, path)) is allowed


@pytest.mark.parametrize(
    ("method", "selector", "name"),
    [
        ("GET", "metadata.name=x", "x"),
        ("GET", "spec.nodeName=n,metadata.name==x", "x"),
        ("GET", "metadata.name!=x", ""),
        ("GET", "metadata.namespace=x", ""),
        ("GET", "metadata.name=a%2fb", ""),
        ("GET", "metadata.name=x,a", ""),
        ("GET", "", ""),
        ("DELETE", "metadata.name=x", ""),
    ],
)
def test_a_collection_of_one_has_its_name(method: str, selector: str, name: str) -> None:
    info = parse(method, "/api/v1/namespaces/n/secrets")
    assert selected(info, {"fieldSelector": [selector]}).name == name


def test_what_a_collection_is_asked_for() -> None:
    info = parse("GET", "/api/v1/pods")
    assert selected(info, {}) is info
    found = selected(info, {"fieldSelector": ["spec.nodeName=n"], "labelSelector": ["a in (b,c),!d"]})
    assert found.fields == (FieldTerm("spec.nodeName", "n"),)
    assert found.labels == (Requirement("a", "in", frozenset("bc")), Requirement("d", "!"))
    wrong = selected(info, {"fieldSelector": ["a"], "labelSelector": ["a=="]})
    assert (wrong.fields, wrong.unreadable) == ((), ("fieldSelector",)), "a= selects the empty value"
    for other in (parse("GET", "/api/v1/watch/pods"), parse("GET", "/api/v1/namespaces/n/pods/p"), parse("GET", "/x")):
        assert selected(other, {"fieldSelector": ["spec.nodeName=n"]}) is other


def binding(name: str, role: str, *subjects: Object, namespace: str = "", kind: str = "ClusterRole") -> Object:
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {"metadata": metadata, "roleRef": {"kind": kind, "name": role}, "subjects": list(subjects)}


def subject(kind: str, name: str, namespace: str = "") -> Object:
    return {"kind": kind, "name": name, **({"namespace": namespace} if namespace else {})}


class Source:
    """Roles and bindings in lists; what is `put` is told with the next question."""

    def __init__(self, **objects: list[Object]) -> None:
        self.objects = {f"{plural}.{GROUP}": found for plural, found in objects.items()}
        self._untold = [(resource, path_of(obj), obj) for resource, found in self.objects.items() for obj in found]

    def list(self, group_resource: str) -> list[Object]:
        return self.objects.get(group_resource, [])

    def put(self, plural: str, obj: Object, *, gone: bool = False) -> None:
        """Makes or replaces an object, or takes it away."""
        resource, path = f"{plural}.{GROUP}", path_of(obj)
        kept = [item for item in self.list(resource) if path_of(item) != path]
        self.objects[resource] = kept if gone else [*kept, obj]
        self._untold.append((resource, path, None if gone else obj))

    def bring_up_to_date(self, index: RoleIndex) -> bool:
        untold, self._untold = self._untold, []
        for told in untold:
            index.put(*told)
        return bool(untold)


def path_of(obj: Object) -> str:
    metadata = obj["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}" if "namespace" in metadata else metadata["name"]


def test_who_gets_in_by_which_binding_and_when_one_changes() -> None:
    source = Source(
        clusterroles=[{"metadata": {"name": "reader"}, "rules": [rule("get list", "pods")]}],
        clusterrolebindings=[binding("all", "reader", subject("Group", "ops"))],
        rolebindings=[
            binding("some", "reader", subject("ServiceAccount", "sa"), subject("User", "jane"), namespace="n"),
            binding("broken", "none", subject("User", "jane"), namespace="n", kind="Role"),
        ],
    )
    roles = RoleAuthorizer(source)
    pods, elsewhere = parse("GET", "/api/v1/namespaces/n/pods"), parse("GET", "/api/v1/pods")
    jane, ops = User("jane"), User("x", groups=("ops",))
    account = User("system:serviceaccount:n:sa")
    head = 'RBAC: allowed by RoleBinding "some/n" of ClusterRole "reader" to'
    assert roles.decide(jane, pods) == Verdict(True, f'{head} User "jane"')
    assert roles.decide(account, pods) == Verdict(True, f'{head} ServiceAccount "sa/n"')
    assert roles.decide(ops, elsewhere) == Verdict(
        True, 'RBAC: allowed by ClusterRoleBinding "all" of ClusterRole "reader" to Group "ops"'
    )
    assert roles.decide(jane, elsewhere) == Verdict(False)
    refused = roles.decide(jane, parse("DELETE", "/api/v1/namespaces/n/pods/p"))
    assert refused == Verdict(False, f'RBAC: role.{GROUP} "none" not found')
    shown_rules = roles.rules(jane, "n")
    assert shown_rules.resources == ({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]},)
    assert shown_rules.error == f'role.{GROUP} "none" not found'
    for bound in list(source.list(f"rolebindings.{GROUP}")):
        source.put("rolebindings", bound, gone=True)
    assert not roles.decide(jane, pods).allowed


@pytest.mark.parametrize(
    ("info", "kept"),
    [
        (RequestInfo("/short", "get"), True),
        (RequestInfo("/" + "long" * 200, "get"), False),
        (RequestInfo("/api/v1/pods", "list", True, labels=(Requirement("a", "=", ("b",)),)), False),
        (RequestInfo("/api/v1/pods", "list", True, unreadable=("labels",)), False),
    ],
)
def test_a_decision_is_remembered_unless_what_is_asked_is_long(info: RequestInfo, kept: bool) -> None:
    roles, before = RoleAuthorizer(Source()), getrefcount(info)
    assert not roles.decide(User("jane"), info).allowed
    assert (getrefcount(info) > before) == kept


def test_a_binding_that_means_somebody_twice_counts_once() -> None:
    source = Source(
        clusterroles=[{"metadata": {"name": "reader"}, "rules": [rule("get", "pods")]}],
        clusterrolebindings=[
            binding("b", "reader", subject("User", "jo"), subject("Group", "g"), subject("User", "jane")),
            binding("a", "reader", subject("User", "jane")),
        ],
    )
    roles = RoleAuthorizer(source)
    jane = User("jane", groups=("g",))
    assert len(roles.rules(jane, "n").resources) == 2
    grants = [grant.reason.rpartition(" to ")[2] for grant, _ in roles._index.grants(jane, "n")]
    assert grants == ['User "jane"', 'Group "g"'], "by name of the binding, as its first subject that fits"


async def test_authorizers_in_turn() -> None:
    info, masters = parse("GET", "/api/v1/pods"), User("x", groups=("system:masters",))

    async def later(verdict: Verdict) -> Verdict:
        return verdict

    class Asking:
        def __init__(self, *verdict: Any) -> None:
            self.verdict = Verdict(*verdict)

        def decide(self, *_: object) -> Any:
            return later(self.verdict)

        def rules(self, *_: object) -> Rules:
            return Rules(error="cannot tell")

    def turn(*authorizers: Any) -> InTurn:
        return InTurn([Step(authorizer) for authorizer in authorizers])

    broken, says_no = Asking(False, "", False, "out of reach"), Asking(False, "no", True)
    assert await verdict_of(turn(ALWAYS_DENY), masters, info) == Verdict(True)
    assert await verdict_of(turn(ALWAYS_DENY), User("x"), info) == Verdict(False, "Everything is forbidden.")
    allowing = turn(ALWAYS_DENY, broken, ALWAYS_ALLOW)
    assert (await verdict_of(allowing, User("x"), info)).allowed
    assert [step.allowed for step in allowing.steps] == [0, 0, 1]
    denying = turn(says_no, ALWAYS_ALLOW)
    assert await verdict_of(denying, User("x"), info) == Verdict(False, "no", denied=True)
    assert [step.denied for step in denying.steps] == [1, 0]
    later_on = turn(ALWAYS_DENY, broken, ALWAYS_DENY, says_no, ALWAYS_ALLOW)
    assert await verdict_of(later_on, User("x"), info) == Verdict(False, "no", denied=True)
    assert [step.denied for step in later_on.steps] == [0, 0, 0, 1, 0]
    at_once = turn(ALWAYS_ALLOW, broken)
    assert at_once.decide(User("x"), info) == Verdict(True), "who asks nobody is not waited for"
    assert at_once.steps[0].allowed == 1
    unsure = turn(ALWAYS_DENY, broken, broken)
    assert await verdict_of(unsure, User("x"), info) == Verdict(False, "Everything is forbidden.", error="out of reach")
    with pytest.raises(StatusError, match='Internal Server Error: "/api/v1/pods": out of reach'):
        await require(unsure, User("x"), info)
    assert turn(ALWAYS_ALLOW, broken).rules(User("x"), "n").error == "cannot tell"


def test_bindings_of_others_cost_nothing() -> None:
    """What is looked at for a decision is what the user has, whatever thousand others have."""
    others = [binding(f"b{index}", "reader", subject("User", f"u{index}")) for index in range(1000)]
    mine = binding("mine", "reader", subject("User", "jane"))
    source = Source(
        clusterroles=[{"metadata": {"name": "reader"}, "rules": [rule("get list", "pods")]}],
        clusterrolebindings=[*others, mine],
    )
    roles = RoleAuthorizer(source)
    assert roles.decide(User("jane"), parse("GET", "/api/v1/pods")).allowed
    assert len(list(roles._index.grants(User("jane", groups=("devs",)), "n"))) == 1


# ---------------------------------------------------------------------- against a naive evaluator

WORDS = {"verbs": ["get", "list", "*"], "apiGroups": ["", "apps", "*"], "resources": ["pods", "pods/log", "*/log", "*"]}
NAMES, PATHS = ["a", "b"], ["/x", "/x/*", "/*", "*"]


def few(words: list[str], least: int = 1) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(words), min_size=least, max_size=2, unique=True)


RESOURCE_RULES = st.fixed_dictionaries(
    {key: few(words) for key, words in WORDS.items()}, optional={"resourceNames": few(NAMES)}
)
PATH_RULES = st.fixed_dictionaries({"verbs": few(WORDS["verbs"]), "nonResourceURLs": few(PATHS)})
RULES = st.lists(st.one_of(RESOURCE_RULES, PATH_RULES), max_size=2)
SUBJECTS = st.lists(
    st.sampled_from(
        [subject("User", "jane"), subject("Group", "g"), subject("ServiceAccount", "sa"), subject("User", "joe")]
    ),
    max_size=2,
)
BINDINGS = st.lists(
    st.tuples(
        st.sampled_from(["", "n", "m"]), st.sampled_from(["Role", "ClusterRole"]), st.sampled_from("rs"), SUBJECTS
    ),
    max_size=4,
)
INFOS = st.one_of(
    st.builds(
        lambda verb, group, resource, sub, name, namespace: RequestInfo(
            "", verb, True, group, "v1", namespace, resource, name, sub
        ),
        st.sampled_from(["get", "list"]),
        st.sampled_from(["", "apps"]),
        st.sampled_from(["pods", "jobs"]),
        st.sampled_from(["", "log"]),
        st.sampled_from(["", "a", "c"]),
        st.sampled_from(["", "n"]),
    ),
    st.builds(
        lambda path, verb: RequestInfo(path, verb),
        st.sampled_from(["/x", "/x/y", "/z"]),
        st.sampled_from(["get", "list"]),
    ),
)
WHO = st.sampled_from([User("jane"), User("jane", groups=("g",)), User("system:serviceaccount:n:sa"), User("nobody")])


def naive(source: Source, user: User, info: RequestInfo) -> bool:
    """As the documentation says it, word for word."""
    for kind in ("clusterrolebindings", "rolebindings"):
        for bound in source.list(f"{kind}.{GROUP}"):
            namespace = bound["metadata"].get("namespace", "")
            if kind == "rolebindings" and (not info.is_resource or namespace != info.namespace):
                continue
            mine = False
            for who in bound["subjects"]:
                if who["kind"] == "User":
                    mine |= who["name"] == user.name
                elif who["kind"] == "Group":
                    mine |= who["name"] in user.groups
                else:
                    mine |= user.name == f"system:serviceaccount:{who.get('namespace') or namespace}:{who['name']}"
            if not mine:
                continue
            plural = "roles" if bound["roleRef"]["kind"] == "Role" else "clusterroles"
            for role in source.list(f"{plural}.{GROUP}"):
                if role["metadata"]["name"] != bound["roleRef"]["name"]:
                    continue
                if plural == "roles" and role["metadata"]["namespace"] != namespace:
                    continue
                if any(naive_allows(written, info) for written in role["rules"]):
                    return True
    return False


def naive_allows(written: Object, info: RequestInfo) -> bool:
    if not {info.verb, "*"} & set(written["verbs"]):
        return False
    if not info.is_resource:
        urls = written.get("nonResourceURLs", [])
        return any(url in ("*", info.path) or (url[-1] == "*" and info.path.startswith(url[:-1])) for url in urls)
    if "resources" not in written or not {info.group, "*"} & set(written["apiGroups"]):
        return False
    if written.get("resourceNames") and info.name not in written["resourceNames"]:
        return False
    wanted = {"*", info.resource}
    if info.subresource:
        wanted = {"*", f"{info.resource}/{info.subresource}", f"*/{info.subresource}"}
    return bool(wanted & set(written["resources"]))


def world(roles: list[list[Object]], bindings: list[tuple[str, str, str, list[Object]]]) -> Source:
    cluster = [{"metadata": {"name": name}, "rules": rules} for name, rules in zip("rs", roles[:2], strict=True)]
    local = [
        {"metadata": {"name": name, "namespace": namespace}, "rules": rules}
        for (name, namespace), rules in zip(product("rs", "nm"), roles[2:], strict=True)
    ]
    made = [
        binding(f"b{index}", name, *subjects, namespace=namespace, kind=kind if namespace else "ClusterRole")
        for index, (namespace, kind, name, subjects) in enumerate(bindings)
    ]
    return Source(
        clusterroles=cluster,
        roles=local,
        clusterrolebindings=[item for item in made if "namespace" not in item["metadata"]],
        rolebindings=[item for item in made if "namespace" in item["metadata"]],
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(RULES, min_size=6, max_size=6), BINDINGS, WHO, st.lists(INFOS, min_size=1, max_size=4), st.data())
def test_the_index_decides_as_the_documentation_does(
    roles: list[list[Object]], bindings: Any, user: User, infos: list[RequestInfo], data: st.DataObject
) -> None:
    """Also after every role and binding has changed, one at a time, and again when all is gone."""
    source = world(roles, bindings)
    authorizer = RoleAuthorizer(source)
    for info in infos:
        assert authorizer.decide(user, info).allowed is naive(source, user, info)
    changes = st.sampled_from(["rules", "subjects", "gone"])
    for plural in ("clusterroles", "roles", "clusterrolebindings", "rolebindings"):
        for obj in list(source.list(f"{plural}.{GROUP}")):
            how = data.draw(changes)
            key, made = ("rules", RULES) if "rules" in obj else ("subjects", SUBJECTS)
            source.put(plural, {**obj, key: data.draw(made)}, gone=how == "gone")
            assert authorizer.decide(user, infos[0]).allowed is naive(source, user, infos[0])
    for plural in ("clusterrolebindings", "rolebindings", "roles", "clusterroles"):
        for obj in list(source.list(f"{plural}.{GROUP}")):
            source.put(plural, obj, gone=True)
    assert not any(authorizer.decide(user, info).allowed for info in infos)
    index = authorizer._index
    assert (index._grants, index._subjects, index._rules) == ({}, {}, {}), "nothing is left behind"


# ---------------------------------------------------------------------- nobody gives away what he does not have


@pytest.mark.parametrize(
    ("owned", "wanted", "missing"),
    [
        ([rule("get", "pods")], [rule("get", "pods")], ""),
        ([rule("get", "pods")], [rule("get list", "pods")], '{APIGroups:[""], Resources:["pods"], Verbs:["list"]}'),
        (
            [],
            [rule("get list", "pods"), rule("*", "jobs", "batch", names="a")],
            '{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}\n'
            '{APIGroups:["batch"], Resources:["jobs"], ResourceNames:["a"], Verbs:["*"]}',
        ),
        ([rule("*", "*", "*")], [rule("get", "pods/log", "'' apps", names="x")], ""),
        (
            [rule("get", "pods", names="a")],
            [rule("get", "pods")],
            '{APIGroups:[""], Resources:["pods"], Verbs:["get"]}',
        ),
        ([rule("get", "pods")], [rule("get", "pods", names="a")], ""),
        ([rule("get", "*/log")], [rule("get", "pods/log")], ""),
        ([rule("get", "pods"), rule("list", "pods")], [rule("get list", "pods")], ""),
        ([rule("get", paths="/x/*")], [rule("get", paths="/x/y")], ""),
        ([rule("get", paths="/x/y")], [rule("get", paths="/x/*")], '{NonResourceURLs:["/x/*"], Verbs:["get"]}'),
    ],
)
def test_what_somebody_lacks(owned: list[Object], wanted: list[Object], missing: str) -> None:
    assert shown(missing_from(parse_rules({"rules": owned}), wanted)) == missing


@settings(max_examples=40, deadline=None)
@given(RULES, RULES, st.lists(INFOS, min_size=1, max_size=6))
def test_who_lacks_nothing_may_do_it_all(owned: list[Object], wanted: list[Object], infos: list[RequestInfo]) -> None:
    """So no request is allowed by rules that were given away and not by those of the giver."""
    own = parse_rules({"rules": owned})
    assert missing_from(own, owned) == []
    if not missing_from(own, wanted):
        for info in infos:
            if any(naive_allows(written, info) for written in wanted):
                assert any(rule.allows(info) for rule in own)
