"""The names of all backends, as parameters of the fixture ``store``."""

from __future__ import annotations

import shutil

import pytest

IN_MEMORY = ["memory", "sealed"]
ON_A_STORE = [
    "kvraft",
    "kvraft as etcd3",
    pytest.param(
        "etcd3",
        marks=[
            pytest.mark.slow,
            pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is not installed"),
        ],
    ),
]
