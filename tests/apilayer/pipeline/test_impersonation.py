"""Acting as somebody else: what the headers say, which rights that takes in each mode, and who one is then."""

from __future__ import annotations

from functools import reduce

import pytest

from apilayer.api.status import StatusError
from apilayer.pipeline.authentication import ANONYMOUS, User
from apilayer.pipeline.authorization import Constant, Privileged, Verdict
from apilayer.pipeline.impersonation import impersonate
from apilayer.pipeline.request import joined
from apilayer.pipeline.request_info import RequestInfo, parse

INFO = parse("GET", "/api/v1/namespaces/n/pods")
MASTER = User("admin", groups=("system:masters",))
BOB = User("bob", groups=("devs", "system:authenticated"))
ACCOUNT = "system:serviceaccount:ns:sa"
ON_NODE = User(ACCOUNT, extra=(("authentication.kubernetes.io/node-name", ("n1",)),))


class May(Constant):
    """Allows these alone: ``verb|group|resource|namespace|name``."""

    def __init__(self, *allowed: str) -> None:
        super().__init__(Verdict(False))
        self.allowed = allowed
        self.asked: list[str] = []

    def decide(self, user: User, info: RequestInfo) -> Verdict:
        part = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
        self.asked.append(f"{info.verb}|{info.group}|{part}|{info.namespace}|{info.name}")
        return Verdict(self.asked[-1] in self.allowed)


def several(*values: str) -> str:
    return reduce(joined, values)


def headers(name: str = "", **more: str) -> dict[str, str]:
    named = {f"impersonate-{key.replace('_', '-')}": value for key, value in more.items()}
    return {"accept": "x", **({"impersonate-user": name} if name else {}), **named}


async def acting(may: Constant | Privileged, user: User, sent: dict[str, str], info: RequestInfo = INFO) -> User:
    return await impersonate(may, user, sent, info)


@pytest.mark.parametrize(
    ("sent", "judged"),
    [
        (headers(), MASTER),
        (headers("jane", group="a,b", uid="7"), User("jane", "7", ("a,b", "system:authenticated"))),
        (headers("jane", group=several("a", "b")), User("jane", groups=("a", "b", "system:authenticated"))),
        (headers("jane", group="system:masters"), User("jane", groups=("system:masters", "system:authenticated"))),
        (headers("jane", group="system:unauthenticated"), User("jane", groups=("system:unauthenticated",))),
        (headers("system:anonymous"), ANONYMOUS),
        (headers("system:anonymous", group="g"), User("system:anonymous", groups=("g", "system:unauthenticated"))),
        (
            headers(ACCOUNT),
            User(ACCOUNT, groups=("system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated")),
        ),
        (headers(ACCOUNT, group="g"), User(ACCOUNT, groups=("g", "system:authenticated"))),
        (headers("system:node:n1"), User("system:node:n1", groups=("system:nodes", "system:authenticated"))),
        (
            headers("system:serviceaccount:NS:sa"),
            User("system:serviceaccount:NS:sa", groups=("system:authenticated",)),
        ),
        (
            headers("jane", **{"extra-acme.com%2fp": "x", "extra-scopes": several("a", "b,c")}),
            User(
                "jane",
                groups=("system:authenticated",),
                extra=(("acme.com/p", ("x",)), ("scopes", ("a", "b,c"))),
            ),
        ),
    ],
)
async def test_who_one_is_then(sent: dict[str, str], judged: User) -> None:
    assert await acting(Privileged(), MASTER, sent) == judged
    assert sent == {"accept": "x"}, "nothing behind this may see the headers"


FORBIDDEN = 'pods is forbidden: User "{user}" cannot {verb} resource "pods" in API group "" in the namespace "n"'


@pytest.mark.parametrize(
    ("user", "sent", "code", "message"),
    [
        (
            BOB,
            headers("jane", group="system:masters"),
            403,
            FORBIDDEN.format(user="bob", verb="impersonate-on:user-info:list"),
        ),
        (
            ANONYMOUS,
            headers("jane"),
            403,
            FORBIDDEN.format(user="system:anonymous", verb="impersonate-on:user-info:list"),
        ),
        (BOB, headers(ACCOUNT), 403, FORBIDDEN.format(user="bob", verb="impersonate-on:serviceaccount:list")),
        (BOB, headers("system:node:n1"), 403, FORBIDDEN.format(user="bob", verb="impersonate-on:arbitrary-node:list")),
        (
            ON_NODE,
            headers("system:node:n1"),
            403,
            FORBIDDEN.format(user=ACCOUNT, verb="impersonate-on:associated-node:list"),
        ),
        (
            BOB,
            headers("system:node:n1", group="g"),
            403,
            'users "system:node:n1" is forbidden: User "bob" cannot impersonate resource "users" in API group "" '
            "at the cluster scope",
        ),
        (
            MASTER,
            headers(group="g"),
            400,
            'requested &user.DefaultInfo{Name:"", UID:"", Groups:[]string{"g"}, Extra:map[string][]string(nil)} '
            "without impersonating a user name",
        ),
        (
            MASTER,
            headers(uid="7", extra_k="v"),
            400,
            'requested &user.DefaultInfo{Name:"", UID:"7", Groups:[]string(nil), '
            'Extra:map[string][]string{"k":[]string{"v"}}} without impersonating a user name',
        ),
        (MASTER, headers(several("jane", "root")), 400, "header impersonate-user is given more than once"),
        (MASTER, headers("jane", uid=several("1", "2")), 400, "header impersonate-uid is given more than once"),
    ],
)
async def test_who_may_not(user: User, sent: dict[str, str], code: int, message: str) -> None:
    with pytest.raises(StatusError) as caught:
        await acting(Privileged(), user, sent)
    assert (caught.value.code, str(caught.value)) == (code, message)


AUTH = "authentication.k8s.io"
PLAIN = ("impersonate||users||jane", "impersonate||groups||g") + (
    f"impersonate|{AUTH}|uids||7",
    f"impersonate|{AUTH}|userextras/a.b/k||v",
)
CONSTRAINED = (
    "impersonate-on:user-info:list||pods|n|",
    f"impersonate:user-info|{AUTH}|users||jane",
    f"impersonate:user-info|{AUTH}|uids||7",
    f"impersonate:user-info|{AUTH}|groups||g",
    f"impersonate:user-info|{AUTH}|userextras/a.b/k||v",
)


@pytest.mark.parametrize("rights", [PLAIN, CONSTRAINED])
async def test_each_part_of_somebody_must_be_allowed(rights: tuple[str, ...]) -> None:
    def sent() -> dict[str, str]:
        return headers("jane", group="g", uid="7", **{"extra-a.b%2fk": "v"})

    assert (await acting(May(*rights), BOB, sent())).name == "jane"
    for missing in rights:
        may = May(*(right for right in rights if right != missing))
        with pytest.raises(StatusError) as caught:
            await acting(may, BOB, sent())
        assert caught.value.code == 403
        assert missing in may.asked


@pytest.mark.parametrize(
    ("user", "name", "rights"),
    [
        (
            BOB,
            ACCOUNT,
            ["impersonate-on:serviceaccount:list||pods|n|", f"impersonate:serviceaccount|{AUTH}|serviceaccounts|ns|sa"],
        ),
        (
            BOB,
            "system:node:n1",
            ["impersonate-on:arbitrary-node:list||pods|n|", f"impersonate:arbitrary-node|{AUTH}|nodes||n1"],
        ),
        (
            ON_NODE,
            "system:node:n1",
            ["impersonate-on:associated-node:list||pods|n|", f"impersonate:associated-node|{AUTH}|nodes||*"],
        ),
        (BOB, ACCOUNT, ["impersonate||serviceaccounts|ns|sa"]),
        (BOB, "system:node:n1", ["impersonate||users||system:node:n1"]),
        (BOB, "system:serviceaccount:NS:sa", ["impersonate||users||system:serviceaccount:NS:sa"]),
        (BOB, "system:serviceaccount:ns:a:b", ["impersonate||users||system:serviceaccount:ns:a:b"]),
    ],
)
async def test_modes_and_their_rights(user: User, name: str, rights: list[str]) -> None:
    assert (await acting(May(*rights), user, headers(name))).name == name
    for missing in rights:
        with pytest.raises(StatusError):
            await acting(May(*(right for right in rights if right != missing)), user, headers(name))


@pytest.mark.parametrize("user", [BOB, ON_NODE])
async def test_an_account_is_not_taken_for_another_node(user: User) -> None:
    rights = ["impersonate-on:associated-node:list||pods|n|", f"impersonate:associated-node|{AUTH}|nodes||*"]
    with pytest.raises(StatusError):
        await acting(May(*rights), user, headers("system:node:n2"))


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (headers("jane", group="system:masters"), "impersonating the system:masters group is not allowed"),
        (headers("jane", group=""), "impersonating the empty string group is not allowed"),
        (headers("jane", extra_k="v"), "impersonating an invalid key in extra is not allowed: extra.key: Invalid"),
        (headers("jane", **{"extra-a.b%2fk": ""}), "impersonating the empty string value in extra is not allowed"),
    ],
)
async def test_what_constrained_modes_never_allow(sent: dict[str, str], reason: str) -> None:
    class Constrained(May):
        def decide(self, user: User, info: RequestInfo) -> Verdict:
            return Verdict(info.verb != "impersonate")

    with pytest.raises(StatusError) as caught:
        await acting(Constrained(), BOB, sent)
    assert f": {reason}" in caught.value.status["message"]


async def test_a_right_to_all_groups_is_asked_for_once() -> None:
    many = several("a", "b", "c", "d")
    all_groups = May(*CONSTRAINED[:2], f"impersonate:user-info|{AUTH}|groups||*")
    assert len((await acting(all_groups, BOB, headers("jane", group=many))).groups) == 5
    assert len(all_groups.asked) == 3
    with pytest.raises(StatusError):
        await acting(all_groups, BOB, headers("jane", group="a"))
