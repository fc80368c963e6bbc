"""Fills Secrets of type ``kubernetes.io/service-account-token``, and deletes those whose account is gone.

Such a token has no end: it holds as long as its Secret does.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, ClassVar

from apilayer.api.status import StatusError
from apilayer.client.interface import Ref
from apilayer.controllers.controller import MANAGER, Controller, is_ending

if TYPE_CHECKING:
    from collections.abc import Callable

    from apilayer.client.interface import Change, Cluster, Object

    Issue = Callable[[Object, Object], str]
    """A token for an account (first) that is kept in a Secret."""

OBJECT_TYPE = "kubernetes.io/service-account-token"
ACCOUNT_NAME = "kubernetes.io/service-account.name"
ACCOUNT_UID = "kubernetes.io/service-account.uid"


class AccountSecrets(Controller):
    """One Secret at a time. Without `issue` there is no key to sign with, and nothing is done."""

    name: ClassVar[str] = "serviceaccount-token-controller"

    def __init__(self, cluster: Cluster, issue: Issue | None, root_ca: str) -> None:
        self._issue = issue
        self._root_ca = root_ca
        super().__init__(cluster)

    def register(self) -> None:
        """Follows Secrets and service accounts."""
        if self._issue is not None:
            self.cluster.follow("secrets", self._secret_changed)
            self.cluster.follow("serviceaccounts", self._account_changed)

    def _secret_changed(self, change: Change) -> None:
        if change.new is not None:
            self.queue.add(change.ref)

    def _account_changed(self, change: Change) -> None:
        """A new account may be one that a Secret has waited for; one that is gone takes its Secrets along."""
        if change.old is not None and change.new is not None:
            return
        for snapshot in self.cluster.cached("secrets", change.ref.namespace):
            secret = snapshot.object()
            if account_of(secret) == change.ref.name:
                self.queue.add(Ref("secrets", change.ref.namespace, secret["metadata"]["name"]))

    async def sync(self, ref: Ref) -> None:
        """One Secret."""
        snapshot = self.cluster.cached_one(ref)
        secret = snapshot.object() if snapshot is not None else {}
        name = account_of(secret)
        if self._issue is None or not name or is_ending(secret):
            return
        uid = secret["metadata"].get("uid", "")
        account = await self._account(Ref("serviceaccounts", ref.namespace, name), secret)
        try:
            if account is None:
                await self.cluster.delete(ref, uid)
            elif filled(secret, account, self._issue, self._root_ca) != secret:
                issue, root_ca = self._issue, self._root_ca
                await self.cluster.change(ref, lambda old: filled(old, account, issue, root_ca), MANAGER)
        except StatusError as error:
            if error.code not in (404, 409):
                raise

    async def _account(self, ref: Ref, secret: Object) -> Object | None:
        """The account that the Secret is for, None when it is gone; that is believed of the store only."""
        snapshot = self.cluster.cached_one(ref)
        account = snapshot.object() if snapshot is not None else None
        if account is not None and is_meant(secret, account):
            return account
        try:
            account = await self.cluster.get(ref)
        except StatusError as error:
            if error.code != 404:
                raise
            return None
        return account if is_meant(secret, account) else None


def account_of(secret: Object) -> str:
    """The name of the account whose token the Secret is to hold, "" for other Secrets."""
    if secret.get("type") != OBJECT_TYPE:
        return ""
    return str((secret["metadata"].get("annotations") or {}).get(ACCOUNT_NAME, ""))


def is_meant(secret: Object, account: Object) -> bool:
    """Whether the account is the one that the Secret names, and no other of its name."""
    uid = (secret["metadata"].get("annotations") or {}).get(ACCOUNT_UID, "")
    return not uid or uid == account["metadata"].get("uid")


def filled(secret: Object, account: Object, issue: Issue, root_ca: str) -> Object:
    """The Secret with what it lacks: the account's uid, CA, namespace, token."""
    metadata, data = secret["metadata"], dict(secret.get("data") or {})
    annotations = {**(metadata.get("annotations") or {}), ACCOUNT_UID: account["metadata"]["uid"]}
    if root_ca:
        data["ca.crt"] = _encoded(root_ca)
    data.setdefault("namespace", _encoded(metadata["namespace"]))
    if not data.get("token"):
        data["token"] = _encoded(issue(account, secret))
    return {**secret, "metadata": {**metadata, "annotations": annotations}, "data": data}


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
