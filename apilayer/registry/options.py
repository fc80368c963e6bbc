"""Query parameters and request options of the resource API, parsed and validated with Kubernetes' texts.

Source: Kubernetes API concepts (resource versions, list options) and apimachinery's meta/v1 validation.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs

import attrs

from apilayer.api import field, status
from apilayer.api.gotext import quote
from apilayer.api.managed import manager_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apilayer.admission.chain import Admission
    from apilayer.api.decode import FieldValidation
    from apilayer.api.field import FieldError
    from apilayer.api.resources import Resource

Query = dict[str, list[str]]

MAX_QUERY_FIELDS = 100
MAX_REMEMBERED_CHARS = 512
"""Longer queries are parsed each time, so that what is remembered stays small."""
_META_GROUP = "meta.k8s.io"
IGNORE_READ_ERROR = "ignoreStoreReadErrorWithClusterBreakingPotential"
_POLICIES = ("Foreground", "Background", "Orphan")
_VALIDATIONS = ("", "Ignore", "Strict", "Warn")
MAX_FIELD_MANAGER = 128


def parse_query(text: str) -> Query:
    """The query string as name -> values, shared: do not change. Raises StatusError 400 for too many fields."""
    return _parse_short_query(text) if len(text) <= MAX_REMEMBERED_CHARS else _parse_query(text)


def _parse_query(text: str) -> Query:
    if not text:
        return {}
    try:
        return parse_qs(text, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
    except ValueError as error:
        raise status.bad_request(f"invalid query: at most {MAX_QUERY_FIELDS} parameters") from error


_parse_short_query = lru_cache(maxsize=1024)(_parse_query)


def _text(query: Query, name: str) -> str:
    values = query.get(name)
    return values[0] if values else ""


def _flag(query: Query, name: str) -> bool | None:
    values = query.get(name)
    if not values:
        return None
    return values[0].lower() not in ("false", "0")


def _integer(query: Query, name: str) -> int | None:
    values = query.get(name)
    if not values:
        return None
    return parse_int(values[0])


def parse_int(text: str) -> int:
    """A signed 64-bit decimal. Raises StatusError 400 with Go's text."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdecimal()):
        raise status.bad_request(f"strconv.ParseInt: parsing {quote(text)}: invalid syntax")
    if len(digits) > 19 or not -(2**63) <= int(text) < 2**63:
        raise status.bad_request(f"strconv.ParseInt: parsing {quote(text)}: value out of range")
    return int(text)


def parse_revision(text: str) -> int:
    """A resourceVersion; "" is 0. Raises ValueError with Go's text."""
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"strconv.ParseUint: parsing {quote(text)}: invalid syntax")
    if len(text) > 20 or int(text) >= 2**64:
        raise ValueError(f"strconv.ParseUint: parsing {quote(text)}: value out of range")
    return int(text)


def named_revision(text: str) -> int:
    """Like `parse_revision`, with the field named in the ValueError."""
    try:
        return parse_revision(text)
    except ValueError as error:
        raise ValueError(f"resourceVersion: Invalid value: {quote(text)}: {error}") from error


@attrs.frozen
class ListOptions:
    """What a list, watch or deletecollection selects and at which state. Times in seconds."""

    label_selector: str = ""
    field_selector: str = ""
    resource_version: str = ""
    resource_version_match: str = ""
    limit: int = 0
    continue_token: str = ""
    watch: bool = False
    allow_bookmarks: bool = False
    send_initial_events: bool | None = None
    timeout_seconds: int | None = None

    @staticmethod
    def asks_to_watch(query: Query) -> bool:
        """Whether a list with this query is a watch."""
        return bool(query and _flag(query, "watch"))

    @staticmethod
    def parse(query: Query) -> ListOptions:
        """From the query of a request. Raises StatusError 400 or 422."""
        if not query:
            return _NO_LIST_OPTIONS
        return ListOptions(
            label_selector=_text(query, "labelSelector"),
            field_selector=_text(query, "fieldSelector"),
            resource_version=_text(query, "resourceVersion"),
            resource_version_match=_text(query, "resourceVersionMatch"),
            limit=max(0, _integer(query, "limit") or 0),
            continue_token=_text(query, "continue"),
            watch=bool(_flag(query, "watch")),
            allow_bookmarks=bool(_flag(query, "allowWatchBookmarks")),
            send_initial_events=_flag(query, "sendInitialEvents"),
            timeout_seconds=_integer(query, "timeoutSeconds"),
        )

    def validate(self) -> None:
        """Raises StatusError 422 when the options contradict each other."""
        errors = self._watch_errors() if self.watch else self._list_errors()
        if errors:
            raise status.invalid("ListOptions", _META_GROUP, "", errors)

    def _list_errors(self) -> list[FieldError]:
        errors = []
        match = self.resource_version_match
        if match:
            path = "resourceVersionMatch"
            if not self.resource_version:
                errors.append(field.forbidden(path, f"{path} is forbidden unless resourceVersion is provided"))
            if self.continue_token:
                errors.append(field.forbidden(path, f"{path} is forbidden when continue is provided"))
            if match not in ("Exact", "NotOlderThan"):
                errors.append(field.not_supported(path, match, ("Exact", "NotOlderThan", "")))
            if match == "Exact" and self.resource_version == "0":
                errors.append(field.forbidden(path, f'{path} "exact" is forbidden for resourceVersion "0"'))
        if self.send_initial_events is not None:
            errors.append(field.forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
        return errors

    def _watch_errors(self) -> list[FieldError]:
        errors = []
        path = "resourceVersionMatch"
        match = self.resource_version_match
        if self.send_initial_events is not None and match != "NotOlderThan":
            errors.append(field.forbidden(path, f"sendInitialEvents requires setting {path} to NotOlderThan"))
        if match:
            if self.send_initial_events is None:
                errors.append(
                    field.forbidden(path, f"{path} is forbidden for watch unless sendInitialEvents is provided")
                )
            if match != "NotOlderThan":
                errors.append(field.not_supported(path, match, ("NotOlderThan",)))
        if self.continue_token:
            errors.append(field.forbidden(path, f"{path} is forbidden when continue is provided"))
        return errors


_NO_LIST_OPTIONS = ListOptions()


@attrs.frozen
class WriteOptions:
    """What every write takes: dry run or not, how strict unknown fields are treated, and who makes the change.

    Without a manager (the server's own changes) managedFields stay as they are. `force` is for applies: take what
    others own. `row` is the version that the request speaks, None the stored one. Without `admission` no plugin is
    asked. `emptied`: the object may have empty lists that are stored as null (see `apilayer.api.decode.emptied`).
    """

    dry_run: bool = False
    field_validation: FieldValidation = "Warn"
    manager: str = ""
    force: bool = False
    row: Resource | None = None
    admission: Admission | None = None
    emptied: bool = False

    @staticmethod
    def parse(
        query: Query,
        kind: str,
        *,
        user_agent: str = "",
        applies: bool = False,
        row: Resource | None = None,
        admission: Admission | None = None,
        emptied: bool = False,
    ) -> WriteOptions:
        """From the query of a create, update or patch (`kind` is e.g. CreateOptions). Raises StatusError 422.

        `applies` says that a patch is an apply. Without a field manager the User-Agent names the manager.
        """
        if not query and not applies:
            return WriteOptions(manager=_program(user_agent), row=row, admission=admission, emptied=emptied)
        manager = _text(query, "fieldManager")
        force = _flag(query, "force") if kind == "PatchOptions" else None
        errors = []
        if applies and not manager:
            errors.append(field.required("fieldManager", "is required for apply patch"))
        if force is not None and not applies:
            errors.append(field.forbidden("force", "may not be specified for non-apply patch"))
        errors.extend(_field_manager_errors(manager))
        errors.extend(_dry_run_errors(query.get("dryRun")))
        validation = _text(query, "fieldValidation")
        if validation not in _VALIDATIONS:
            errors.append(field.not_supported("fieldValidation", validation, _VALIDATIONS))
        if errors:
            raise status.invalid(kind, _META_GROUP, "", errors)
        strictness = cast("FieldValidation", validation or "Warn")
        by = manager or _program(user_agent)
        return WriteOptions(bool(query.get("dryRun")), strictness, by, bool(force), row, admission, emptied)


@lru_cache(maxsize=256)
def _program(user_agent: str) -> str:
    return manager_name("", user_agent)


def _dry_run_errors(values: list[str] | None) -> list[FieldError]:
    if values and any(value != "All" for value in values):
        return [field.not_supported("dryRun", values, ("All",))]
    return []


def _field_manager_errors(manager: str) -> list[FieldError]:
    if len(manager.encode()) > MAX_FIELD_MANAGER:
        return [field.too_long("fieldManager", manager, MAX_FIELD_MANAGER)]
    for index, char in enumerate(manager):
        if not char.isprintable():
            return [field.invalid("fieldManager", manager, f"invalid character {quote(char)} (at position {index})")]
    return []


@attrs.frozen
class DeleteOptions:
    """How an object is to be deleted. `grace_period_seconds` None: the kind's default.

    Without `admission` no plugin is asked.
    """

    dry_run: bool = False
    grace_period_seconds: int | None = None
    propagation_policy: str | None = None
    orphan_dependents: bool | None = None
    uid: str | None = None
    resource_version: str | None = None
    ignore_read_error: bool = False
    """The object goes although it cannot be read, and only then."""
    admission: Admission | None = None

    @staticmethod
    def parse(query: Query, body: Mapping[str, Any] | None, admission: Admission | None = None) -> DeleteOptions:
        """From the decoded body, or without one from the query. Raises StatusError 400 or 422."""
        if body is None:
            if not query:
                return DeleteOptions(admission=admission)
            raw: dict[str, Any] = {
                "dryRun": query.get("dryRun"),
                "gracePeriodSeconds": _integer(query, "gracePeriodSeconds"),
                "propagationPolicy": query["propagationPolicy"][0] if "propagationPolicy" in query else None,
                "orphanDependents": _flag(query, "orphanDependents"),
                IGNORE_READ_ERROR: _flag(query, IGNORE_READ_ERROR),
                "preconditions": {"uid": query["uid"][0]} if _text(query, "uid") else None,
            }
        else:
            raw = dict(body)
        errors = _delete_errors(raw)
        if errors:
            raise status.invalid("DeleteOptions", _META_GROUP, "", errors)
        grace = raw.get("gracePeriodSeconds")
        conditions = raw.get("preconditions") or {}
        return DeleteOptions(
            dry_run=bool(raw.get("dryRun")),
            grace_period_seconds=1 if grace is not None and grace < 0 else grace,
            propagation_policy=raw.get("propagationPolicy"),
            orphan_dependents=raw.get("orphanDependents"),
            uid=conditions.get("uid"),
            resource_version=conditions.get("resourceVersion"),
            ignore_read_error=bool(raw.get(IGNORE_READ_ERROR)),
            admission=admission,
        )


def _delete_errors(raw: Mapping[str, Any]) -> list[FieldError]:
    errors = []
    policy = raw.get("propagationPolicy")
    if raw.get("orphanDependents") is not None and policy is not None:
        detail = "orphanDependents and deletionPropagation cannot be both set"
        errors.append(field.invalid("propagationPolicy", policy, detail))
    if policy is not None and policy not in _POLICIES:
        errors.append(field.not_supported("propagationPolicy", policy, (*_POLICIES, "nil")))
    errors.extend(_dry_run_errors(raw.get("dryRun")))
    if raw.get(IGNORE_READ_ERROR):
        errors += [
            field.invalid(IGNORE_READ_ERROR, True, f"cannot be set together with .{other}")
            for other in ("dryRun", "propagationPolicy", "orphanDependents", "gracePeriodSeconds", "preconditions")
            if raw.get(other) not in (None, [])
        ]
    return errors
