"""How soon a task runs again whose worker was killed: from the SIGKILL to the first line of the next attempt.

    python benchmarks/redispatch.py [--kills 1000] [--workers 1] [--pause 0.5]

A run of ``cyclone run`` as users know it: master, controller and workers are processes of their own. Each task kills
its worker with SIGKILL in its first attempt, having noted the time; the second attempt notes the time too, by the same
clock. One task at a time, and a pause before the next, so that nothing waits behind others and every worker is back.
One that is idle takes the task over; where there is none (``--workers 1``), the time is that of a Python interpreter's
start. Prints one JSON object; times are milliseconds.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cyclone import BaseTask, BaseTaskGenerator, TaskResult

_FOLDER = "CYCLONE_REDISPATCH_FOLDER"
_CONFIG = """\
[task_generator]
class = redispatch:Victims

[victims]
kills = {kills}
pause = {pause_s}
"""


class Victim(BaseTask):
    """Notes when it starts, and kills its worker the first time."""

    def execute(self) -> None:
        descriptor = os.open(Path(os.environ[_FOLDER], "notes"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, f"{self.task_id} {time.monotonic_ns()}\n".encode())
        os.close(descriptor)
        if self.attempt == 1:
            os.kill(os.getpid(), signal.SIGKILL)


class Victims(BaseTaskGenerator):
    """``[victims] kills`` of them, each when the one before has ended."""

    def generate(self) -> Iterator[BaseTask]:
        self._left = int(self.option("victims", "kills")) - 1
        yield Victim()

    def on_result(self, result: TaskResult) -> Iterator[BaseTask]:
        if self._left > 0:
            self._left -= 1
            time.sleep(self.duration_option("victims", "pause"))
            yield Victim()


def measure(kills: int, workers: int, pause_s: float, folder: Path) -> list[float]:
    """The times between the two notes of each task, sorted."""
    config = folder / "redispatch.conf"
    config.write_text(_CONFIG.format(kills=kills, pause_s=pause_s), encoding="ascii")
    own = str(Path(__file__).resolve().parent)
    path = os.pathsep.join(filter(None, (own, os.environ.get("PYTHONPATH", ""))))
    subprocess.run(
        [str(Path(sys.executable).with_name("cyclone")), "run", "-f", config, "--workers", str(workers), "--quiet"],
        env=os.environ | {_FOLDER: str(folder), "PYTHONPATH": path},
        check=True,
    )
    notes: dict[str, list[int]] = {}
    for line in (folder / "notes").read_text(encoding="ascii").splitlines():
        task_id, now_ns = line.split()
        notes.setdefault(task_id, []).append(int(now_ns))
    if len(notes) != kills or any(len(times) != 2 for times in notes.values()):
        raise SystemExit(f"not each of {kills} tasks was started twice: {len(notes)} tasks were seen")
    return sorted((second - first) / 1e6 for first, second in notes.values())


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between one task's end and the next")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="redispatch-") as folder:
        times_ms = measure(args.kills, args.workers, args.pause, Path(folder))
    report: dict[str, float] = {"kills": args.kills, "workers": args.workers}
    for name, rank in (("p50_ms", 0.5), ("p99_ms", 0.99), ("max_ms", 1.0)):
        report[name] = round(times_ms[min(int(len(times_ms) * rank), len(times_ms) - 1)], 1)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
