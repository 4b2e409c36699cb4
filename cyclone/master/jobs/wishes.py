"""Wishes to end tasks that are not fulfilled yet, found by job and by task id. PURE.

Owns their order. What a wish means for a result, and how it is carried out, is decided elsewhere.
"""

from collections.abc import Collection, Iterator

from cyclone.master.events import CancelWanted
from cyclone.protocol.states import EXPIRED

Covered = tuple[int, int, CancelWanted]
"""From which task id up to which one a wish is what counts."""

_Key = tuple[int, int, str, int]


class Wishes:
    """See the module. Those that ask for no job in particular are kept under None. ``pending``: there are any."""

    def __init__(self) -> None:
        self.pending = False
        # By what they are about, so that one that is repeated takes no more room.
        self._of_job: dict[int | None, dict[_Key, CancelWanted]] = {}

    def __iter__(self) -> Iterator[CancelWanted]:
        return iter([wish for wishes in self._of_job.values() for wish in wishes.values()])

    def __len__(self) -> int:
        return sum(map(len, self._of_job.values()))

    def about(self, job_ids: Collection[int]) -> list[CancelWanted]:
        """Those that may be about tasks of these jobs."""
        asked: tuple[int | None, ...] = (None, *sorted(job_ids))
        return [wish for job_id in asked for wish in self._of_job.get(job_id, {}).values()]

    def append(self, wish: CancelWanted) -> None:
        """One more."""
        self._of_job.setdefault(wish.job_id, {})[_key(wish)] = wish
        self.pending = True

    def remove(self, wish: CancelWanted) -> None:
        """This one is fulfilled."""
        wishes = self._of_job[wish.job_id]
        del wishes[_key(wish)]
        if not wishes:
            del self._of_job[wish.job_id]
            self.pending = bool(self._of_job)

    def covering(self, job_id: int, task_class: str, start: int, stop: int) -> list[Covered]:
        """Which tasks of a job, from one id up to another, must not complete any more: in order and apart.

        Whatever has expired may complete where it runs already.
        """
        if not self._of_job:
            return []
        candidates = [
            wish
            for asked in (job_id, None)
            for wish in self._of_job.get(asked, {}).values()
            if wish.first < stop and wish.last >= start and wish.task_class in ("", task_class)
            if wish.status != EXPIRED
        ]
        found: list[Covered] = []
        at = start
        for wish in sorted(candidates, key=lambda wish: wish.first):
            low, high = max(at, wish.first), min(stop, wish.last + 1)
            if low < high:
                found.append((low, high, wish))
                at = high
        return found


def _key(wish: CancelWanted) -> _Key:
    return wish.first, wish.last, wish.task_class, wish.status
