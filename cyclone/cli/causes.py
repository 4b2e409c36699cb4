"""Why tasks failed, by kind, from lists of tasks: the master remembers the kinds of open jobs only.

Owns how failures of a kind are told from others: by the first line of the error, without what differs from task to
task, as the master does it. Bounded: a million failures have few kinds, or nobody reads them all.
"""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cyclone.client.client import Client
    from cyclone.protocol.job_messages import TaskRow

_KINDS_MAX = 100
_CHARS_MAX = 160
_OTHERS = "other errors"
_VARIABLE = re.compile(r"0x[0-9a-fA-F]+|\d+")


def example(client: "Client", job_id: int, index: int) -> str:
    """The error of this task, whole, where it has one: a kind is without what differs, which people want to read."""
    row = next(client.tasks(job_id, start=index, page=1), None)
    return row.error or "" if row and row.index == index else ""


class Causes:
    """Counts kinds, with the index of the first task that shows each."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[int, int]] = {}

    def __bool__(self) -> bool:
        return bool(self._kinds)

    def add(self, row: "TaskRow") -> None:
        """Count a task, where it has an error."""
        if not row.error:
            return
        kind = _VARIABLE.sub("#", row.error.partition("\n")[0])[:_CHARS_MAX]
        if kind not in self._kinds and len(self._kinds) >= _KINDS_MAX:
            kind = _OTHERS
        count, first = self._kinds.get(kind, (0, row.index))
        self._kinds[kind] = (count + 1, first)

    def ranked(self) -> list[tuple[str, int, int]]:
        """Kinds with how many there are and an index, the most frequent first."""
        found = ((kind, count, first) for kind, (count, first) in self._kinds.items())
        return sorted(found, key=lambda one: -one[1])
