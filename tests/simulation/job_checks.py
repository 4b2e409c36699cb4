"""What must hold of submitted jobs, kept in books of its own: submitted once, complete, within their limits."""

from collections import defaultdict
from typing import TYPE_CHECKING

from cyclone.master.events import (
    CancelWanted,
    JobEnded,
    JobHeld,
    JobSealed,
    JobSubmitted,
    NamespaceSet,
    Recorded,
    TasksAdded,
)
from cyclone.protocol import states
from cyclone.protocol.job_messages import Submitted
from cyclone.protocol.job_spec import DEFAULT_NAMESPACE, GENERATOR_JOB
from tests.simulation.job_plans import LIMITS, JobPlan
from tests.simulation.rests import Rests

if TYPE_CHECKING:
    from tests.simulation.world import World

BAD = frozenset({states.FAILED, states.TIMED_OUT, states.SETUP_FAILED, states.QUARANTINED, states.REFUSED})
# How long all that a job has may wait behind others: as long as one slot takes for what a namespace of the highest
# weight may have saved up (``shares.LAG_S``, three times), and for its rests and what is out when it begins.
STILL_S = 60.0


class JobLedger:
    """See the module."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._plans = {plan.key: plan for plan in world.clients.plans}
        self._by_job: dict[int, JobPlan] = {}
        self._job_of: dict[int, int] = {}
        self._index_of: dict[int, int] = {}
        self._added: dict[int, int] = {}
        self._sealed: set[int] = set()
        self._held: set[int] = set()
        self._ended: set[int] = set()
        self._results: dict[int, dict[int, int]] = defaultdict(dict)
        self._intervals: dict[str, list[tuple[float, int]]] = defaultdict(list)
        self._paused: set[str] = set()
        self._requeued: set[bytes] = set()
        self._asked_to_end: set[int] = set()
        self._moved_at: dict[str, float] = defaultdict(float)
        self.rests = Rests(world, self)

    def job_of(self, task_id: int) -> int:
        """The job of a task."""
        return self._job_of.get(task_id, GENERATOR_JOB)

    def parts(self, first: int, count: int) -> list[tuple[int, int, int, int]]:
        """Which of these tasks are of submitted jobs: job, index, row, and one of it."""
        rows = [(self._job_of.get(first + row), row) for row in range(count)]
        return [(job_id, self._index_of[first + row], row, 1) for job_id, row in rows if job_id is not None]

    def retries(self, task_id: int) -> int:
        """How often a task may be tried again."""
        plan = self.plan_of(task_id)
        return plan.spec.retries if plan else self._world.settings.work.retries

    def crash_limit(self, task_id: int) -> int:
        """How many workers a task may kill."""
        plan = self.plan_of(task_id)
        return (plan.spec.crash_limit if plan else None) or self._world.settings.crash_limit

    def plan_of(self, task_id: int) -> JobPlan | None:
        """Of which plan a task is, None for the generator's."""
        job_id = self._job_of.get(task_id)
        return None if job_id is None else self._by_job[job_id]

    def journalled(self, event: Recorded) -> None:
        """A commit is durable."""
        self.rests.journalled(event)
        match event:
            case JobSubmitted():
                plan = self._plans[event.key]
                known = [job for job, other in self._by_job.items() if other is plan]
                assert not known, f"the plan {plan.spec.name} was submitted as job {known} and {event.job.job_id}"
                assert event.job.job_id not in self._by_job, f"job {event.job.job_id} is there already"
                assert event.spec == plan.spec
                self._by_job[event.job.job_id] = plan
                self._added[event.job.job_id] = 0
                if plan.spec.held:
                    self._held.add(event.job.job_id)
            case TasksAdded() if event.job_id:
                self._on_added(event)
            case JobSealed(job_id):
                assert job_id not in self._ended
                self._sealed.add(job_id)
            case JobHeld(job_id, held):
                (self._held.add if held else self._held.discard)(job_id)
            case JobEnded(job_id):
                assert job_id in self._sealed, f"job {job_id} has ended and was not sealed"
                lacking = self._added[job_id] - len(self._results[job_id])
                assert not lacking, f"job {job_id} has ended, and {lacking} of its tasks have no result"
                assert job_id not in self._ended, f"job {job_id} ended twice"
                self._ended.add(job_id)
            case NamespaceSet(namespace):
                (self._paused.add if namespace.paused else self._paused.discard)(namespace.name)
            case CancelWanted(job_id=job_id, status=states.CANCELLED) if job_id and job_id not in self._asked_to_end:
                bad, plan = self._bad_ends(job_id), self._by_job[job_id]
                limit = plan.spec.max_fails
                assert limit is not None and bad > limit, f"job {job_id} is cancelled: {bad} bad ends, {limit} allowed"
            case CancelWanted():
                pass

    def _on_added(self, event: TasksAdded) -> None:
        job_id = event.job_id
        plan, at = self._by_job[job_id], self._added[job_id]
        assert event.offset == at, f"job {job_id}: a block begins with {event.offset}, {at} was due"
        assert job_id not in self._sealed, f"job {job_id} is sealed, and gets more tasks"
        due = [args for block in plan.blocks for args in block][at : at + len(event.args)]
        assert event.args == due, f"job {job_id}: other arguments than its client gave it"
        options = plan.options_of(at, len(due))
        assert list(event.options) == options, f"job {job_id}: other options of rows than its client gave it"
        assert event.runs == [(job_id, len(event.args))]
        for row in range(len(event.args)):
            self._job_of[event.first + row] = job_id
            self._index_of[event.first + row] = at + row
        self._added[job_id] = at + len(event.args)

    def told(self, answer: Submitted, plan: JobPlan) -> None:
        """A client hears that something was submitted: it is in the journal."""
        assert self._by_job.get(answer.job_id) is plan, f"job {answer.job_id} is not {plan.spec.name}"
        assert answer.count <= self._added[answer.job_id], f"{answer.count} tasks of job {answer.job_id} were promised"
        assert not answer.sealed or answer.job_id in self._sealed, f"job {answer.job_id} was promised to be sealed"

    def followed(self, plan: JobPlan, index: int, status: int, got: dict[int, int]) -> None:
        """A client gets a result."""
        job_id = next(job for job, other in self._by_job.items() if other is plan)
        assert index not in got, f"job {job_id}: the result of task {index} came twice"
        assert self._results[job_id].get(index) == status, f"job {job_id}: task {index} did not end with {status}"
        got[index] = status

    def asked_to_end(self, job_id: int) -> None:
        """A client asks for tasks of a job to be cancelled."""
        self._asked_to_end.add(job_id)

    def _bad_ends(self, job_id: int) -> int:
        return sum(one in BAD for one in self._results[job_id].values())

    def requeued(self, plan: JobPlan) -> None:
        """A client asks for a job's tasks to be taken back: from now on any of them may be at any time."""
        self._requeued.add(plan.key)

    def was_requeued(self, task_id: int) -> bool:
        """Whether a client asked for this task to be taken back."""
        plan = self.plan_of(task_id)
        return plan is not None and plan.key in self._requeued

    def moment_of(self, task_id: int) -> float | None:
        """Before when this task alone must not run; None where that does not differ from its job."""
        plan = self.plan_of(task_id)
        return plan.rows.get(self._index_of[task_id], (None, None))[0] if plan else None

    def given_up(self, plan: JobPlan) -> None:
        """A client has no patience left, although all is well: nobody else may be to blame."""
        job_id = next(job for job, other in self._by_job.items() if other is plan)
        slots = [len(c.agent.crew.slots) for c in self._world.controllers if c.alive and not c.agent.draining]
        rests = job_id in self._held or plan.spec.namespace in self._paused or plan.spec.cpus > max(slots, default=0)
        is_done = job_id in self._ended or len(self._results[job_id]) == self._added[job_id]
        still_s = self._world.now - self._moved_at[plan.spec.namespace]
        assert rests or is_done or still_s < STILL_S, (
            f"job {job_id} ({plan.spec.name}) waits, and its namespace stands still for {still_s:.1f} s"
        )

    def leased(self, task_id: int) -> None:
        """A task leaves for a controller."""
        job_id = self._job_of.get(task_id)
        if job_id is None:
            self._moved_at[DEFAULT_NAMESPACE] = self._world.now
            return
        plan, now = self._by_job[job_id], self._world.now
        self._moved_at[plan.spec.namespace] = now
        assert job_id not in self._held, f"task {task_id} of job {job_id} is leased, which is held"
        spec = plan.spec
        assert spec.namespace not in self._paused, f"task {task_id} is leased, and {spec.namespace} is paused"
        own = self.moment_of(task_id)
        in_time = own is None or now >= own - 1e-6 or self.was_requeued(task_id)
        assert in_time, f"task {task_id} leased before a time of its own"
        assert spec.not_before is None or now >= spec.not_before - 1e-6, f"task {task_id} leased before its time"
        assert spec.not_after is None or now <= spec.not_after + 1e-6, f"task {task_id} leased after its time"

    def recorded(self, task_id: int, status: int) -> None:
        """A task has its one result."""
        job_id = self._job_of.get(task_id)
        if job_id is None:
            return
        plan = self._by_job[job_id]
        self._moved_at[plan.spec.namespace] = self._world.now
        self._results[job_id][self._index_of[task_id]] = status
        if plan.spec.max_fails is not None:
            bad = self._bad_ends(job_id)
            assert bad <= plan.spec.max_fails + 1, f"job {job_id}: {bad} bad ends, {plan.spec.max_fails} are allowed"
        if status == states.EXPIRED:
            assert plan.spec.not_after is not None, f"task {task_id} expired without a time to do so"
            assert self._world.now >= plan.spec.not_after - 1e-6, f"task {task_id} expired too early"

    def ran(self, task_id: int, started: float, ended: float) -> None:
        """A task occupied a worker from then to then, however it ended."""
        plan = self.plan_of(task_id)
        if plan is None:
            return
        names = [*plan.spec.limits, *([f"job {plan.spec.name}"] if plan.spec.parallel else [])]
        for name in names:
            self._intervals[name] += [(started, 1), (ended, -1)]

    def check_finished(self) -> None:
        """Everything is done: so is every job, and no limit was ever exceeded."""
        for job_id, plan in self._by_job.items():
            assert job_id in self._ended, f"job {job_id} ({plan.spec.name}) never ended"
            assert len(self._results[job_id]) == self._added[job_id]
        missing = [plan.spec.name for plan in self._plans.values() if plan not in self._by_job.values()]
        assert not missing, f"{missing} were never submitted"
        bounds = dict(LIMITS)
        bounds |= {f"job {p.spec.name}": p.spec.parallel for p in self._plans.values() if p.spec.parallel}
        for name, changes in self._intervals.items():
            busy = most = 0
            # What ends at a moment makes room for what starts then.
            for _, change in sorted(changes):
                busy += change
                most = max(most, busy)
            assert most <= bounds[name], f"{most} tasks ran at once that hold {name}, at most {bounds[name]} may"
