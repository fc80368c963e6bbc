"""``make proto``: Python modules and type stubs from the ``.proto`` files of ``kvraft.wire.etcd``.

The modules use a descriptor pool of their own: protobuf knows each name once per pool, and a program that embeds a
member may well have loaded somebody else's modules of the same interface.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = Path("kvraft/wire/etcd")


def protos() -> list[str]:
    """The ``.proto`` files, relative to the repository."""
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / PACKAGE).glob("*.proto"))


def generate() -> dict[str, str]:
    """The text of every module and stub, by file name."""
    with tempfile.TemporaryDirectory() as out:
        code = protoc.main(["protoc", f"-I{ROOT}", f"--python_out={out}", f"--pyi_out={out}", *protos()])
        if code:
            raise RuntimeError(f"protoc failed with {code}")
        made = {path.name: path.read_text("utf-8") for path in sorted((Path(out) / PACKAGE).iterdir())}
    return {name: _own_pool(text) if name.endswith(".py") else text for name, text in made.items()}


def _own_pool(text: str) -> str:
    imported = "from google.protobuf import descriptor_pool as _descriptor_pool\n"
    used = "_descriptor_pool.Default()"
    if imported not in text or used not in text:
        raise RuntimeError("protoc writes other code than this expects")
    return text.replace(imported, "from kvraft.wire.etcd.pool import POOL as _POOL\n").replace(used, "_POOL")


if __name__ == "__main__":
    for name, text in generate().items():
        (ROOT / PACKAGE / name).write_text(text, "utf-8")
        sys.stdout.write(f"{PACKAGE / name}\n")
