"""YAML as Kubernetes writes it."""

from __future__ import annotations

import yaml
from hypothesis import given
from hypothesis import strategies as st

from apilayer.pipeline.encoding import encode, to_yaml
from apilayer.pipeline.negotiation import Accepted

text = st.text(
    st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029\ufeff", exclude_categories=["Cc", "Cs"])
)


def test_quotes() -> None:
    document = {"a": "1", "b": "y", "c": "true", "d": "plain", "e": "a: b", "f": "2026-01-01T00:00:00Z", "g": "x\ny\n"}
    assert to_yaml(document) == (
        b'a: "1"\nb: "y"\nc: "true"\nd: plain\ne: \'a: b\'\nf: "2026-01-01T00:00:00Z"\ng: |\n  x\n  y\n'
    )


def test_structure() -> None:
    assert to_yaml({"items": [{"b": 1, "a": {}}], "empty": []}) == b"empty: []\nitems:\n- a: {}\n  b: 1\n"


@given(st.dictionaries(text, text | st.integers() | st.booleans() | st.none() | st.lists(text)))
def test_reading_it_back(document: dict[str, object]) -> None:
    assert yaml.safe_load(to_yaml(document)) == document


def test_json() -> None:
    assert encode({"a": []}, Accepted()) == b'{"a":[]}'
    assert encode({"a": []}, Accepted(), pretty=True) == b'{\n  "a": []\n}\n'
