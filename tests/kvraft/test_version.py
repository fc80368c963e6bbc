"""One version, told where it is asked for."""

from importlib.metadata import version

from kvraft.version import VERSION


def test_the_distribution_has_the_version_that_members_tell() -> None:
    assert version("kvraft") == VERSION
