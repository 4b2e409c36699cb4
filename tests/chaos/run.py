"""One run: start a cluster, harm it, let it finish its work, and hand its folder to the checker.

Judges nothing. The checker is another process, which sees the folder and ``/proc`` and nothing of this one.
"""

import asyncio
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.chaos import history
from tests.chaos.cluster import CONTROLLER_TIMEOUT_S, CRASH_LIMIT, JOURNAL, Cluster, ClusterOptions
from tests.chaos.faults import WEIGHTS, Injector
from tests.support import procfs
from tests.support.lab import MARK, ROOT

RUN = "run.json"
# What stands still for so long after the faults are over will not move again; the checker calls it a loss of progress.
STUCK_AFTER_S = 30.0
_LOOK_S = 0.1


@dataclass(frozen=True)
class RunOptions:
    """``faults_s`` is how long faults are injected at most; the work may be done before."""

    cluster: ClusterOptions
    seed: int
    faults_s: float
    faults_per_second: float = 5.0
    warm_up_s: float = 2.0
    weights: Mapping[str, float] = field(default_factory=lambda: WEIGHTS)
    stuck_after_s: float = STUCK_AFTER_S
    quiet: bool = False


async def _run(folder: Path, options: RunOptions) -> Counter[str]:
    rng = random.Random(options.seed)
    cluster = Cluster(folder, options.cluster, rng)
    injector = Injector(cluster, rng, dict(options.weights))
    about: dict[str, object] = {
        "plan": asdict(options.cluster.plan),
        "seed": options.seed,
        "mark": cluster.mark,
        "journal": JOURNAL,
        "temporary": "tmp",
        "controllers": options.cluster.controllers,
        "controller_timeout_s": CONTROLLER_TIMEOUT_S,
        "crash_limit": CRASH_LIMIT,
        "rss_max_bytes": options.cluster.rss_max_bytes,
        "faults_per_second": options.faults_per_second,
        "began_ns": history.now_ns(),
    }
    await cluster.start()
    try:
        await _harm(cluster, injector, options, about)
    finally:
        await cluster.stop()
    about["ended_ns"] = history.now_ns()
    (folder / RUN).write_text(json.dumps(about, indent=1))
    return injector.counts


async def _harm(cluster: Cluster, injector: Injector, options: RunOptions, about: dict[str, object]) -> None:
    """Faults for as long as there is time or work, and then none until the work is done."""
    done = asyncio.create_task(cluster.master.finished.wait())
    await asyncio.wait([done], timeout=options.warm_up_s)
    if options.faults_per_second:
        harm = asyncio.create_task(injector.run(options.faults_per_second))
        await asyncio.wait([done, harm], timeout=options.faults_s, return_when=asyncio.FIRST_COMPLETED)
        harm.cancel()
        if harm.done() and not harm.cancelled():
            harm.result()
    await injector.calm()
    (cluster.folder / history.CALM).touch()
    about["faults_over_ns"] = history.now_ns()
    about["drained"] = await _drained(cluster, done, options.stuck_after_s)
    about["drained_ns"] = history.now_ns()
    done.cancel()


class _Progress:
    """How many tasks have come to an end so far: one that is executed again and again is no progress."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_to = 0
        self._ended: set[bytes] = set()

    def look(self) -> int:
        """By now."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._read_to)
                lines = file.read().split(b"\n")
            # The last one may not be whole yet.
            self._read_to += sum(len(line) + 1 for line in lines[:-1])
            self._ended.update(
                line.split()[1] for line in lines[:-1] if line.startswith(b"E ") and line.count(b" ") > 1
            )
        return len(self._ended)


async def _drained(cluster: Cluster, done: "asyncio.Task[bool]", stuck_after_s: float) -> bool:
    """Whether the master came to the end of its work: False when no further task has ended for too long."""
    progress, ended, moved_at = _Progress(cluster.folder / history.EXECUTIONS), -1, time.monotonic()
    while not done.done():
        await asyncio.wait([done], timeout=_LOOK_S)
        ended_now = progress.look()
        if ended_now != ended:
            ended, moved_at = ended_now, time.monotonic()
        elif time.monotonic() - moved_at > stuck_after_s:
            return False
    if cluster.options.controllers:
        left = [asyncio.create_task(controller.finished.wait()) for controller in cluster.controllers.values()]
        await asyncio.wait(left, timeout=CONTROLLER_TIMEOUT_S)
    return True


def run(folder: Path, options: RunOptions) -> tuple[Counter[str], int]:
    """The faults by kind, and the checker's exit code."""
    counts = asyncio.run(_run(folder, options))
    command = [sys.executable, "-m", "tests.chaos.checker", str(folder)]
    checked = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL if options.quiet else None)
    # Whatever the checker has found of it is noted; it must not outlive the run.
    procfs.kill_all(list(procfs.marked(MARK, json.loads((folder / RUN).read_text())["mark"])))
    return counts, checked.returncode
