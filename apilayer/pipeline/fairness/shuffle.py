"""Shuffle sharding: the few queues, out of many, that a flow's requests may wait in. Pure."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256

MAX_REMEMBERED_FLOWS = 4096


def flow_hash(schema: str, distinguisher: str) -> int:
    """64 bits that stand for a flow: the requests of one distinguisher under one FlowSchema."""
    return int.from_bytes(sha256(b"%s\0%s" % (schema.encode(), distinguisher.encode())).digest()[:8], "little")


@lru_cache(MAX_REMEMBERED_FLOWS)
def hand(value: int, queues: int, size: int) -> tuple[int, ...]:
    """`size` different indices below `queues`, dealt from the hash `value` like cards from a deck."""
    cards: list[int] = []
    remainders: list[int] = []
    for place in range(size):
        value, remainder = divmod(value, queues - place)
        card = remainder
        # A remainder counts among the cards that are left: step over those that are gone.
        for earlier in reversed(remainders):
            if card >= earlier:
                card += 1
        remainders.append(remainder)
        cards.append(card)
    return tuple(cards)
