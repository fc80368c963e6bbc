"""What the tables say against what a real kube-apiserver was recorded to say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from apilayer.api import discovery, openapi, protobuf
from apilayer.api.decode import message_name
from apilayer.api.decode.convert import converter
from apilayer.api.protobuf import envelope, message_encoder, type_head
from apilayer.api.resources import RESOURCES, Resource
from apilayer.api.table import table_columns
from apilayer.api.types import find
from tests.reference import IS_HERE, REFERENCE, WHY_SKIPPED

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(not IS_HERE, reason=WHY_SKIPPED)

# Subresources that need a node.
NOT_OFFERED = {"attach", "exec", "log", "portforward", "proxy"}


def read(name: str) -> Any:
    return orjson.loads((REFERENCE / name).read_bytes())


def fixtures() -> list[str]:
    return sorted(path.stem for path in (REFERENCE / "fixtures").glob("*.json")) if IS_HERE else []


@pytest.mark.parametrize("name", fixtures())
def test_fixtures_are_the_same_in_json_and_protobuf(name: str) -> None:
    """Byte for byte: fields in order, maps sorted, nothing lost either way."""
    document = read(f"fixtures/{name}.json")
    encoded = (REFERENCE / "fixtures" / f"{name}.pb").read_bytes()
    kind = document.get("kind") or name.rpartition(".")[2]
    api_version = document.get("apiVersion") or "v1"
    named = {"kind": kind, "apiVersion": api_version, **document}
    assert protobuf.decode(encoded, (api_version, kind)) == named
    package = api_version if "/" in api_version else "core/v1"
    message = f"{package}.{kind}" if find(f"{package}.{kind}") is not None else f"meta/v1.{kind}"
    # A WatchEvent has no kind of its own, so its envelope names none.
    head = type_head(api_version, kind) if "kind" in document else encoded[: encoded.index(b"\x12")]
    made = message_encoder(message)(document)
    assert encoded == envelope(head, made) if "kind" in document else made in encoded


def fixture(row: Resource) -> Path:
    return REFERENCE / "fixtures" / f"{row.group or 'core'}.{row.version}.{row.kind}.json"


WITH_FIXTURE = [row for row in RESOURCES if fixture(row).is_file()]


@pytest.mark.parametrize("row", WITH_FIXTURE, ids=lambda row: f"{row.group_resource}.{row.version}")
def test_canonical_form_is_that_of_the_fixtures(row: Resource) -> None:
    path = fixture(row)
    members = {
        key: value for key, value in orjson.loads(path.read_bytes()).items() if key not in ("kind", "apiVersion")
    }
    assert converter(message_name(row))(members) == members


def _offered(entries: list[Any]) -> list[Any]:
    return [entry for entry in entries if entry["name"].partition("/")[2] not in NOT_OFFERED]


@pytest.mark.parametrize(("group", "name"), [("", "api_v1"), ("apps", "apis_apps_v1")])
def test_resource_lists(group: str, name: str) -> None:
    golden = read(f"golden/{name}.json")
    golden["resources"] = _offered(golden["resources"])
    assert discovery.api_resource_list(group, "v1") == golden


def test_every_resource_of_the_list() -> None:
    """One line each: group, version, names, scope, verbs, subresources with what they speak and their verbs."""
    lines = (REFERENCE / "resources.tsv").read_text(encoding="utf-8").splitlines()[1:]
    wanted = {}
    for line in lines:
        group, version, plural, *facts, subresources, singular = line.split("\t")
        offered = {text for text in subresources.split("; ") if text and text.partition("[")[0] not in NOT_OFFERED}
        wanted["" if group == "core" else group, version, plural] = (*facts, offered, singular)
    made = {}
    for row in RESOURCES:
        facts = (row.kind, str(row.namespaced).lower(), *map(",".join, (row.short_names, row.categories, row.verbs)))
        subs = set()
        for sub in row.subresources:
            own = (sub.group, sub.version) == (row.group, row.version)
            kind = sub.kind if own else f"{sub.group}/{sub.version}/{sub.kind}"
            subs.add(f"{sub.name}[{kind}:{','.join(sub.verbs)}]")
        made[row.group, row.version, row.plural] = (*facts, subs, row.singular)
    assert made == wanted


def test_group_list() -> None:
    golden = read("golden/apis.json")
    assert discovery.api_groups() == golden


@pytest.mark.parametrize("core", [True, False])
def test_aggregated_discovery(core: bool) -> None:
    golden = read(f"golden/aggregated_{'api' if core else 'apis'}_v2.json")
    for item in golden["items"]:
        item["metadata"].pop("creationTimestamp", None)
        for version in item["versions"]:
            for entry in version["resources"]:
                subs = [sub for sub in entry.get("subresources", []) if sub["subresource"] not in NOT_OFFERED]
                if subs:
                    entry["subresources"] = subs
                else:
                    entry.pop("subresources", None)
    assert discovery.aggregated(core) == golden


def test_columns_of_every_table() -> None:
    golden = read("replay/tables.json")
    for row in RESOURCES:
        if row.verbs != ("create",):
            assert table_columns(row) == golden[f"{row.api_version}/{row.plural}"]["columnDefinitions"], row.plural


def openapi_documents() -> list[str]:
    paths = (REFERENCE / "openapi").glob("*_openapi.json") if IS_HERE else []
    names = (path.name.removesuffix("_openapi.json").replace("__", "/") for path in paths)
    return sorted(names)


@pytest.mark.parametrize("name", openapi_documents())
def test_openapi_describes_the_same(name: str) -> None:
    """Paths, operations, parameters and schemas; descriptions are our own in places, and CBOR is not spoken."""
    golden = read(f"openapi/{name.replace('/', '__')}_openapi.json")
    made = openapi.openapi_v3(name)
    assert made is not None
    wanted = {path: item for path, item in golden["paths"].items() if not NOT_OFFERED & set(path.split("/"))}
    assert set(made["paths"]) == set(wanted)
    for path, item in wanted.items():
        assert _bare(made["paths"][path]) == _bare(item), path
    schemas = golden["components"]["schemas"]
    shown = made["components"]["schemas"]
    assert set(shown) <= set(schemas)
    for definition, schema in shown.items():
        assert _bare(schema) == _bare(schemas[definition]), definition


def _is_left_out(key: str, value: Any) -> bool:
    """Lists of values are in a server's answers, as ``kubectl explain`` was recorded to show, and not in the files."""
    texts = (key == "description" and isinstance(value, str)) or (key == "enum" and isinstance(value, list))
    return texts or "cbor" in key or "apply-patch" in key


def _bare(node: Any) -> Any:
    """Without descriptions and lists of values, and without what this server does not speak; parameters by name."""
    if isinstance(node, list):
        if node and all(isinstance(item, dict) and "name" in item and "in" in item for item in node):
            return {item["name"]: _bare(item) for item in node if item["name"] != "shardSelector"}
        return [_bare(item) for item in node]
    if isinstance(node, dict):
        return {key: _bare(value) for key, value in node.items() if not _is_left_out(key, value)}
    return node
