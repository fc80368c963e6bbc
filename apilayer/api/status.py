"""Kubernetes ``Status`` answers: the one error type of the API and constructors for each case.

Source: Kubernetes API conventions, "Response Status Kind", and apimachinery's ``api/errors``. Key order is
that of the real server. Texts here are complete; nothing secret is ever put into a message by this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api.gotext import quote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from apilayer.api.field import FieldError

Status = dict[str, Any]

_MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


class StatusError(Exception):
    """A request that ends with a failure: the HTTP code, the whole `Status` object and extra headers."""

    def __init__(self, code: int, status: Status, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(status.get("message", ""))
        self.code = code
        self.status = status
        self.headers = headers


def _failure(code: int, reason: str, message: str, details: Mapping[str, Any] | None = None) -> Status:
    status: Status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
    }
    if reason:
        status["reason"] = reason
    if details is not None:
        status["details"] = dict(details)
    status["code"] = code
    return status


def _error(code: int, reason: str, message: str, details: Mapping[str, Any] | None = None) -> StatusError:
    return StatusError(code, _failure(code, reason, message, details))


def _details(name: str, group: str, kind: str) -> dict[str, Any]:
    pairs = (("name", name), ("group", group), ("kind", kind))
    return {key: value for key, value in pairs if value}


def _qualified(resource: str, group: str) -> str:
    return f"{resource}.{group}" if group else resource


def success(details: Mapping[str, Any]) -> Status:
    """The Status of a deletion that is done; `details` has name, group, kind (the plural) and uid."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {key: value for key, value in details.items() if value},
    }


def done(code: int) -> Status:
    """The Status of a subresource that did what was asked, such as a binding."""
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code}


def raw(code: int, message: str) -> StatusError:
    """A failure without reason and details, as the server answers for errors of plain Go type."""
    return _error(code, "", message)


def bad_request(message: str) -> StatusError:
    """400: the request cannot be understood."""
    return _error(400, "BadRequest", message)


def unauthorized() -> StatusError:
    """401: no credentials, or wrong ones; the text never says which."""
    return _error(401, "Unauthorized", "Unauthorized")


def forbidden(
    resource: str,
    group: str,
    name: str,
    message: str,
    causes: Sequence[Mapping[str, str]] = (),
) -> StatusError:
    """403: `resource` "name" is forbidden: `message` (see `forbidden_verb` for the authorizer's text)."""
    qualified = _qualified(resource, group)
    head = f"{qualified} {quote(name)}" if name else qualified
    text = f"{head} is forbidden: {message}" if qualified else f"forbidden: {message}"
    details = _details(name, group, resource)
    if causes:
        details["causes"] = [dict(cause) for cause in causes]
    return _error(403, "Forbidden", text, details)


def forbidden_verb(user: str, verb: str, resource: str, group: str, namespace: str, name: str) -> StatusError:
    """403 of the authorizer: `user` may not `verb` the resource ("pods" or "pods/status") there."""
    scope = f"in the namespace {quote(namespace)}" if namespace else "at the cluster scope"
    message = f"User {quote(user)} cannot {verb} resource {quote(resource)} in API group {quote(group)} {scope}"
    return forbidden(resource.partition("/")[0], group, name, message)


def forbidden_path(user: str, verb: str, path: str) -> StatusError:
    """403 of the authorizer for a path that is no resource, e.g. /healthz."""
    message = f"forbidden: User {quote(user)} cannot {verb} path {quote(path)}"
    return _error(403, "Forbidden", message, {})


def namespace_terminating(resource: str, group: str, name: str, namespace: str) -> StatusError:
    """403: nothing new may be created in a namespace that is being deleted."""
    message = f"unable to create new content in namespace {namespace} because it is being terminated"
    cause = {
        "reason": "NamespaceTerminating",
        "message": f"namespace {namespace} is being terminated",
        "field": "metadata.namespace",
    }
    return forbidden(resource, group, name, message, [cause])


def not_found(resource: str, group: str, name: str) -> StatusError:
    """404: no object of that name."""
    message = f"{_qualified(resource, group)} {quote(name)} not found"
    return _error(404, "NotFound", message, _details(name, group, resource))


def unknown_path_not_found() -> StatusError:
    """404: a served group and version, but no such resource."""
    return _error(404, "NotFound", "the server could not find the requested resource", {})


def method_not_allowed() -> StatusError:
    """405: the resource exists, the method does not apply to it."""
    return _error(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def not_implemented(what: str) -> StatusError:
    """501: clients know this path, this server has nothing behind it."""
    return _error(501, "NotImplemented", f"{what} is not implemented by this server")


def not_acceptable(accepted: Sequence[str]) -> StatusError:
    """406: none of the media types asked for can be produced."""
    listed = ", ".join(accepted)
    return _error(406, "NotAcceptable", f"only the following media types are accepted: {listed}")


def already_exists(resource: str, group: str, name: str) -> StatusError:
    """409: an object of that name exists."""
    message = f"{_qualified(resource, group)} {quote(name)} already exists"
    return _error(409, "AlreadyExists", message, _details(name, group, resource))


def generated_name_taken(resource: str, group: str, name: str) -> StatusError:
    """409: an object of the name exists that was generated, or that was given to one which could have got another."""
    error = already_exists(resource, group, name)
    error.status["message"] += ", the server was not able to generate a unique name for the object"
    error.status["details"]["retryAfterSeconds"] = 1
    return StatusError(409, error.status, (("Retry-After", "1"),))


def conflict(resource: str, group: str, name: str, message: str = _MODIFIED) -> StatusError:
    """409: a precondition of the write does not hold (by default: stale resourceVersion)."""
    text = f"Operation cannot be fulfilled on {_qualified(resource, group)} {quote(name)}: {message}"
    return _error(409, "Conflict", text, _details(name, group, resource))


def apply_conflict(message: str, causes: Sequence[Mapping[str, str]]) -> StatusError:
    """409: an apply would change fields that other managers own; one cause per field."""
    return _error(409, "Conflict", message, {"causes": [dict(cause) for cause in causes]})


def expired(message: str, continue_token: str | None = None) -> StatusError:
    """410: the revision asked for was compacted; `continue_token` resumes inconsistently where that helps."""
    status = _failure(410, "Expired", message)
    if continue_token is not None:
        status["metadata"] = {"continue": continue_token}
    return StatusError(410, status)


def request_entity_too_large(limit: int) -> StatusError:
    """413: the body is larger than `limit` bytes."""
    return _error(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}")


def too_many_items(message: str) -> StatusError:
    """413 for a body within the size limit that holds too many parts, e.g. patch operations."""
    return _error(413, "RequestEntityTooLarge", message)


def unsupported_media_type(accepted: Sequence[str]) -> StatusError:
    """415: the body's Content-Type is none of `accepted`."""
    listed = ", ".join(accepted)
    message = f"the body of the request was in an unknown format - accepted media types include: {listed}"
    return _error(415, "UnsupportedMediaType", message)


def invalid(kind: str, group: str, name: str, errors: Sequence[FieldError]) -> StatusError:
    """422: the object breaks the rules in `errors`; the message lists each different text once, in order."""
    texts = list(dict.fromkeys(str(error) for error in errors))
    head = f"{_qualified(kind, group)} {quote(name)} is invalid"
    if len(texts) == 1:
        message = f"{head}: {texts[0]}"
    elif texts:
        message = f"{head}: [{', '.join(texts)}]"
    else:
        message = head
    details = _details(name, group, kind)
    if errors:
        details["causes"] = [
            {"reason": error.reason, "message": error.message, "field": error.path} for error in errors
        ]
    return _error(422, "Invalid", message, details)


def unprocessable() -> StatusError:
    """422 without field errors, as for a JSON patch that cannot be applied."""
    return _error(422, "Invalid", "the server rejected our request due to an error in our request", {})


def too_many_requests(message: str, retry_after_seconds: int = 1) -> StatusError:
    """429: over a rate or a queue bound; try again later."""
    status = _failure(429, "TooManyRequests", message, {"retryAfterSeconds": retry_after_seconds})
    return StatusError(429, status, (("Retry-After", str(retry_after_seconds)),))


def disruption_budget(message: str, retry_after_seconds: int) -> StatusError:
    """429: evicting the pod would violate its budget; `message` says how."""
    error = too_many_requests("Cannot evict pod as it would violate the pod's disruption budget.", retry_after_seconds)
    error.status["details"] = {"causes": [{"reason": "DisruptionBudget", "message": message}]}
    if retry_after_seconds:
        error.status["details"]["retryAfterSeconds"] = retry_after_seconds
        return error
    return StatusError(429, error.status)


def internal_error(message: str) -> StatusError:
    """500: a fault of the server."""
    return _error(
        500,
        "InternalError",
        f"Internal error occurred: {message}",
        {"causes": [{"message": message}]},
    )


def service_unavailable(message: str) -> StatusError:
    """503: the server cannot reach what it needs, e.g. its store."""
    return _error(503, "ServiceUnavailable", message)


def timeout(message: str, retry_after_seconds: int = 0) -> StatusError:
    """504: the request was not completed within its time."""
    details: dict[str, Any] = {"retryAfterSeconds": retry_after_seconds} if retry_after_seconds else {}
    headers = (("Retry-After", str(retry_after_seconds)),) if retry_after_seconds else ()
    return StatusError(504, _failure(504, "Timeout", f"Timeout: {message}", details), headers)


def too_large_resource_version(requested: int, current: int) -> StatusError:
    """504: a read at a revision that the server has not seen."""
    text = "Too large resource version"
    details = {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": text}],
        "retryAfterSeconds": 1,
    }
    message = f"Timeout: {text}: {requested}, current: {current}"
    return StatusError(504, _failure(504, "Timeout", message, details), (("Retry-After", "1"),))
