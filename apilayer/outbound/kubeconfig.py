"""Kubeconfig files: which server, and with which credentials. Files that it names are beside it.

Source: Kubernetes documentation, "Organizing Cluster Access Using kubeconfig Files".
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

import yaml

from apilayer.files import FileError, read_bounded
from apilayer.outbound.target import MAX_SECRET_BYTES, Target, TargetError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_FILE_BYTES = 1024 * 1024
_NOT_OFFERED = {
    "user": ("exec", "auth-provider", "as", "as-uid", "as-groups", "as-user-extra"),
    "cluster": ("proxy-url",),
}


def read_kubeconfig(path: Path) -> Target:
    """The server and the credentials of the current context. Raises TargetError that names field and reason."""
    try:
        return _target(_document(path), path.parent)
    except TargetError as error:
        raise TargetError(f"{path}: {error}") from error


def _document(path: Path) -> Mapping[str, Any]:
    try:
        document = yaml.safe_load(_bounded(path, MAX_FILE_BYTES))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise TargetError("not YAML") from error  # the parser would show what it met, which may be a secret
    if not isinstance(document, dict):
        raise TargetError("must be an object")
    if document.get("kind", "Config") != "Config" or document.get("apiVersion", "v1") != "v1":
        raise TargetError("not a Config of apiVersion v1")
    return document


def _target(document: Mapping[str, Any], folder: Path) -> Target:
    context = _named(document, "contexts", "context", _text(document, "current-context", "current-context"))
    cluster = _named(document, "clusters", "cluster", _text(context, "cluster", "context.cluster"))
    user_name = _text(context, "user", "context.user")
    user = _named(document, "users", "user", user_name) if user_name else {}
    for part, fields in (("user", user), ("cluster", cluster)):
        for field in _NOT_OFFERED[part]:
            if fields.get(field):
                raise TargetError(f"{part}.{field} is not part of this server")
    server = _text(cluster, "server", "cluster.server")
    if not server:
        raise TargetError("cluster has no server defined")
    insecure = cluster.get("insecure-skip-tls-verify") is True
    authorities = _data(cluster, "certificate-authority", folder)
    if insecure and authorities:
        raise TargetError("specifying a root certificates file with the insecure flag is not allowed")
    certificate, key = _data(user, "client-certificate", folder), _data(user, "client-key", folder)
    if bool(certificate) != bool(key):
        raise TargetError("user: client-certificate and client-key must be given together")
    token_file = _text(user, "tokenFile", "user.tokenFile")
    name = _text(user, "username", "user.username")
    return Target(
        server if "://" in server else f"https://{server}",
        authorities,
        _text(cluster, "tls-server-name", "cluster.tls-server-name"),
        insecure,
        certificate,
        key,
        _text(user, "token", "user.token"),
        folder / token_file if token_file else None,
        (name, _text(user, "password", "user.password")) if name else None,
    )


def _named(document: Mapping[str, Any], plural: str, singular: str, name: str) -> Mapping[str, Any]:
    items = document.get(plural) or []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise TargetError(f"{plural}: must be a list of objects")
    for item in items:
        if item.get("name") == name and isinstance(item.get(singular), dict):
            found: Mapping[str, Any] = item[singular]
            return found
    if not name and singular == "context":
        raise TargetError("no current-context is set")
    raise TargetError(f"{singular} {name!r} does not exist")


def _text(fields: Mapping[str, Any], key: str, where: str) -> str:
    value = fields.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TargetError(f"{where}: must be a string")
    return value


def _data(fields: Mapping[str, Any], key: str, folder: Path) -> bytes:
    """What is in the file itself (base64) goes before what is beside it."""
    inline = _text(fields, f"{key}-data", f"{key}-data")
    if inline:
        try:
            return base64.b64decode("".join(inline.split()), validate=True)
        except (binascii.Error, ValueError) as error:
            raise TargetError(f"{key}-data: not base64") from error
    name = _text(fields, key, key)
    return _bounded(folder / name, MAX_SECRET_BYTES * 16) if name else b""


def _bounded(path: Path, limit: int) -> bytes:
    """A whole file of at most so many bytes. Raises TargetError."""
    try:
        return read_bounded(path, limit)
    except FileError as error:
        raise TargetError(f"{path}: {error}") from error
