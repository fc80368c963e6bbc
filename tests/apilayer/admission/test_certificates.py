"""Certificate requests: who may approve and sign, and whom nobody may become."""

from __future__ import annotations

import base64
from functools import lru_cache
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from apilayer.admission.plugin import CREATE, UPDATE
from apilayer.admission.plugins.certificates import (
    REQUESTS,
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
)
from apilayer.admission.plugins.node_restriction import NodeRestriction
from apilayer.pipeline.authentication import User
from tests.apilayer.admitting import Cluster, review, setup

Object = dict[str, Any]
SIGNER = "example.com/signer"


def request(signer: str = SIGNER, **status: Any) -> Object:
    return {"metadata": {"name": "r"}, "spec": {"signerName": signer}, "status": status}


@lru_cache
def signed(common_name: str, organization: str) -> str:
    """A request for a certificate, as the API takes it."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = [
        x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
    ]
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names)).sign(key, hashes.SHA256())
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


@pytest.mark.parametrize(
    ("granted", "refused"),
    [("example.com/signer", False), ("example.com/*", False), ("other.com/*", True), ("", True)],
)
def test_approving_takes_a_right_on_the_signer(granted: str, refused: bool) -> None:
    asked = []

    async def may(user: User, *what: str) -> bool:
        asked.append((user.name, *what))
        return what[-1] == granted

    plugin = CertificateApproval(setup(Cluster(), may=may))
    outcome = review(plugin, UPDATE, REQUESTS, request(), request(), subresource="approval")
    text = 'user not permitted to approve requests with signerName "example.com/signer"'
    assert outcome.refusal == (f'{REQUESTS} "r" is forbidden: {text}' if refused else "")
    assert asked[0] == ("alice", "approve", "certificates.k8s.io", "signers", "", SIGNER)


async def never(*_: object) -> bool:
    return False


@pytest.mark.parametrize(
    ("status", "refused"),
    [({}, False), ({"certificate": "x"}, True), ({"conditions": [{"type": "Failed"}]}, True)],
)
def test_signing_takes_a_right_on_the_signer(status: Object, refused: bool) -> None:
    plugin = CertificateSigning(setup(Cluster(), may=never))
    outcome = review(plugin, UPDATE, REQUESTS, request(**status), request(), subresource="status")
    text = 'user not permitted to sign requests with signerName "example.com/signer"'
    assert outcome.refusal == (f'{REQUESTS} "r" is forbidden: {text}' if refused else "")


CLIENT = "kubernetes.io/kube-apiserver-client"


@pytest.mark.parametrize(
    ("signer", "organization", "refusal"),
    [
        (CLIENT, "devs", ""),
        (CLIENT, "system:masters", f"use of {CLIENT} signer with system:masters group is not allowed"),
        (SIGNER, "system:masters", ""),
    ],
)
def test_nobody_becomes_a_master(signer: str, organization: str, refusal: str) -> None:
    obj = {"metadata": {"name": "r"}, "spec": {"signerName": signer, "request": signed("x", organization)}}
    outcome = review(CertificateSubjectRestriction(setup(Cluster())), CREATE, REQUESTS, obj)
    assert outcome.refusal == (f'{REQUESTS} "r" is forbidden: {refusal}' if refusal else "")


@pytest.mark.parametrize("text", ["", "!", base64.b64encode(b"-----BEGIN X-----").decode()])
def test_a_request_that_is_none(text: str) -> None:
    obj = {"metadata": {"name": "r"}, "spec": {"signerName": CLIENT, "request": text}}
    outcome = review(CertificateSubjectRestriction(setup(Cluster())), CREATE, REQUESTS, obj)
    assert outcome.refusal.endswith("failed to parse CSR: PEM block type must be CERTIFICATE REQUEST")


@pytest.mark.parametrize(
    ("signer", "common_name", "refusal"),
    [
        ("kubernetes.io/kubelet-serving", "system:node:n", ""),
        ("kubernetes.io/kubelet-serving", "system:node:m", "can only create a node CSR with CN=system:node:n"),
        (SIGNER, "system:node:m", ""),
    ],
)
def test_a_node_asks_in_its_own_name(signer: str, common_name: str, refusal: str) -> None:
    obj = {"metadata": {"name": "r"}, "spec": {"signerName": signer, "request": signed(common_name, "system:nodes")}}
    node = User("system:node:n", groups=("system:nodes",))
    outcome = review(NodeRestriction(setup(Cluster())), CREATE, REQUESTS, obj, user=node)
    assert outcome.refusal == (f'{REQUESTS} "r" is forbidden: {refusal}' if refusal else "")
