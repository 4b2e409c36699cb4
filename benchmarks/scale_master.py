"""The master of ``benchmarks/scale.py``: the production service, with a listener that moves from phase to phase.

Prints a JSON object with its port, and at the end one with what it has measured of itself. Ends by itself.
"""

import argparse
import contextlib
import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cyclone import logs
from cyclone.cli import common
from cyclone.config import load
from cyclone.master.journal import Journal, NoJournal
from cyclone.master.leases.admission import Terms
from cyclone.master.service import MasterService
from cyclone.processes import die_with_parent
from cyclone.protocol.messages import AnyFromMaster, Pong, Tasks
from cyclone.results import RecordedBlock

if TYPE_CHECKING:
    from cyclone.settings import Settings

# Whoever has not said hello by then does not come.
_WELCOME_MAX_S = 60.0
# Beyond the interval of heartbeats, after which everybody knows it: what start-up brought is over.
_SETTLE_S = 2.0
_ENDLESS = 1_000_000_000


class _Seen(NamedTuple):
    """A phase: CPU of all threads and of the loop's own, heartbeats answered and tasks done."""

    seconds: float
    cpu_s: float
    loop_s: float
    heartbeats: int
    tasks: int


class _Conductor:
    """Counts, and goes on to the next phase when it is time: welcome, settle, heartbeats only, fill, flow, end."""

    def __init__(self, controllers: int, seconds: float, task_s: float, terms: Terms) -> None:
        self._controllers = controllers
        self._terms = terms
        self._seconds = seconds
        self._fill_max_s = task_s
        self._phases = self._run()
        self._heartbeats = self._done = self._leased = 0
        self.report: dict[str, float] = {}
        self._service: MasterService

    def sent(self, message: AnyFromMaster) -> None:
        """A message has left for a controller."""
        if type(message) is Pong:
            self._heartbeats += 1
        elif type(message) is Tasks:
            self._leased = max(self._leased, self._service.scheduler.leased_tasks)

    def recorded(self, block: RecordedBlock) -> None:
        """Results are recorded."""
        self._done += len(block.statuses)

    def turn(self, service: MasterService) -> None:
        """A turn of the loop has ended."""
        self._service = service
        next(self._phases)

    def _run(self) -> Iterator[None]:
        begun = time.monotonic()
        while len(self._service.scheduler.state.sessions) < self._controllers:
            if time.monotonic() - begun > _WELCOME_MAX_S:
                sys.exit(f"only {len(self._service.scheduler.state.sessions)} controllers have come")
            yield
        self.report["welcomed_s"] = time.monotonic() - begun
        yield from _until(time.monotonic() + _SETTLE_S + self._terms.pace_s(self._controllers))
        idle = yield from self._watch()
        yield from self._fill()
        flow = yield from self._watch()
        self.report |= {
            "idle_cpu_share": idle.cpu_s / idle.seconds,
            "heartbeats_per_s": idle.heartbeats / idle.seconds,
            "flow_cpu_share": flow.cpu_s / flow.seconds,
            "flow_heartbeats_per_s": flow.heartbeats / flow.seconds,
            "tasks_per_s": flow.tasks / flow.seconds,
            "rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
        for name, of_idle, of_flow in (("cpu", idle.cpu_s, flow.cpu_s), ("loop", idle.loop_s, flow.loop_s)):
            heartbeat_s = of_idle / max(idle.heartbeats, 1)
            self.report[f"heartbeat_{name}_us"] = heartbeat_s * 1e6
            self.report[f"task_{name}_us"] = (of_flow - flow.heartbeats * heartbeat_s) / max(flow.tasks, 1) * 1e6
        os.kill(os.getpid(), signal.SIGINT)
        while True:
            yield

    def _watch(self) -> Generator[None, None, "_Seen"]:
        """One phase, and what it came to."""
        heartbeats, done, at = self._heartbeats, self._done, time.monotonic()
        cpu_s, loop_s = time.process_time(), time.thread_time()
        yield from _until(at + self._seconds)
        return _Seen(
            time.monotonic() - at,
            time.process_time() - cpu_s,
            time.thread_time() - loop_s,
            self._heartbeats - heartbeats,
            self._done - done,
        )

    def _fill(self) -> Iterator[None]:
        """The generator starts; each controller gets its first task."""
        self._service.start_generator()
        while not self._leased:
            yield
        at = time.monotonic()
        while self._done + self._leased < self._controllers and time.monotonic() < at + self._fill_max_s:
            yield
        self.report["filled_s"] = time.monotonic() - at


def _until(moment: float) -> Iterator[None]:
    while time.monotonic() < moment:
        yield


def main() -> None:
    """Entry point."""
    die_with_parent(os.getppid())
    parser = argparse.ArgumentParser()
    parser.add_argument("--controllers", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--task-s", type=float, required=True)
    parser.add_argument("--durability", required=True)
    args = parser.parse_args()
    overrides = [
        "task_generator.class=task_generators.benchmark:BenchmarkTaskGenerator",
        f"benchmark.num_tasks={_ENDLESS}",
        f"journal.durability={args.durability}",
        # What runs when all is measured is of no interest.
        "control.stop_timeout=1s",
        "log.level=warning",
    ]
    settings = load(None, overrides, "run")
    logs.configure("scale", None, "text", "warning", False)
    terms = Terms("", settings.control.heartbeat_interval_s, settings.control.controller_timeout_s)
    conductor = _Conductor(args.controllers, args.seconds, args.task_s, terms)
    with (
        _journal(settings) as journal,
        MasterService(common.master_options(settings, False, ("127.0.0.1", 0)), journal, [conductor]) as service,
    ):
        print(json.dumps({"port": service.port}), flush=True)
        service.run(generator_at_once=False)
        print(json.dumps(conductor.report), flush=True)


@contextlib.contextmanager
def _journal(settings: "Settings") -> Iterator[Journal]:
    if settings.journal.durability == "off":
        yield NoJournal()
        return
    assert settings.control.state_dir
    folder = common.make_private_folder(settings.control.state_dir)
    with tempfile.TemporaryDirectory(prefix="scale-", dir=folder) as own:
        yield common.open_journal(settings, Path(own, "journal.sqlite"))


if __name__ == "__main__":
    main()
