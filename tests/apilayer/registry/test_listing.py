"""Lists: which state, which page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from apilayer.api.status import StatusError
from apilayer.registry import listing
from apilayer.registry.options import DeleteOptions, ListOptions, WriteOptions

if TYPE_CHECKING:
    from apilayer.registry.listing import Listing
    from apilayer.registry.registry import Registry


async def fill(registry: Registry, *names: str, namespace: str = "default") -> int:
    revision = 0
    for name in names:
        obj = {"metadata": {"name": name, "labels": {"l": name}}}
        entry = await registry.create(registry.of("configmaps"), namespace, obj, WriteOptions())
        revision = entry.revision
    return revision


async def listed(registry: Registry, **options: object) -> Listing:
    return await registry.of("configmaps").lists.list("default", ListOptions(**options))  # type: ignore[arg-type]


def names(page: Listing) -> list[str]:
    return [entry.object()["metadata"]["name"] for entry in page.entries]


async def failure(registry: Registry, **options: object) -> StatusError:
    with pytest.raises(StatusError) as caught:
        await listed(registry, **options)
    return caught.value


async def test_a_list_sees_every_write_before_it(registry: Registry) -> None:
    for index in range(20):
        revision = await fill(registry, f"c{index:02}")
        page = await listed(registry)
        assert len(page.entries) == index + 1
        assert page.revision >= revision


async def test_a_list_sees_writes_elsewhere(registry: Registry) -> None:
    await fill(registry, "a")
    revision = await fill(registry, "b", namespace="kube-system")
    page = await listed(registry)
    assert names(page) == ["a"]
    assert page.revision >= revision
    everywhere = await registry.of("configmaps").lists.list("", ListOptions())
    assert names(everywhere) == ["a", "b"]


@pytest.mark.parametrize("change", [False, True])
async def test_pages_show_one_state(registry: Registry, change: bool) -> None:
    await fill(registry, "a", "b", "c", "d", "e")
    first = await listed(registry, limit=2)
    assert (names(first), first.remaining) == (["a", "b"], 3)
    if change:
        await fill(registry, "bb")
        await registry.of("configmaps").store.delete("default", "d", DeleteOptions())
    second = await listed(registry, limit=2, continue_token=first.continue_token)
    assert (names(second), second.remaining, second.revision) == (["c", "d"], 1, first.revision)
    third = await listed(registry, limit=2, continue_token=second.continue_token)
    assert (names(third), third.continue_token, third.remaining) == (["e"], "", None)


async def test_pages_of_a_selection_do_not_count_the_rest(registry: Registry) -> None:
    await fill(registry, "a", "b", "c")
    page = await listed(registry, limit=1, label_selector="l!=b")
    assert (names(page), page.remaining) == (["a"], None)
    page = await listed(registry, limit=1, label_selector="l!=b", continue_token=page.continue_token)
    assert (names(page), page.continue_token) == (["c"], "")
    await fill(registry, "d")
    old = await listed(registry, limit=1, label_selector="l!=b", resource_version=str(page.revision))
    assert names(old) == ["a"]
    old = await listed(registry, limit=5, label_selector="l!=b", continue_token=old.continue_token)
    assert names(old) == ["c"]


async def test_exactly_at_a_revision(registry: Registry) -> None:
    revision = await fill(registry, "a")
    await fill(registry, "b")
    exact = {"resource_version_match": "Exact", "resource_version": str(revision)}
    page = await listed(registry, **exact)
    assert (names(page), page.revision) == (["a"], revision)


async def test_not_older_than_a_revision(registry: Registry) -> None:
    revision = await fill(registry, "a", "b")
    page = await listed(registry, resource_version_match="NotOlderThan", resource_version=str(revision))
    assert names(page) == ["a", "b"]
    page = await listed(registry, resource_version="0", limit=1)
    assert (len(page.entries), page.continue_token) == (2, "")


async def test_revisions_ahead(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "FRESHNESS_TIMEOUT_SECONDS", 0.01)
    for match in ("Exact", "NotOlderThan", ""):
        error = await failure(registry, resource_version="999999", resource_version_match=match)
        assert error.code == 504
        assert str(error).startswith("Timeout: Too large resource version: 999999, current: ")
        assert error.headers == (("Retry-After", "1"),)


async def test_compacted_revisions(registry: Registry) -> None:
    await fill(registry, "a", "b", "c")
    first = await listed(registry, limit=1)
    revision = await fill(registry, "bb")
    await registry.store.compact(revision)
    error = await failure(registry, resource_version=str(first.revision), resource_version_match="Exact")
    assert (error.code, str(error)) == (410, "The resourceVersion for the provided list is too old.")
    error = await failure(registry, limit=5, continue_token=first.continue_token)
    assert error.code == 410
    token = error.status["metadata"]["continue"]
    assert names(await listed(registry, limit=5, continue_token=token)) == ["b", "bb", "c"]


async def test_bad_requests(registry: Registry) -> None:
    error = await failure(registry, resource_version="abc")
    assert (error.code, str(error)) == (
        400,
        'invalid resource version: resourceVersion: Invalid value: "abc": '
        'strconv.ParseUint: parsing "abc": invalid syntax',
    )
    error = await failure(registry, continue_token="x", resource_version="5")
    assert str(error) == "specifying resource version is not allowed when using continue"
    assert (await failure(registry, label_selector="!!")).code == 400
    assert (await failure(registry, field_selector="data.a=1")).code == 400


async def test_nothing_there(registry: Registry) -> None:
    page = await registry.of("configmaps").lists.list("nowhere", ListOptions())
    assert page.entries == []
    assert page.revision > 0
