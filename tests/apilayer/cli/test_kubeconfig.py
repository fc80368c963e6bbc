"""kubeconfig and token file: contents, modes, and what of their owner's edits survives."""

from __future__ import annotations

import base64
import csv
from typing import TYPE_CHECKING

import pytest
import yaml

from apilayer.cli.cluster.kubeconfig import ensure_tokens, write_kubeconfig

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def pem(tmp_path: Path) -> tuple[Path, Path, Path]:
    paths = (tmp_path / "ca.crt", tmp_path / "admin.crt", tmp_path / "admin.key")
    for path in paths:
        path.write_text(f"-----{path.name}-----\n" * 5)
    return paths


def test_it_names_the_server_and_embeds_the_credentials(tmp_path: Path, pem: tuple[Path, Path, Path]) -> None:
    path = tmp_path / "kubeconfig"
    write_kubeconfig(path, "https://127.0.0.1:6443", *pem)
    config = yaml.safe_load(path.read_text())
    assert path.stat().st_mode & 0o777 == 0o600
    assert (config["apiVersion"], config["kind"], config["current-context"]) == ("v1", "Config", "kvraft")
    (context,) = config["contexts"]
    assert context == {"name": "kvraft", "context": {"cluster": "kvraft", "user": "kubernetes-admin"}}
    (cluster,) = config["clusters"]
    assert cluster["cluster"]["server"] == "https://127.0.0.1:6443"
    assert base64.b64decode(cluster["cluster"]["certificate-authority-data"]) == pem[0].read_bytes()
    (user,) = config["users"]
    assert base64.b64decode(user["user"]["client-certificate-data"]) == pem[1].read_bytes()
    assert base64.b64decode(user["user"]["client-key-data"]) == pem[2].read_bytes()


def test_an_edited_file_stays_while_it_still_fits(tmp_path: Path, pem: tuple[Path, Path, Path]) -> None:
    path = tmp_path / "kubeconfig"
    write_kubeconfig(path, "https://127.0.0.1:6443", *pem)
    config = yaml.safe_load(path.read_text())
    config["contexts"][0]["context"]["namespace"] = "mine"
    path.write_text(yaml.safe_dump(config, width=10_000))
    write_kubeconfig(path, "https://127.0.0.1:6443", *pem)
    assert yaml.safe_load(path.read_text()) == config
    write_kubeconfig(path, "https://127.0.0.1:7006", *pem)
    assert "namespace" not in yaml.safe_load(path.read_text())["contexts"][0]["context"]


def test_a_renewed_certificate_replaces_the_file(tmp_path: Path, pem: tuple[Path, Path, Path]) -> None:
    path = tmp_path / "kubeconfig"
    write_kubeconfig(path, "https://127.0.0.1:6443", *pem)
    pem[1].write_text("renewed")
    write_kubeconfig(path, "https://127.0.0.1:6443", *pem)
    assert base64.b64encode(b"renewed").decode() in path.read_text()


def test_the_token_file_has_one_master_with_a_random_token(tmp_path: Path) -> None:
    tokens = set()
    for name in ("a.csv", "b.csv"):
        path = tmp_path / name
        ensure_tokens(path)
        assert path.stat().st_mode & 0o777 == 0o600
        ((token, user, uid, groups),) = csv.reader(path.read_text().splitlines())
        assert (user, uid, groups) == ("admin", "admin", "system:masters")
        assert len(token) >= 40
        tokens.add(token)
    assert len(tokens) == 2


def test_the_token_file_belongs_to_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "tokens.csv"
    path.write_text("t,me,1,\n")
    ensure_tokens(path)
    assert path.read_text() == "t,me,1,\n"
