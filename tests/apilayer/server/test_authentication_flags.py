"""Flags of authentication: from the command line to what is on, and each that cannot be used is named."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from apilayer.cli.serve import add_parser, options_of
from apilayer.pipeline.authentication import Anonymous
from apilayer.server.authentication import AuthenticationFiles, read_authentication
from apilayer.server.errors import OptionsError

if TYPE_CHECKING:
    from pathlib import Path

CANARY = "canary-of-a-secret"
NEEDED = ["--tls-cert-file=c", "--tls-private-key-file=k", "--etcd-servers=http://x"]
ISSUER = ["--oidc-issuer-url=https://i", "--oidc-client-id=kube"]
HOOK = "--authentication-token-webhook-config-file"
FILES = {
    "empty": "",
    "tokens": f"{CANARY},bob\n",
    "passwords": f"{CANARY}\n",
    "binary": "\udcff",
    "none.yaml": "kind: Pod",
    "bad.yaml": "a: [",
    "anonymous.yaml": "{apiVersion: apiserver.config.k8s.io/v1, kind: AuthenticationConfiguration,"
    " anonymous: {enabled: false}}",
    "hook": "{clusters: [{name: c, cluster: {server: 'https://h'}}], contexts: [{name: x, context: {cluster: c}}],"
    " current-context: x}",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("flags")
    for name, text in FILES.items():
        (made / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    return made


def read(folder: Path, *flags: str) -> AuthenticationFiles:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    arguments = parser.parse_args(["serve", *NEEDED, *(flag.replace("@", f"{folder}/") for flag in flags)])
    return read_authentication(options_of(arguments))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], {"anonymous": Anonymous(), "issuers": [], "hook": False}),
        (["--anonymous-auth=false"], {"anonymous": Anonymous(False), "issuers": [], "hook": False}),
        (["--authorization-mode=AlwaysAllow"], {"anonymous": Anonymous(False), "issuers": [], "hook": False}),
        (["--authentication-config=@anonymous.yaml"], {"anonymous": Anonymous(False), "issuers": [], "hook": False}),
        (
            [*ISSUER, "--oidc-required-claim=a=b=c", "--oidc-required-claim=d=", "--oidc-signing-algs=ES256,PS512"],
            {
                "anonymous": Anonymous(),
                "issuers": [("https://i", (("a", "b=c"), ("d", "")), ("ES256", "PS512"))],
                "hook": False,
            },
        ),
        ([f"{HOOK}=@hook"], {"anonymous": Anonymous(), "issuers": [], "hook": True}),
    ],
)
def test_what_is_on(folder: Path, flags: list[str], expected: dict[str, Any]) -> None:
    found = read(folder, *flags)
    remote = found._remote
    assert {
        "anonymous": found._anonymous,
        "issuers": [
            (issuer.url, issuer.required, issuer.algorithms)
            for issuer in (remote.issuers.now if remote.issuers else ())
        ],
        "hook": remote.webhook is not None,
    } == expected
    assert CANARY not in repr(attrs.asdict(found, recurse=False))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--token-auth-file=@none"], "--token-auth-file: @none: No such file or directory"),
        (["--token-auth-file=@tokens"], "--token-auth-file: @tokens: line 1: must have at least 3 columns"),
        (["--token-auth-file=@binary"], "--token-auth-file: @binary: not UTF-8"),
        (["--basic-auth-file=@passwords"], "--basic-auth-file: @passwords: line 1: must have at least 3 columns"),
        (ISSUER[:1], "--oidc-issuer-url and --oidc-client-id must be specified together"),
        (["--oidc-groups-claim=g"], "--oidc-issuer-url and --oidc-client-id must be specified together"),
        ([*ISSUER, "--oidc-ca-file=@none"], "--oidc-ca-file: @none: No such file or directory"),
        ([*ISSUER, "--oidc-ca-file=@tokens"], "--oidc-ca-file: Invalid value"),
        ([*ISSUER, "--authentication-config=@anonymous.yaml"], "authentication-config file and oidc-* flags are mutu"),
        (
            ["--anonymous-auth=true", "--authentication-config=@anonymous.yaml"],
            "--anonymous-auth flag cannot be set when anonymous field is configured",
        ),
        (["--authentication-config=@none"], "--authentication-config: @none: No such file or directory"),
        (["--authentication-config=@bad.yaml"], "--authentication-config: @bad.yaml: not YAML"),
        (["--authentication-config=@empty"], "--authentication-config: @empty: must be an object"),
        (["--authentication-config=@none.yaml"], "--authentication-config: @none.yaml: not an Authentication"),
        ([f"{HOOK}=@empty"], f"{HOOK}: @empty: must be an object"),
        (
            [f"{HOOK}=@hook", "--authentication-token-webhook-version=v2"],
            '--authentication-token-webhook-version: unsupported webhook authenticator version "v2"',
        ),
    ],
)
def test_what_cannot_be_used(folder: Path, flags: list[str], message: str) -> None:
    with pytest.raises(OptionsError) as caught:
        read(folder, *flags)
    assert str(caught.value).startswith(message.replace("@", f"{folder}/"))
    assert CANARY not in str(caught.value)
