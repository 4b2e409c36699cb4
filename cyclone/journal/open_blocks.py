"""What the journal's writer keeps in memory: of each block that is not closed, how many of its tasks have no result.

Owns counts and numbers, no task. A block of which no task is open is *finished* and waits here to be closed.
"""

import bisect
from collections import deque
from collections.abc import Iterator, Sequence

from cyclone.journal.blocks import Part


class OpenBlock:
    """Tasks ``first .. end-1``: how many have no result, and the numbers of the results that the others have.

    ``job_id`` is the submitted job that they are of, from its index ``offset`` on, or GENERATOR_JOB; ``apart`` says
    that they stay for as long as the job says.
    """

    __slots__ = ("apart", "count", "end", "first", "job_id", "numbers", "offset", "open_count")

    def __init__(self, first: int, count: int, job_id: int, offset: int, apart: bool) -> None:
        self.first = first
        self.count = count
        self.end = first + count
        self.open_count = count
        self.numbers: list[int] = []
        self.job_id = job_id
        self.offset = offset
        self.apart = apart


class OpenBlocks:
    """All blocks that are not closed, by id."""

    def __init__(self) -> None:
        self.finished: deque[OpenBlock] = deque()
        self._by_first: dict[int, OpenBlock] = {}
        # Ascending. Holds blocks that are closed, too, until they are more than the others: a list is slow to shorten
        # at its front.
        self._firsts: list[int] = []

    def __len__(self) -> int:
        return len(self._by_first)

    def __iter__(self) -> Iterator[OpenBlock]:
        return iter(self._by_first.values())

    def get(self, first: int) -> OpenBlock | None:
        """The block that begins with this id."""
        return self._by_first.get(first)

    def add(self, block: OpenBlock) -> None:
        """A new block behind all others."""
        self._by_first[block.first] = block
        self._firsts.append(block.first)

    def overlapping(self, low: int, high: int) -> list[OpenBlock]:
        """The blocks with ids from ``low`` up to ``high``."""
        at = max(0, bisect.bisect_right(self._firsts, low) - 1)
        found = []
        while at < len(self._firsts) and self._firsts[at] < high:
            block = self._by_first.get(self._firsts[at])
            if block is not None and block.end > low:
                found.append(block)
            at += 1
        return found

    def record(self, part: Part) -> None:
        """These results are recorded."""
        for block in self.overlapping(part.first, part.end):
            count = part.count(block.first, block.end)
            if not count:
                continue
            block.numbers.append(part.number)
            block.open_count -= count
            assert block.open_count >= 0, f"a second result within the block {block.first}"
            if not block.open_count:
                self.finished.append(block)

    def remove(self, closed: Sequence[OpenBlock]) -> None:
        """These blocks, the first of those that are finished, are closed."""
        for block in closed:
            finished = self.finished.popleft()
            assert finished is block
            del self._by_first[block.first]
        if len(self._firsts) > 2 * len(self._by_first) + 64:
            self._firsts = list(self._by_first)
