"""OpenAPI: the API described for clients, built from the resources' rows and the kinds' schemas.

`schemas` turns definitions into components, `paths` rows into operations, `documents` puts both together and
keeps the encoded bytes, `swagger` is the older version 2.
"""

from __future__ import annotations

from apilayer.api.openapi.documents import (
    Encoded,
    openapi_v2,
    openapi_v2_encoded,
    openapi_v2_protobuf,
    openapi_v3,
    openapi_v3_encoded,
    openapi_v3_index,
    openapi_v3_paths,
)

__all__ = [
    "Encoded",
    "openapi_v2",
    "openapi_v2_encoded",
    "openapi_v2_protobuf",
    "openapi_v3",
    "openapi_v3_encoded",
    "openapi_v3_index",
    "openapi_v3_paths",
]
