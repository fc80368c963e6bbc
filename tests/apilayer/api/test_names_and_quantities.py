"""Rules for names, and quantities in canonical form."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apilayer.api import names, quantity


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        (names.dns_label, ["a", "a-1", "0"], ["", "A", "-a", "a-", "a.b", "a" * 64, "a\n"]),
        (names.dns_subdomain, ["a.b-c", "1.2", "a" * 253], ["a..b", "a.", "a_b", "a" * 254]),
        (names.dns_label_1035, ["a1"], ["1a", "a."]),
        (names.namespace_name, ["default"], ["a.b", "A"]),
        (names.qualified_name, ["a", "A_b.c", "x.y/Z", "a" * 63], ["", "/a", "a/", "x/y/z", "a b", "a" * 64]),
        (names.label_value, ["", "a.b_C-d"], ["-a", "a b", "a" * 64, "ä"]),
        (names.config_key, ["a", ".b", "A_b-c"], ["", "a b", ".", "..", "../x", "a/b"]),
        (names.env_name, ["A", "a.b c", "1"], ["", "a=b", "ä", "a\n"]),
        (names.port_name, ["http", "a-1"], ["", "1", "A", "a--b", "-a", "a" * 16]),
        (names.path_segment, ["a", "a.b", "..."], [".", "..", "a/b", "a%b"]),
        (names.http_header, ["X-A"], ["a b", ""]),
        (names.percent, ["0%", "250%"], ["5", "%", "-1%"]),
        (names.ip_address, ["1.2.3.4", "::1"], ["1.2.3", "fe80::1%eth0", ""]),
    ],
)
def test_name_rules(rule: names.NameRule, good: list[str], bad: list[str]) -> None:
    assert [text for text in good if rule(text)] == []
    assert [text for text in bad if not rule(text)] == []


def test_name_messages() -> None:
    assert names.dns_label("A" * 64) == ["must be no more than 63 characters", names.LABEL_MESSAGE]
    assert names.namespace_name("a.b") == ["must not contain dots"]
    assert names.qualified_name("/a") == ["prefix part must be non-empty"]
    assert names.qualified_name("")[0] == "name part must be non-empty"
    assert names.qualified_name("A_/ok") == [f"prefix part {names.SUBDOMAIN_MESSAGE}"]
    assert names.config_key("..a") == ["must not start with '..'"]
    assert names.for_prefix("web-") == "wea"
    assert names.for_prefix("-") == "-"


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0", "0"), ("1", "1"), ("1000m", "1"), ("0.5", "500m"), (".5", "500m"), ("5.", "5"),
        ("1024Mi", "1Gi"), ("1.5Gi", "1536Mi"), ("1024", "1024"), ("1000", "1k"), ("1000k", "1M"),
        ("1e3", "1e3"), ("100e2", "10e3"), ("1E", "1E"), ("-1", "-1"), ("0.0001", "100u"),
        ("0.1Mi", "104857600m"), ("1.0000000001", "1000000001n"), ("+2", "2"), ("1e-3", "1e-3"),
        ("99999999999999999999", "9223372036854775807"), ("0.5Ki", "512"),
    ],
)  # fmt: skip
def test_canonical_quantities(text: str, canonical: str) -> None:
    assert quantity.canonical(text) == canonical


@pytest.mark.parametrize("text", ["", "1x", "a", "1 ", "--1", "1Kii", "1" * 300, "Ki", ".", "1.2.3", "٣"])
def test_bad_quantities(text: str) -> None:
    with pytest.raises(quantity.QuantityError, match="quantit"):
        quantity.parse(text)


def test_quantity_values_round_away_from_zero() -> None:
    assert quantity.parse("1500m").value == 2
    assert quantity.parse("-1500m").value == -2
    assert quantity.parse("0.1m").milli_value == 1
    assert quantity.parse("1Ki").amount == Fraction(1024)


@given(
    st.from_regex(
        r"[+-]?[0-9]{1,12}(\.[0-9]{1,12})?(n|u|m||k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|e-?[0-9]{1,2})", fullmatch=True
    )
)
def test_canonical_form_is_stable_and_keeps_the_amount(text: str) -> None:
    parsed = quantity.parse(text)
    assert quantity.parse(str(parsed)).amount == parsed.amount
    assert quantity.canonical(str(parsed)) == str(parsed)
