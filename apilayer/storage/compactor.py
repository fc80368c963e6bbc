"""Keeps the store's history short: compacts what is older than one interval, one API server of all at a time.

The protocol is kube-apiserver's: whoever wins the compare-and-swap on one key compacts, so that any number of
API servers over one store compact once per interval.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from apilayer.storage.interface import KeyChanged, KeyExists, RevisionCompacted, StoreError

if TYPE_CHECKING:
    from apilayer.storage.interface import Record, Store

COMPACT_KEY = b"compact_rev_key"

log = logging.getLogger("apilayer.storage.compactor")


async def run_compactor(store: Store, interval_seconds: float) -> None:
    """Every interval, drops the history older than the revision of the interval before. 0: never."""
    if interval_seconds <= 0:
        return
    seen: Record | None = None
    target = 0
    while True:
        await trio.sleep(interval_seconds)
        try:
            seen, target = await compact_once(store, seen, target)
        except StoreError as error:
            # The other servers may have lost the store too: they get an interval to go on watching where they were.
            seen, target = None, 0
            log.warning("compaction put off: %s", error)


async def compact_once(store: Store, seen: Record | None, target: int) -> tuple[Record | None, int]:
    """One turn: compacts at `target` if nobody has moved the key since `seen`.

    Answers what to pass the next time: the key as it is now, and the revision to compact at then.
    """
    current, revision = await store.get(COMPACT_KEY)
    changed = (current.revision if current else 0) != (seen.revision if seen else 0)
    if changed or not target:
        return current, revision
    value = str(target).encode()
    try:
        if current is None:
            await store.create(COMPACT_KEY, value)
        else:
            await store.update(COMPACT_KEY, value, current.revision)
    except (KeyExists, KeyChanged) as error:
        return error.current, revision
    try:
        await store.compact(target)
        log.info("compacted the store's history at revision %d", target)
    except RevisionCompacted:
        log.info("history at revision %d was compacted already", target)
    return await store.get(COMPACT_KEY)
