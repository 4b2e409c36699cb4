"""Soon nothing begins that is not to, although it lies at a controller and the first question for it got lost.

Judged where nothing else is wrong: elsewhere it does not show whether a task began so late because it was asked for
only once, or because nobody could be reached.
"""

from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from cyclone.master.events import CancelWanted, JobHeld, NamespaceSet, Recorded
from cyclone.master.leases.recalls import ASK_AGAIN_S
from cyclone.protocol import states

if TYPE_CHECKING:
    from tests.simulation.job_checks import JobLedger
    from tests.simulation.world import World

# The master looks twice a second for whom it has to ask again, and then the question is on its way.
BEGINS_UNTIL_S = ASK_AGAIN_S + 0.5 + 0.3


def begins_a_rest(event: Recorded) -> bool:
    """Whether tasks that may be at controllers are not to begin any more, and have to come back from there."""
    match event:
        case JobHeld(held=held):
            return held
        case NamespaceSet(namespace):
            return namespace.paused
        case CancelWanted(status=status):
            # What is cancelled is asked for by name.
            return status == states.EXPIRED
    return False


class Rests:
    """See the module. ``ended_at`` is when something was last allowed to begin again."""

    def __init__(self, world: "World", jobs: "JobLedger") -> None:
        self._world = world
        self._jobs = jobs
        # By the id of a job and by the name of a namespace.
        self._since: dict[int | str, float] = {}
        self.ended_at = 0.0

    def journalled(self, event: Recorded) -> None:
        """A commit is durable."""
        match event:
            case JobHeld(job_id) | CancelWanted(job_id=int(job_id)):
                what: int | str = job_id
            case NamespaceSet(namespace):
                what = namespace.name
            case _:
                return
        if begins_a_rest(event):
            self._since.setdefault(what, self._world.now)
        elif not isinstance(event, CancelWanted) and self._since.pop(what, None) is not None:
            self.ended_at = self._world.now

    def wanted(self, waiting: AbstractSet[int]) -> int:
        """How many of these tasks are to begin."""
        return sum(self._rests_since(task_id) is None for task_id in waiting) if self._since else len(waiting)

    def began(self, task_id: int, at: float) -> None:
        """A worker begins a task."""
        since = None if self._world.faulty or not self._since else self._rests_since(task_id)
        if since is not None:
            late_s = at - max(since, self._world.restarted_at)
            assert late_s < BEGINS_UNTIL_S, f"task {task_id} begins {late_s:.2f} s after it was not to begin any more"

    def _rests_since(self, task_id: int) -> float | None:
        plan = self._jobs.plan_of(task_id)
        if plan is None:
            return None
        moments = [self._since.get(what) for what in (self._jobs.job_of(task_id), plan.spec.namespace)]
        return min((at for at in moments if at is not None), default=None)
