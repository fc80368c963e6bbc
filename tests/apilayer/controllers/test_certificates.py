"""Requests for certificates: whose are signed, approved and removed, and what is in a certificate."""

from __future__ import annotations

import base64
import ipaddress
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from apilayer.client.interface import Ref
from apilayer.controllers.certificates.approving import Approving, recognized
from apilayer.controllers.certificates.authority import Authority, AuthorityError, span
from apilayer.controllers.certificates.cleaning import request_end
from apilayer.controllers.certificates.requests import (
    CLIENT,
    FAULTS,
    KUBELET_CLIENT,
    KUBELET_SERVING,
    LEGACY_UNKNOWN,
    RESOURCE,
    Asked,
    RequestError,
    asked,
    parse,
)
from apilayer.controllers.certificates.signing import Signing
from apilayer.server.errors import OptionsError
from apilayer.server.options import ServerOptions
from apilayer.server.signing import read_authorities, requester_may

if TYPE_CHECKING:
    from pathlib import Path

    from tests.apilayer.controllers.conftest import World

Object = dict[str, Any]

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CLIENT_USAGES = ["digital signature", "key encipherment", "client auth"]
SERVING_USAGES = ["digital signature", "key encipherment", "server auth"]
NODE = Asked("system:node:n1", ("system:nodes",))
KEY = ec.generate_private_key(ec.SECP256R1())


@cache
def request(common_name: str, organizations: tuple[str, ...] = (), names: tuple[x509.GeneralName, ...] = ()) -> str:
    """A request as ``spec.request`` has it."""
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in organizations]
    parts.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(parts))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return base64.b64encode(builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM)).decode()


def csr(signer: str, encoded: str, usages: list[str], **spec: Any) -> Object:
    return {
        "metadata": {"name": "r"},
        "spec": {"signerName": signer, "request": encoded, "usages": usages, "username": "ann", **spec},
    }


def write_authority(directory: Path, key: Any = None, days: float = 3650) -> tuple[Path, Path]:
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test-ca")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    )
    paths = directory / "ca.crt", directory / "ca.key"
    paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(*write_authority(tmp_path), 365 * 86400)


# ---------------------------------------------------------------------- what signers demand


@pytest.mark.parametrize(
    ("signer", "changes", "usages", "fault"),
    [
        (KUBELET_CLIENT, {}, CLIENT_USAGES, ""),
        (KUBELET_CLIENT, {}, ["client auth", "digital signature"], ""),
        (KUBELET_CLIENT, {"organizations": ()}, CLIENT_USAGES, "subject organization is not system:nodes"),
        (KUBELET_CLIENT, {"organizations": ("system:nodes", "x")}, CLIENT_USAGES, "subject organization is not system"),
        (KUBELET_CLIENT, {"common_name": "n1"}, CLIENT_USAGES, "subject common name does not begin with system:node:"),
        (KUBELET_CLIENT, {"dns_names": ("n1",)}, CLIENT_USAGES, "DNS subjectAltNames are not allowed"),
        (KUBELET_CLIENT, {"addresses": ("10.0.0.1",)}, CLIENT_USAGES, "IP subjectAltNames are not allowed"),
        (KUBELET_CLIENT, {"emails": ("a@b.c",)}, CLIENT_USAGES, "Email subjectAltNames are not allowed"),
        (KUBELET_CLIENT, {"uris": ("spiffe://x",)}, CLIENT_USAGES, "URI subjectAltNames are not allowed"),
        (
            KUBELET_CLIENT,
            {},
            SERVING_USAGES,
            "usages did not match [client auth digital signature key encipherment]",
        ),
        (KUBELET_SERVING, {"dns_names": ("n1",)}, SERVING_USAGES, ""),
        (KUBELET_SERVING, {"addresses": ("10.0.0.1",)}, ["digital signature", "server auth"], ""),
        (KUBELET_SERVING, {}, SERVING_USAGES, "DNS or IP subjectAltName is required"),
        (KUBELET_SERVING, {"dns_names": ("n1",), "emails": ("a@b.c",)}, SERVING_USAGES, "Email subjectAltNames are"),
        (KUBELET_SERVING, {"dns_names": ("n1",), "uris": ("a:b",)}, SERVING_USAGES, "URI subjectAltNames are not"),
        (KUBELET_SERVING, {"dns_names": ("n1",)}, CLIENT_USAGES, "usages did not match [digital signature key enciph"),
        (KUBELET_SERVING, {"dns_names": ("n",), "common_name": "n"}, SERVING_USAGES, "subject common name does not"),
        (KUBELET_SERVING, {"dns_names": ("n",), "organizations": ("a",)}, SERVING_USAGES, "subject organization is"),
        (CLIENT, {"common_name": "ann"}, ["client auth"], ""),
        (CLIENT, {}, ["digital signature"], "missing required usage for client certificate: client auth"),
        (CLIENT, {}, ["client auth", "server auth"], "invalid usage for client certificate: server auth"),
        (LEGACY_UNKNOWN, {"organizations": ()}, ["any"], ""),
    ],
)
def test_what_signers_demand(signer: str, changes: Object, usages: list[str], fault: str) -> None:
    said = FAULTS[signer](attrs.evolve(NODE, **changes), usages)
    assert said.startswith(fault)
    assert bool(said) == bool(fault)


def test_names_in_a_request() -> None:
    address = ipaddress.ip_address("10.0.0.1")
    names = (
        x509.DNSName("n1"),
        x509.IPAddress(address),
        x509.RFC822Name("a@b.c"),
        x509.UniformResourceIdentifier("spiffe://x"),
    )
    parsed = asked(parse({"request": request("system:node:n1", ("system:nodes",), names)}))
    assert parsed == Asked("system:node:n1", ("system:nodes",), ("n1",), ("10.0.0.1",), ("a@b.c",), ("spiffe://x",))
    for wrong in ("", "!", base64.b64encode(b"x").decode(), None):
        with pytest.raises(RequestError):
            parse({"request": wrong})


# ---------------------------------------------------------------------- certificates


@pytest.mark.parametrize(
    ("seconds", "start", "end"),
    [
        (600, -300, 600),
        (8 * 3600 - 1, -300, 8 * 3600 - 1),
        (8 * 3600, -300, 8 * 3600 - 300),
        (86400 * 365, -300, 86400 * 30),  # no longer than the signer
    ],
)
def test_how_long_certificates_hold(seconds: int, start: int, end: int) -> None:
    found = span(seconds, NOW, NOW + timedelta(days=30))
    assert found == (NOW + timedelta(seconds=start), NOW + timedelta(seconds=end))


def test_a_signer_that_is_over() -> None:
    with pytest.raises(AuthorityError, match=r"the signer has expired: NotAfter=2026-01-01 00:00:00 \+0000 UTC"):
        span(600, NOW, NOW)


@pytest.mark.parametrize(
    ("asks", "gets"), [(None, 365 * 86400 - 300), (1, 600), (3600, 3600), (10**9, 365 * 86400 - 300)]
)
def test_what_is_certified(authority: Authority, tmp_path: Path, asks: int | None, gets: int) -> None:
    names = (x509.DNSName("n1"),)
    wanted = parse({"request": request("ann", ("team",), names)})
    made = x509.load_pem_x509_certificate(authority.sign(wanted, ["signing", "client auth", "any"], asks, NOW))
    signer = x509.load_pem_x509_certificate((tmp_path / "ca.crt").read_bytes())
    made.verify_directly_issued_by(signer)
    assert (made.subject, made.public_key()) == (wanted.subject, KEY.public_key())
    assert made.not_valid_after_utc - NOW == timedelta(seconds=gets)
    extension = made.extensions.get_extension_for_class
    assert list(extension(x509.SubjectAlternativeName).value) == list(names)
    assert set(extension(x509.ExtendedKeyUsage).value) == {
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    }
    usage = extension(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_encipherment, usage.key_cert_sign) == (True, False, False)
    constraints = extension(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca) == (True, False)
    own_id = signer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert extension(x509.AuthorityKeyIdentifier).value.key_identifier == own_id


def test_files_of_an_authority(tmp_path: Path) -> None:
    paths = write_authority(tmp_path, ed25519.Ed25519PrivateKey.generate())
    authority = Authority(*paths, 3600)
    wanted = parse({"request": request("ann")})
    first = x509.load_pem_x509_certificate(authority.sign(wanted, ["client auth"], None, NOW))
    write_authority(tmp_path)  # replaced while it is in use
    second = x509.load_pem_x509_certificate(authority.sign(wanted, ["client auth"], None, NOW))
    assert first.signature_algorithm_oid != second.signature_algorithm_oid
    with pytest.raises(AuthorityError, match="unrecognized usage values"):
        authority.sign(wanted, ["cooking"], None, NOW)
    (tmp_path / "other").mkdir()
    other = write_authority(tmp_path / "other")
    with pytest.raises(AuthorityError, match="not the key of"):
        Authority(paths[0], other[1], 3600)
    paths[1].write_text("geheim")
    with pytest.raises(AuthorityError, match="not a certificate and its key in PEM") as caught:
        authority.sign(wanted, [], None, NOW)
    assert "geheim" not in str(caught.value)


def test_flags(tmp_path: Path) -> None:
    certificate, key = write_authority(tmp_path)

    def read(**flags: Any) -> set[str]:
        return set(read_authorities(ServerOptions(certificate, key, (), **flags)))

    assert read() == set()
    both = {"cluster_signing_cert_file": certificate, "cluster_signing_key_file": key}
    assert read(**both) == set(FAULTS)
    one = {
        "cluster_signing_kubelet_client_cert_file": certificate,
        "cluster_signing_kubelet_client_key_file": key,
    }
    assert read(**one) == {KUBELET_CLIENT}
    for flags, reason in (
        (both | one, "cannot specify --cluster-signing-{cert,key}-file and other"),
        ({"cluster_signing_cert_file": certificate}, "cannot specify cert without key"),
        (
            {"cluster_signing_legacy_unknown_key_file": key},
            '"cluster-signing-legacy-unknown": cannot specify key without',
        ),
        ({**both, "cluster_signing_duration": 0.0}, "--cluster-signing-duration: must be positive"),
        ({**both, "cluster_signing_key_file": tmp_path / "no"}, "No such file or directory"),
    ):
        with pytest.raises(OptionsError) as caught:
            read(**flags)
        assert reason in str(caught.value)


# ---------------------------------------------------------------------- decisions


def decided(kind: str, **status: Any) -> Object:
    condition = {"type": kind, "status": "True", "lastUpdateTime": "2026-01-01T00:00:00Z"}
    made = {"creationTimestamp": "2026-01-01T00:00:00Z"}
    return {"metadata": made, "spec": {}, "status": {"conditions": [condition], **status}}


def test_when_requests_go(authority: Authority) -> None:
    pending = {"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {}}
    assert request_end(pending) == NOW + timedelta(hours=24)
    assert request_end(decided("Denied")) == NOW + timedelta(hours=1)
    assert request_end(decided("Failed")) == NOW + timedelta(hours=1)
    assert request_end(decided("Approved")) is None, "it is still to be signed"
    for seconds, end in ((86400, 3600), (1200, 1200)):
        certificate = authority.sign(parse({"request": request("ann")}), ["client auth"], seconds, NOW)
        issued = decided("Approved", certificate=base64.b64encode(certificate).decode())
        assert request_end(issued) == NOW + timedelta(seconds=end)


@pytest.mark.parametrize(
    ("changes", "ways"),
    [
        ({}, ("nodeclient",)),
        ({"username": "system:node:n1"}, ("selfnodeclient", "nodeclient")),
        ({"signerName": CLIENT}, ()),
        ({"usages": ["client auth"]}, ()),
        ({"request": "x"}, ()),
    ],
)
def test_what_is_recognized(changes: Object, ways: tuple[str, ...]) -> None:
    obj = csr(KUBELET_CLIENT, request("system:node:n1", ("system:nodes",)), CLIENT_USAGES)
    obj["spec"] |= changes
    assert recognized(obj) == ways
    for kind in ("Approved", "Denied"):
        assert recognized({**obj, "status": {"conditions": [{"type": kind}]}}) == ()


def approve(obj: Object) -> Object:
    condition = {"type": "Approved", "status": "True", "reason": "r", "message": "m"}
    return {**obj, "status": {"conditions": [condition]}}


async def test_signed_once_approved(world: World, authority: Authority) -> None:
    (controller,) = await world.start(lambda cluster: Signing(cluster, {CLIENT: authority}, lambda: NOW))
    cases = {
        "good": csr(CLIENT, request("ann"), ["client auth"], expirationSeconds=3600),
        "bad": csr(CLIENT, request("ann"), ["server auth"]),
        "others": csr("example.com/signer", request("ann"), ["client auth"]),
    }
    for name, obj in cases.items():
        await world.create(RESOURCE, {**obj, "metadata": {"name": name}})
    await world.idle(controller)
    refs = {name: Ref(RESOURCE, "", name) for name in cases}
    for ref in refs.values():
        found = await world.get(ref)
        assert found is not None
        assert not (found.get("status") or {}).get("certificate")
        await world.change(ref, approve, "approval")
    signed = await world.until(refs["good"], lambda obj: obj["status"].get("certificate"))  # type: ignore[index]
    assert signed is not None
    made = x509.load_pem_x509_certificate(base64.b64decode(signed["status"]["certificate"]))
    assert made.not_valid_after_utc == NOW + timedelta(hours=1)
    failed = await world.until(refs["bad"], lambda obj: len(obj["status"]["conditions"]) == 2)  # type: ignore[index]
    assert failed is not None
    kind = {key: failed["status"]["conditions"][1][key] for key in ("type", "status", "reason", "message")}
    assert kind == {
        "type": "Failed",
        "status": "True",
        "reason": "SignerValidationFailure",
        "message": "invalid usage for client certificate: server auth",
    }
    await world.idle(controller)
    untouched = await world.get(refs["others"])
    assert untouched is not None
    assert set(untouched["status"]) == {"conditions"}


async def test_approved_for_those_who_may(world: World) -> None:
    asked_about: list[tuple[str, ...]] = []
    extras: set[Any] = set()

    async def may(user: Any, *about: str) -> bool:
        asked_about.append((user.name, *about))
        extras.add(user.extra)
        return about[2].endswith("/selfnodeclient")

    world.registry.may = may
    await world.start(lambda cluster: Approving(cluster, requester_may(world.registry)))
    encoded = request("system:node:n1", ("system:nodes",))
    for name, user in (("own", "system:node:n1"), ("foreign", "ann")):
        await world.create(
            RESOURCE,
            {
                **csr(KUBELET_CLIENT, encoded, CLIENT_USAGES, username=user, extra={"b": ["1", "2"], "a": []}),
                "metadata": {"name": name},
            },
        )
    found = await world.until(Ref(RESOURCE, "", "own"), lambda obj: obj.get("status"))  # type: ignore[union-attr]
    assert found is not None
    (condition,) = found["status"]["conditions"]
    assert (condition["type"], condition["reason"]) == ("Approved", "AutoApproved")
    assert condition["message"] == "Auto approving self kubelet client certificate after SubjectAccessReview."
    requests = ("create", "certificates.k8s.io", "certificatesigningrequests")
    expected = ("ann", *requests[:2], f"{requests[2]}/nodeclient", "", "")

    async def asked_now() -> bool:
        return expected in asked_about

    await world.eventually(asked_now, bool)
    assert extras == {(("a", ()), ("b", ("1", "2")))}
    foreign = await world.get(Ref(RESOURCE, "", "foreign"))
    assert foreign is not None
    assert not foreign.get("status")
