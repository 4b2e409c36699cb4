"""``make bench``: measure Cyclone beside the bare pipeline (limit.py), alternately in one run, and print a table.

Each figure is the median of its pairs, each ratio the median of the pairs' own ratios: what else happens on the machine
meets both halves of a pair alike. Nothing here is asserted: a target that is missed is said so, and the exit code is 0.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import zmq

_LIMIT = Path(__file__).with_name("limit.py")
_SAMPLE_S = 0.02
_HEADER = ("measure", "cyclone", "limit", "ratio", "target", "met")

Report = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """How much is measured: numbers of tasks, and of pairs."""

    throughput: int
    latency: int
    busy: int
    memory: int
    pairs: int


FULL = Sizes(throughput=1_000_000, latency=1_000, busy=2_000, memory=10_000_000, pairs=3)
QUICK = Sizes(throughput=50_000, latency=200, busy=200, memory=200_000, pairs=1)


@dataclass(frozen=True)
class Row:
    """A line of the table. ``ratio`` is what the target is about."""

    measure: str
    cyclone: str
    limit: str
    ratio: float
    target: str
    met: bool

    def cells(self) -> tuple[str, ...]:
        """As text."""
        return (self.measure, self.cyclone, self.limit, f"{self.ratio:.3f}", self.target, "yes" if self.met else "no")


class Bench:
    """Runs the programs; ``raw`` keeps what each of them reported."""

    def __init__(self, sizes: Sizes, say: Callable[[str], None]) -> None:
        self._sizes = sizes
        self._say = say
        self.raw: dict[str, list[Report]] = {}

    def rows(self) -> list[Row]:
        """Everything, one after the other."""
        return [self._throughput(), self._durable(), self._latency(), self._busy(), self._memory()]

    def _throughput(self) -> Row:
        tasks = str(self._sizes.throughput)
        ours, limits = self._pairs(
            "throughput", ["--tasks", tasks, "--workers", "2"], ["--tasks", tasks, "--workers", "2"]
        )
        ratio = _median_ratio(ours, limits, "tasks_per_s")
        return Row(
            f"no-op tasks/s, {self._sizes.throughput:,} tasks, 2 workers",
            f"{_median(ours, 'tasks_per_s'):,.0f}",
            f"{_median(limits, 'tasks_per_s'):,.0f}",
            ratio,
            ">= 0.25 of the limit",
            ratio >= 0.25,
        )

    def _durable(self) -> Row:
        arguments = ["--tasks", str(self._sizes.throughput), "--workers", "2", "--durability"]
        durable, in_memory = [], []
        for _ in range(self._sizes.pairs):
            durable.append(self._cyclone("durable", [*arguments, "full"]))
            in_memory.append(self._cyclone("in memory", [*arguments, "off"]))
        ratio = _median_ratio(durable, in_memory, "tasks_per_s")
        return Row(
            f"durable no-op tasks/s, {self._sizes.throughput:,} tasks, 2 workers",
            f"{_median(durable, 'tasks_per_s'):,.0f}",
            f"{_median(in_memory, 'tasks_per_s'):,.0f} (off)",
            ratio,
            ">= 0.6 of durability off",
            ratio >= 0.6,
        )

    def _latency(self) -> Row:
        tasks = str(self._sizes.latency)
        ours, limits = self._pairs(
            "latency", ["--mode", "latency", "--tasks", tasks, "--workers", "1"], ["--latency", "--tasks", tasks]
        )
        ratio = _median_ratio(ours, limits, "p50_us")
        return Row(
            "round trip of one task, p50 (p99) in us",
            f"{_median(ours, 'p50_us'):,.0f} ({_median(ours, 'p99_us'):,.0f})",
            f"{_median(limits, 'p50_us'):,.0f} ({_median(limits, 'p99_us'):,.0f})",
            ratio,
            "p50 <= 4 x the limit",
            ratio <= 4,
        )

    def _busy(self) -> Row:
        tasks = self._sizes.busy
        arguments = ["--mode", "busy", "--task-ms", "1", "--tasks", str(tasks), "--workers", "2"]
        ours = [self._cyclone("busy", arguments) for _ in range(self._sizes.pairs)]
        efficiency = _median(ours, "efficiency")
        return Row(
            f"{tasks:,} busy tasks of 1 ms, 2 workers, in s",
            f"{_median(ours, 'seconds'):.3f}",
            f"{tasks / 2000:.3f} (ideal)",
            efficiency,
            "ideal >= 0.93 of the time",
            efficiency >= 0.93,
        )

    def _memory(self) -> Row:
        tasks = self._sizes.memory
        report = self._cyclone("memory", ["--tasks", str(tasks), "--workers", "2"])
        early, late = report["rss_early_bytes"], report["rss_late_bytes"]
        return Row(
            f"master's RSS in MiB, after {tasks:,} and {tasks // 10:,} tasks",
            f"{late / 2**20:.1f}",
            f"{early / 2**20:.1f} (early)",
            late / early,
            "<= 1.05",
            late <= early * 1.05,
        )

    def _pairs(self, measure: str, ours: list[str], limits: list[str]) -> tuple[list[Report], list[Report]]:
        found: tuple[list[Report], list[Report]] = ([], [])
        for _ in range(self._sizes.pairs):
            found[0].append(self._cyclone(measure, ours))
            found[1].append(self._run(f"{measure} of the limit", [sys.executable, str(_LIMIT), *limits]))
        return found

    def _cyclone(self, measure: str, arguments: list[str]) -> Report:
        command = str(Path(sys.executable).with_name("cyclone"))
        return self._run(measure, [command, "bench", *arguments, "--json"])

    def _run(self, measure: str, command: list[str]) -> Report:
        """The object that the command prints last, and the memory of its own process: in our bench, the master."""
        self._say(f"{measure}: {' '.join(Path(word).name for word in command)}")
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            samples = _watch(process)
            assert process.stdout
            printed = process.stdout.read()
        if process.returncode:
            raise SystemExit(f"bench.py: {' '.join(command)} ended with {process.returncode}")
        report: Report = json.loads(printed.splitlines()[-1])
        # Tasks pass at an even rate: a tenth of them were done after a tenth of the time.
        report["rss_early_bytes"] = _at(samples, 0.1)
        report["rss_late_bytes"] = _at(samples, 0.95)
        self.raw.setdefault(measure, []).append(report)
        return report


def _watch(process: "subprocess.Popen[str]") -> list[int]:
    """The resident memory of a process, looked at until its end. It must not print more than a pipe holds."""
    seen = psutil.Process(process.pid)
    samples = []
    while process.poll() is None:
        try:
            samples.append(seen.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(_SAMPLE_S)
    return samples


def _at(samples: list[int], share: float) -> int:
    """The median about this part of the time; single samples catch what is there for a moment only."""
    width = len(samples) // 25
    middle = int(len(samples) * share)
    return int(statistics.median(samples[max(0, middle - width) : middle + width + 1]))


def _median(reports: list[Report], name: str) -> float:
    return statistics.median(float(report[name]) for report in reports)


def _median_ratio(ours: list[Report], limits: list[Report], name: str) -> float:
    return statistics.median(float(our[name]) / float(limit[name]) for our, limit in zip(ours, limits, strict=True))


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
