"""What others need to verify tokens of service accounts: the issuer's discovery document and its keys.

Source: OpenID Connect Discovery 1.0; Kubernetes documentation, "Service account issuer discovery".
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import orjson

from apilayer.pipeline.account_keys import key_set
from apilayer.pipeline.request import Response

if TYPE_CHECKING:
    from apilayer.pipeline.account_tokens import AccountTokens

DISCOVERY_PATH = "/.well-known/openid-configuration"
KEYS_PATH = "/openid/v1/jwks"
_CACHED = ((b"Cache-Control", b"public, max-age=3600"),)


class IssuerDocuments:
    """Both documents, made once, when one is first asked for. `keys_uri` is where others reach the keys."""

    def __init__(self, tokens: AccountTokens, keys_uri: str) -> None:
        self._tokens = tokens
        self._keys_uri = keys_uri

    @cached_property
    def _documents(self) -> dict[str, tuple[bytes, bytes]]:
        keys = list(self._tokens.keys.values())
        discovery = {
            "issuer": self._tokens.issuer,
            "jwks_uri": self._keys_uri,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": sorted({key.algorithm for key in keys}),
        }
        return {
            DISCOVERY_PATH: (orjson.dumps(discovery), b"application/json"),
            KEYS_PATH: (orjson.dumps(key_set(keys)), b"application/jwk-set+json"),
        }

    def respond(self, path: str) -> Response | None:
        """The document at the path, None when there is none."""
        found = self._documents.get(path)
        return None if found is None else Response(200, *found, _CACHED)
