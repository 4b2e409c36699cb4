"""The tasks that every peer is given: functions of an importable module, so that workers find them by name."""

import time
from collections.abc import Iterable
from itertools import islice
from typing import Protocol

BUSY_S = 0.001


class Work(Protocol):
    """A task: a number in, the same number out."""

    __name__: str

    def __call__(self, value: int, /) -> int: ...


def noop(value: int) -> int:
    """Nothing, so that only the way there and back is measured."""
    return value


def busy(value: int) -> int:
    """Keep a processor busy for BUSY_S; a sleeping task would not compete with what distributes it."""
    until = time.perf_counter() + BUSY_S
    while time.perf_counter() < until:
        pass
    return value


def chunk_sum(work: Work, values: Iterable[int]) -> int:
    """A chunk as a user writes it who batches by hand."""
    return sum(work(value) for value in values)


def chunks(tasks: int, size: int) -> list[list[int]]:
    """The numbers below ``tasks``, in lists of at most ``size``."""
    numbers = iter(range(tasks))
    return [list(islice(numbers, size)) for _ in range(0, tasks, size)]
