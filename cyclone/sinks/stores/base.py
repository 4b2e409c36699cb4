"""What a store is: where the database proxy puts its rows, a batch at a time, all of it or nothing.

Owns the interface. ``mysql``, ``sqlite`` and ``jsonlines`` are its kinds; none of them knows of spools or of threads.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from cyclone.errors import CycloneError
from cyclone.sinks.layouts import Table

Cells = tuple[Any, ...]


class StoreUnavailable(CycloneError):
    """Nothing is known to be stored, and the same batch may be tried again later. The text says why, for people."""


class Rejected(NamedTuple):
    """A row that the store will never take: its table, its place in the table's rows of the batch, and why."""

    table: Table
    place: int
    error: str


@dataclass(slots=True)
class Batch:
    """Rows by table, made of whole blocks; ``ends`` has the number of the last block of each journal."""

    rows: dict[Table, list[Cells]] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)


class Outcome(NamedTuple):
    """What became of a batch's rows: those rejected, and by table how many were stored or were there before."""

    rejected: Sequence[Rejected]
    stored: dict[Table, int]
    present: int


class Store(Protocol):
    """One of these three calls at a time, from one thread. ``insert`` and then ``commit``; after an error neither."""

    def has(self, journal_id: str, number: int) -> bool:
        """Whether it knows that this block is stored. False says nothing: ``cyclone_row`` tells then.

        Raises StoreUnavailable.
        """

    def insert(self, batch: Batch) -> Outcome:
        """Put the batch into a transaction of its own. What this raises has undone it: StoreUnavailable."""

    def commit(self) -> None:
        """Make it last. After StoreUnavailable nobody knows whether it did, so that the same batch must come again."""

    def close(self) -> None:
        """Let go of everything; again it has no effect. Raises nothing."""
