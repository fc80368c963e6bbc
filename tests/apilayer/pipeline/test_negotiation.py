"""Accept headers."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apilayer.pipeline.negotiation import (
    Accepted,
    NotAcceptable,
    negotiate,
    wants_aggregated_discovery,
    wants_pretty,
)

JSON, YAML, PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", Accepted(JSON)),
        ("*/*", Accepted(JSON)),
        (JSON, Accepted(JSON)),
        (YAML, Accepted(YAML)),
        (f"{PROTOBUF},{JSON}", Accepted(PROTOBUF)),
        (f"{PROTOBUF};stream=watch,{JSON}", Accepted(PROTOBUF)),
        (f"{PROTOBUF};as=Table;v=v1;g=meta.k8s.io,{JSON}", Accepted(JSON)),
        ("application/xml, application/json", Accepted(JSON)),
        ("application/json;q=0.1,application/yaml", Accepted(YAML)),
        ("application/json; charset=utf-8", Accepted(JSON)),
        ("application/json;stream=watch", Accepted(JSON)),
        ("*/*, application/yaml", Accepted(YAML)),
        ("application/json;pretty=1", Accepted(JSON, pretty=True)),
        ("application/json;pretty=0", Accepted(JSON)),
        (f"{TABLE};pretty=1", Accepted(JSON, "Table", "v1", pretty=True)),
        (TABLE, Accepted(JSON, "Table", "v1")),
        (f"{TABLE.replace('v=v1', 'v=v9')}, {JSON}", Accepted(JSON)),
        (
            f"{TABLE},application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
            Accepted(JSON, "Table", "v1"),
        ),
        ("application/json;as=Table;v=v1beta1;g=meta.k8s.io", Accepted(JSON, "Table", "v1beta1")),
        (
            "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
            Accepted(JSON, "PartialObjectMetadataList", "v1"),
        ),
    ],
)
def test_acceptable(accept: str, expected: Accepted) -> None:
    assert negotiate(accept) == expected


@pytest.mark.parametrize(
    ("accept", "known"),
    [
        ("application/xml", False),
        ("text/html", False),
        ("application/*", False),
        (f"{PROTOBUF};as=Table;v=v1;g=meta.k8s.io", True),
        ("application/json;as=Table;v=v1;g=x.y", True),
        ("application/json;as=Nope;v=v1;g=meta.k8s.io", True),
    ],
)
def test_not_acceptable(accept: str, known: bool) -> None:
    with pytest.raises(NotAcceptable) as caught:
        negotiate(accept)
    error = caught.value.status_error()
    assert (caught.value.known, error.code) == (known, 406)
    expected = "only the following media types" if known else "406: Not Acceptable\n\nAvailable representations: "
    assert error.status["message"].startswith(expected)


@given(st.text(max_size=80))
def test_anything_is_answered(accept: str) -> None:
    with contextlib.suppress(NotAcceptable):
        negotiate(accept)
    wants_aggregated_discovery(accept)


def test_aggregated_discovery() -> None:
    clause = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"
    client = ",".join((clause.format("v2"), clause.format("v2beta1"), "application/json"))
    assert wants_aggregated_discovery(client)
    assert not wants_aggregated_discovery(clause.format("v2beta1") + ",application/json")
    assert not wants_aggregated_discovery("application/json")


def test_people_get_indented_answers() -> None:
    assert wants_pretty(None, "curl/8.1")
    assert wants_pretty(None, "Mozilla/5.0 (X11)")
    assert not wants_pretty("false", "curl/8.1")
    assert wants_pretty("true", "kubectl/v1.32")
    assert not wants_pretty(None, "kubectl/v1.32")
    assert wants_pretty("", "Wget/1.21")
    assert not wants_pretty("yes", "curl/8.1"), "Go reads no boolean in that"
    assert wants_pretty("1", "")
