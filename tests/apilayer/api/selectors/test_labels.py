"""Label selectors: grammar, matching, and Kubernetes' words for every mistake."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apilayer.api.selectors import parse_label_selector
from apilayer.api.status import StatusError

OBJECTS = {
    "a": {"app": "x", "tier": "web"},
    "b": {"app": "y"},
    "c": {"app": "x", "tier": "db", "num": "5"},
    "d": None,
}


def selected(text: str) -> str:
    selector = parse_label_selector(text)
    return "".join(name for name, labels in OBJECTS.items() if selector.matches(labels))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "abcd"),
        ("app=x", "ac"),
        ("app==x", "ac"),
        (" app = x , tier = db ", "c"),
        ("app!=x", "bd"),
        ("app", "abc"),
        ("!app", "d"),
        ("! app", "d"),
        ("app in (x,y)", "abc"),
        ("app in(x)", "ac"),
        ("app notin (x)", "bd"),
        ("app notin (x, y)", "d"),
        ("app=x,tier=db", "c"),
        ("app,!tier", "b"),
        ("app=", ""),
        ("app in ()", ""),
        ("app in (,x)", "ac"),
        ("app in (x,)", "ac"),
        ("num>3", "c"),
        ("num<3", ""),
        ("num<6", "c"),
        ("num>5", ""),
        ("app>1", ""),
        ("app=in", ""),
        ("in", ""),
        ("example.com/app!=x", "abcd"),
    ],
)
def test_what_a_selector_selects(text: str, names: str) -> None:
    assert selected(text) == names


def test_empty() -> None:
    assert parse_label_selector("").empty
    assert not parse_label_selector("a").empty


def test_an_empty_value_is_a_value() -> None:
    selector = parse_label_selector("a=")
    assert selector.matches({"a": ""})
    assert not selector.matches({})


NO_KEY = (
    "a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an"
    " alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is"
    " '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g."
    " 'example.com/MyName')"
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("app in x", "unable to parse requirement: found 'x' expected: '('"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        (",", "found ',', expected: !, identifier, or 'end of string'"),
        ("=x", "found '=', expected: !, identifier, or 'end of string'"),
        ("app=x,", "found '', expected: identifier after ','"),
        ("app=x,,y", "found ',', expected: identifier after ','"),
        ("app=bad value", "found 'value', expected: ',' or 'end of string'"),
        ("!!", "unable to parse requirement: found '!', expected: identifier"),
        ("!a=b", "found '=', expected: ',' or 'end of string'"),
        ("a=!", "unable to parse requirement: found '!', expected: identifier"),
        ("a in", "unable to parse requirement: found '' expected: '('"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a in (b c)", "unable to parse requirement: found 'c', expected: ',' or ')'"),
        ("a in (=)", "unable to parse requirement: found '=', expected: ',', ')' or identifier"),
        ("a in (b,=", "unable to parse requirement: found '=', expected: ',', or identifier"),
        ("a in (,", "unable to parse requirement: found '', expected: ',', or identifier"),
        ("x/y/z=1", f'unable to parse requirement: <nil>: Invalid value: "x/y/z": {NO_KEY}'),
        (
            "a>x",
            "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value"
            " must be an integer",
        ),
        (
            "a=" + "x" * 64,
            f'unable to parse requirement: values[0][a]: Invalid value: "{"x" * 64}": must be no more than 63 bytes',
        ),
    ],
)
def test_bad_selectors_are_answered_400_with_the_servers_text(text: str, message: str) -> None:
    with pytest.raises(StatusError) as caught:
        parse_label_selector(text)
    assert caught.value.code == 400
    assert caught.value.status == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": "BadRequest",
        "code": 400,
    }


def test_several_bad_values_are_all_named() -> None:
    with pytest.raises(StatusError) as caught:
        parse_label_selector("a in (-x,y-)")
    message = caught.value.status["message"]
    assert message.startswith('unable to parse requirement: [values[0][a]: Invalid value: "-x": ')
    assert ', values[1][a]: Invalid value: "y-": ' in message


@given(st.text(alphabet="abin ot(),=!<>0\t/.-", max_size=20))
def test_any_text_is_a_selector_or_a_400(text: str) -> None:
    try:
        selector = parse_label_selector(text)
    except StatusError as error:
        assert error.code == 400
    else:
        assert selector.matches({"a": "b"}) in (True, False)


NAMES = st.sampled_from(["a", "b", "c"])


@given(st.dictionaries(NAMES, NAMES), NAMES, st.sets(NAMES, min_size=1))
def test_in_and_notin_are_opposites(labels: dict[str, str], key: str, values: set[str]) -> None:
    listed = ",".join(sorted(values))
    inside = parse_label_selector(f"{key} in ({listed})").matches(labels)
    assert inside is (labels.get(key) in values)
    assert parse_label_selector(f"{key} notin ({listed})").matches(labels) is not inside
