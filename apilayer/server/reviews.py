"""Reviews: who am I, may I, may somebody, what may I, whom does a token name. Answered at once and kept nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from apilayer.api import meta, status
from apilayer.api.decode import decode_body
from apilayer.api.managed import FieldManager
from apilayer.later import Later
from apilayer.pipeline.authentication import TokenError
from apilayer.pipeline.authorization import verdict_of
from apilayer.pipeline.subject_access import asked_about, evaluation_error, subject_of
from apilayer.registry.options import WriteOptions
from apilayer.server.naming import check_namespace, require_metadata

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apilayer.api.field import FieldError
    from apilayer.api.resources import Resource
    from apilayer.api.validation import reviews as rules
    from apilayer.pipeline.authentication import Authenticator, User
    from apilayer.pipeline.authorization import Authorizer
    from apilayer.pipeline.pipeline import Context
    from apilayer.pipeline.request import Response
    from apilayer.server.forms import Form
else:
    rules = Later("apilayer.api.validation.reviews")

Object = dict[str, Any]


@attrs.frozen
class Access:
    """How this server knows who asks, and what he may do."""

    authenticator: Authenticator
    authorizer: Authorizer


class Reviews:
    """Answers one kind of review each."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._answers = {
            "LocalSubjectAccessReview": self._of_subject,
            "SelfSubjectAccessReview": self._of_oneself,
            "SelfSubjectReview": self._who,
            "SelfSubjectRulesReview": self._rules,
            "SubjectAccessReview": self._of_subject,
            "TokenReview": self._token,
        }

    def answers(self, row: Resource) -> bool:
        """Whether the row is one of reviews."""
        return row.kind in self._answers

    async def handle(self, context: Context, row: Resource, namespace: str, form: Form) -> Response:
        """The review with its status. Raises StatusError."""
        form.require_fit(to_list=False)
        obj, _, warnings = await posted(context, row)
        check_namespace(obj, namespace)
        if namespace:
            obj["metadata"]["namespace"] = namespace
        obj["status"] = await self._answers[row.kind](context.user, obj)
        return form.document(obj, 201, warnings)

    async def _who(self, user: User, obj: Object) -> Object:
        obj["metadata"]["creationTimestamp"] = meta.timestamp(meta.utc_now())
        return {"userInfo": user_info(user)}

    async def _of_oneself(self, user: User, obj: Object) -> Object:
        spec = obj.get("spec") or {}
        _refuse(rules.access_review(spec))
        return await self._decided(user, spec)

    async def _of_subject(self, user: User, obj: Object) -> Object:
        del user
        spec = obj.get("spec") or {}
        if "namespace" in obj["metadata"]:
            _refuse(rules.local_access_review(spec, obj["metadata"]["namespace"]))
        else:
            _refuse(rules.subject_access_review(spec))
        return await self._decided(subject_of(spec), spec)

    async def _decided(self, user: User, spec: Object) -> Object:
        asked = asked_about(spec)
        verdict = await verdict_of(self._access.authorizer, user, asked)
        answer: Object = {"allowed": verdict.allowed}
        if verdict.denied:
            answer["denied"] = True
        if verdict.reason:
            answer["reason"] = verdict.reason
        error = evaluation_error(verdict, asked)
        if error:
            answer["evaluationError"] = error
        return answer

    async def _rules(self, user: User, obj: Object) -> Object:
        namespace = (obj.get("spec") or {}).get("namespace")
        if not namespace:
            raise status.bad_request("no namespace on request")
        rules = self._access.authorizer.rules(user, namespace)
        answer: Object = {
            "resourceRules": list(rules.resources),
            "nonResourceRules": list(rules.paths),
            "incomplete": bool(rules.error),
        }
        if rules.error:
            answer["evaluationError"] = rules.error
        return answer

    async def _token(self, user: User, obj: Object) -> Object:
        del user
        spec = obj.get("spec") or {}
        if not spec.get("token"):
            raise status.bad_request("token is required for TokenReview in authentication")
        try:
            found = await self._access.authenticator.of_token(spec["token"], spec.get("audiences") or ())
        except TokenError as error:
            return {"user": {}, "error": str(error)}
        answer: Object = {"authenticated": True, "user": user_info(found.user)}
        if found.audiences:
            answer["audiences"] = list(found.audiences)
        return answer


async def posted(context: Context, row: Resource, subresource: str = "") -> tuple[Object, WriteOptions, list[str]]:
    """An object of the row that is kept nowhere, with managedFields that say who wrote it; options; warnings.

    Raises StatusError.
    """
    body = await context.request.read_body()
    user_agent = context.request.headers.get("user-agent", "")
    options = WriteOptions.parse(context.query, "CreateOptions", user_agent=user_agent)
    content_type = context.request.headers.get("content-type")
    decoded = decode_body(body, content_type, row, field_validation=options.field_validation)
    obj = require_metadata(decoded.object)
    obj.pop("status", None)
    if row.kind == "TokenRequest":
        spec = obj.setdefault("spec", {})
        if not spec.get("expirationSeconds"):
            spec["expirationSeconds"] = 3600
    FieldManager(row, subresource).update(None, obj, options.manager, meta.timestamp(meta.utc_now()))
    return obj, options, decoded.warnings


def user_info(user: User) -> Object:
    """A user as reviews show him."""
    shown: Object = {"username": user.name, "uid": user.uid, "groups": list(user.groups)}
    shown["extra"] = {name: list(values) for name, values in user.extra}
    return {key: value for key, value in shown.items() if value}


def _refuse(errors: Sequence[FieldError]) -> None:
    """Raises StatusError 422; the kind is left out, as kube-apiserver leaves it out."""
    if errors:
        raise status.invalid("", "authorization.k8s.io", "", errors)
