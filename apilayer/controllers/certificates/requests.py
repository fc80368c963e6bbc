"""What a request asks for, and what each of Kubernetes' own signers demands of it. Pure.

Messages are those of Kubernetes' ``pkg/apis/certificates`` and ``pkg/controller/certificates/signer``.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

import attrs

from apilayer.later import Later

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cryptography import x509
else:
    x509 = Later("cryptography.x509")

Object = dict[str, Any]

RESOURCE = "certificatesigningrequests.certificates.k8s.io"
CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
LEGACY_UNKNOWN = "kubernetes.io/legacy-unknown"
SIGNERS = (CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY_UNKNOWN)
NODES, NODE_PREFIX = "system:nodes", "system:node:"
_SIGNATURE, _ENCIPHERMENT = "digital signature", "key encipherment"
_CLIENT_AUTH, _SERVER_AUTH = "client auth", "server auth"


class RequestError(ValueError):
    """The request cannot be read."""


@attrs.frozen
class Asked:
    """What a request asks to be certified."""

    common_name: str
    organizations: tuple[str, ...]
    dns_names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()


def parse(spec: Object) -> x509.CertificateSigningRequest:
    """The request in ``spec.request``. Raises RequestError."""
    try:
        return x509.load_pem_x509_csr(base64.b64decode(spec.get("request") or "", validate=True))
    except (ValueError, binascii.Error) as error:
        raise RequestError("PEM block type must be CERTIFICATE REQUEST") from error


def asked(request: x509.CertificateSigningRequest) -> Asked:
    """The names in it. Raises RequestError for names that cannot be read."""
    try:
        subject = request.subject
        names = alternative_names(request)
        values = names.get_values_for_type if names is not None else _no_values
        return Asked(
            "".join(str(part.value) for part in subject.get_attributes_for_oid(x509.oid.NameOID.COMMON_NAME)[-1:]),
            tuple(str(part.value) for part in subject.get_attributes_for_oid(x509.oid.NameOID.ORGANIZATION_NAME)),
            tuple(values(x509.DNSName)),
            tuple(map(str, values(x509.IPAddress))),
            tuple(values(x509.RFC822Name)),
            tuple(values(x509.UniformResourceIdentifier)),
        )
    except (ValueError, x509.DuplicateExtension) as error:
        raise RequestError(str(error)) from error


def _no_values(kind: object) -> list[Any]:
    return []


def alternative_names(request: x509.CertificateSigningRequest) -> x509.SubjectAlternativeName | None:
    """The other names that it asks for, None for none. Raises ValueError, DuplicateExtension."""
    try:
        return request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


# ------------------------------------------------------------------ what signers demand


def kubelet_serving_fault(names: Asked, usages: Iterable[str]) -> str:
    """Why this is no request for a kubelet's serving certificate; "" when it is."""
    if names.organizations != (NODES,):
        return "subject organization is not system:nodes"
    if not names.dns_names and not names.addresses:
        return "DNS or IP subjectAltName is required"
    if names.emails:
        return "Email subjectAltNames are not allowed"
    if names.uris:
        return "URI subjectAltNames are not allowed"
    fault = _usages_fault(usages, _SERVER_AUTH)
    if fault:
        return fault
    if not names.common_name.startswith(NODE_PREFIX):
        return "subject common name does not begin with system:node:"
    return ""


def kubelet_client_fault(names: Asked, usages: Iterable[str]) -> str:
    """Why this is no request for a kubelet's client certificate; "" when it is."""
    if names.organizations != (NODES,):
        return "subject organization is not system:nodes"
    for kind, found in (
        ("DNS", names.dns_names),
        ("Email", names.emails),
        ("IP", names.addresses),
        ("URI", names.uris),
    ):
        if found:
            return f"{kind} subjectAltNames are not allowed"
    if not names.common_name.startswith(NODE_PREFIX):
        return "subject common name does not begin with system:node:"
    return _usages_fault(usages, _CLIENT_AUTH)


def _usages_fault(usages: Iterable[str], purpose: str) -> str:
    needed = {_SIGNATURE, _ENCIPHERMENT, purpose}
    if set(usages) in (needed, needed - {_ENCIPHERMENT}):  # keys that are not RSA encipher nothing
        return ""
    ordered = sorted(needed)
    return f"usages did not match [{' '.join(ordered)}]"


def client_fault(names: Asked, usages: Iterable[str]) -> str:
    """Why this is no request for a client certificate; "" when it is."""
    listed = list(usages)
    for usage in listed:
        if usage not in (_SIGNATURE, _ENCIPHERMENT, _CLIENT_AUTH):
            return f"invalid usage for client certificate: {usage}"
    return "" if _CLIENT_AUTH in listed else f"missing required usage for client certificate: {_CLIENT_AUTH}"


def _no_fault(names: Asked, usages: Iterable[str]) -> str:
    return ""


FAULTS: dict[str, Callable[[Asked, Iterable[str]], str]] = {
    CLIENT: client_fault,
    KUBELET_CLIENT: kubelet_client_fault,
    KUBELET_SERVING: kubelet_serving_fault,
    LEGACY_UNKNOWN: _no_fault,
}
"""What is wrong with a request, by the signer that it names."""


# ------------------------------------------------------------------ what has been decided


def conditions(request: Object) -> list[Object]:
    """The decisions on a request."""
    return (request.get("status") or {}).get("conditions") or []


def is_true(request: Object, kind: str) -> bool:
    """Whether the request has the condition; Approved and Denied hold whatever their status says, as upstream."""
    return any(
        item.get("type") == kind and (kind != "Failed" or item.get("status") == "True") for item in conditions(request)
    )


def is_issued(request: Object) -> bool:
    """Whether there is a certificate."""
    return bool((request.get("status") or {}).get("certificate"))


def with_condition(request: Object, kind: str, reason: str, message: str) -> Object:
    """The request with one more condition; its times are set when it is stored."""
    decided = {"type": kind, "status": "True", "reason": reason, "message": message}
    status = request.get("status") or {}
    return {**request, "status": {**status, "conditions": [*(status.get("conditions") or []), decided]}}
