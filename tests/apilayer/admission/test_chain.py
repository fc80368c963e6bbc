"""The chain: who is asked, in which order, and when a refusal stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from apilayer.admission.chain import UNCONCERNED, Chain
from apilayer.admission.plugin import CREATE, DELETE, EVERYTHING, UPDATE, Attributes, NotYet, Plugin, on
from apilayer.api.status import StatusError
from apilayer.registry.options import WriteOptions
from tests.apilayer.admitting import ALICE, ROWS, Cluster, setup

if TYPE_CHECKING:
    from apilayer.admission.chain import Review
    from apilayer.admission.plugin import Object, Operation

PODS = ROWS["pods"]


class Recorder:
    """Plugins that tell what they are asked, and a refresh that counts."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.stale = False
        self.cluster = Cluster()

    async def refresh(self) -> None:
        self.told.append("refresh")
        self.stale = False

    async def sleep(self, seconds: float) -> None:
        self.told.append(f"sleep {seconds}")

    def plugin(self, name: str, *does: str) -> Plugin:
        told = self.told

        class Mutating(Plugin):
            interests = (on("pods", operations=(CREATE, UPDATE)),)

            def mutate(self, attributes: Attributes) -> None:
                told.append(f"{name} mutates")
                attributes.new.setdefault("seen", []).append(name)

        class Validating(Plugin):
            interests = (on(EVERYTHING, operations=(CREATE,)),)

            def validate(self, attributes: Attributes) -> None:
                told.append(f"{name} validates {attributes.path}")
                attributes.warn(f"{name} warns")

        class Reserving(Plugin):
            interests = (on("pods", operations=(CREATE,)),)

            async def reserve(self, attributes: Attributes) -> None:
                told.append(f"{name} reserves")

        kinds = {"mutates": Mutating, "validates": Validating, "reserves": Reserving}
        return kinds[does[0]](setup(self.cluster))

    def refusing(self, *, always: bool) -> Plugin:
        recorder = self

        class Refusing(Plugin):
            interests = (on("pods", operations=(CREATE,)),)

            def mutate(self, attributes: Attributes) -> None:
                recorder.told.append("asked")
                if always or recorder.stale:
                    raise attributes.forbidden("no")

        return Refusing(setup(self.cluster))

    def review(self, operation: Operation, *plugins: Plugin, resource: str = "pods", subresource: str = "") -> Review:
        self.chain = Chain(plugins, self.refresh, self.sleep)
        admission = self.chain.begin(ALICE)
        self.warnings = admission.warnings
        return admission.review(operation, ROWS[resource], subresource, "ns", "p", WriteOptions())


async def test_plugins_are_asked_in_order_and_all_change_before_any_refuses() -> None:
    recorder = Recorder()
    plugins = [recorder.plugin("a", "validates"), recorder.plugin("b", "mutates"), recorder.plugin("c", "mutates")]
    obj: Object = {"metadata": {"name": "p"}}
    await recorder.review(CREATE, recorder.plugin("d", "reserves"), *plugins).whole(obj, None)
    assert recorder.told == ["b mutates", "c mutates", "a validates pods", "d reserves"]
    assert obj["seen"] == ["b", "c"]
    assert recorder.warnings == ["a warns"]


@pytest.mark.parametrize(
    ("operation", "resource", "subresource", "told"),
    [
        (CREATE, "pods", "", ["m mutates", "v validates pods"]),
        (UPDATE, "pods", "", ["m mutates"]),
        (UPDATE, "pods", "status", []),
        (DELETE, "pods", "", []),
        (CREATE, "configmaps", "", ["v validates configmaps"]),
        (CREATE, "pods", "binding", ["v validates pods/binding"]),
    ],
)
async def test_only_those_who_care_are_asked(
    operation: Operation, resource: str, subresource: str, told: list[str]
) -> None:
    recorder = Recorder()
    plugins = recorder.plugin("m", "mutates"), recorder.plugin("v", "validates")
    review = recorder.review(operation, *plugins, resource=resource, subresource=subresource)
    assert (review is UNCONCERNED) == (not told)
    await review.whole({"metadata": {}}, None)
    assert recorder.told == told


async def test_a_refusal_from_an_old_cache_is_looked_at_again() -> None:
    recorder = Recorder()
    recorder.stale = True
    await recorder.review(CREATE, recorder.refusing(always=False)).mutate({}, None)
    assert recorder.told == ["asked", "refresh", "asked"]


async def test_a_refusal_from_the_present_state_stands() -> None:
    recorder = Recorder()
    with pytest.raises(StatusError, match='pods "p" is forbidden: no'):
        await recorder.review(CREATE, recorder.refusing(always=True)).mutate({}, None)
    assert recorder.told == ["asked", "refresh", "asked"]
    assert list(recorder.chain.durations) == [("admit", CREATE, True)]


async def test_it_is_counted_how_long_plugins_take() -> None:
    recorder = Recorder()
    review = recorder.review(CREATE, recorder.plugin("m", "mutates"), recorder.plugin("v", "validates"))
    for _ in range(2):
        await review.whole({"metadata": {}}, None)
    counted = {key: sum(histogram.counts) for key, histogram in recorder.chain.durations.items()}
    assert counted == {("admit", CREATE, False): 2, ("validate", CREATE, False): 2}


async def test_what_is_on_its_way_is_waited_for_but_not_for_ever() -> None:
    recorder = Recorder()
    left = 2

    class Waiting(Plugin):
        interests = (on("pods", operations=(CREATE,)),)

        def mutate(self, attributes: Attributes) -> None:
            nonlocal left
            left -= 1
            if left >= 0:
                raise NotYet(attributes.forbidden("wait"), 0.1)

    plugin = Waiting(setup(recorder.cluster))
    await recorder.review(CREATE, plugin).mutate({}, None)
    assert recorder.told == ["refresh", "sleep 0.05"]
    left = 10
    with pytest.raises(StatusError, match="wait"):
        await recorder.review(CREATE, plugin).mutate({}, None)
    assert recorder.told[2:] == ["refresh", "sleep 0.05", "sleep 0.05"]


@pytest.mark.parametrize(
    ("name", "metadata", "shown"),
    [("p", {}, "p"), ("", {"name": "q"}, "q"), ("", {"generateName": "g-"}, "g-"), ("", {}, "Unknown")],
)
def test_a_refusal_names_the_object_as_well_as_it_can(name: str, metadata: dict[str, str], shown: str) -> None:
    attributes = Attributes(CREATE, PODS, "", "ns", name, ALICE, WriteOptions(), {"metadata": metadata})
    assert str(attributes.forbidden("no")) == f'pods "{shown}" is forbidden: no'
