"""TokenRequests: tokens for service accounts.

Source: Kubernetes' ``pkg/registry/core/serviceaccount/storage/token.go``.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import attrs

from apilayer.admission.plugin import CREATE
from apilayer.api import field, meta, status
from apilayer.api.resources import Resource
from apilayer.later import Later
from apilayer.pipeline.account_tokens import Bindings
from apilayer.server.form_choice import form_of
from apilayer.server.reviews import posted

if TYPE_CHECKING:
    from apilayer.api.validation import reviews as rules
    from apilayer.pipeline.account_tokens import AccountTokens
    from apilayer.pipeline.request import Response
    from apilayer.registry.registry import Registry
    from apilayer.server.forms import Form
    from apilayer.server.resources import Call
else:
    rules = Later("apilayer.api.validation.reviews")

Object = dict[str, Any]

TOKEN_REQUEST = Resource("authentication.k8s.io", "v1", "tokenrequests", "TokenRequest", namespaced=True, virtual=True)
PROJECTED_SECONDS = 3607
"""What the ServiceAccount admission plugin asks for; such tokens of pods hold for longer than they say."""
ISSUED = "authentication.kubernetes.io/issued-credential-id"
"""The audit annotation that says which token was issued."""
EXTENDED_SECONDS = 365 * 24 * 3600


@attrs.frozen
class TokenIssuer:
    """Issues what requests ask for, within the bounds that flags set (0: none)."""

    tokens: AccountTokens
    max_seconds: int = 0
    extend: bool = True
    keys_uri: str = ""
    """Where others find the keys that verify the tokens; "": at this server."""

    async def handle(self, registry: Registry, call: Call, form: Form) -> Response:
        """The request with its token. Raises StatusError."""
        form = form_of(call.context, TOKEN_REQUEST)
        form.require_fit(to_list=False)
        obj, options, warnings = await posted(call.context, TOKEN_REQUEST, call.subresource)
        review = call.admission.review(CREATE, call.api.resource, call.subresource, call.namespace, call.name, options)
        await review.mutate(obj, None)
        _check_names(obj, call)
        account = (await registry.of("serviceaccounts").store.get(call.namespace, call.name)).object()
        spec, now = obj["spec"], meta.utc_now()
        if not spec.get("audiences"):
            spec["audiences"] = list(self.tokens.audiences)
        obj["metadata"] |= {key: account["metadata"][key] for key in ("name", "namespace", "uid")}
        obj["metadata"]["creationTimestamp"] = meta.timestamp(now)
        errors = rules.token_request(spec)
        if errors:
            raise status.invalid("TokenRequest", TOKEN_REQUEST.group, "", errors)
        await review.validate(obj, None)
        await review.reserve(obj, None)
        bindings = await _bindings(registry, call, spec.get("boundObjectRef"))
        if 0 < self.max_seconds < spec["expirationSeconds"]:
            asked, most = spec["expirationSeconds"], self.max_seconds
            warnings.append(f"requested expiration of {asked} seconds shortened to {most} seconds")
            spec["expirationSeconds"] = self.max_seconds
        token_id = str(uuid4())
        token = self._issued(account, bindings, spec, token_id)
        call.context.record.annotate(ISSUED, f"JTI={token_id}")
        end = meta.timestamp(now + timedelta(seconds=spec["expirationSeconds"]))
        spec.setdefault("boundObjectRef", None)
        shown = {key: spec[key] for key in ("audiences", "expirationSeconds", "boundObjectRef")}
        made = {**obj, "spec": shown, "status": {"token": token, "expirationTimestamp": end}}
        return form.document(made, 201, warnings)

    def _issued(self, account: Object, bindings: Bindings, spec: Object, token_id: str) -> str:
        issue = partial(self.tokens.issue, account, bindings, spec["audiences"], token_id=token_id)
        seconds = spec["expirationSeconds"]
        projected = bindings.pod is not None and seconds == PROJECTED_SECONDS
        if self.extend and projected and set(spec["audiences"]) <= set(self.tokens.audiences):
            return issue(EXTENDED_SECONDS, warn_after=seconds)
        return issue(seconds)


def _check_names(obj: Object, call: Call) -> None:
    wrong = []
    for key, wanted in (("name", call.name), ("namespace", call.namespace)):
        given = obj["metadata"].get(key)
        if given and given != wanted:
            detail = f"must match the service account {key} if specified"
            wrong.append(field.invalid(f"metadata.{key}", given, detail))
    if wrong:
        raise status.invalid("TokenRequest", TOKEN_REQUEST.group, call.name, wrong[:1])


async def _bindings(registry: Registry, call: Call, reference: Object | None) -> Bindings:
    """The objects that the token is to be bound to. Raises StatusError 400, 404, 409."""
    if reference is None:
        return Bindings()
    name, kind = reference.get("name") or "", reference.get("kind") or ""
    group, _, version = (reference.get("apiVersion") or "").rpartition("/")

    async def get(resource: str, namespace: str, of: str) -> Object:
        return (await registry.of(resource).store.get(namespace, of)).object()

    if group or kind not in ("Pod", "Secret", "Node"):
        raise status.bad_request(f"cannot bind token to object of type {group}/{version}, Kind={kind}")
    if kind == "Pod":
        bound = await get("pods", call.namespace, name)
        if (bound.get("spec") or {}).get("serviceAccountName") != call.name:
            raise status.bad_request(
                f'cannot bind token for serviceaccount "{call.name}" to pod running with different serviceaccount name.'
            )
        bindings = Bindings(pod=bound, node=await _node_of(get, bound))
    elif kind == "Secret":
        bound = await get("secrets", call.namespace, name)
        bindings = Bindings(secret=bound)
    else:
        bound = await get("nodes", "", name)
        bindings = Bindings(node=bound)
    given = reference.get("uid")
    if given and given != bound["metadata"]["uid"]:
        raise status.conflict(
            kind,
            "",
            name,
            f"the UID in the bound object reference ({given}) does not match the UID in record. "
            "The object might have been deleted and then recreated",
        )
    return bindings


async def _node_of(get: Any, pod: Object) -> Object | None:
    """The node that the pod is on; its name alone when that is gone."""
    name = (pod.get("spec") or {}).get("nodeName")
    if not name:
        return None
    try:
        found: Object = await get("nodes", "", name)
    except status.StatusError as error:
        if error.code != 404:
            raise
        return {"metadata": {"name": name}}
    return found
