"""Kubeconfig files: what is read of them, and what is wrong with them."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from apilayer.outbound.kubeconfig import MAX_FILE_BYTES, read_kubeconfig
from apilayer.outbound.target import Target, TargetError

if TYPE_CHECKING:
    from pathlib import Path

Object = dict[str, Any]
CANARY = "canary-of-a-secret"


def config(cluster: Object, user: Object | None = None, **changed: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "other", "cluster": {"server": "https://wrong"}}, {"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user or {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
        **changed,
    }


def read(folder: Path, document: Any) -> Target:
    file = folder / "config"
    file.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return read_kubeconfig(file)


def test_files_beside_it_and_data_in_it(tmp_path: Path) -> None:
    for name in ("ca", "crt", "key"):
        (tmp_path / name).write_text(name)
    cluster = {"server": "https://h:1/p", "certificate-authority": "ca", "tls-server-name": "n"}
    user = {"client-certificate": "crt", "client-key": str(tmp_path / "key"), "tokenFile": "t", "token": "old"}
    expected = Target("https://h:1/p", b"ca", "n", False, b"crt", b"key", "old", tmp_path / "t")
    assert read(tmp_path, config(cluster, user)) == expected
    encoded = {f"{name}-data": base64.b64encode(b"d").decode() for name in ("client-certificate", "client-key")}
    found = read(tmp_path, config({**cluster, "certificate-authority-data": "ZA=="}, {**user, **encoded}))
    assert (found.authorities, found.certificate, found.key) == (b"d", b"d", b"d")


def test_little_is_needed(tmp_path: Path) -> None:
    bare = config({"server": "h:1", "insecure-skip-tls-verify": True}, {"username": "a", "password": "b"})
    assert read(tmp_path, bare) == Target("https://h:1", insecure=True, basic=("a", "b"))
    nobody = config({"server": "https://h"}, contexts=[{"name": "x", "context": {"cluster": "c"}}], users=None)
    assert read(tmp_path, nobody) == Target("https://h")


GOOD = {"server": "https://h"}


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("{", "not YAML"),
        ("[1]", "must be an object"),
        (f"token: {CANARY}\n  x: [", "not YAML"),
        ({"kind": "Pod"}, "not a Config"),
        (config(GOOD, **{"current-context": ""}), "no current-context is set"),
        (config(GOOD, **{"current-context": 7}), "current-context: must be a string"),
        (config(GOOD, **{"current-context": "y"}), "context 'y' does not exist"),
        (config(GOOD, clusters=[]), "cluster 'c' does not exist"),
        (config(GOOD, clusters="x"), "clusters: must be a list of objects"),
        (config(GOOD, users=[]), "user 'u' does not exist"),
        (config({}), "cluster has no server defined"),
        (config({"server": "ftp://h"}), "is not a URL"),
        (config({**GOOD, "certificate-authority": "none"}), "none: No such file"),
        (config({**GOOD, "certificate-authority-data": "%"}), "certificate-authority-data: not base64"),
        (config({**GOOD, "certificate-authority-data": "ZA==", "insecure-skip-tls-verify": True}), "insecure"),
        (config({**GOOD, "proxy-url": "http://p"}), "cluster.proxy-url is not part of this server"),
        (config(GOOD, {"exec": {"command": "x"}}), "user.exec is not part of this server"),
        (config(GOOD, {"client-key-data": base64.b64encode(CANARY.encode()).decode()}), "must be given together"),
        (config(GOOD, {"token": [CANARY]}), "user.token: must be a string"),
        ("x" * (MAX_FILE_BYTES + 1), "larger than"),
    ],
)
def test_what_is_wrong_with_it(tmp_path: Path, document: Any, reason: str) -> None:
    with pytest.raises(TargetError, match=reason) as caught:
        read(tmp_path, document)
    assert str(caught.value).startswith(str(tmp_path))
    assert CANARY not in str(caught.value)
