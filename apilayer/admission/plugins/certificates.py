"""Who may approve and sign certificate requests, and which names nobody may ask for.

Source: Kubernetes' ``plugin/pkg/admission/certificates``.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from apilayer.admission.plugin import CREATE, UPDATE, Plugin, on
from apilayer.api.gotext import quote
from apilayer.later import Later

if TYPE_CHECKING:
    from cryptography import x509

    from apilayer.admission.plugin import Attributes, Object, Setup
else:
    x509 = Later("cryptography.x509")

REQUESTS = "certificatesigningrequests.certificates.k8s.io"
CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"
MASTERS = "system:masters"


class _Signers(Plugin):
    """Asks the authorizer for a verb on the signer that a request names."""

    verb = ""
    doing = ""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._may = setup.may

    async def _require(self, attributes: Attributes) -> None:
        signer = ((attributes.old or {}).get("spec") or {}).get("signerName") or ""
        for name in (signer, f"{signer.partition('/')[0]}/*"):
            if await self._may(attributes.user, self.verb, "certificates.k8s.io", "signers", "", name):
                return
        raise attributes.forbidden(f"user not permitted to {self.doing} requests with signerName {quote(signer)}")


class CertificateApproval(_Signers):
    """Whoever approves or denies needs the right to do so for the signer."""

    name = "CertificateApproval"
    interests = (on(f"{REQUESTS}/approval", operations=(UPDATE,)),)
    verb = doing = "approve"

    async def validate(self, attributes: Attributes) -> None:
        """Raises StatusError 403."""
        await self._require(attributes)


class CertificateSigning(_Signers):
    """Whoever issues a certificate, or says why not, needs the right to do so for the signer."""

    name = "CertificateSigning"
    interests = (on(f"{REQUESTS}/status", operations=(UPDATE,)),)
    verb = doing = "sign"

    async def validate(self, attributes: Attributes) -> None:
        """Raises StatusError 403."""
        if _decided(attributes.new) != _decided(attributes.old or {}):
            await self._require(attributes)


def _decided(request: Object) -> tuple[object, object]:
    status = request.get("status") or {}
    return status.get("certificate"), status.get("conditions") or []


class CertificateSubjectRestriction(Plugin):
    """No certificate that the API server would trust names its owner a master."""

    name = "CertificateSubjectRestriction"
    interests = (on(REQUESTS, operations=(CREATE,)),)

    def validate(self, attributes: Attributes) -> None:
        """Raises StatusError 403."""
        spec = attributes.new.get("spec") or {}
        if spec.get("signerName") != CLIENT_SIGNER:
            return
        try:
            organizations = subject_names(spec.get("request") or "", x509.oid.NameOID.ORGANIZATION_NAME)
        except ValueError as error:
            raise attributes.forbidden(f"failed to parse CSR: {error}") from error
        if MASTERS in organizations:
            raise attributes.forbidden(f"use of {CLIENT_SIGNER} signer with {MASTERS} group is not allowed")


def subject_names(request: str, oid: x509.ObjectIdentifier) -> list[str]:
    """What the subject of a request (base64 of PEM) has of one kind of name. Raises ValueError for no request."""
    try:
        parsed = x509.load_pem_x509_csr(base64.b64decode(request, validate=True))
        return [str(part.value) for part in parsed.subject.get_attributes_for_oid(oid)]
    except (ValueError, binascii.Error) as error:
        raise ValueError("PEM block type must be CERTIFICATE REQUEST") from error
