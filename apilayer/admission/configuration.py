"""Flags and the file of ``--admission-control-config-file`` to the choice of plugins.

Source: Kubernetes' ``apiserver.config.k8s.io/v1`` AdmissionConfiguration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.admission.choice import ORDER, Choice, ChoiceError
from apilayer.files import FileError, read_bounded
from apilayer.later import Later

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import yaml
else:
    yaml = Later("yaml")

MAX_FILE_BYTES = 1024 * 1024
_VERSIONS = ("apiserver.config.k8s.io/v1", "apiserver.k8s.io/v1alpha1")


def choose(enable: Sequence[str], disable: Sequence[str], control: Sequence[str], file: Path | None) -> Choice:
    """The choice that the flags make. Raises ChoiceError for names that nobody has and files that nobody can read."""
    choice = Choice(tuple(enable), tuple(disable), tuple(control), {} if file is None else read(file))
    choice.names()
    return choice


def read(file: Path) -> Mapping[str, Mapping[str, Any]]:
    """The plugins' parts of an AdmissionConfiguration, by plugin; paths in it are beside it. Raises ChoiceError."""
    flag = f"admission-control-config-file: {file}"
    document = _document(file, flag)
    if document.get("kind") != "AdmissionConfiguration" or document.get("apiVersion") not in _VERSIONS:
        raise ChoiceError(f"{flag}: not an AdmissionConfiguration of apiVersion {_VERSIONS[0]}")
    parts: dict[str, Mapping[str, Any]] = {}
    plugins = document.get("plugins")
    for index, item in enumerate(plugins if isinstance(plugins, list) else []):
        where = f"{flag}: plugins[{index}]"
        if not isinstance(item, dict) or item.get("name") not in ORDER:
            raise ChoiceError(f"{where}.name: no plugin of this name")
        inline, path = item.get("configuration"), item.get("path")
        if inline is not None and not isinstance(inline, dict):
            raise ChoiceError(f"{where}.configuration: must be an object")
        if inline is not None:
            parts[item["name"]] = inline
        elif path:
            parts[item["name"]] = _document(file.parent / str(path), where)
    return parts


def _document(file: Path, where: str) -> Mapping[str, Any]:
    try:
        document = yaml.safe_load(read_bounded(file, MAX_FILE_BYTES))
    except FileError as error:
        raise ChoiceError(f"{where}: {file}: {error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ChoiceError(f"{where}: {file}: not YAML: {error}") from error
    if not isinstance(document, dict):
        raise ChoiceError(f"{where}: {file}: must be an object")
    return document
