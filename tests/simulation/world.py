"""The deterministic world: a heap of events, a virtual clock, one seed. Everything random comes from ``World.rng``.

The production scheduler and agents run in it, unchanged; the network, the processes and the clock are virtual. A run
has two phases: faults, then everything is healed and every task must end within a bound.
"""

import heapq
import random
import struct
import zlib
from collections import Counter
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from cyclone.master import scheduler as scheduler_module
from cyclone.master import state as state_module
from cyclone.master.clients import client_feeds as client_feeds_module
from cyclone.master.generator import source as source_module
from cyclone.master.generator.progress import GeneratorProgress
from cyclone.master.waiting import paging as paging_module
from tests.simulation import settings as settings_module
from tests.simulation.checks import Ledger
from tests.simulation.clients import Clients
from tests.simulation.controller import VirtualController
from tests.simulation.faults import Faults
from tests.simulation.generators import Script
from tests.simulation.journal import VirtualJournal
from tests.simulation.lifecycle_checks import Transitions
from tests.simulation.master import VirtualMaster
from tests.simulation.network import Network
from tests.simulation.process import VirtualFeed
from tests.simulation.report import dump
from tests.simulation.settings import HEALED_BOUND_S, LEAVING_BOUND_S, SETTLED_AFTER_S, Settings

IDLE_LOOK_S = 0.05
# Looking at thousands of controllers costs more than all that they do.
IDLE_LOOKS_PER_S = 5000
# A generator that dies more often in one place would be given up by its master.
GENERATOR_KILLS_MAX = 3
_PACK_TIME = struct.Struct("<d").pack


class Log:
    """What the source would write into the master's log."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def info(self, text: str, *args: object) -> None:
        """A line."""
        self._world.say("source", "info", text % args)

    def warning(self, text: str, *args: object) -> None:
        """A line."""
        self._world.say("source", "warning", text % args)


class Clock:
    """What takes the place of the module ``time``."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def monotonic(self) -> float:
        """Stands still within a turn."""
        return self._world.now


class SimulationFailure(AssertionError):
    """The world got stuck, or a brain raised; the message says when and holds a dump."""


class World:
    """One run. ``counts`` are the faults by kind, ``trace_hash`` covers every message and death with its time."""

    def __init__(
        self, seed: int, *, faulty: bool = True, verbose: bool = False, settings: Settings | None = None
    ) -> None:
        self.seed = seed
        self.faulty = faulty
        self.rng = random.Random(f"{seed}/{faulty}")
        # Who brings settings of his own says what there is to do; else there may be clients, too.
        self.has_clients = settings is None
        self.settings = settings or settings_module.draw(self.rng, faulty)
        self.now = 0.0
        self.events = 0
        self.trace_hash = 0
        self.counts: Counter[str] = Counter()
        self.healed_at = 0.0
        self.progressed_at = 0.0
        self.verbose = verbose
        self._heap: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._sequence = 0
        self._incarnations = 0
        self._pids = 1000
        self._killed_at = (GeneratorProgress(), 0)
        self.loads = 0
        self.restarted_at = 0.0
        self.clients = Clients(self)
        self.script = Script(self)
        self.journal = VirtualJournal(self)
        self.ledger = Ledger(self)
        self.transitions = Transitions(self)
        self.network = Network(self)
        self.faults = Faults(self)
        self.master: VirtualMaster
        self.names = [f"c{number}" for number in range(self.settings.controllers)]
        self.controllers: list[VirtualController] = []
        self.living = 0

    # Time.

    def at(self, time: float, function: Callable[..., object], *args: Any) -> None:
        """Call the function at that time."""
        self._sequence += 1
        heapq.heappush(self._heap, (max(time, self.now), self._sequence, function, args))

    def after(self, seconds: float, function: Callable[..., object], *args: Any) -> None:
        """Call the function that much later."""
        self.at(self.now + seconds, function, *args)

    # Who there is.

    def next_incarnation(self) -> int:
        """Incarnations are numbered in the order of their start."""
        self._incarnations += 1
        return self._incarnations

    def next_pid(self) -> int:
        """No process id comes twice."""
        self._pids += 1
        return self._pids

    def start_controller(self, name: str) -> None:
        """A new incarnation."""
        if self.master.finished_at is None and name in self.names:
            controller = VirtualController(self, name, self.rng.randint(1, self.settings.workers_max))
            self.controllers.append(controller)
            self.living += 1
            controller.start()

    def start_master(self) -> None:
        """The next life of the master, unless it lives."""
        if not self.master.alive:
            self.count("master restarted")
            self.restarted_at = self.now
            self.master = VirtualMaster(self)
            self.master.start()
            self.faults.master_restarted()
            if not self.faults.healed and self.faulty and self.rng.random() < 0.25:
                self.after(self.rng.choice([0.0, 0.01, 0.3]), self._master_dies_again)

    def master_dies(self) -> None:
        """SIGKILL; it comes back by itself."""
        self.trace(b"master died")
        self.show("master", "died", f"epoch {self.journal.epoch}")
        self.master.end()
        self.network.master_died()
        down_s = [0.0, 0.01, 0.1, 0.5, 1.0, 3.0] if self.faulty else [0.0, 0.01, 0.1]
        self.after(self.rng.choice(down_s), self.start_master)

    def may_kill_master(self) -> bool:
        """Whether its death is to be survived."""
        return self.settings.durable and self.master.alive and self.master.finished_at is None

    def may_ask(self) -> bool:
        """Whether somebody is there who answers clients."""
        return self.master.alive and self.master.finished_at is None

    def _master_dies_again(self) -> None:
        if self.may_kill_master() and not self.faults.healed:
            self.count("master killed soon after its start")
            self.master_dies()

    def may_kill_generator(self) -> bool:
        """Whether its death is to be survived: one that never comes any further is given up after some."""
        feed = self.master.feed
        if not self.may_kill_master() or feed is None or not feed.process.alive:
            return False
        progress = self.master.scheduler.state.progress
        before, kills = self._killed_at
        self._killed_at = (progress, kills + 1 if progress == before else 1)
        return self._killed_at[1] <= GENERATOR_KILLS_MAX

    # What is seen.

    def count(self, kind: str) -> None:
        """A fault took effect."""
        self.counts[kind] += 1

    def trace(self, what: bytes) -> None:
        """Something that a repetition of the seed must repeat."""
        self.trace_hash = zlib.crc32(what, zlib.crc32(_PACK_TIME(self.now), self.trace_hash))

    def say(self, who: str, level: str, text: str) -> None:
        """A line of a log."""
        self.trace(text.encode())
        self.show(who, level, text)
        if "passed task_resend_timeout" in text:
            self.count("task_resend_timeout")

    def show(self, who: str, what: str, text: str) -> None:
        """A line for who reads along."""
        if self.verbose:
            print(f"{self.now:10.4f} {who:8} {what:7} {text}")

    # The run.

    def run(self) -> "World":
        """Until every task has its result and every controller has left; raises what a check or a brain raises."""
        # The bounds of production are far beyond a small world.
        with (
            patch.object(scheduler_module, "WINDOW_TASKS", self.settings.window_tasks),
            patch.object(scheduler_module, "BACKLOG_BYTES_MAX", self.settings.backlog_bytes_max),
            patch.object(paging_module, "LOAD_BELOW_TASKS", self.settings.load_below),
            patch.object(paging_module, "LOAD_BLOCKS", self.settings.load_blocks),
            patch.object(state_module, "PAGE_TASKS", self.settings.page_tasks),
            patch.object(source_module, "log", Log(self)),
            # What looks at the clock by itself sees the virtual one: else a busy machine would change the run.
            patch.object(source_module, "time", Clock(self)),
            patch.object(client_feeds_module, "time", Clock(self)),
            patch.object(source_module, "_AHEAD_BYTES_MAX", self.settings.ahead_bytes_max),
            patch.object(source_module, "Feed", lambda guard, options, progress: VirtualFeed(self, progress)),
        ):
            return self._run()

    def _run(self) -> "World":
        try:
            self._start()
            if self.settings.master_stops_at is not None:
                self._stop_master(self.settings.master_stops_at)
                return self
            self._loop(lambda: self.master.finished_at is not None, self._healed_bound_s())
            self.faults.heal()
            self.healed_at = self.now
            if self.faulty and self.settings.durable and self.rng.random() < 0.2:
                self.count("master killed after the end")
                self.master_dies()
            self._loop(self._is_over, LEAVING_BOUND_S)
            self.ledger.check_left(self.master)
        except Exception as error:
            where = f"seed {self.seed}, {'with' if self.faulty else 'without'} faults, at {self.now:.4f} s"
            raise SimulationFailure(f"{where}: {type(error).__name__}: {error}") from error
        return self

    def _healed_bound_s(self) -> float:
        return HEALED_BOUND_S + (SETTLED_AFTER_S if self.settings.settles else 0.0)

    def _is_over(self) -> bool:
        return not self.living and (self.master.feed is None or self.master.feed.summary is not None)

    def _stop_master(self, at: float) -> None:
        """SIGTERM to the master: nothing starts any more, and what runs is recorded."""
        self.at(at, self.master.stop)
        scheduler = self.master.scheduler
        self._loop(lambda: scheduler.stopping and not scheduler.leased_tasks, HEALED_BOUND_S)
        scheduler.check()
        self.ledger.recovery.check_replay(self.master)
        assert len(self.ledger.recorded) == len(self.ledger.started_tasks), (
            "a task was started, and its result is not here"
        )

    def _start(self) -> None:
        for name in self.names:
            self.at(self.rng.choice([0.0, 0.01, 0.3, 1.0]), self.start_controller, name)
        self.master = VirtualMaster(self)
        self.master.start()
        self.faults.start()
        self.clients.start()
        for at in self.settings.master_dies_at:
            self.at(at, self._master_dies_quietly)
        if not self.faulty:
            self.after(IDLE_LOOK_S, self._look_for_idle)
        self.after(self.rng.uniform(1.0, 3.0), self._compare_replay)

    def _master_dies_quietly(self) -> None:
        """Nothing else is wrong in this world, so that nobody may notice more than a pause."""
        if self.may_kill_master():
            self.master_dies()

    def _loop(self, done: Callable[[], bool], bound_s: float) -> None:
        heap, pop = self._heap, heapq.heappop
        while not done():
            self.now, _, function, args = pop(heap)
            self.events += 1
            function(*args)
            if self.faults.healed and self.now > self.healed_at + bound_s:
                raise AssertionError(f"stuck: nothing has moved since {self.progressed_at:.2f} s\n{dump(self)}")

    def _look_for_idle(self) -> None:
        if self.master.finished_at is None and not self.master.scheduler.stopping and self.master.alive:
            self.ledger.controllers.check_idle()
        if self.master.finished_at is None:
            self.after(max(IDLE_LOOK_S, len(self.controllers) / IDLE_LOOKS_PER_S), self._look_for_idle)

    def _compare_replay(self) -> None:
        if self.master.alive:
            self.ledger.recovery.check_replay(self.master)
        if self.master.finished_at is None:
            self.after(self.rng.uniform(2.0, 4.0), self._compare_replay)
