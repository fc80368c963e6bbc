"""How many seats a request takes: lists by how much they read, writes by how many watch what they change. Pure."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from apilayer.registry.options import ListOptions

if TYPE_CHECKING:
    from apilayer.pipeline.request_info import RequestInfo
    from apilayer.registry.options import Query

SERVICE_SECONDS = 0.003
"""How long a request is taken to run until it is known."""
MAX_LIST_SEATS = 100
MAX_WRITE_SEATS = 10
BYTES_PER_SEAT = 100_000
MAX_CACHED_LIST_BYTES = 1_000_000
"""A list from the cache is sent in pieces: it never holds more than so much at once."""
WATCHES_PER_SEAT = 10
WATCHED_SECONDS = 0.005
"""How long a changed object keeps a seat for each ten of its watchers."""


class Work:
    """Seats while the request runs, and those that it keeps for a while afterwards. Immutable."""

    __slots__ = ("extra_seconds", "final_seats", "max_seats", "seats", "total")

    def __init__(self, seats: int, final_seats: int = 0, extra_seconds: float = 0.0) -> None:
        self.seats = seats
        self.final_seats = final_seats
        self.extra_seconds = extra_seconds
        self.max_seats = max(seats, final_seats)
        self.total = seats * SERVICE_SECONDS + final_seats * extra_seconds
        """Seat-seconds."""


SEATS = tuple(Work(seats) for seats in range(MAX_LIST_SEATS + 1))
"""Works without an afterwards, by their seats."""
ONE_SEAT = SEATS[1]


def list_work(info: RequestInfo, query: Query, objects: int, size_bytes: int, most: int) -> Work:
    """A list, or a watch that begins with one, over a resource of so many objects and bytes; `most` seats at most."""
    options = ListOptions.parse(query)
    if info.verb == "watch" and not options.send_initial_events:
        return ONE_SEAT
    single = info.name or "metadata.name=" in options.field_selector
    count = 1 if single else min(objects, options.limit or objects)
    average = size_bytes / objects if objects else 0.0
    from_store = options.resource_version_match == "Exact" or bool(options.continue_token)
    if from_store and (options.label_selector or options.field_selector) and not single:
        count = max(count, objects // 2)
    held = count * average
    if not from_store:
        held = min(held, MAX_CACHED_LIST_BYTES)
    return SEATS[max(1, min(ceil(held / BYTES_PER_SEAT), most, MAX_LIST_SEATS))]


def write_work(watchers: int, most: int) -> Work:
    """A write of an object that so many watch: telling them keeps seats busy after the answer."""
    if watchers < WATCHES_PER_SEAT:
        return ONE_SEAT
    wanted = ceil(watchers / WATCHES_PER_SEAT)
    seats = max(1, min(wanted, most, MAX_WRITE_SEATS))
    return Work(1, seats, wanted * WATCHED_SECONDS / seats)
