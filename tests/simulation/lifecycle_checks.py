"""Each step of a task that is seen in the brain's state stands in the one table of ``cyclone/lifecycle.py``.

Looks at the tasks of small jobs after every single event, so that no step hides behind another. That costs too much to
do it in every world.
"""

from typing import TYPE_CHECKING, Any

from cyclone.lifecycle import may_follow
from cyclone.master.events import ResultsRecorded
from cyclone.master.jobs.listing import live_tasks
from cyclone.master.state import State
from cyclone.protocol.states import STATE_NAMES

if TYPE_CHECKING:
    from tests.simulation.world import World

WORLDS_EACH = 3
TASKS_MAX = 20
_NEW = ""


class Transitions:
    """See the module. ``steps`` are those that were seen."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._small = {plan.key for plan in world.clients.plans if plan.total <= TASKS_MAX}
        self._seen: dict[int, str] = {}
        self._ended: set[int] = set()
        self.steps: set[tuple[str, str]] = set()

    def watch(self, state: State) -> None:
        """Another master begins: what a replay makes of a task is no step."""
        if not self._small or self._world.seed % WORLDS_EACH:
            return
        self._seen = self._look(state)
        # What was never committed has not ended.
        self._ended.clear()
        apply, due = state.apply, state.lanes.due

        def observed(event: Any) -> None:
            apply(event)
            ended = _ended(event) if isinstance(event, ResultsRecorded) else {}
            self._compare(state, ended)

        def observed_due(now: float) -> None:
            due(now)
            self._compare(state, {})

        state.apply, state.lanes.due = observed, observed_due  # type: ignore[method-assign]

    def _look(self, state: State) -> dict[int, str]:
        """The open tasks of small jobs, each with its state."""
        small = [job_id for job_id, record in state.jobs.records.items() if record.key in self._small]
        return {
            run.task_id + row: run.state
            for job_id in small
            for run in live_tasks(state, job_id, 0, TASKS_MAX)
            for row in range(run.count)
        }

    def _compare(self, state: State, ended: dict[int, str]) -> None:
        now = self._look(state)
        for task_id, target in now.items():
            assert task_id not in self._ended, f"task {task_id} has ended, and is {target} now"
            if (source := self._seen.get(task_id, _NEW)) != target:
                self._step(task_id, source, target)
        for task_id in self._seen.keys() - now.keys():
            assert task_id in ended, f"task {task_id} was {self._seen[task_id]}, and has vanished without a result"
            self._ended.add(task_id)
            self._step(task_id, self._seen[task_id], ended[task_id])
        self._seen = now

    def _step(self, task_id: int, source: str, target: str) -> None:
        self.steps.add((source, target))
        # That a worker executes it, or no longer does, is heard without an event: it is leased in between.
        ways = [(source, target)]
        if target == "running":
            ways.append((source, "leased"))
        elif source == "running":
            ways.append(("leased", target))
        assert any(may_follow(*way) for way in ways), f"task {task_id} was {source or 'not there'}, and is {target} now"


def _ended(event: ResultsRecorded) -> dict[int, str]:
    batch = event.batch
    rows = (row for row in range(len(batch.statuses)) if event.accepted is None or event.accepted[row])
    return {batch.first + row: STATE_NAMES[batch.statuses[row]] for row in rows}
