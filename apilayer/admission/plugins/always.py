"""The two plugins that always answer the same.

Source: Kubernetes' ``plugin/pkg/admission/admit`` and ``deny``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.admission.plugin import CONNECT, CREATE, DELETE, EVERYTHING, UPDATE, Plugin, on

if TYPE_CHECKING:
    from apilayer.admission.plugin import Attributes


class AlwaysAdmit(Plugin):
    """Says yes, which is to say nothing."""

    name = "AlwaysAdmit"
    interests = ()


class AlwaysDeny(Plugin):
    """Says no to every write: a server for reading."""

    name = "AlwaysDeny"
    interests = (on(EVERYTHING, operations=(CREATE, UPDATE, DELETE, CONNECT)),)

    def mutate(self, attributes: Attributes) -> None:
        """Raises StatusError 403."""
        self.validate(attributes)

    def validate(self, attributes: Attributes) -> None:
        """Raises StatusError 403."""
        raise attributes.forbidden("admission control is denying all modifications")
