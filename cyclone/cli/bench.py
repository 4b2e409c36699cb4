"""``cyclone bench``: measure this installation by the very path that real tasks take.

It is ``cyclone run`` of the benchmark generator with a stop-watch as listener: real processes, TCP loopback, the
ordinary scheduler and the ordinary ``EmptyTask``. Time runs from the first dispatch to the last recorded result; the
number and the sum of the results are checked; a latency is from the dispatch of a task to its recorded result, in the
master, one task at a time.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclone.cli import common
from cyclone.cli.progress import Progress
from cyclone.errors import CycloneError
from cyclone.protocol.messages import AnyFromMaster, AnyToClient, Tasks
from cyclone.results import RecordedBlock

if TYPE_CHECKING:
    from cyclone.master.journal import Journal
    from cyclone.master.service import MasterService, Outcome
    from cyclone.settings import Settings

_TASKS = {"throughput": 1_000_000, "latency": 1_000, "busy": 2_000}
# A worker that does not start by then will not; the run goes on without it and says so by its result.
_WORKERS_WAIT_S = 10.0


class _Stopwatch(Progress):
    """Counts like a progress bar, starts the generator when every worker is there, and notes round trips."""

    def __init__(self, workers: int, trips: bool) -> None:
        super().__init__(quiet=True)
        self.trips_us: list[float] = []
        self._workers = workers
        self._note_trips = trips
        self._sent_at = 0.0
        self._give_up_at = time.monotonic() + _WORKERS_WAIT_S

    def sent(self, message: AnyFromMaster | AnyToClient) -> None:
        if type(message) is Tasks:
            super().sent(message)
            self._sent_at = time.perf_counter()

    def recorded(self, block: RecordedBlock) -> None:
        super().recorded(block)
        if self._note_trips:
            self.trips_us.append((time.perf_counter() - self._sent_at) * 1e6)

    def turn(self, service: "MasterService") -> None:
        if service.source is None:
            slots = sum(session.slots for session in service.scheduler.state.sessions.by_id.values())
            if slots >= self._workers or time.monotonic() > self._give_up_at:
                service.start_generator()


def bench(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    tasks = args.tasks or _TASKS[args.mode]
    workers = args.workers or len(os.sched_getaffinity(0))
    outcome, watch = _measure(args, tasks, workers)
    report = _report(args, tasks, workers, outcome, watch)
    if args.json:
        print(json.dumps(report))
    else:
        width = max(map(len, report))
        for name, value in report.items():
            print(f"{name:<{width}}  {value:,}" if isinstance(value, int | float) else f"{name:<{width}}  {value}")
    return common.EXIT_OK


def _measure(args: argparse.Namespace, tasks: int, workers: int) -> tuple["Outcome", _Stopwatch]:
    from cyclone import logs
    from cyclone.cli.local import LocalController
    from cyclone.config import load
    from cyclone.master.service import MasterService

    level = "debug" if args.debug else "warning"
    overrides = [
        "task_generator.class=task_generators.benchmark:BenchmarkTaskGenerator",
        "control.exit_when_done=yes",
        f"processing.worker_count={workers}",
        f"log.level={level}",
        f"journal.durability={args.durability}",
        f"benchmark.num_tasks={tasks}",
        f"benchmark.task={'busy' if args.mode == 'busy' else 'empty'}",
        f"benchmark.milliseconds={args.task_ms}",
        f"benchmark.in_flight={1 if args.mode == 'latency' else 0}",
    ]
    settings = load(None, overrides, "run")
    logs.configure("bench", None, "text", level, args.debug)
    watch = _Stopwatch(workers, trips=args.mode == "latency")
    controller = LocalController(f"local-{os.getpid()}", None, overrides, args.debug)
    options = common.master_options(settings, args.debug, port=0)
    with (
        _journal(settings, args.journal_dir) as journal,
        MasterService(options, journal, [watch, controller]) as service,
        controller.running(service),
    ):
        outcome = service.run(generator_at_once=False)
    _check(args, tasks, outcome)
    return outcome, watch


@contextlib.contextmanager
def _journal(settings: "Settings", folder: Path | None) -> "Iterator[Journal]":
    """A journal for the time of the measurement, on a disk that a real one would stand on, which $TMPDIR may not be."""
    if settings.journal.durability == "off":
        from cyclone.master.journal import NoJournal

        yield NoJournal()
        return
    folder = folder or settings.control.state_dir
    assert folder
    with tempfile.TemporaryDirectory(prefix="bench-", dir=common.make_private_folder(folder)) as own:
        yield common.open_journal(settings, Path(own, "journal.sqlite"))


def _check(args: argparse.Namespace, tasks: int, outcome: "Outcome") -> None:
    """A figure for work that was not done is worth nothing."""
    if outcome.signal:
        raise CycloneError("stopped by a signal: nothing was measured")
    expected = {"returned": tasks, "sum": 0 if args.mode == "busy" else tasks * (tasks - 1) // 2}
    if outcome.failure or outcome.summary != expected or outcome.ended["completed"] != tasks:
        found = outcome.failure.message if outcome.failure else outcome.summary
        raise CycloneError(f"the results are wrong: {found} where {expected} was expected")


def _report(
    args: argparse.Namespace, tasks: int, workers: int, outcome: "Outcome", watch: _Stopwatch
) -> dict[str, Any]:
    seconds = watch.seconds()
    report: dict[str, Any] = {
        "mode": args.mode,
        "tasks": tasks,
        "workers": workers,
        "durability": args.durability,
        "python": sys.version.split()[0],
        "seconds": round(seconds, 4),
        "tasks_per_s": round(tasks / seconds, 1),
    }
    if args.mode == "latency":
        trips = sorted(watch.trips_us)
        report["p50_us"] = round(trips[len(trips) // 2], 1)
        report["p99_us"] = round(trips[int(len(trips) * 0.99)], 1)
    if args.mode == "busy":
        report["task_ms"] = args.task_ms
        report["efficiency"] = round(tasks * args.task_ms / 1000 / workers / seconds, 4)
    return report
