"""Modules that are imported when something of them is first wanted, so that a server is ready before it can do all.

Where it is used the import stands beside it under ``TYPE_CHECKING``, so that types and contracts are checked as ever.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType


_SOON: list[Later] = []


class Later:
    """Stands for the module `name`; reading an attribute imports it.

    `soon`: most servers come to want it, so it is imported when there is time (see `import_next`).
    """

    def __init__(self, name: str, *, soon: bool = False) -> None:
        self._name = name
        self._module: ModuleType | None = None
        if soon:
            _SOON.append(self)

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(self._load(), attribute)
        setattr(self, attribute, value)
        return value

    def _load(self) -> ModuleType:
        if self._module is None:
            self._module = import_module(self._name)
        return self._module


def modules(package: str, *names: str) -> tuple[Later, ...]:
    """One for each of the modules `names` of `package`, wanted soon."""
    return tuple(Later(f"{package}.{name}", soon=True) for name in names)


def import_next() -> bool:
    """Imports one of the modules that are wanted soon; False when there is none left."""
    if not _SOON:
        return False
    _SOON.pop()._load()
    return True
