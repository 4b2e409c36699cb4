"""Wishes to end tasks that are not fulfilled yet, found by job and by task id. PURE.

Owns their order. What a wish means for a result, and how it is carried out, is decided elsewhere.
"""

from collections.abc import Iterator

from cyclone.master.events import CancelWanted
from cyclone.protocol.states import EXPIRED

Covered = tuple[int, int, CancelWanted]
"""From which task id up to which one a wish is what counts."""


class Wishes:
    """See the module. The key None has those that ask for no job in particular."""

    def __init__(self) -> None:
        self._of_job: dict[int | None, list[CancelWanted]] = {}

    def __iter__(self) -> Iterator[CancelWanted]:
        return iter([wish for wishes in self._of_job.values() for wish in wishes])

    def __bool__(self) -> bool:
        return bool(self._of_job)

    def __len__(self) -> int:
        return sum(map(len, self._of_job.values()))

    def append(self, wish: CancelWanted) -> None:
        """One more; those that it contains are of no use any more."""
        others = self._of_job.get(wish.job_id, [])
        self._of_job[wish.job_id] = [*(other for other in others if not _contains(wish, other)), wish]

    def remove(self, wish: CancelWanted) -> None:
        """This one is fulfilled."""
        left = [other for other in self._of_job.get(wish.job_id, ()) if other is not wish]
        if left:
            self._of_job[wish.job_id] = left
        else:
            self._of_job.pop(wish.job_id, None)

    def of_job(self, job_id: int) -> list[CancelWanted]:
        """Those that ask for this job."""
        return self._of_job.get(job_id, [])

    def covering(self, job_id: int, task_class: str, start: int, stop: int) -> list[Covered]:
        """Which tasks of a job, from one id up to another, must not complete any more: in order and apart.

        Whatever has expired may complete where it runs already.
        """
        if not self._of_job:
            return []
        found: list[Covered] = []
        candidates = [
            wish
            for wish in (*self._of_job.get(job_id, ()), *self._of_job.get(None, ()))
            if wish.status != EXPIRED and wish.first < stop and wish.last >= start
            if wish.task_class in ("", task_class)
        ]
        at = start
        for wish in sorted(candidates, key=lambda wish: wish.first):
            low, high = max(at, wish.first), min(stop, wish.last + 1)
            if low < high:
                found.append((low, high, wish))
                at = high
        return found


def _contains(wish: CancelWanted, other: CancelWanted) -> bool:
    return (
        wish.first <= other.first
        and wish.last >= other.last
        and wish.task_class in ("", other.task_class)
        and wish.status == other.status
    )
