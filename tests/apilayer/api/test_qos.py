"""Quality of service classes."""

from __future__ import annotations

from typing import Any

import pytest

from apilayer.api.qos import pod_qos

FULL = {"cpu": "100m", "memory": "64Mi"}
SAME = {"cpu": "0.1", "memory": "67108864"}


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ([None], "BestEffort"),
        ([{"requests": {"cpu": "0"}}], "BestEffort"),
        ([{"requests": {"ephemeral-storage": "1Gi"}}], "BestEffort"),
        ([{"requests": FULL, "limits": SAME}], "Guaranteed"),
        ([{"limits": FULL}], "Guaranteed"),
        ([{"limits": FULL}, {"limits": FULL}], "Guaranteed"),
        ([{"limits": FULL}, None], "Burstable"),
        ([{"limits": {"cpu": "1"}}], "Burstable"),
        ([{"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": FULL}], "Burstable"),
        ([{"requests": {"memory": "1"}}], "Burstable"),
    ],
)
def test_classes(resources: list[dict[str, Any] | None], expected: str) -> None:
    containers = [{"name": str(n), "resources": item} for n, item in enumerate(resources)]
    assert pod_qos({"spec": {"containers": containers}}) == expected
    assert pod_qos({"spec": {"containers": containers[:1], "initContainers": containers[1:]}}) == expected


def test_resources_of_the_whole_pod_decide() -> None:
    assert pod_qos({"spec": {"containers": [{"name": "c"}], "resources": {"limits": FULL}}}) == "Guaranteed"
