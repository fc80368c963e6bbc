"""Where in the store the API's keys are: `/registry/...` as the API knows them, under another prefix if need be."""

from __future__ import annotations

DEFAULT_PREFIX = "/registry"
ROOT = b"/registry/"


class Prefix:
    """Translates keys of the API into the store's, and back. Keys outside `/registry/` are the same in both."""

    def __init__(self, prefix: str = DEFAULT_PREFIX) -> None:
        """`prefix` as `--etcd-prefix` gives it; slashes at its ends mean nothing."""
        self._root = f"/{prefix.strip('/')}/".replace("//", "/").encode()
        self._same = self._root == ROOT

    def outer(self, key: bytes) -> bytes:
        """The store's key, or prefix of keys, for the API's."""
        if self._same or not key.startswith(ROOT):
            return key
        return self._root + key[len(ROOT) :]

    def inner(self, key: bytes) -> bytes:
        """The API's key for the store's."""
        if self._same or not key.startswith(self._root):
            return key
        return ROOT + key[len(self._root) :]
