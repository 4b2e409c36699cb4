"""What takes longer than a question, cut into pieces that a thread that sleeps can take, or an event loop.

Owns the two forms: steps to one result, and batches of rows. Knows nothing of what they are about. Light to import.
"""

import time
from collections.abc import Generator, Iterable, Iterator
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")
Steps = Generator[float, None, T]
"""Each step yields for how many seconds to pause before the next; what it returns is the result."""


class Batch(NamedTuple, Generic[T]):
    """Rows that are there, and for how many seconds to pause before the next are asked for."""

    rows: Iterable[T]
    pause_s: float = 0.0


def run(steps: Steps[T]) -> T:
    """All of the steps, one after the other, in this thread."""
    while True:
        try:
            pause_s = next(steps)
        except StopIteration as end:
            found: T = end.value
            return found
        time.sleep(pause_s)


def rows(batches: Iterable[Batch[T]]) -> Iterator[T]:
    """The rows of all batches, in this thread."""
    for batch in batches:
        yield from batch.rows
        time.sleep(batch.pause_s)
