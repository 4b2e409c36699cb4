"""What the clients of a chaos run submit, and what they do with it. PURE: the same for client, task and checker.

A job is its *number* and that of its client; a task of it has a number that no other task of the run has.
"""

import hashlib
import random
from dataclasses import dataclass

from tests.chaos.plan import Kind

TASKS_PER_JOB_MAX = 1000
JOBS_PER_CLIENT_MAX = 100_000
LIMIT, HOLDERS_MAX = "licence", 2
DEEDS = ("follow", "cancel", "hold", "requeue", "wait")


@dataclass(frozen=True, slots=True)
class JobDraw:
    """One job: how its tasks behave, its options, and what its client does as soon as it is submitted."""

    client: int
    number: int
    kinds: tuple[Kind, ...]
    durations_ms: tuple[int, ...]
    deed: str
    after_s: float
    is_limited: bool
    parallel: int | None
    max_fails: int | None
    retries: int
    priority: int

    @property
    def key(self) -> bytes:
        """By which it is one job, however often it is submitted."""
        return hashlib.blake2b(b"%d/%d" % (self.client, self.number), digest_size=16).digest()

    @property
    def first(self) -> int:
        """The number of its first task."""
        return (self.client * JOBS_PER_CLIENT_MAX + self.number) * TASKS_PER_JOB_MAX


def draw(seed: int, client: int, number: int) -> JobDraw:
    """The job of a client with this number."""
    rng = random.Random(f"{seed}/{client}/{number}")
    count = rng.choice((1, 5, 20, 60))
    fails = rng.choice((0.0, 0.0, 0.2))
    max_fails = rng.choice((None, 0, 2)) if fails else None
    kinds: tuple[Kind, ...] = tuple("fail" if rng.random() < fails else "sleep" for _ in range(count))
    return JobDraw(
        client,
        number,
        kinds,
        tuple(rng.choice((0, 1, rng.randint(0, 40))) for _ in range(count)),
        rng.choice(DEEDS),
        rng.uniform(0.0, 0.4),
        # After each death of a master whatever is limited waits for seconds.
        rng.random() < 0.15,
        rng.choice((None, None, None, None, None, 1, 3)),
        max_fails,
        rng.choice((0, 0, 1)),
        rng.choice((0, 0, 5, -5)),
    )


def of_task(task: int) -> tuple[int, int, int]:
    """Client, job and index of the task with this number."""
    job, index = divmod(task, TASKS_PER_JOB_MAX)
    return *divmod(job, JOBS_PER_CLIENT_MAX), index
