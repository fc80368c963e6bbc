"""Field selectors: which labels each kind has, escapes, and the texts for what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apilayer.api.resources import Resource, find
from apilayer.api.selectors import parse_field_selector
from apilayer.api.status import StatusError


def row(plural: str, group: str = "") -> Resource:
    found = find(group, "v1", plural)
    assert found is not None
    return found


PODS = row("pods")
CONFIG_MAPS = row("configmaps")


def pod(name: str, **fields: Any) -> dict[str, Any]:
    return {"kind": "Pod", "metadata": {"name": name, "namespace": "n"}, **fields}


RUNNING = pod("p", spec={"nodeName": "n1", "hostNetwork": True}, status={"phase": "Running", "podIP": "1.2.3.4"})
PENDING = pod("q", spec={}, status={"phase": "Pending"})


@pytest.mark.parametrize(
    ("text", "running", "pending"),
    [
        ("", True, True),
        ("metadata.name=p", True, False),
        ("metadata.name==p", True, False),
        ("metadata.name!=p", False, True),
        ("metadata.namespace=n", True, True),
        ("spec.nodeName=", False, True),
        ("spec.nodeName=n1,status.phase=Running", True, False),
        ("status.phase!=Running,", False, True),
        ("spec.hostNetwork=true", True, False),
        ("spec.hostNetwork=false", False, True),
        ("status.podIP=1.2.3.4", True, False),
    ],
)
def test_what_a_selector_selects(text: str, running: bool, pending: bool) -> None:
    selector = parse_field_selector(text, PODS)
    assert (selector.matches(RUNNING), selector.matches(PENDING)) == (running, pending)


def test_an_event_reported_the_new_way_has_a_source_too() -> None:
    selector = parse_field_selector("source=kubelet", row("events"))
    assert selector.matches({"source": {"component": "kubelet"}})
    assert selector.matches({"reportingComponent": "kubelet"})
    assert not selector.matches({"source": {"component": "other"}, "reportingComponent": "kubelet"})


def test_exact_and_empty() -> None:
    selector = parse_field_selector("metadata.name=a,metadata.namespace!=b", CONFIG_MAPS)
    assert selector.exact("metadata.name") == "a"
    assert selector.exact("metadata.namespace") is None
    assert not selector.empty
    assert parse_field_selector("", CONFIG_MAPS).empty


@pytest.mark.parametrize(
    ("resource", "text", "message"),
    [
        (
            CONFIG_MAPS,
            "data.k=a",
            '"data.k" is not a known field selector: only "metadata.name", "metadata.namespace"',
        ),
        (
            row("deployments", "apps"),
            "status.replicas=0",
            '"status.replicas" is not a known field selector: only "metadata.name", "metadata.namespace"',
        ),
        (PODS, "spec.priority=0", "field label not supported: spec.priority"),
        (row("events"), "message=m", "field label not supported: message"),
        (row("secrets"), "data=x", "field label not supported: data"),
        (row("namespaces"), "spec.x=y", "field label not supported: spec.x"),
        (CONFIG_MAPS, "metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'"),
        (CONFIG_MAPS, r"metadata.name=a\x", r"invalid field selector: invalid escape sequence: \x"),
        (CONFIG_MAPS, "metadata.name=a\\", "invalid field selector: invalid escape sequence: \\"),
        (CONFIG_MAPS, "metadata.name=a=b", "invalid field selector: unescaped character in value: 61"),
    ],
)
def test_bad_selectors_are_answered_400_with_the_servers_text(resource: Resource, text: str, message: str) -> None:
    with pytest.raises(StatusError) as caught:
        parse_field_selector(text, resource)
    assert (caught.value.code, caught.value.status["message"]) == (400, message)


@given(st.text())
def test_any_value_can_be_written_with_escapes(value: str) -> None:
    escaped = value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")
    selector = parse_field_selector(f"metadata.name={escaped}", CONFIG_MAPS)
    assert selector.exact("metadata.name") == value


@given(st.text(alphabet="metadata.n=!,\\ ", max_size=30))
def test_any_text_is_a_selector_or_a_400(text: str) -> None:
    try:
        parse_field_selector(text, CONFIG_MAPS)
    except StatusError as error:
        assert error.code == 400
