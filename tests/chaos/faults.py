"""The faults: what is killed, stopped, cut, lost, repeated and filled up, drawn from a seed.

Each is noted with its time, its target and how long it lasts *before* it is done, so that the checker knows what may be
excused by it and what may not.
"""

import asyncio
import os
import random
import resource
import signal
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress

from tests.chaos.cluster import CONTROLLER_TIMEOUT_S, JOURNAL, Cluster, Member, Notes
from tests.chaos.proxy import Link

FAULTS = "faults.jsonl"
GENERATOR, WORKER, GUARDIAN = "cyclone.master.generator.generator_process", "cyclone.controller.worker", "guardian.py"
BEYOND_THE_TIMEOUT_S = CONTROLLER_TIMEOUT_S * 1.5
_BURST = 20
_BURST_GAP_S = 0.15


class Injector:
    """Injects faults at random until it is told to stop. ``counts`` has them by kind."""

    def __init__(self, cluster: Cluster, rng: random.Random, weights: dict[str, float]) -> None:
        self.counts: Counter[str] = Counter()
        self._cluster = cluster
        self._rng = rng
        self._weights = weights
        self._notes = Notes(cluster.folder / FAULTS)
        self._running: set[asyncio.Task[None]] = set()

    async def run(self, per_second: float) -> None:
        """Until cancelled."""
        kinds, weights = list(self._weights), list(self._weights.values())
        while True:
            await asyncio.sleep(self._rng.expovariate(per_second))
            self.inject(self._rng.choices(kinds, weights)[0])

    def inject(self, kind: str) -> None:
        """One fault of this kind, now; nothing where there is nothing that it could hit."""
        task = asyncio.create_task(KINDS[kind](self))
        self._running.add(task)
        task.add_done_callback(self._ended)

    async def calm(self) -> None:
        """Wait until those that last are over."""
        while self._running:
            await asyncio.wait(self._running)
        self._notes.close()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        task.result()

    def note(self, kind: str, target: str, for_s: float = 0.0, pid: int = 0) -> None:
        self.counts[kind] += 1
        self._notes.add(kind=kind, target=target, for_s=round(for_s, 3), pid=pid)

    # What can be hit.

    @property
    def cluster(self) -> Cluster:
        return self._cluster

    @property
    def rng(self) -> random.Random:
        return self._rng

    def controller(self) -> Member:
        return self._rng.choice(list(self._cluster.controllers.values()))

    def link(self) -> Link:
        return self._rng.choice([*self._cluster.links.values(), *self._cluster.client_links])

    def between(self, low_s: float, high_s: float) -> float:
        return self._rng.uniform(low_s, high_s)


Inject = Callable[[Injector], Coroutine[None, None, None]]


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


async def _pause(pid: int, for_s: float) -> None:
    _send(pid, signal.SIGSTOP)
    await asyncio.sleep(for_s)
    _send(pid, signal.SIGCONT)


def _worker_of(injector: Injector) -> tuple[str, int] | None:
    controller = injector.controller()
    pids = injector.cluster.children(controller, WORKER)
    return (controller.name, injector.rng.choice(pids)) if pids else None


async def _worker_kill(injector: Injector) -> None:
    if hit := _worker_of(injector):
        injector.note("worker_kill", hit[0], pid=hit[1])
        _send(hit[1], signal.SIGKILL)


def _worker_pause(kind: str, low_s: float, high_s: float) -> Inject:
    async def inject(injector: Injector) -> None:
        if hit := _worker_of(injector):
            for_s = injector.between(low_s, high_s)
            injector.note(kind, hit[0], for_s, hit[1])
            await _pause(hit[1], for_s)

    return inject


async def _controller_kill(injector: Injector) -> None:
    controller = injector.controller()
    if controller.pid:
        # Sometimes it comes back at once, sometimes only after its silence was noticed.
        controller.restart_s = injector.rng.choice((0.1, 0.5, BEYOND_THE_TIMEOUT_S))
        injector.note("controller_kill", controller.name, controller.restart_s, controller.pid)
        controller.kill()


def _daemon_pause(kind: str, choose: Callable[[Injector], Member], low_s: float, high_s: float) -> Inject:
    async def inject(injector: Injector) -> None:
        member = choose(injector)
        if pid := member.pid:
            for_s = injector.between(low_s, high_s)
            injector.note(kind, member.name, for_s, pid)
            await _pause(pid, for_s)

    return inject


def _controller(injector: Injector) -> Member:
    return injector.controller()


def _master(injector: Injector) -> Member:
    return injector.cluster.master


async def _master_kill(injector: Injector) -> None:
    master = injector.cluster.master
    if master.pid:
        injector.note("master_kill", master.name, master.restart_s, master.pid)
        master.kill()


async def _master_burst(injector: Injector) -> None:
    """Killed again and again, often before it is ready."""
    for _ in range(_BURST):
        await _master_kill(injector)
        await asyncio.sleep(injector.cluster.master.restart_s + injector.between(0.0, 2 * _BURST_GAP_S))


async def _client_kill(injector: Injector) -> None:
    """It comes again, with its notes and nothing else."""
    if injector.cluster.clients:
        client = injector.rng.choice(injector.cluster.clients)
        if client.pid:
            injector.note("client_kill", client.name, client.restart_s, client.pid)
            client.kill()


def _child_kill(kind: str, part: str, choose: Callable[[Injector], Member]) -> Inject:
    async def inject(injector: Injector) -> None:
        member = choose(injector)
        for pid in injector.cluster.children(member, part)[:1]:
            injector.note(kind, member.name, pid=pid)
            _send(pid, signal.SIGKILL)

    return inject


def _anybody(injector: Injector) -> Member:
    return injector.rng.choice([injector.cluster.master, injector.controller()])


# The links.


async def _link_cut(injector: Injector) -> None:
    link = injector.link()
    injector.note("link_cut", link.name)
    link.cut()


async def _link_half_close(injector: Injector) -> None:
    link = injector.link()
    injector.note("link_half_close", link.name)
    link.half_close(injector.rng.random() < 0.5)


async def _link_refuse(injector: Injector) -> None:
    link, for_s = injector.link(), injector.between(0.2, BEYOND_THE_TIMEOUT_S)
    injector.note("link_refuse", link.name, for_s)
    link.refusing = True
    link.cut()
    await asyncio.sleep(for_s)
    link.refusing = False


async def _link_hole(injector: Injector) -> None:
    link, for_s = injector.link(), injector.between(0.2, BEYOND_THE_TIMEOUT_S)
    upwards = injector.rng.random() < 0.5
    injector.note("link_hole", link.name, for_s)
    link.hold(upwards, True)
    await asyncio.sleep(for_s)
    link.hold(upwards, False)


async def _link_delay(injector: Injector) -> None:
    link, for_s = injector.link(), injector.between(0.2, 2.0)
    harm = link.harm[injector.rng.random() < 0.5]
    injector.note("link_delay", link.name, for_s)
    harm.delay_s = injector.between(0.02, 0.5)
    await asyncio.sleep(for_s)
    harm.delay_s = 0.0


async def _link_throttle(injector: Injector) -> None:
    link, for_s = injector.link(), injector.between(0.5, 2.0)
    harm = link.harm[injector.rng.random() < 0.5]
    injector.note("link_throttle", link.name, for_s)
    harm.bytes_per_s = injector.rng.choice((2_000.0, 20_000.0))
    await asyncio.sleep(for_s)
    harm.bytes_per_s = 0.0


async def _link_lose(injector: Injector) -> None:
    link = injector.link()
    injector.note("link_lose", link.name)
    link.harm[injector.rng.random() < 0.5].lose = injector.rng.choice((1, 1, 2, 5))


async def _link_corrupt(injector: Injector) -> None:
    # A client that hears rubbish says so and ends, for then it speaks to no master of its version.
    link = injector.rng.choice(list(injector.cluster.links.values()))
    injector.note("link_corrupt", link.name)
    link.harm[injector.rng.random() < 0.5].corrupt = 1


async def _link_replay(injector: Injector) -> None:
    link = injector.link()
    times = injector.rng.choice((1, 1, 3, 10))
    injector.note("link_replay", link.name)
    for _ in range(times):
        link.replay(injector.rng.random() < 0.5)


# What the host does to everybody.


async def _disk_full(injector: Injector) -> None:
    """No file of the master may grow beyond what its journal has now: a write fails like that on a full disk."""
    cluster = injector.cluster
    pid, for_s = cluster.master.pid, injector.between(0.2, 1.5)
    sizes = [path.stat().st_size for path in cluster.folder.glob(f"{JOURNAL}*")]
    if not pid or not sizes:
        return
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    injector.note("disk_full", "master", for_s, pid)
    with suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (max(sizes), hard))
    await asyncio.sleep(for_s)
    with suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))


async def _clock(injector: Injector) -> None:
    for_s = injector.between(0.2, 2.0)
    injector.note("clock", "all", for_s)
    injector.cluster.set_clock(injector.rng.choice((-86400.0, -3600.0, 3600.0, 86400.0)))
    await asyncio.sleep(for_s)
    injector.cluster.set_clock(0.0)


KINDS: dict[str, Inject] = {
    "worker_kill": _worker_kill,
    "worker_pause": _worker_pause("worker_pause", 0.05, 1.0),
    "worker_pause_long": _worker_pause("worker_pause_long", CONTROLLER_TIMEOUT_S, BEYOND_THE_TIMEOUT_S),
    "controller_kill": _controller_kill,
    "controller_pause": _daemon_pause("controller_pause", _controller, 0.05, 1.0),
    "controller_pause_long": _daemon_pause(
        "controller_pause_long", _controller, CONTROLLER_TIMEOUT_S, BEYOND_THE_TIMEOUT_S
    ),
    "master_kill": _master_kill,
    "master_burst": _master_burst,
    "master_pause": _daemon_pause("master_pause", _master, 0.05, 1.0),
    "master_pause_long": _daemon_pause("master_pause_long", _master, CONTROLLER_TIMEOUT_S, BEYOND_THE_TIMEOUT_S),
    "generator_kill": _child_kill("generator_kill", GENERATOR, _master),
    "guardian_kill": _child_kill("guardian_kill", GUARDIAN, _anybody),
    "client_kill": _client_kill,
    "link_cut": _link_cut,
    "link_half_close": _link_half_close,
    "link_refuse": _link_refuse,
    "link_hole": _link_hole,
    "link_delay": _link_delay,
    "link_throttle": _link_throttle,
    "link_lose": _link_lose,
    "link_corrupt": _link_corrupt,
    "link_replay": _link_replay,
    "disk_full": _disk_full,
    "clock": _clock,
}
# How often each kind is drawn. What halts everything for seconds is rare, or nothing else would be tried.
WEIGHTS: dict[str, float] = {
    "worker_kill": 28,
    "worker_pause": 8,
    "worker_pause_long": 1,
    "controller_kill": 5,
    "controller_pause": 5,
    "controller_pause_long": 1.5,
    "master_kill": 4,
    "master_burst": 0.15,
    "master_pause": 3,
    "master_pause_long": 0.6,
    "generator_kill": 3,
    "guardian_kill": 4,
    "client_kill": 2,
    "link_cut": 6,
    "link_half_close": 4,
    "link_refuse": 2,
    "link_hole": 3,
    "link_delay": 5,
    "link_throttle": 3,
    "link_lose": 6,
    "link_corrupt": 3,
    "link_replay": 6,
    "disk_full": 2,
    "clock": 2,
}
