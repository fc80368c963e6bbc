"""Secrets that hold the token of a service account: filled, and gone with the account."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from apilayer.client.interface import Ref
from apilayer.controllers.account_secrets import OBJECT_TYPE, AccountSecrets, account_of, filled, is_meant

if TYPE_CHECKING:
    from tests.apilayer.controllers.conftest import World

Object = dict[str, Any]
NAME, UID = "kubernetes.io/service-account.name", "kubernetes.io/service-account.uid"


def secret(name: str = "t", account: str = "sa", **annotations: str) -> Object:
    return {"metadata": {"name": name, "annotations": {NAME: account, **annotations}}, "type": OBJECT_TYPE}


def decoded(obj: Object) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in obj["data"].items()}


def issue(account: Object, kept_in: Object) -> str:
    return f"token of {account['metadata']['uid']} in {kept_in['metadata']['name']}"


def test_what_a_secret_lacks() -> None:
    account: Object = {"metadata": {"name": "sa", "uid": "u"}}
    bare = secret()
    bare["metadata"]["namespace"] = "ns"
    whole = filled(bare, account, issue, "CA")
    assert decoded(whole) == {"ca.crt": "CA", "namespace": "ns", "token": "token of u in t"}
    assert whole["metadata"]["annotations"] == {NAME: "sa", UID: "u"}
    assert filled(whole, account, lambda *_: "another", "CA") == whole, "a token that is there stays"
    assert "ca.crt" not in filled(bare, account, issue, "")["data"]


def test_whose_secret_it_is() -> None:
    assert account_of(secret()) == "sa"
    assert account_of({**secret(), "type": "Opaque"}) == ""
    assert account_of({"metadata": {}, "type": OBJECT_TYPE}) == ""
    account: Object = {"metadata": {"uid": "u"}}
    assert is_meant(secret(), account)
    assert is_meant(secret(**{UID: "u"}), account)
    assert not is_meant(secret(**{UID: "v"}), account)


async def test_secrets_are_filled_and_go_with_their_account(world: World) -> None:
    account = await world.create("serviceaccounts", {"metadata": {"name": "sa"}})
    await world.start(lambda cluster: AccountSecrets(cluster, issue, "CA"))
    for obj in (secret(), secret("other", UID="x", **{UID: "another"}), secret("nobodys", "nobody")):
        await world.create("secrets", obj)
    await world.create("secrets", {"metadata": {"name": "plain"}, "type": "Opaque"})
    uid = account["metadata"]["uid"]
    found = await world.until(Ref("secrets", "default", "t"), lambda obj: obj and "token" in (obj.get("data") or {}))
    assert found is not None
    assert decoded(found)["token"] == f"token of {uid} in t"
    await world.eventually(lambda: world.names("secrets", "default"), lambda names: names == {"t", "plain"})
    await world.delete(Ref("serviceaccounts", "default", "sa"))
    await world.eventually(lambda: world.names("secrets", "default"), lambda names: names == {"plain"})
