"""From flags to a store that seals: the configuration given or made, its plugins, and its reload."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Protocol

import trio

from apilayer.reloads import LOOK_SECONDS
from apilayer.server.errors import OptionsError
from apilayer.server.health import Check
from apilayer.storage.encryption import generated
from apilayer.storage.encryption.configuration import Configuration, ConfigurationError
from apilayer.storage.encryption.store import EncryptedStore, Transformers
from apilayer.storage.interface import StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from apilayer.server.health import Health
    from apilayer.storage.encryption.kms import KmsTransformer
    from apilayer.storage.interface import Store
    from apilayer.storage.prefix import Prefix

FLAG = "--encryption-provider-config"
RETRY_SECONDS = 1.0

log = logging.getLogger("apilayer.server.encryption")


class EncryptionFlags(Protocol):
    """What the flags say (see `ServerOptions`)."""

    @property
    def encryption_provider_config(self) -> Path | None: ...
    @property
    def encryption_provider_config_automatic_reload(self) -> bool: ...
    @property
    def service_account_signing_key_file(self) -> Path | None: ...
    @property
    def tls_private_key_file(self) -> Path: ...


class Encryption:
    """How values are sealed, from one configuration to the next."""

    def __init__(self, path: Path, configuration: Configuration, data: bytes, *, own: bool, reloads: bool) -> None:
        """`own`: the configuration is not one that was given."""
        self._path = path
        self._configuration = configuration
        self._data = data
        self._own = own
        self._reloads = reloads
        self._store: EncryptedStore | None = None
        self._plugins_scope = trio.CancelScope()

    def over(self, store: Store, prefix: Prefix) -> EncryptedStore:
        """A store that seals, over `store`."""
        self._store = EncryptedStore(store, Transformers(self._configuration), prefix)
        self._store.counts.reloads.holds(self._data)
        return self._store

    def watch_health(self, health: Health) -> None:
        """Adds the checks of the plugins, named as upstream names them."""
        if self._reloads:
            health.add(Check("kms-providers", partial(self._healthy, None)))
            return
        for index in range(len(self._plugins)):
            health.add(Check(f"kms-provider-{index}", partial(self._healthy, index)))

    @property
    def _plugins(self) -> list[KmsTransformer]:
        assert self._store is not None
        return list(self._store.plugins)

    async def _healthy(self, index: int | None) -> bool:
        plugins = self._plugins if index is None else self._plugins[index : index + 1]
        return not any(plugin.fault for plugin in plugins)

    async def claim(self, store: Store) -> None:
        """Makes sure that a key of our own making is the store's. Raises OptionsError when it is not."""
        if not self._own:
            return
        while True:
            try:
                await generated.claim(store, self._configuration)
                return
            except generated.ForeignKey as error:
                raise OptionsError(
                    f"{FLAG}: the Secrets in this store are sealed with the key {error.name!r}, which {self._path} does"
                    " not hold. Copy that file from another API server of this cluster, or from a backup; without"
                    " the key its Secrets cannot be read by anybody"
                ) from error
            except StoreError as error:
                log.warning("the store cannot be asked which key seals its Secrets: %s", error)
                await trio.sleep(RETRY_SECONDS)

    async def run(self) -> None:
        """Keeps plugins fresh, and takes up changes of the file if that is wanted, until cancelled."""
        async with trio.open_nursery() as nursery:
            await self._run_plugins(nursery, self._plugins)
            while self._reloads:
                await trio.sleep(LOOK_SECONDS)
                changed = self._changed()
                if changed is not None:
                    await self._take_up(nursery, *changed)

    async def _run_plugins(self, nursery: trio.Nursery, plugins: list[KmsTransformer]) -> None:
        self._plugins_scope.cancel()
        self._plugins_scope = scope = trio.CancelScope()
        for plugin in plugins:
            if plugin.fault:
                await plugin.refresh()
            nursery.start_soon(_within, scope, plugin)

    def _changed(self) -> tuple[Configuration, bytes] | None:
        """What the file holds when that is something else; what cannot be read is told once it differs."""
        try:
            configuration, data = generated.read(self._path)
        except ConfigurationError as error:
            reason = str(error).encode()
            if reason != self._data:
                self._not_taken_up(str(error))
                self._data = reason
            return None
        if data == self._data or configuration == self._configuration:
            self._data = data
            return None
        return configuration, data

    async def _take_up(self, nursery: trio.Nursery, configuration: Configuration, data: bytes) -> None:
        """Seals by the new configuration, if its plugins are there."""
        assert self._store is not None
        transformers = Transformers(configuration)
        for plugin in transformers.plugins:
            await plugin.refresh()
            if plugin.fault:
                self._not_taken_up(plugin.fault)
                return
        if self._own:
            await self.claim_again(configuration)
        self._configuration, self._data = configuration, data
        self._store.use(transformers)
        self._store.counts.reloads.taken_up(data, time.time())
        log.info("%s: the changed configuration is in use", FLAG)
        await self._run_plugins(nursery, list(transformers.plugins))

    def _not_taken_up(self, reason: str) -> None:
        assert self._store is not None
        self._store.counts.reloads.failed(time.time())
        log.error("%s: not reloaded: %s", FLAG, reason)

    async def claim_again(self, configuration: Configuration) -> None:
        """The mark follows the key that writes; a store that does not answer is asked at the next start."""
        assert self._store is not None
        try:
            await generated.claim(self._store, configuration)
        except (generated.ForeignKey, StoreError) as error:
            log.warning("the store was not told which key seals its Secrets: %s", error)


async def _within(scope: trio.CancelScope, plugin: KmsTransformer) -> None:
    with scope:
        await plugin.run()


def read_encryption(flags: EncryptionFlags) -> Encryption:
    """Reads the configuration, or makes one. Raises OptionsError.

    A file of our own making lies beside the key that signs tokens, which every API server of a cluster has as well;
    without such a key, beside the server's own.
    """
    path, own = flags.encryption_provider_config, False
    if path is None:
        path = (flags.service_account_signing_key_file or flags.tls_private_key_file).parent / generated.FILE_NAME
        own = True
        _make(path)
    try:
        configuration, data = generated.read(path)
        Transformers(configuration)
    except ConfigurationError as error:
        raise OptionsError(f"{FLAG}: {error}") from error
    reloads = flags.encryption_provider_config_automatic_reload
    return Encryption(path, configuration, data, own=own, reloads=reloads)


def _make(path: Path) -> None:
    try:
        if generated.ensure(path):
            log.warning("Secrets are sealed with a new key in %s: keep a copy of that file", path)
    except OSError as error:
        raise OptionsError(
            f"{FLAG}: Secrets are sealed in the store, but no key can be made in {path.parent} ({error.strerror});"
            " name a file with this flag"
        ) from error
