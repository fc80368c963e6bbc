"""Query parameters and options."""

from __future__ import annotations

import pytest

from apilayer.api.status import StatusError
from apilayer.registry.options import (
    DeleteOptions,
    ListOptions,
    WriteOptions,
    parse_int,
    parse_query,
    parse_revision,
)


def message_of(code: int, call: object, *arguments: object, **named: object) -> str:
    with pytest.raises(StatusError) as caught:
        call(*arguments, **named)  # type: ignore[operator]
    assert caught.value.code == code
    return str(caught.value)


def test_list_options() -> None:
    query = "labelSelector=a%3Db&fieldSelector=x&resourceVersion=5&limit=7&watch=1&allowWatchBookmarks=true"
    options = ListOptions.parse(parse_query(query + "&timeoutSeconds=9&sendInitialEvents=false&continue=t"))
    assert options == ListOptions("a=b", "x", "5", "", 7, "t", True, True, False, 9)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", True), ("1", True), ("true", True), ("x", True), ("false", False), ("FALSE", False), ("0", False)],
)
def test_flags(text: str, expected: bool) -> None:
    assert ListOptions.parse({"watch": [text]}).watch is expected


def test_a_negative_limit_is_none() -> None:
    assert ListOptions.parse({"limit": ["-1"]}).limit == 0


@pytest.mark.parametrize("text", ["x", "", "1.0", "--1", "\u0661"])
def test_what_is_no_number(text: str) -> None:
    assert message_of(400, parse_int, text) == f'strconv.ParseInt: parsing "{text}": invalid syntax'


def test_a_number_out_of_range() -> None:
    assert message_of(400, parse_int, "9" * 25).endswith("value out of range")
    assert parse_int("-9223372036854775808") == -(2**63)


def test_revisions() -> None:
    assert parse_revision("") == 0
    assert parse_revision("18446744073709551615") == 2**64 - 1
    with pytest.raises(ValueError, match="value out of range"):
        parse_revision("18446744073709551616")
    with pytest.raises(ValueError, match='parsing "-1": invalid syntax'):
        parse_revision("-1")


def test_too_many_parameters() -> None:
    assert "at most 100" in message_of(400, parse_query, "&".join(f"a{n}=1" for n in range(101)))


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("resourceVersionMatch=Exact", "resourceVersionMatch is forbidden unless resourceVersion is provided"),
        ("resourceVersionMatch=foo&resourceVersion=1", 'supported values: "Exact", "NotOlderThan", ""'),
        ("resourceVersionMatch=Exact&resourceVersion=0", 'resourceVersionMatch "exact" is forbidden'),
        ("resourceVersionMatch=Exact&continue=x&resourceVersion=1", "is forbidden when continue is provided"),
        ("sendInitialEvents=true", "sendInitialEvents is forbidden for list"),
        ("watch=1&sendInitialEvents=true", "requires setting resourceVersionMatch to NotOlderThan"),
        ("watch=1&resourceVersionMatch=NotOlderThan", "forbidden for watch unless sendInitialEvents"),
        ("watch=1&sendInitialEvents=true&resourceVersionMatch=Exact", 'supported values: "NotOlderThan"'),
        ("watch=1&continue=x", "forbidden when continue is provided"),
    ],
)
def test_contradictions(query: str, field: str) -> None:
    message = message_of(422, ListOptions.parse(parse_query(query)).validate)
    assert message.startswith('ListOptions.meta.k8s.io "" is invalid: ')
    assert field in message


@pytest.mark.parametrize(
    ("query", "part"),
    [
        ({"dryRun": ["x"]}, 'dryRun: Unsupported value: ["x"]: supported values: "All"'),
        ({"fieldValidation": ["Nope"]}, 'fieldValidation: Unsupported value: "Nope"'),
        ({"force": ["true"]}, "force: Forbidden: may not be specified for non-apply patch"),
        ({"fieldManager": ["x" * 129]}, "fieldManager: Too long"),
        ({"fieldManager": ["a\x01"]}, "fieldManager: Invalid value"),
    ],
)
def test_bad_write_options(query: dict[str, list[str]], part: str) -> None:
    assert part in message_of(422, WriteOptions.parse, query, "PatchOptions")


def test_write_options() -> None:
    assert WriteOptions.parse({}, "CreateOptions") == WriteOptions(manager="unknown")
    query = {"dryRun": ["All", "All"], "fieldValidation": ["Strict"], "fieldManager": ["kubectl"]}
    expected = WriteOptions(dry_run=True, field_validation="Strict", manager="kubectl")
    assert WriteOptions.parse(query, "CreateOptions", user_agent="curl/8") == expected


def test_the_manager_is_named_by_the_user_agent_when_nothing_else_names_it() -> None:
    assert WriteOptions.parse({}, "CreateOptions", user_agent="kubectl/v1.36.0 (linux)").manager == "kubectl"
    assert WriteOptions.parse({"dryRun": ["All"]}, "UpdateOptions", user_agent="a\tb/1").manager == "ab"
    assert WriteOptions.parse({}, "PatchOptions", user_agent="ä" * 100).manager == "ä" * 64
    assert WriteOptions.parse({}, "PatchOptions").manager == "unknown"


def test_an_apply_needs_a_field_manager_and_may_force() -> None:
    text = "fieldManager: Required value: is required for apply patch"
    assert text in message_of(422, WriteOptions.parse, {}, "PatchOptions", applies=True)
    options = WriteOptions.parse({"fieldManager": ["a"], "force": ["true"]}, "PatchOptions", applies=True)
    assert options.force
    assert options.manager == "a"


def test_delete_options_from_the_query_or_the_body() -> None:
    query = {"gracePeriodSeconds": ["-5"], "propagationPolicy": ["Orphan"], "dryRun": ["All"]}
    assert DeleteOptions.parse(query, None) == DeleteOptions(True, 1, "Orphan")
    body = {"preconditions": {"uid": "u", "resourceVersion": "3"}, "orphanDependents": False}
    assert DeleteOptions.parse(query, body) == DeleteOptions(False, None, None, False, "u", "3")
    assert DeleteOptions.parse({}, None) == DeleteOptions()


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ({"propagationPolicy": "x"}, 'supported values: "Foreground", "Background", "Orphan", "nil"'),
        ({"propagationPolicy": "Orphan", "orphanDependents": True}, "cannot be both set"),
        ({"dryRun": ["x"]}, 'dryRun: Unsupported value: ["x"]'),
    ],
)
def test_bad_delete_options(body: dict[str, object], part: str) -> None:
    assert part in message_of(422, DeleteOptions.parse, {}, body)


def test_the_uid_of_a_deletion_may_stand_in_the_query() -> None:
    assert DeleteOptions.parse({"uid": ["u"]}, None).uid == "u"
    assert DeleteOptions.parse({"uid": ["u"]}, {}).uid is None
