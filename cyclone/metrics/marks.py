"""When the tasks that wait were offered: a mark for each block, and how old a task is by the block that it came in.

Owns the marks. Bounded: where very many blocks wait, every other mark goes, and what came behind it counts from the
mark before, so that a wait may be told too long and never too short.
"""

from collections import deque
from itertools import islice

_MARKS_MAX = 4096


class Marks:
    """``now`` is monotonic. What was there before the first mark counts from the start."""

    def __init__(self, start: float, marks_max: int = _MARKS_MAX) -> None:
        self._marks_max = marks_max
        self._marks: deque[tuple[int, float]] = deque([(0, start)])

    def offered(self, first: int, now: float) -> None:
        """A block begins with this task; ids rise."""
        self._marks.append((first, now))
        if len(self._marks) > self._marks_max:
            self._marks = deque(islice(self._marks, 0, None, 2))

    def offered_at(self, task_id: int) -> float:
        """When this task was offered, from whose id on nobody asks about a lower one."""
        marks = self._marks
        while len(marks) > 1 and marks[1][0] <= task_id:
            marks.popleft()
        return marks[0][1]
