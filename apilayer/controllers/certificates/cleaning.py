"""Removes requests that are done with: an hour after the decision, a day after nobody made one."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

from cryptography import x509

from apilayer.controllers.certificates.requests import RESOURCE, conditions, is_issued
from apilayer.controllers.expiry import Expiring, parsed_time

if TYPE_CHECKING:
    from apilayer.client.interface import Object

DECIDED, PENDING = timedelta(hours=1), timedelta(hours=24)


def certificate_end(request: Object) -> datetime | None:
    """When the certificate that was issued is over; None without one that can be read."""
    try:
        data = base64.b64decode((request.get("status") or {}).get("certificate") or "", validate=True)
        return x509.load_pem_x509_certificate(data).not_valid_after_utc
    except (ValueError, binascii.Error):
        return None


def request_end(request: Object) -> datetime | None:
    """When the request is to go; None for one that is approved and still to be signed."""
    made = parsed_time(request["metadata"].get("creationTimestamp") or "")
    decided = conditions(request)
    if not decided:
        return None if made is None else made + PENDING
    ends = []
    for condition in decided:
        kind, updated = condition.get("type"), parsed_time(condition.get("lastUpdateTime") or "")
        if updated is not None and (kind in ("Denied", "Failed") or (kind == "Approved" and is_issued(request))):
            ends.append(updated + DECIDED)
    over = certificate_end(request)
    if over is not None and any(condition.get("type") == "Approved" for condition in decided):
        ends.append(over)
    return min(ends, default=None)


class Cleaning(Expiring):
    """Each request when its time is over."""

    name: ClassVar[str] = "certificatesigningrequest-cleaner-controller"
    resource: ClassVar[str] = RESOURCE

    def end(self, obj: Object) -> datetime | None:
        """As it was decided."""
        return request_end(obj)
