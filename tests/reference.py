"""Where the recorded behaviour of a real kube-apiserver is, if it is here: beside the clone, as CI lays it."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_BESIDE = ROOT.parent / "shared" / "reference" / "kubernetes"
REFERENCE = Path(os.environ.get("KUBERNETES_REFERENCE") or _BESIDE)
"""``KUBERNETES_REFERENCE`` names another place."""
IS_HERE = REFERENCE.is_dir()
WHY_SKIPPED = f"the recordings of a real kube-apiserver are not at {REFERENCE}"
