"""``make bench-lustre``: a migration at its real size, its master killed twice, by production processes.

    python -m benchmarks.lustre [--paths 1000000] [--kills 2] [--streams-per-target 3] [--workers 176]
        [--bandwidth 256MiB] [--json]

To be run in the sources' folder. 784 OSTs, of which the last 174 are targets, 8 controllers, real workers; ``lfs`` is
answered in process with 1 to 50 ms a call, three calls a file (``lustre_world.py``), and besides the time that 64 MiB
take at the bandwidth of a move: with ``--bandwidth 0`` 176 workers would end 2,250 files a second, which is more than
two cores can hand out. From the results in the journal it is judged: that each path has exactly one outcome, that no
OST ever had more streams than permitted, and what part of the workers' time was lost to dispatch.

Lost is the time in which fewer workers are at work than could be: than there are workers, and than streams are
permitted, each of which has a path that waits. Counted from the moment when all were busy for the first time until the
first source has begun its last path, the kills of the master included.
"""

import argparse
import contextlib
import heapq
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from cyclone.journal import Origin, open_journal
from cyclone.results import OpenBlock
from tests.support.lab import Lab, Started, new_lab

OSTS, TARGETS, CONTROLLERS = 784, 174, 8
LOST_MAX = 0.02
GROWTH_MAX_BYTES = 32 << 20
_FS = "/lustre"
_GENERATOR = "benchmarks.lustre_generator:PretendMigrations"
_LOOK_S = 0.25
# Until memory is what it is in the long run: workers are there, windows are full.
_WARM_UP_SHARE = 0.2
# Long ago, so that the file counts as written completely.
_MODIFIED = 1_000_000_000

Report = dict[str, Any]


class Ran(NamedTuple):
    """One try of one path. Times in Unix seconds."""

    started: float
    finished: float
    number: int
    source: int
    target: int
    outcome: str
    worker: tuple[str, int]


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], prog="python -m benchmarks.lustre")
    parser.add_argument("--paths", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=2, help="of the master (default: 2)")
    parser.add_argument("--workers", type=int, default=176, help="on 8 controllers (default: 176)")
    parser.add_argument("--streams-per-target", type=int, default=3, help="(default: 3)")
    parser.add_argument("--bandwidth", default="256MiB", help="of a move, a second; 0: it takes no time")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cyclone-lustre-") as folder, new_lab(Path(folder)) as lab:
        report = _Bench(lab, args).report()
    if args.json:
        print(json.dumps(report))
        return
    for name, value in report.items():
        print(f"{name:<24}  {value}")


class _Bench:
    """See the module."""

    def __init__(self, lab: Lab, args: argparse.Namespace) -> None:
        self._lab = lab
        self._args = args
        self._input = lab.folder / "input"
        self._journal = lab.folder / "master.journal"
        # Of all processors, also of what else runs here.
        self._busy: list[float] = []
        # Of each life of the master: resident bytes of it and of its generator over time.
        self._memory: list[list[tuple[int, int]]] = []

    def report(self) -> Report:
        """Run it, and judge it."""
        self._write_input()
        began = time.monotonic()
        self._run()
        seconds = time.monotonic() - began
        ran = sorted(self._results())
        return {
            "paths": self._args.paths,
            "seconds": round(seconds, 1),
            "moves_per_s": round(len(ran) / (max(row.finished for row in ran) - ran[0].started)),
            **outcomes(ran, self._args.paths),
            **streams(ran, self._args.streams_per_target),
            **lost(ran, min(self._args.workers, TARGETS * self._args.streams_per_target, OSTS - TARGETS)),
            **_between(ran),
            "processors_busy": f"{sum(self._busy) / max(1, len(self._busy)):.0f} %",
            **self._growth(),
        }

    def _write_input(self) -> None:
        self._input.mkdir()
        sources = OSTS - TARGETS
        files = [self._input / f"robinhood-{number}.input" for number in range(4)]
        share = -(-self._args.paths // len(files))
        for place, path in enumerate(files):
            numbers = range(place * share, min(self._args.paths, (place + 1) * share))
            with path.open("w", encoding="ascii") as file:
                file.writelines(f"{number % sources} {_FS}/projects/p{number % 97}/{number}\n" for number in numbers)
            os.utime(path, (_MODIFIED, _MODIFIED))

    def _sections(self) -> dict[str, dict[str, str]]:
        return {
            "task_generator": {"class": _GENERATOR},
            "migration": {
                "input_dir": str(self._input),
                "ost_targets": f"{OSTS - TARGETS}-{OSTS - 1}",
                "ost_fill_level_threshold_source": "50",
                "ost_fill_level_threshold_target": "80",
                "streams_per_target": str(self._args.streams_per_target),
                "bandwidth": self._args.bandwidth,
                "when_done": "end",
            },
            "lustre": {"fs_path": _FS},
            "control": {
                "exit_when_done": "yes",
                "controller_timeout": "15s",
                "heartbeat_interval": "1s",
                "request_retry_wait_duration": "100ms",
                "max_num_request_retries": "1000",
            },
            "journal": {"path": str(self._journal)},
            # Without a line of each move: a system of two cores has to write those of eight nodes.
            "log": {"level": "warning"},
            "processing": {
                "worker_count": str(self._args.workers // CONTROLLERS),
                "task_modules": "benchmarks",
                "spare_workers": "0",
            },
        }

    def _run(self) -> None:
        config = self._lab.config(self._sections())
        workers = self._args.workers // CONTROLLERS
        # Before the master: 176 workers take their time to start.
        controllers = [
            self._lab.start("cyclone-controller", "-f", config, "--set", f"control.name=node{number}")
            for number in range(CONTROLLERS)
        ]
        for controller in controllers:
            while len(psutil.Process(controller.pid).children()) < workers:
                time.sleep(_LOOK_S)
        master = self._lab.start("cyclone-master", "-f", config)
        status = self._input / "state" / "status.json"
        for kill in range(self._args.kills + 1):
            until = self._args.paths * (kill + 1) // (self._args.kills + 1) if kill < self._args.kills else None
            self._watch(master, status, until)
            if until is not None:
                master.process.kill()
                master.exits()
                _say(f"killed the master at {until:,} paths")
                master = self._lab.start("cyclone-master", "-f", config)
        if master.exits() != 0:
            raise SystemExit(f"lustre.py: the master failed:\n{master.stderr()[-4000:]}")
        for controller in controllers:
            controller.exits(60)

    def _watch(self, master: Started, status: Path, until: int | None) -> None:
        """Look at memory until so many paths are done, or the master ends."""
        samples: list[tuple[int, int]] = []
        self._memory.append(samples)
        process = psutil.Process(master.pid)
        generator: psutil.Process | None = None
        while master.alive:
            with contextlib.suppress(psutil.Error, OSError, ValueError, KeyError):
                if generator is None:
                    generator = next(
                        (p for p in process.children() if "generator_process" in " ".join(p.cmdline())), None
                    )
                else:
                    samples.append((process.memory_info().rss, generator.memory_info().rss))
                if until is not None and sum(json.loads(status.read_bytes())["outcomes"].values()) >= until:
                    return
            self._busy.append(psutil.cpu_percent())
            time.sleep(_LOOK_S)

    def _results(self) -> Iterator[Ran]:
        options = {name: keys for name, keys in self._sections().items() if name in ("migration", "lustre")}
        with contextlib.closing(open_journal(self._journal, Origin(_GENERATOR, options))) as journal:
            for _, block in journal.results_after(0):
                for result in OpenBlock(block):
                    path, source, target = result.args[:3]
                    outcome = result.value["outcome"] if result.ok else result.state
                    number = int(path.rpartition("/")[2])
                    worker = (result.controller, result.worker_pid)
                    yield Ran(result.started, result.finished, number, source, target, outcome, worker)

    def _growth(self) -> Report:
        """How much larger the processes of a life were at its end than after their warm-up, at most."""
        growth = {"master": 0, "generator": 0}
        peak = {"master": 0, "generator": 0}
        for samples in self._memory:
            if len(samples) < 10:
                continue
            warm = samples[int(len(samples) * _WARM_UP_SHARE)]
            for place, name in enumerate(growth):
                growth[name] = max(growth[name], samples[-1][place] - warm[place])
                peak[name] = max(peak[name], *(sample[place] for sample in samples))
        return {
            "rss_peak_mib": {name: size >> 20 for name, size in peak.items()},
            "rss_growth_mib": {name: size >> 20 for name, size in growth.items()},
            "memory_flat": max(growth.values()) < GROWTH_MAX_BYTES,
        }


def outcomes(ran: list[Ran], paths: int) -> Report:
    """What became of the paths, and whether each has one outcome."""
    times = Counter(row.number for row in ran)
    once = sum(count == 1 for count in times.values())
    return {
        "outcomes": dict(Counter(row.outcome for row in ran)),
        "paths_with_one_outcome": once,
        "each_path_once": once == paths == len(ran),
    }


def streams(ran: list[Ran], per_target: int) -> Report:
    """The most that ran at a time on an OST, of rows in the order in which they began."""
    most: dict[str, int] = {}
    for role, place in (("source", Ran._fields.index("source")), ("target", Ran._fields.index("target"))):
        running: dict[Any, list[float]] = {}
        for row in ran:
            ends = running.setdefault(row[place], [])
            while ends and ends[0] <= row.started:
                heapq.heappop(ends)
            heapq.heappush(ends, row.finished)
            most[role] = max(most.get(role, 0), len(ends))
    permitted = most["source"] <= 1 and most["target"] <= per_target
    return {"streams_at_most": most, "never_more_than_permitted": permitted}


def lost(ran: list[Ran], could: int) -> Report:
    """See the module; ``could`` is how many could be at work."""
    end = min({row.source: row.started for row in ran}.values())
    running = 0
    before: float | None = None
    lost_s = seconds = 0.0
    for at, change in sorted([(row.started, 1) for row in ran] + [(row.finished, -1) for row in ran]):
        if at > end:
            break
        if before is not None:
            seconds += at - before
            lost_s += (at - before) * max(0, could - running)
        running += change
        if before is not None or running >= could:
            before = at
    share = lost_s / (could * seconds) if seconds else 1.0
    return {
        "could_be_at_work": could,
        "judged_s": round(seconds, 1),
        "lost_share": round(share, 4),
        "lost_met": share < LOST_MAX,
    }


def _between(ran: list[Ran]) -> Report:
    """How long a worker waited from one task to the next, as it saw it."""
    last: dict[tuple[str, int], float] = {}
    gaps = []
    for row in ran:
        if row.worker in last:
            gaps.append(row.started - last[row.worker])
        last[row.worker] = row.finished
    gaps.sort()
    shares = {"p10": 0.1, "p50": 0.5, "p90": 0.9, "p99": 0.99}
    return {"between_tasks_ms": {name: round(1000 * gaps[int(len(gaps) * share)], 2) for name, share in shares.items()}}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
