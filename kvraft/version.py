"""The versions: this distribution's, and that of etcd whose behaviour it has."""

import platform

VERSION = "0.1.0"
"""The distribution takes it from here: asking the installed one for it would load a tenth of what a start loads."""
ETCD_VERSION = "3.6.0"
"""Told to clients that ask an etcd for its version: they choose by it what they may use."""
ETCD_STORAGE_VERSION = f"{ETCD_VERSION.rpartition('.')[0]}.0"


def version_text() -> str:
    """What ``--version`` prints."""
    return "\n".join(
        (
            f"kvraft Version: {VERSION}",
            f"API Version: {ETCD_VERSION.rpartition('.')[0]}",
            f"Python Version: {platform.python_version()}",
            f"Python OS/Arch: {platform.system().lower()}/{platform.machine()}",
        )
    )
