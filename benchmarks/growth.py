"""``make bench-growth``: does a task cost the same, and the master's memory stay, however many tasks there are?

    python -m benchmarks.growth [--quick] [--json]

Two tables. The cost of a journalled no-op task, CPU of all processes and wall time, from the first dispatch to the last
result, for 10^3 to 10^7 tasks: small numbers are measured several times, and the median counts. And the resident memory
of the master late in a run, for few tasks and for many, in memory and with a journal that keeps the last ones only.

Every figure is from ``cyclone bench --json``. Nothing is asserted: a target that is missed is said so.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

# From here on the start is paid for, and a task is to cost the same.
CONSTANT_FROM = 10_000
COST_SPREAD_MAX = 1.15
MEMORY_GROWTH_MAX = 1.05
_KEPT = 100_000
# A guess for the word about how long it will take; what has been measured meanwhile replaces it.
_TASKS_PER_S = 400_000.0
_START_S = 1.5

Report = dict[str, Any]


class Run(NamedTuple):
    """One call of ``cyclone bench``, so many times."""

    name: str
    tasks: int
    repeat: int
    options: tuple[str, ...]


@dataclass(frozen=True)
class Sizes:
    """``costs`` are numbers of tasks, each with how often it is measured; ``memory`` pairs of few and many."""

    costs: tuple[tuple[int, int], ...]
    memory: tuple[int, int]
    kept: tuple[int, int]

    def runs(self) -> Iterator[Run]:
        """In the order in which they are made, the long ones last."""
        for tasks, repeat in self.costs:
            yield Run("cost", tasks, repeat, ("--durability", "full"))
        keep = ("--durability", "full", "--set", f"journal.keep={_KEPT} tasks")
        yield from (Run("keep", tasks, 1, keep) for tasks in self.kept)
        yield from (Run("memory", tasks, 1, ()) for tasks in self.memory)


FULL = Sizes(
    ((1_000, 9), (10_000, 9), (100_000, 5), (1_000_000, 3), (10_000_000, 1)),
    memory=(1_000_000, 100_000_000),
    kept=(1_000_000, 10_000_000),
)
QUICK = Sizes(((1_000, 3), (10_000, 5), (100_000, 3), (1_000_000, 1)), (300_000, 3_000_000), (300_000, 1_000_000))


class Growth:
    """Makes the runs; ``reports`` has what each of them said."""

    def __init__(self, sizes: Sizes, workers: int) -> None:
        self._runs = list(sizes.runs())
        self._workers = workers
        self._rate = _TASKS_PER_S
        self.reports: dict[tuple[str, int], list[Report]] = {}

    def run(self) -> None:
        """All of them."""
        for place, run in enumerate(self._runs):
            left_s = sum(other.repeat * (other.tasks / self._rate + _START_S) for other in self._runs[place:])
            _say(f"{run.name}: {run.tasks:,} tasks, {run.repeat} x; about {left_s / 60:.1f} minutes to go")
            for _ in range(run.repeat):
                report = self._bench(run)
                self.reports.setdefault((run.name, run.tasks), []).append(report)
                if run.tasks >= CONSTANT_FROM:
                    self._rate = float(report["tasks_per_s"])

    def _bench(self, run: Run) -> Report:
        command = [str(Path(sys.executable).with_name("cyclone")), "bench", "--json", "--tasks", str(run.tasks)]
        command += ["--workers", str(self._workers), *run.options]
        begun = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            while True:
                try:
                    printed, _ = process.communicate(timeout=10)
                    break
                except subprocess.TimeoutExpired:
                    seconds = time.monotonic() - begun
                    _say(f"    {seconds:.0f} s, of about {run.tasks / self._rate + _START_S:.0f}")
        if process.returncode:
            raise SystemExit(f"growth.py: {' '.join(command)} ended with {process.returncode}")
        report: Report = json.loads(printed.splitlines()[-1])
        return report


class Cost(NamedTuple):
    """Of one task, in us. ``further_us`` is the CPU of those that the next smaller run did not have: no start is in it.

    ``ratio`` is the CPU over that of the largest run.
    """

    tasks: int
    cpu_us: float
    wall_us: float
    further_us: float
    ratio: float


def costs(reports: dict[tuple[str, int], list[Report]]) -> list[Cost]:
    """By the number of tasks."""
    found = []
    for (name, tasks), runs in sorted(reports.items(), key=lambda item: item[0][1]):
        if name == "cost":
            cpu_us = statistics.median(run["cpu_us_per_task"]["total"] for run in runs)
            found.append((tasks, cpu_us, statistics.median(1e6 / run["tasks_per_s"] for run in runs)))
    most = found[-1][1]
    smaller = [(0, 0.0, 0.0), *found]
    return [
        Cost(tasks, cpu_us, wall_us, (tasks * cpu_us - fewer * fewer_us) / (tasks - fewer), cpu_us / most)
        for (fewer, fewer_us, _), (tasks, cpu_us, wall_us) in zip(smaller, found, strict=False)
    ]


def is_constant(found: Sequence[Cost]) -> bool:
    """Whether the cheapest and the dearest are no further apart than they may be."""
    cpu_us = [cost.cpu_us for cost in found if cost.tasks >= CONSTANT_FROM]
    return max(cpu_us) <= min(cpu_us) * COST_SPREAD_MAX


class Memory(NamedTuple):
    """The master's resident memory, late in a run of few tasks and in one of many."""

    name: str
    few: int
    many: int
    few_bytes: int
    many_bytes: int

    @property
    def is_flat(self) -> bool:
        """Whether the many need no more than the few, up to what may be."""
        return self.many_bytes <= self.few_bytes * MEMORY_GROWTH_MAX


def memory(reports: dict[tuple[str, int], list[Report]]) -> list[Memory]:
    """In memory, and with a journal."""
    found = []
    for name in ("memory", "keep"):
        few, many = sorted(tasks for other, tasks in reports if other == name)
        late = [int(reports[name, tasks][0]["rss_late_bytes"]) for tasks in (few, many)]
        found.append(Memory(name, few, many, *late))
    return found


def table(found_costs: Sequence[Cost], found_memory: Sequence[Memory]) -> Iterator[str]:
    """Lines for people, in Markdown."""
    yield "| tasks, journalled | CPU us each | wall us each | CPU us of each further one | CPU over that of the many |"
    yield "|---|---|---|---|---|"
    for cost in found_costs:
        figures = f"{cost.cpu_us:.2f} | {cost.wall_us:.2f} | {cost.further_us:.2f} | {cost.ratio:.2f}"
        yield f"| {cost.tasks:,} | {figures} |"
    met = "met" if is_constant(found_costs) else "MISSED"
    yield f"\nconstant within {COST_SPREAD_MAX - 1:.0%} from {CONSTANT_FROM:,} tasks on: {met}\n"
    yield from ("| master's RSS in MiB | few tasks | many tasks | growth | flat |", "|---|---|---|---|---|")
    for line in found_memory:
        name = f"journalled, keep = {_KEPT} tasks" if line.name == "keep" else "in memory"
        few, many = f"{line.few_bytes / 2**20:.1f} ({line.few:,})", f"{line.many_bytes / 2**20:.1f} ({line.many:,})"
        flat = "yes" if line.is_flat else "NO"
        yield f"| {name} | {few} | {many} | {line.many_bytes / line.few_bytes - 1:+.1%} | {flat} |"


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], prog="python -m benchmarks.growth")
    parser.add_argument("--quick", action="store_true", help="without the long runs; half a minute")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    growth = Growth(QUICK if args.quick else FULL, args.workers)
    growth.run()
    found_costs, found_memory = costs(growth.reports), memory(growth.reports)
    if args.json:
        print(json.dumps({"costs": [c._asdict() for c in found_costs], "memory": [m._asdict() for m in found_memory]}))
    else:
        print(*table(found_costs, found_memory), sep="\n")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
