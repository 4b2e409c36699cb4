"""A job of which much waits at the controllers when it is not to begin any more, in a world where all else is well.

Its first tasks take a moment, so that many are handed out, and all others a while: what is not taken back from the
controllers begins there for many seconds. Drawn by itself, so that everything else of a seed stays what it was.
"""

import random

from cyclone.protocol.job_spec import JobSpec
from tests.simulation.generators import OK, pack_plan
from tests.simulation.job_plans import JobPlan
from tests.simulation.rests import BEGINS_UNTIL_S
from tests.simulation.settings import Settings

# A client of its own.
CLIENT = 9
SHORT, SHORT_S = 40, 0.002
LONG_PER_SLOT, LONG_S = 10, 0.7
# Longer than it may take until nothing of it begins any more (``rests.py``).
_RESTS_S = BEGINS_UNTIL_S + 0.8


def draw_long_wait(seed: int, settings: Settings) -> list[JobPlan]:
    """The job; none for most seeds, and where the master stops before it comes to that."""
    rng = random.Random(f"{seed}/long wait")
    if rng.random() < 2 / 3 or settings.master_stops_at is not None:
        return []
    long = LONG_PER_SLOT * settings.controllers * settings.workers_max
    args = [pack_plan(SHORT_S if at < SHORT else LONG_S, OK, 0, at + 1) for at in range(SHORT + long)]
    submitted_at = rng.uniform(0.2, 2.0)
    rests_at = submitted_at + rng.uniform(0.5, 1.5)
    options: dict[str, object] = {
        "task_class": "sim:Job",
        "name": "long wait",
        "namespace": rng.choice(["night", "day"]),
    }
    spec = JobSpec(task_class="sim:Job")
    plan = JobPlan(rng.randbytes(16), spec, [args], [OK] * len(args), submitted_at, client=CLIENT, offsets=[0])
    ends_at = rests_at + _RESTS_S
    match rng.choice(["held", "paused", "expires"]):
        case "held":
            plan.held_at, plan.cancelled_at = rests_at, ends_at
        case "paused":
            plan.paused_at, plan.cancelled_at, plan.resumed_at = rests_at, ends_at, ends_at
        case "expires":
            options["not_after"] = rests_at
    plan.spec = JobSpec(**options)  # type: ignore[arg-type]
    return [plan]
