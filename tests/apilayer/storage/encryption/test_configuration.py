"""What an EncryptionConfiguration may say, in the words of upstream's validation, and what its rules mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apilayer.storage.encryption.configuration import Configuration, ConfigurationError, parse, read
from tests.apilayer.storage.encryption.configurations import IDENTITY, KEYS, document, keyed, rule

if TYPE_CHECKING:
    from pathlib import Path

Object = dict[str, Any]
CBC = keyed("aescbc", "a")


def kms(**changes: Any) -> Object:
    given = {"apiVersion": "v2", "name": "vault", "endpoint": "unix:///run/kms.sock", **changes}
    return {"kms": {key: value for key, value in given.items() if value is not None}}


def key(**fields: str) -> Object:
    return {"aesgcm": {"keys": [fields]}}


def fault(*rules: Object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse(document(*rules))
    return str(caught.value)


SECRETS = ("secrets",)


@pytest.mark.parametrize(
    ("providers", "resources", "expected"),
    [
        ([], SECRETS, "resources[0].providers: Required value: at least one resources[0].providers is required"),
        ([CBC], (), "resources[0].resources: Required value: at least one resources[0].resources is required"),
        ([{}], SECRETS, "provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox"),
        ([{"aescbs": {}}], SECRETS, "provider does not contain any of the expected providers"),
        ([{**CBC, **IDENTITY}], SECRETS, "more than one provider specified in a single element, should split into"),
        ([{"aescbc": {}}], SECRETS, "resources[0].providers[0].aescbc.keys: Required value: at least one keys is"),
        ([key(name="k")], SECRETS, "keys[0].secret: Required value: secret is a mandatory field for a key"),
        ([key(secret=KEYS["a"])], SECRETS, "keys[0].name: Required value: name is a mandatory field for a key"),
        (
            [key(name="k", secret="geheim!")],
            SECRETS,
            'keys[0].secret: Invalid value: "REDACTED": secrets must be base64 encoded',
        ),
        (
            [key(name="k", secret="Z2VoZWlt")],
            SECRETS,
            'Invalid value: "REDACTED": secret is not of the expected length, got 6, expected one of [16 24 32]',
        ),
        (
            [{"secretbox": {"keys": [{"name": "k", "secret": "MTIzNDU2Nzg5MDEyMzQ1Ng=="}]}}],
            SECRETS,
            "secret is not of the expected length, got 16, expected one of [32]",
        ),
        ([CBC], ("Secrets",), "resource name should not contain capital letters"),
        ([CBC], ("*",), "use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources"),
        ([CBC], ("serviceipallocations",), "resources which do not have REST API/s cannot be encrypted"),
        ([CBC], ("events.events.k8s.io",), "objects are stored using the 'events' API group in etcd"),
        ([CBC], ("deployments.extensions",), "'extensions' group has been removed and cannot be used for encryption"),
        ([CBC], ("secrets.*",), "encrypting the same resource across groups is not supported"),
        ([CBC], ("secrets", "secrets"), "the same resource cannot be specified multiple times"),
        ([CBC], ("secrets", "*."), "using overlapping resources such as 'secrets' and '*.' in the same resource list"),
        ([CBC], ("secrets", "*.*"), "using overlapping resources"),
        ([kms(name=None)], SECRETS, "kms.name: Required value: name is a mandatory field for a provider"),
        ([kms(name="a:b")], SECRETS, "invalid KMS provider name a:b, must not contain ':'"),
        ([kms(), kms()], SECRETS, "duplicate KMS provider name vault, names must be unique"),
        ([kms(endpoint=None)], SECRETS, 'endpoint: Invalid value: "": endpoint is a mandatory field for a kms'),
        ([kms(endpoint="tcp://x")], SECRETS, 'unsupported scheme "tcp" for KMS provider, only unix is supported'),
        ([kms(timeout="0s")], SECRETS, 'timeout: Invalid value: "0s": timeout should be a positive value'),
        ([kms(timeout="soon")], SECRETS, 'time: invalid duration "soon"'),
        ([kms(cachesize=5)], SECRETS, "cachesize: Invalid value: 5: cachesize is not supported in v2"),
        ([kms(apiVersion="v3")], SECRETS, "only v1 and v2 are supported"),
        ([kms(apiVersion="v1")], SECRETS, "KMSv1 is deprecated"),
    ],
)
def test_mistakes(providers: list[Object], resources: tuple[str, ...], expected: str) -> None:
    said = fault(rule(providers, *resources))
    assert expected in said
    assert "geheim" not in said


def test_mistakes_of_the_whole() -> None:
    assert fault() == "resources: Required value: at least one resources is required"
    masked = rule([CBC], "secrets")
    assert fault(rule([CBC], "*."), masked) == 'resource "secrets" is masked by earlier rule "*."'
    assert (
        fault(rule([CBC], "*.*"), rule([CBC], "jobs.batch")) == 'resource "jobs.batch" is masked by earlier rule "*.*"'
    )
    for data in (b"kind: Config\napiVersion: v1", b"[]", b"{", b"a: &a [*a", b"\xff"):
        with pytest.raises(ConfigurationError):
            parse(data)
    with pytest.raises(ConfigurationError) as caught:
        parse(b"secret: geheim\n  x: {")
    assert "geheim" not in str(caught.value), "no part of the file is quoted"


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "e.yaml"
    with pytest.raises(ConfigurationError, match="no such file or directory"):
        read(file)
    file.touch()
    with pytest.raises(ConfigurationError, match="is empty"):
        read(file)
    file.write_bytes(document(rule([CBC, IDENTITY], "secrets")))
    configuration, data = read(file)
    assert data == file.read_bytes()
    assert KEYS["a"] not in repr(configuration)
    assert str(b"a" * 32) not in repr(configuration), "keys stay out of tracebacks and logs"


@pytest.mark.parametrize(
    ("resource", "kinds"),
    [
        ("secrets", ["aescbc", "identity", "secretbox"]),  # of both rules that name it
        ("pods", ["aesgcm"]),
        ("deployments.apps", ["secretbox"]),
        ("jobs.batch", ["identity"]),
        ("widgets.example.com", ["identity"]),
    ],
)
def test_which_rule_holds(resource: str, kinds: list[str]) -> None:
    configuration = parse(
        document(
            rule([CBC, IDENTITY], "secrets"),
            rule([keyed("secretbox", "a")], "secrets", "*.apps"),
            rule([keyed("aesgcm", "a")], "*."),
            rule([IDENTITY], "*.*"),
        )
    )
    assert [provider.kind for provider in configuration.providers_of(resource)] == kinds


def test_what_no_rule_names() -> None:
    assert parse(document(rule([CBC], "secrets"))).providers_of("secrets.example.com") == ()


NAMES = ["secrets", "pods", "*.", "*.*", "*.apps", "deployments.apps", "widgets.example.com", "Bad", "*"]


@settings(max_examples=30, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-10, 10) | st.sampled_from(["", "v2", KEYS["a"], *NAMES]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["resources", "providers", "aescbc", "kms", "identity", "keys", "name", "secret"]),
                inner,
            )
        ),
        max_leaves=20,
    )
)
def test_anything_is_read_or_refused(tree: Any) -> None:
    whole = {"kind": "EncryptionConfiguration", "apiVersion": "apiserver.config.k8s.io/v1", "resources": tree}
    try:
        assert isinstance(parse(orjson.dumps(whole)), Configuration)
    except ConfigurationError as error:
        assert "\n" not in str(error)
