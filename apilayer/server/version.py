"""/version: which Kubernetes API this server speaks, in the shape that clients parse."""

from __future__ import annotations

import platform

KUBERNETES_VERSION = "v1.36.2"

VERSION = {
    "major": "1",
    "minor": "36",
    "emulationMajor": "1",
    "emulationMinor": "36",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35",
    "gitVersion": f"{KUBERNETES_VERSION}+kvraft",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": f"python{platform.python_version()}",
    "compiler": platform.python_implementation(),
    "platform": "linux/amd64" if platform.machine() == "x86_64" else f"linux/{platform.machine()}",
}
