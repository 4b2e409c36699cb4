"""One peer under measurement, in a process of its own: prints one JSON object and ends.

    python -m benchmarks.peers.adapter huey single --tasks 4000 [--round-trips 300] [--busy 2000]

Runs in the peers' environment, started by ``session.py``, which clears away whatever a peer leaves behind. It owns the
stop-watch and the check of the results; what is particular about a peer stands in its module in ``adapters/``. Nothing
here may import Cyclone: it is not installed where this runs.
"""

import abc
import argparse
import importlib
import importlib.metadata
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.peers.work import BUSY_S, Work, busy, noop

WORKERS = 2
# Workers that start late and functions that are looked up once are start-up, and that is not measured.
_WARM_UP_TASKS = 200
_WARM_UP_ROUND_TRIPS = 20


class Adapter(abc.ABC):
    """A peer with WORKERS worker processes. Everything that it keeps in files belongs into ``folder``."""

    # The distribution whose version is reported; None for what comes with Python.
    distribution: str | None = None

    def __init__(self, variant: str, folder: Path) -> None:
        self.variant = variant
        self.folder = folder

    @property
    def chunk(self) -> int:
        """The size in a variant such as ``chunk=256``."""
        return int(self.variant.partition("=")[2])

    @abc.abstractmethod
    def prepare(self) -> None:
        """Start the peer with its workers."""

    @abc.abstractmethod
    def run(self, work: Work, tasks: int) -> int:
        """A task for each number below ``tasks``, to the last result; the sum of what came back."""

    def round_trip(self, value: int) -> int:
        """One no-op task to its result. Only of peers and variants that the catalogue measures so."""
        raise NotImplementedError(f"{type(self).__module__} has no round trip")

    @abc.abstractmethod
    def close(self) -> None:
        """Stop the peer; what does not end is killed by who started us."""

    def version(self) -> str:
        return importlib.metadata.version(self.distribution) if self.distribution else platform.python_version()


def timed(peer: Adapter, work: Work, tasks: int) -> float:
    """Seconds from the first submission to the last result.

    Raises:
        SystemExit: a result is missing or wrong.
    """
    begin = time.perf_counter()
    total = peer.run(work, tasks)
    seconds = time.perf_counter() - begin
    if total != tasks * (tasks - 1) // 2:
        raise SystemExit(f"the results of {tasks} tasks add up to {total}, not to {tasks * (tasks - 1) // 2}")
    return seconds


def throughput(peer: Adapter, tasks: int) -> dict[str, float]:
    """No-op tasks."""
    seconds = timed(peer, noop, tasks)
    return {"tasks": tasks, "seconds": seconds, "tasks_per_s": tasks / seconds}


def round_trips(peer: Adapter, count: int) -> dict[str, float]:
    """No-op tasks, each submitted when the one before it is back."""
    spans = []
    for value in range(_WARM_UP_ROUND_TRIPS + count):
        begin = time.perf_counter()
        returned = peer.round_trip(value)
        spans.append((time.perf_counter() - begin) * 1e6)
        if returned != value:
            raise SystemExit(f"the result of task {value} is {returned}")
    cuts = statistics.quantiles(spans[_WARM_UP_ROUND_TRIPS:], n=100)
    return {"p50_us": cuts[49], "p99_us": cuts[98]}


def efficiency(peer: Adapter, tasks: int) -> dict[str, float]:
    """Busy tasks: the time that the workers need at least, over the time that it took."""
    seconds = timed(peer, busy, tasks)
    return {"busy_seconds": seconds, "efficiency": tasks * BUSY_S / WORKERS / seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure one peer; print one JSON object.")
    parser.add_argument("peer", help="a module in adapters/")
    parser.add_argument("variant")
    parser.add_argument("--tasks", type=int, required=True, help="no-op tasks")
    parser.add_argument("--round-trips", type=int, default=0)
    parser.add_argument("--busy", type=int, default=0, help="busy tasks of 1 ms")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = importlib.import_module(f"benchmarks.peers.adapters.{args.peer}").Adapter
        peer: Adapter = found(args.variant, Path(folder))
        peer.prepare()
        timed(peer, noop, min(_WARM_UP_TASKS, args.tasks))
        report = {"version": peer.version(), **throughput(peer, args.tasks)}
        if args.round_trips:
            report |= round_trips(peer, args.round_trips)
        if args.busy:
            report |= efficiency(peer, args.busy)
        # Before the end of the peer: one that hangs there has been measured all the same.
        print(json.dumps(report), flush=True)
        peer.close()


if __name__ == "__main__":
    main()
