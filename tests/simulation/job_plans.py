"""What the clients of the virtual world submit: drawn from the seed by itself, so that older seeds stay what they were.

A plan is known from its key alone, as a script is that a user starts again: a client that was killed goes on with it.
"""

import random
from dataclasses import dataclass, field

import msgspec

from cyclone.protocol.job_spec import JobSpec, Namespace, RowOptions
from tests.simulation.generators import FAILS, FLAKY, HANGS, KILLS, OK, pack_plan
from tests.simulation.settings import FAULT_PHASE_S

NAMESPACES = ("default", "night", "day")
LIMITS = {"ost:17": 2, "licence": 1}
_ROW_LIMIT_S = 0.3


@dataclass(slots=True)
class JobPlan:
    """One job: its blocks of packed arguments, and what its client does with it. Moments are virtual seconds.

    ``cancelled_at`` is when its client asks to end it, or of it the tasks ``cancel_indexes`` where there are any.
    From ``paused_at`` to ``resumed_at`` its namespace rests, unless another client says otherwise meanwhile. ``rows``
    are the options of single tasks by index: not before, and time limit.
    """

    key: bytes
    spec: JobSpec
    blocks: list[list[bytes]]
    behaviours: list[int]
    submitted_at: float
    pace_s: float = 0.0
    released_at: float | None = None
    held_at: float | None = None
    cancelled_at: float | None = None
    cancel_indexes: tuple[int, int] | None = None
    requeued_at: float | None = None
    paused_at: float | None = None
    resumed_at: float | None = None
    rows: dict[int, tuple[float | None, float | None]] = field(default_factory=dict)
    client: int = 0
    # Where the tasks of a block begin, by index.
    offsets: list[int] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Tasks in all blocks."""
        return len(self.behaviours)

    def change(self, index: int, behaviour: int, seconds: float) -> None:
        """Make a task another one."""
        block = max(at for at, offset in enumerate(self.offsets) if offset <= index)
        self.behaviours[index] = behaviour
        self.blocks[block][index - self.offsets[block]] = pack_plan(seconds, behaviour, 0, index + 1)

    def options_of(self, offset: int, count: int) -> list[RowOptions]:
        """The side table of so many tasks from an index on."""
        return [(index - offset, *self.rows[index]) for index in range(offset, offset + count) if index in self.rows]


def namespace_of(name: str, paused: bool = False) -> Namespace:
    """As the configuration of the virtual master has it, at work or at rest."""
    return Namespace(name=name, weight=1.0 + NAMESPACES.index(name), paused=paused)


def draw_plans(seed: int, faulty: bool, retries_max: int) -> list[JobPlan]:
    """The jobs of all clients; none for half of the seeds."""
    rng = random.Random(f"{seed}/{faulty}/jobs")
    if rng.random() < 0.5:
        return []
    clients = rng.randint(1, 3)
    plans = [_draw(rng, number, rng.randrange(clients), faulty, retries_max) for number in range(rng.randint(1, 6))]
    if faulty:
        # What came later is drawn apart, so that these plans stay what they were in all else.
        more = random.Random(f"{seed}/more of jobs")
        for plan in plans:
            _draw_more_troubles(more, plan)
    return plans


def _draw(rng: random.Random, number: int, client: int, faulty: bool, retries_max: int) -> JobPlan:
    count = rng.choice([1, 3, 20, 60])
    low, high = rng.choice([(0.0001, 0.003), (0.001, 0.05), (0.05, 0.4)])
    weights = rng.choice([[1, 0, 0, 0], [8, 1, 1, 0], [12, 1, 1, 1]]) if faulty else [1, 0, 0, 0]
    behaviours = rng.choices([OK, FAILS, FLAKY, KILLS], weights, k=count)
    # Never an origin: the generator's own tasks are told apart by theirs, and by the job of their block.
    args = [pack_plan(rng.uniform(low, high), behaviour, 0, index + 1) for index, behaviour in enumerate(behaviours)]
    block_max = rng.choice([1, 7, 64])
    blocks = [args[start : start + block_max] for start in range(0, count, block_max)]
    submitted_at = rng.uniform(0.0, 0.8 * FAULT_PHASE_S)
    options: dict[str, object] = {
        "task_class": "sim:Job",
        "name": f"job{number}",
        "namespace": rng.choice(NAMESPACES),
        "priority": rng.choice([0, 0, 0, 5, -5]),
        "retries": rng.choice([0, min(1, retries_max), retries_max]),
        "retry_delay_s": 0.05,
    }
    plan = JobPlan(
        rng.randbytes(16),
        JobSpec(task_class="sim:Job"),
        blocks,
        behaviours,
        submitted_at,
        rng.choice([0.0, 0.0, 0.2]),
        client=client,
    )
    if faulty:
        _draw_troubles(rng, plan, options)
    plan.spec = JobSpec(**options)  # type: ignore[arg-type]
    at = 0
    for block in blocks:
        plan.offsets.append(at)
        at += len(block)
    return plan


def _draw_troubles(rng: random.Random, plan: JobPlan, options: dict[str, object]) -> None:
    """What makes a job more than a stream of tasks."""
    if rng.random() < 0.3:
        options["parallel"] = rng.choice([1, 2])
    if rng.random() < 0.3:
        name = rng.choice(list(LIMITS))
        options["limits"] = {name: LIMITS[name]}
    if rng.random() < 0.3:
        options["max_fails"] = rng.choice([0, 1, 3])
    if rng.random() < 0.2:
        options["crash_limit"] = rng.choice([1, 2])
    if rng.random() < 0.2:
        options["cpus"] = 2
    if rng.random() < 0.15:
        options["not_before"] = plan.submitted_at + rng.uniform(0.1, 2.0)
    elif rng.random() < 0.2:
        options["not_after"] = plan.submitted_at + rng.uniform(0.1, 3.0)
    if rng.random() < 0.2:
        options["held"] = True
        plan.released_at = plan.submitted_at + rng.uniform(0.3, 2.0)
    elif rng.random() < 0.2:
        plan.held_at = plan.submitted_at + rng.uniform(0.1, 1.0)
        plan.released_at = plan.held_at + rng.uniform(0.3, 2.0)
    if rng.random() < 0.3:
        plan.cancelled_at = plan.submitted_at + rng.uniform(0.05, 2.5)
        if rng.random() < 0.5 and plan.total > 3:
            low = rng.randrange(plan.total - 1)
            plan.cancel_indexes = (low, rng.randint(low, plan.total - 1))


def _draw_more_troubles(rng: random.Random, plan: JobPlan) -> None:
    """Namespaces that rest, tasks that are taken back, rests of slots, and rows with options of their own."""
    if rng.random() < 0.2:
        plan.requeued_at = plan.submitted_at + rng.uniform(0.1, 2.5)
    if rng.random() < 0.15:
        plan.paused_at = plan.submitted_at + rng.uniform(0.0, 1.5)
        plan.resumed_at = plan.paused_at + rng.uniform(0.2, 2.0)
    if plan.cancelled_at is None and len(plan.blocks) > 1 and rng.random() < 0.2:
        # All that it has so far, while the rest is still to come.
        plan.pace_s = max(plan.pace_s, 0.2)
        plan.cancelled_at, plan.cancel_indexes = plan.submitted_at, (0, plan.offsets[1] - 1)
    waits = {}
    if plan.total <= 20 and rng.random() < 0.3:
        waits = {"wait_after_success_s": rng.choice([0.05, 0.3]), "wait_after_run_error_s": rng.choice([0.05, 0.3])}
    plan.spec = msgspec.structs.replace(plan.spec, **waits)
    if plan.total <= 20 and rng.random() < 0.4:
        # Longer than a controller may be silent, so that what nobody hears of any more goes on for a while.
        for index, behaviour in enumerate(plan.behaviours):
            plan.change(index, behaviour, rng.uniform(0.5, 3.0))
        name = rng.choice(list(LIMITS))
        plan.spec = msgspec.structs.replace(plan.spec, parallel=rng.choice([None, 1]), limits={name: LIMITS[name]})
    if rng.random() < 0.3:
        for index in rng.sample(range(plan.total), min(plan.total, 5)):
            plan.rows[index] = (plan.submitted_at + rng.uniform(0.1, 3.0), None)
    if rng.random() < 0.3:
        # Without a limit of its own it would hang for ever.
        index = rng.randrange(plan.total)
        plan.rows[index] = (plan.rows.get(index, (None, None))[0], _ROW_LIMIT_S)
        plan.change(index, HANGS, 0.1)
