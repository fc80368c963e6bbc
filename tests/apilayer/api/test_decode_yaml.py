"""YAML bodies: the scalars of sigs.k8s.io/yaml, repeated keys, and bounds against hostile documents."""

from typing import Any

import pytest

from apilayer.api.decode import decode_body
from apilayer.api.encoding import yamltext
from apilayer.api.errors import DecodeError
from apilayer.api.resources import RESOURCES
from apilayer.api.status import StatusError

CONFIG_MAP = next(row for row in RESOURCES if row.kind == "ConfigMap")


def value_of(text: str) -> Any:
    return yamltext.loads(f"v: {text}\n".encode())[0]["v"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True), ("Off", False), ("y", True), ("N", False), ("true", True), ("yEs", "yEs"),
        ("", None), ("~", None), ("null", None), ("Null", None),
        ("12", 12), ("-12", -12), ("+5", 5), ("0x1F", 31), ("0b101", 5), ("0o17", 15), ("017", 15),
        ("1_000", 1000), ("08", 8), ("1.5", 1.5), ("1e3", 1000), (".5", 0.5), ("1.0", 1),
        ("12:30", "12:30"), ("2024-01-02", "2024-01-02"), ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z"),
        ("1.2.3", "1.2.3"), ("10m", "10m"), ("'yes'", "yes"), ('"12"', "12"), ("!!str 12", "12"),
        ("!!int '12'", 12), ("!!binary YQ==", "a"), ("18446744073709551615", 2**64 - 1),
        ("a b # c", "a b"), ("|\n  x\n  y", "x\ny\n"), ("[1, [a]]", [1, ["a"]]),
        ("{1: a, true: b}", {"1": "a", "true": "b"}),
    ],
)  # fmt: skip
def test_scalars(text: str, value: Any) -> None:
    assert value_of(text) == value
    assert type(value_of(text)) is type(value) or isinstance(value, dict)


def test_first_document_only_and_comments() -> None:
    assert yamltext.loads(b"# c\n---\na: 1\n---\nb: 2\n") == ({"a": 1}, [])
    assert yamltext.loads(b"") == (None, [])


def test_anchors_and_merge_keys() -> None:
    text = b"base: &b {x: 1, w: 2}\nother:\n  <<: *b\n  w: 3\nlist: [*b, *b]\nmany:\n  <<: [*b, {z: 4}]\n"
    value, repeated = yamltext.loads(text)
    assert value["other"] == {"x": 1, "w": 3}
    assert value["list"] == [{"x": 1, "w": 2}] * 2
    assert value["many"] == {"x": 1, "w": 2, "z": 4}
    assert repeated == []


BODY = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\nbogus: 1\ndata:\n  a: b\n  a: c\n"


def test_repeated_keys_are_reported_with_their_line() -> None:
    decoded = decode_body(BODY, "application/yaml", CONFIG_MAP)
    assert decoded.warnings == ['line 8: key "a" already set in map', 'unknown field "bogus"']
    assert decoded.object["data"] == {"a": "c"}
    with pytest.raises(StatusError) as caught:
        decode_body(BODY, "application/yaml", CONFIG_MAP, field_validation="Strict")
    assert str(caught.value).endswith(
        'strict decoding error: yaml: unmarshal errors:\n  line 8: key "a" already set in map, unknown field "bogus"'
    )
    assert decode_body(BODY, "application/yaml", CONFIG_MAP, field_validation="Ignore").warnings == []


def test_bad_yaml_is_refused_with_the_library_text() -> None:
    with pytest.raises(StatusError) as caught:
        decode_body(b"a: b: c", "application/yaml", CONFIG_MAP)
    assert str(caught.value) == (
        "the object provided is unrecognized (must be of type ConfigMap): "
        "yaml: mapping values are not allowed in this context (613a20623a2063)"
    )
    with pytest.raises(DecodeError, match=r"^yaml: line 2: "):
        yamltext.loads(b"a: 1\nb: c: d")


def test_booleans_do_not_become_text() -> None:
    with pytest.raises(StatusError, match=r"unmarshal bool into Go struct field ConfigMap\.data of type string"):
        decode_body(b"data: {a: yes}", "application/yaml", CONFIG_MAP)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"v: .inf", "unsupported value"),
        (b"v: *x", "unknown anchor 'x' referenced"),
        (b"v: &x [*x]", "anchor 'x' value contains itself"),
        (b"? [a]\n: b", "invalid map key"),
        (b"v:\n  <<: 1", "map merge requires map"),
        (b"v: !!binary '*'", "invalid base64"),
        (b"[" * 100_000, "exceeded max depth of 64"),
        (b"- " * 100_000, "exceeded max depth of 64"),
        (b"v: \xff", "yaml: "),
    ],
)
def test_hostile_documents(text: bytes, problem: str) -> None:
    with pytest.raises(DecodeError, match=problem):
        yamltext.loads(text)


def test_aliases_that_multiply_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 12)]
    with pytest.raises(DecodeError, match="excessive aliasing"):
        yamltext.loads("\n".join(lines).encode())


def test_aliases_that_nest_are_refused() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{level}: &a{level} [*a{level - 1}]" for level in range(1, 80)]
    with pytest.raises(DecodeError, match="max depth"):
        yamltext.loads("\n".join(lines).encode())
