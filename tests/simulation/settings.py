"""What a seed decides before the world starts: sizes, speeds, which faults it favours.

Each seed draws a swarm of its own: some faults often, others never, so that one kind cannot hide another for ever.
"""

import random
from dataclasses import dataclass, field

# The phase in which faults come, and how long everything may take to end after it. Virtual seconds. One slot may have
# to do it all, with retries: seed 10131 takes 151 s.
FAULT_PHASE_S = 5.0
HEALED_BOUND_S = 300.0
LEAVING_BOUND_S = 60.0
# By then every controller has found its master again.
SETTLED_AFTER_S = 40.0
# The class of tasks whose attempts must never overlap.
ALONE = "sim:Alone"
# A generator without an end, for any purpose.
INFINITE = 1 << 30


@dataclass(slots=True)
class Work:
    """What the generator makes. ``pace_s`` is the mean wait between two blocks; ``cut_at`` ends an infinite one.

    ``own_share`` is the part of the tasks that is yielded where results make more, ``keys`` is the number of different
    keys, 0 for tasks without. Without ``reads`` there is no ``on_result``.
    """

    tasks: int
    block_max: int
    pace_s: float
    cut_at: float = 0.0
    children: float = 0.0
    own_share: int = 10
    fail: float = 0.0
    killers: int = 0
    hangers: int = 0
    retries: int = 0
    keys: int = 0
    reads: bool = True
    has_cursor: bool = False
    exclusive: bool = False
    # (weight, task class, time limit or None, shortest and longest duration in seconds)
    classes: list[tuple[float, str, float | None, float, float]] = field(default_factory=list)


@dataclass(slots=True)
class Settings:
    """Everything random that holds for a whole run. Durations in seconds, rates per message.

    ``settles``: the last tasks come only when everything has been well for a while, so that it can be seen that it is.
    ``durable``: the master has a journal, and may be killed. Limits of memory are patched into the production modules.
    """

    controllers: int
    workers_max: int
    heartbeat_s: float
    controller_timeout_s: float
    task_resend_timeout_s: float
    crash_limit: int
    retry_wait_s: float
    worker_max_tasks: int
    latency_s: tuple[float, float]
    turn_s: float
    worker_start_s: tuple[float, float]
    work: Work
    window_tasks: int
    backlog_bytes_max: int
    page_tasks: int = 65536
    load_below: int = 16384
    load_blocks: int = 8
    ahead_bytes_max: int = 4 << 20
    durable: bool = True
    master_dies_at: list[float] = field(default_factory=list)
    exit_when_done: bool = True
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    delay: float = 0.0
    faults_min: int = 0
    settles: bool = False
    master_stops_at: float | None = None
    fault_weights: dict[str, float] = field(default_factory=dict)
    check_every: int = 16


# Relative frequencies before the swarm is drawn.
FAULT_WEIGHTS = {
    "lose_message": 3.0,
    "partition_up": 1.0,
    "partition_down": 1.0,
    "partition_both": 1.0,
    "disconnect": 2.0,
    "controller_crash": 2.0,
    "twin": 0.7,
    "worker_dies_idle": 1.0,
    "worker_dies_executing": 2.0,
    "worker_dies_unreported": 2.0,
    "worker_dies_starting": 1.0,
    "freeze": 1.0,
    "slow_controller": 1.0,
    "drain": 1.0,
    "master_pause": 1.0,
    "take_back_fails": 2.0,
    "send_fails": 1.0,
    "delay_burst": 1.0,
    "master_kill": 3.0,
    "generator_kill": 2.0,
    "cancel": 0.5,
    "drain_by_client": 0.5,
}


def draw(rng: random.Random, faulty: bool) -> Settings:
    """The settings of a seed, with faults or without."""
    settings = Settings(
        controllers=rng.randint(2, 4),
        workers_max=rng.randint(1, 3),
        heartbeat_s=rng.choice([0.25, 0.5, 1.0]),
        controller_timeout_s=rng.choice([1.0, 1.5, 2.5]),
        task_resend_timeout_s=0.0,
        crash_limit=rng.choice([1, 2, 3, 3]),
        retry_wait_s=rng.choice([0.1, 0.3, 1.0]),
        worker_max_tasks=rng.choice([0, 0, 5, 40]),
        latency_s=rng.choice([(0.0001, 0.0005), (0.001, 0.005), (0.0005, 0.02)]),
        turn_s=rng.choice([0.0001, 0.001, 0.002]),
        worker_start_s=rng.choice([(0.01, 0.05), (0.05, 0.4)]),
        work=_draw_work(rng, faulty),
        window_tasks=rng.choice([20, 100, 32768]),
        backlog_bytes_max=rng.choice([1000, 10_000_000]) if faulty else 10_000_000,
    )
    # The configuration refuses more.
    settings.heartbeat_s = min(settings.heartbeat_s, settings.controller_timeout_s / 2)
    _draw_limits(rng, settings)
    if faulty:
        _draw_faults(rng, settings)
    else:
        # Rare, so that nothing is healed by a heartbeat before it is seen.
        settings.heartbeat_s, settings.controller_timeout_s = 4.0, 15.0
        if rng.random() < 0.2:
            settings.master_stops_at = rng.uniform(0.3, 2.0)
        elif settings.durable and rng.random() < 0.6:
            settings.master_dies_at = [rng.uniform(0.1, 3.0) for _ in range(rng.randint(1, 2))]
    return settings


def _draw_limits(rng: random.Random, settings: Settings) -> None:
    """Where the master keeps less in memory than there is to do."""
    settings.durable = rng.random() < 0.9
    if rng.random() < 0.5:
        settings.page_tasks = rng.choice([1, 8, 40])
        settings.load_below = rng.choice([1, 10, 30])
        settings.load_blocks = rng.choice([1, 2, 8])
    settings.ahead_bytes_max = rng.choice([500, 5000, 4 << 20])


def _draw_work(rng: random.Random, faulty: bool) -> Work:
    tasks = rng.randint(80, 250)
    short = (1.0, "sim:Short", None, 0.0001, 0.003)
    mid = (1.0, "sim:Medium", None, 0.01, 0.1)
    long = (0.1, "sim:Long", None, 0.3, 1.5 if faulty else 4.0)
    # A class whose tasks are nearly always short: batches of it are long, and then one task takes a while.
    spiky = (1.0, "sim:Spiky", None, 0.0005, 0.0)
    limited = (0.3, "sim:Limited", 0.3, 0.001, 0.05)
    classes = rng.choice([[short], [spiky], [short, mid], [spiky, mid, long], [mid, long], [short, mid, long, spiky]])
    work = Work(tasks, rng.choice([1, 8, 64]), 0.0, classes=[*classes])
    match rng.choice(["fast", "slow", "slow", "infinite", "crawl", "crawl"]):
        case "slow":
            work.pace_s = FAULT_PHASE_S / tasks * work.block_max
        case "infinite":
            # Until it is cut, it takes all that the window gives.
            work.classes = [short] if rng.random() < 0.5 else [spiky, short]
            work.block_max, work.pace_s, work.cut_at = 16, 0.04, rng.uniform(0.5, 2.5)
            work.tasks = INFINITE
        case "crawl":
            work.children = rng.uniform(0.8, 2.5)
            if rng.random() < 0.7:
                # What is made of results goes on for as long as faults come.
                work.children, work.own_share, work.block_max = rng.uniform(0.5, 2.5), 3, rng.choice([1, 8])
                work.pace_s = FAULT_PHASE_S / (tasks // 3) * work.block_max
    work.has_cursor = rng.random() < 0.5
    work.reads = bool(work.children) or rng.random() < 0.6
    if rng.random() < 0.5:
        work.keys = rng.choice([10, 100, 10_000])
    if faulty:
        work.classes.append(limited)
        work.exclusive = rng.random() < 0.7 and work.tasks != INFINITE
        if work.exclusive:
            work.classes.append((0.1, ALONE, None, 0.5, 3.0))
        work.fail = rng.choice([0.0, 0.1, 0.3, 0.3])
        work.retries = rng.choice([0, 3, 6, 6])
        work.killers = rng.choice([0, 0, 1, 2])
        work.hangers = rng.choice([0, 0, 1, 2])
    return work


def _draw_faults(rng: random.Random, settings: Settings) -> None:
    settings.faults_min = rng.randint(20, 28)
    settings.fault_weights = {
        kind: weight * rng.choice([0.3, 1.0, 4.0]) for kind, weight in FAULT_WEIGHTS.items() if rng.random() < 0.7
    } or FAULT_WEIGHTS
    settings.loss = rng.choice([0.0, 0.0, 0.01, 0.05])
    settings.delay = rng.choice([0.0, 0.0, 0.02])
    if rng.random() < 0.35:
        settings.duplicate = rng.choice([0.0, 0.02, 0.1])
        settings.reorder = rng.choice([0.0, 0.02, 0.1])
    settings.settles = rng.random() < 0.35 and settings.work.tasks != INFINITE
    settings.task_resend_timeout_s = rng.choice([0.0, 0.0, 0.0, 3.0])
