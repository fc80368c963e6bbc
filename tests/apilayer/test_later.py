"""What is imported when: a server starts without most of what it can do."""

from __future__ import annotations

import subprocess
import sys

import pytest

from apilayer.later import Later
from apilayer.server.controllers import CLASSES, ControllerOptions, known

LATER = (
    "apilayer.api.openapi",
    "apilayer.api.validation.containers",
    "apilayer.controllers.garbage_collector",
    "cryptography.x509",
    "h2",
    "jwt",
    "prometheus_client",
    "wsproto",
    "yaml",
)


def test_a_module_is_imported_when_it_is_wanted() -> None:
    later = Later("json.tool")
    assert later.main is later.main
    with pytest.raises(ModuleNotFoundError):
        assert Later("json.nothing").anything
    with pytest.raises(AttributeError):
        assert later.nothing


@pytest.mark.slow
def test_a_server_starts_without_most_of_what_it_can_do() -> None:
    text = f"import sys, apilayer.cli.serve, apilayer.server.run; print([m for m in {LATER} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


def test_every_controller_is_where_the_table_says() -> None:
    made = known(ControllerOptions())
    assert set(made) == set(CLASSES)
    for name, path in CLASSES.items():
        module, _, kind = path.rpartition(".")
        assert getattr(__import__(f"apilayer.controllers.{module}", fromlist=[kind]), kind).name == name
