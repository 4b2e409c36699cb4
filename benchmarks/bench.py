"""``make bench``: the table of figures, each beside what it is compared with, alternately in one run.

Each figure is the median of its runs, each ratio the median of the pairs' own ratios: what else happens on the machine
meets both halves of a pair alike. Nothing here is asserted: a figure that is missed is said so, and the exit code is 0.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import zmq

_CYCLONE = str(Path(sys.executable).with_name("cyclone"))
_HEADER = ("measure", "cyclone", "beside", "figure", "must", "aim", "met")
_FIRST_RESULT_WAIT_S = 30.0
_ONE_TASK = """\
[task_generator]
class = task_generators.benchmark:BenchmarkTaskGenerator
[benchmark]
num_tasks = 1
"""

Report = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """How much is measured: numbers of tasks, of pairs, and of starts of ``cyclone run``."""

    throughput: int
    latency: int
    busy: int
    mixed: int
    payload: int
    memory: int
    pairs: int
    starts: int


FULL = Sizes(
    throughput=1_000_000,
    latency=5_000,
    busy=2_000,
    mixed=400,
    payload=4_000,
    memory=10_000_000,
    pairs=3,
    starts=5,
)
QUICK = Sizes(throughput=50_000, latency=200, busy=200, mixed=8, payload=200, memory=200_000, pairs=1, starts=1)


@dataclass(frozen=True)
class Row:
    """A line of the table. ``figure`` is what ``must`` and ``aim`` are about, at least or at most."""

    measure: str
    cyclone: str
    beside: str
    figure: float
    bound: Literal[">=", "<="]
    must: float
    aim: float | None = None

    def met(self) -> str:
        """``aim``, ``yes`` where only the must is reached, or ``no``."""
        if self.aim is not None and self._reaches(self.aim):
            return "aim"
        return "yes" if self._reaches(self.must) else "no"

    def cells(self) -> tuple[str, ...]:
        """As text."""
        aim = "" if self.aim is None else f"{self.bound} {self.aim:g}"
        must = f"{self.bound} {self.must:g}"
        return (self.measure, self.cyclone, self.beside, f"{self.figure:.3f}", must, aim, self.met())

    def _reaches(self, value: float) -> bool:
        shown = round(self.figure, 3)
        return shown >= value if self.bound == ">=" else shown <= value


class Bench:
    """Runs the programs; ``raw`` keeps what each of them reported."""

    def __init__(self, sizes: Sizes, say: Callable[[str], None]) -> None:
        self._sizes = sizes
        self._say = say
        self.raw: dict[str, list[Report]] = {}

    def rows(self) -> list[Row]:
        """Everything, one after the other."""
        return [
            *self._throughput(),
            *self._latency(),
            self._busy(),
            *self._mixed(),
            self._payload(),
            self._first_result(),
            self._encryption(),
            self._memory(),
        ]

    def _throughput(self) -> list[Row]:
        arguments = ["--tasks", str(self._sizes.throughput), "--workers", "2", "--limit", "--durability"]
        in_memory, durable = [], []
        for _ in range(self._sizes.pairs):
            in_memory.append(self._bench("in memory", *arguments, "off"))
            durable.append(self._bench("durable", *arguments, "full"))
        pairs = zip(durable, in_memory, strict=True)
        over_memory = statistics.median(one["tasks_per_s"] / other["tasks_per_s"] for one, other in pairs)
        named = f"{self._sizes.throughput:,} tasks, 2 workers"
        rates = {name: f"{_median(self.raw[name], 'tasks_per_s'):,.0f}" for name in ("in memory", "durable")}
        return [
            _beside_limit(f"no-op tasks/s, {named}", in_memory, "tasks_per_s", ">=", 0.5, 0.8),
            _beside_limit(f"durable no-op tasks/s, {named}", durable, "tasks_per_s", ">=", 0.8, 1.2),
            Row("durable over in-memory tasks/s", rates["durable"], rates["in memory"], over_memory, ">=", 0.7, 0.9),
        ]

    def _latency(self) -> list[Row]:
        tasks = str(self._sizes.latency)
        runs = self._repeat("latency", "--mode", "latency", "--tasks", tasks, "--workers", "1", "--limit")
        return [
            _beside_limit("round trip of one task in us, p50", runs, "p50_us", "<=", 3, 2),
            _beside_limit("round trip of one task in us, p99 over the limit's p50", runs, "p99_us", "<=", 5, 3),
        ]

    def _busy(self) -> Row:
        tasks = self._sizes.busy
        runs = self._repeat("busy", "--mode", "busy", "--task-ms", "1", "--tasks", str(tasks), "--workers", "2")
        seconds, efficiency = f"{_median(runs, 'seconds'):.3f}", _median(runs, "efficiency")
        ideal = f"{tasks / 2000:.3f}"
        return Row(
            f"{tasks:,} busy tasks of 1 ms, 2 workers, in s: ideal over it",
            seconds,
            ideal,
            efficiency,
            ">=",
            0.965,
            0.97,
        )

    def _mixed(self) -> list[Row]:
        runs = self._repeat("mixed", "--mode", "mixed", "--tasks", str(self._sizes.mixed))
        wall_s, best_s, over = (_median(runs, name) for name in ("wall_s", "best_s", "wall_over_best"))
        delay_ms, batching_ms = _median(runs, "head_of_line_delay_ms"), _median(runs, "batching_delay_ms")
        wall = f"{self._sizes.mixed:,} mixed durations, 4 workers that sleep, in s: over the best schedule"
        return [
            Row(wall, f"{wall_s:.3f}", f"{best_s:.3f}", over, "<=", 1.05, 1.02),
            Row(
                "a 10 s task delays another, at most, in ms",
                f"{delay_ms:.1f}",
                f"{batching_ms:.1f}",
                delay_ms,
                "<=",
                100,
                20,
            ),
        ]

    def _payload(self) -> Row:
        arguments = ["--mode", "payload", "--payload-bytes", "100000", "--workers", "2", "--limit"]
        runs = self._repeat("payload", *arguments, "--tasks", str(self._sizes.payload))
        return _beside_limit("arguments and results of 100 KB, bytes/s", runs, "bytes_per_s", ">=", 0.5, 0.8)

    def _encryption(self) -> Row:
        runs = self._repeat("encryption", "--tasks", str(self._sizes.throughput), "--workers", "2", "--curve")
        plain_us = statistics.median(run["plain"]["cpu_us"] for run in runs)
        ours_us = statistics.median(run["cpu_us_per_task"]["total"] for run in runs)
        cost = statistics.median(run["plain"]["cpu_cost"] for run in runs)
        return Row(
            "CPU us per no-op task, encrypted, in excess of plain", f"{ours_us:.2f}", f"{plain_us:.2f}", cost, "<=", 0.3
        )

    def _memory(self) -> Row:
        tasks = self._sizes.memory
        report = self._bench("memory", "--tasks", str(tasks), "--workers", "2")
        early, late = report["rss_early_bytes"], report["rss_late_bytes"]
        measure = f"master's RSS in MiB, after {tasks:,} and {tasks // 10:,} tasks"
        return Row(measure, f"{late / 2**20:.1f}", f"{early / 2**20:.1f}", late / early, "<=", 1.05)

    def _first_result(self) -> Row:
        seconds = [self._start_a_run() for _ in range(self._sizes.starts)]
        median_s = statistics.median(seconds)
        return Row(
            "first result of cyclone run, in s", f"{median_s:.3f}", f"{max(seconds):.3f}", median_s, "<=", 1.0, 0.5
        )

    def _start_a_run(self) -> float:
        """Seconds from the start of the command until a result stands in its file."""
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            config, results = Path(folder, "one.conf"), Path(folder, "results.jsonl")
            config.write_text(_ONE_TASK)
            command = [_CYCLONE, "run", "-q", "-f", str(config), "--results", str(results)]
            self._say(f"first result: {' '.join(command[1:3])} -f {config.name}")
            started = time.perf_counter()
            with subprocess.Popen([*command, "--set", f"control.state_dir={folder}"]) as process:
                while not (results.exists() and results.stat().st_size):
                    if process.poll() not in (None, 0) or time.perf_counter() > started + _FIRST_RESULT_WAIT_S:
                        raise SystemExit(f"bench.py: {' '.join(command)} has brought no result")
                    time.sleep(0.001)
                seconds = time.perf_counter() - started
        self.raw.setdefault("first result", []).append({"seconds": round(seconds, 4)})
        return seconds

    def _repeat(self, measure: str, *arguments: str) -> list[Report]:
        return [self._bench(measure, *arguments) for _ in range(self._sizes.pairs)]

    def _bench(self, measure: str, *arguments: str) -> Report:
        """The object that ``cyclone bench`` prints. With ``--limit`` the bare pipeline is measured right after it."""
        command = [_CYCLONE, "bench", *arguments, "--json"]
        self._say(f"{measure}: cyclone {' '.join(command[1:])}")
        ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if ended.returncode:
            raise SystemExit(f"bench.py: {' '.join(command)} ended with {ended.returncode}")
        report: Report = json.loads(ended.stdout.splitlines()[-1])
        self.raw.setdefault(measure, []).append(report)
        return report


def _beside_limit(
    measure: str, runs: list[Report], name: str, bound: Literal[">=", "<="], must: float, aim: float
) -> Row:
    """A row about the ratio to the bare pipeline."""
    limits = [run["limit"] for run in runs]
    theirs = "p50_us" if name == "p99_us" else name
    ratio = statistics.median(limit["ratio"][name] for limit in limits)
    return Row(measure, f"{_median(runs, name):,.0f}", f"{_median(limits, theirs):,.0f}", ratio, bound, must, aim)


def _median(reports: list[Report], name: str) -> float:
    return statistics.median(float(report[name]) for report in reports)


def machine() -> Report:
    """What the figures are worth nothing without."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "pyzmq": zmq.__version__,
        "libzmq": zmq.zmq_version(),
    }


def table(rows: list[Row]) -> str:
    """In Markdown, columns aligned."""
    lines = [_HEADER, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADER))]
    text = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    return "\n".join([text[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *text[1:]])


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure Cyclone beside the bare pipeline, and print a table.")
    parser.add_argument("--quick", action="store_true", help="so little of each that the figures mean nothing")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write what each run reported")
    args = parser.parse_args()
    found = machine()
    bench = Bench(QUICK if args.quick else FULL, lambda text: print(text, file=sys.stderr, flush=True))
    rows = bench.rows()
    print(
        "{date}: {cpu}, {cores} cores, load {load} before, Python {python}, pyzmq {pyzmq}, libzmq {libzmq}\n".format(
            **found
        )
    )
    print(table(rows))
    if args.json:
        named = [dict(zip(_HEADER, row.cells(), strict=True)) for row in rows]
        args.json.write_text(json.dumps({"machine": found, "rows": named, "runs": bench.raw}, indent=1) + "\n")


if __name__ == "__main__":
    main()
