"""Continue tokens."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apilayer.api.status import StatusError
from apilayer.registry import paging

PREFIX = b"/registry/configmaps/ns/"
name = st.from_regex(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", fullmatch=True)


def token(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


@given(name, st.integers(1, 2**63 - 1))
def test_round_trip(last: str, revision: int) -> None:
    start, at = paging.decode(paging.encode(PREFIX, PREFIX + last.encode(), revision), PREFIX)
    assert (start, at) == (PREFIX + last.encode() + b"\0", revision)


def test_the_form_is_kubernetes() -> None:
    expected = "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6NTg0NSwic3RhcnQiOiIvYTFcdTAwMDAifQ"
    assert paging.encode(PREFIX, PREFIX + b"a1", 5845) == expected


def test_the_token_that_goes_on_at_the_latest_state() -> None:
    start, at = paging.decode(paging.encode_start(PREFIX, PREFIX + b"a\0"), PREFIX)
    assert (start, at) == (PREFIX + b"a\0", paging.INCONSISTENT)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("abc", "invalid character 'i' looking for beginning of value"),
        ("!!", "illegal base64"),
        (token('{"v":"other","rv":1,"start":"/a"}'), 'does not recognize this encoded version "other"'),
        (token('{"v":"meta.k8s.io/v1","rv":0,"start":"/a"}'), "incorrect encoded start resourceVersion"),
        (token('{"v":"meta.k8s.io/v1","rv":1,"start":""}'), "encoded start key empty"),
        (token('{"v":"meta.k8s.io/v1","rv":1,"start":"/../secrets/x"}'), "continue key is not valid"),
        (token('{"v":"meta.k8s.io/v1","rv":1,"start":"//x"}'), "continue key is not valid"),
        (token("[]"), "does not recognize"),
    ],
)
def test_tokens_that_are_not_ours(text: str, part: str) -> None:
    with pytest.raises(StatusError) as caught:
        paging.decode(text, PREFIX)
    assert caught.value.code == 400
    assert str(caught.value).startswith("invalid continue token: continue key is not valid: ")
    assert part in str(caught.value)


@given(st.text(max_size=60))
def test_no_token_breaks_out_of_its_prefix(text: str) -> None:
    try:
        start, _ = paging.decode(text, PREFIX)
    except StatusError as error:
        assert error.code == 400
    else:
        assert start.startswith(PREFIX)
