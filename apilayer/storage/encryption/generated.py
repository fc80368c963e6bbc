"""The configuration that a server makes for itself when it is given none: Secrets under AES-256-GCM, and a new key.

The store remembers which key its Secrets are sealed with, by a fingerprint under `MARK`, so that a server without that
key refuses to start instead of sealing with another one what the others could then not read.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import secrets
from typing import TYPE_CHECKING

import orjson

from apilayer.storage.encryption.configuration import AESGCM, IDENTITY, Configuration, Key, Provider, Rule, load, parse
from apilayer.storage.interface import KeyChanged, KeyExists

if TYPE_CHECKING:
    from pathlib import Path

    from apilayer.storage.interface import Record, Store

FILE_NAME = "encryption.yaml"
MARK = b"/registry/apilayer/sealing-key"
KEY_BYTES = 32
_TEXT = """\
# The keys that Secrets are sealed with in the store, made when this API server was first started.
# Every API server over the same store needs this file; without it, all Secrets are lost. Keep a copy elsewhere.
kind: EncryptionConfiguration
apiVersion: apiserver.config.k8s.io/v1
resources:
  - resources:
      - secrets
    providers:
      - aesgcm:
          keys:
            - name: {name}
              secret: {secret}
      - identity: {{}}
"""
_MADE = re.compile(
    re.escape(_TEXT.format(name="<name>", secret="<secret>"))  # noqa: S106  # a place in a pattern
    .replace("<name>", "(?P<name>key-[0-9a-f]{8})")
    .replace("<secret>", "(?P<secret>[A-Za-z0-9+/]{43}=)")
)


class ForeignKey(Exception):
    """The store's Secrets are sealed with a key that this server does not have; `name` is how it was called."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def ensure(path: Path) -> bool:
    """Makes the file (mode 0600) unless it is there; True when it was made. Raises OSError.

    Of several servers that make it at once, one does; nobody sees half of it.
    """
    if path.exists():
        return False
    text = _TEXT.format(
        name=f"key-{secrets.token_hex(4)}", secret=base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()
    )
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
            return True
        return False
    finally:
        os.unlink(temporary)


def read(path: Path) -> tuple[Configuration, bytes]:
    """As `configuration.read`; one that is as it was made takes no library of YAML, which takes long to import."""
    data = load(path)
    made = _MADE.fullmatch(data.decode(errors="replace"))
    if made is None:
        return parse(data), data
    key = Key(made["name"], base64.b64decode(made["secret"]))
    return Configuration((Rule(("secrets",), (Provider(AESGCM, (key,)), Provider(IDENTITY))),)), data


def fingerprint(key: Key) -> str:
    """What tells keys apart and gives nothing away."""
    return hashlib.sha256(b"apilayer sealing key\0" + key.secret).hexdigest()[:32]


def keys_of(configuration: Configuration) -> list[Key]:
    """The keys that Secrets can be read with, the one that they are written with first."""
    return [
        key for provider in configuration.providers_of("secrets") if provider.kind == AESGCM for key in provider.keys
    ]


async def claim(store: Store, configuration: Configuration) -> None:
    """Marks in `store` which key seals its Secrets. Raises ForeignKey, StoreError.

    With several keys, the mark goes to the one that writes once the marked one is among them.
    """
    keys = keys_of(configuration)
    if not keys:
        return
    own = {fingerprint(key): key for key in keys}
    mark = orjson.dumps({"name": keys[0].name, "fingerprint": fingerprint(keys[0])})
    found, _ = await store.get(MARK)
    while found is None or found.value != mark:
        if found is not None:
            _check(found, own)
        try:
            if found is None:
                await store.create(MARK, mark)
            else:
                await store.update(MARK, mark, found.revision)
            return
        except KeyExists as error:
            found = error.current
        except KeyChanged as error:
            found = error.current


def _check(found: Record, own: dict[str, Key]) -> None:
    try:
        marked = orjson.loads(found.value)
        if marked["fingerprint"] not in own:
            raise ForeignKey(str(marked["name"]))
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise ForeignKey("of a later version") from error
