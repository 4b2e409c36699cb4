"""``make sim-scale``: thousands of virtual controllers on a master that takes time, against the closed model.

    python -m tests.simulation.scale [--controllers 10000] [--tasks-per-s 1000] [--seconds 15]

The production brains in virtual time, as in every simulation; but a turn of this master lasts as long as the cost model
says for the messages in it (``benchmarks/cost_model.py``), what comes meanwhile waits, and what it says leaves at the
end of the turn. Printed are the load of its loop, and how long a controller that has finished a task waits for the next
one to be sent, beside what ``benchmarks/queueing.py`` predicts from the rates alone. Exit status 1 where they differ by
more than 20 %: then the brains send other messages than the model thinks, or the master is not the server it is taken
for.
"""

import argparse
import random
import sys
from collections import Counter
from collections.abc import Iterator
from unittest.mock import patch

from benchmarks.cost_model import Costs
from benchmarks.queueing import Loop
from cyclone.master.leases.admission import Terms
from cyclone.protocol.messages import JobOptions
from tests.simulation import world as world_module
from tests.simulation.generators import OK, Row, Script, pack_plan
from tests.simulation.master import VirtualMaster
from tests.simulation.network import Connection, Network
from tests.simulation.settings import Settings, Work, draw
from tests.simulation.world import World

AGREE_WITHIN = 0.2
# By then everybody has a task, and the first ones have ended at all sorts of moments.
WARM_UP_S = 25.0
# No task is shorter: below a second a controller would hold tasks in advance, and not wait for the next one at all.
TASK_MIN_S = 1.0
STATE_TAG, RESULTS_TAG = 2, 3
EVENTS_MAX_S = 3600.0


class ServiceTimes:
    """What the cost model charges for a turn, in seconds."""

    def __init__(self, costs: Costs) -> None:
        self.turn_s = costs.turn_loop_us * 1e-6
        self.message_s = {STATE_TAG: costs.heartbeat_loop_us * 1e-6, RESULTS_TAG: costs.batch_loop_us * 1e-6}

    def of_turn(self, tags: Counter[int]) -> float:
        """A turn with these messages. One without any, which a timer has brought, costs as much as an empty one."""
        return self.turn_s + sum(count * self.message_s.get(tag, 0.0) for tag, count in tags.items())


class BusyMaster(VirtualMaster):
    """A master whose turns take time."""

    def __init__(self, world: "ScaleWorld") -> None:
        super().__init__(world)
        self.scale = world
        self._came: list[tuple[float, int]] = []

    def receive(self, peer: bytes, frames: list[bytes]) -> None:
        # The body is an array whose first element is the tag.
        self._came.append((self.world.now, frames[1][1]))
        super().receive(peer, frames)

    def turn(self) -> None:
        came, self._came = self._came, []
        lasts_s = self.scale.times.of_turn(Counter(tag for _, tag in came))
        ends_at = self.world.now + lasts_s
        self.resting_until = self.scale.turn_ends_at = ends_at
        self.scale.seen(ends_at, lasts_s, came)
        super().turn()


class SlowNetwork(Network):
    """What the master says leaves at the end of its turn."""

    def _arrive(self, at: float, connection: Connection, up: bool, frames: list[bytes]) -> None:
        if not up:
            assert isinstance(self._world, ScaleWorld)
            at += max(0.0, self._world.turn_ends_at - self._world.now)
        super()._arrive(at, connection, up, frames)


class LongTasks(Script):
    """Tasks of a second and an exponential rest, so that thousands of them end at moments that look like chance."""

    def __init__(self, world: World, task_s: float) -> None:
        super().__init__(world)
        self._times = random.Random(world.seed)
        self._rest_s = task_s - TASK_MIN_S

    def _row(self, rng: random.Random, behaviour: int, origin: int, ordinal: int) -> Row:
        seconds = TASK_MIN_S + self._times.expovariate(1 / self._rest_s)
        return Row(JobOptions("sim:Long"), pack_plan(seconds, OK, origin, ordinal), b"")


class ScaleWorld(World):
    """A world without faults that ends at a moment. ``waits_s`` are of results that came after the warm-up."""

    def __init__(self, controllers: int, tasks_per_s: float, seconds: float, times: ServiceTimes) -> None:
        self.times = times
        self.turn_ends_at = 0.0
        self.busy_s = 0.0
        self.waits_s: list[float] = []
        self.came: Counter[int] = Counter()
        self._until = WARM_UP_S + seconds
        super().__init__(1, faulty=False, settings=scale_settings(controllers, int(tasks_per_s * self._until * 2)))
        self.script = LongTasks(self, controllers / tasks_per_s)
        self.network = SlowNetwork(self)

    def seen(self, ends_at: float, lasts_s: float, came: list[tuple[float, int]]) -> None:
        """A turn of the master."""
        if self.now > WARM_UP_S:
            self.busy_s += lasts_s
            self.came.update(tag for _, tag in came)
            self.waits_s += [ends_at - at for at, tag in came if tag == RESULTS_TAG]

    def _run(self) -> "World":
        with patch.object(world_module, "VirtualMaster", BusyMaster):
            self._start()
            self._loop(lambda: self.now > self._until, EVENTS_MAX_S)
        return self

    def _look_for_idle(self) -> None:
        """A slot may well idle here, for as long as its master is busy."""

    def _compare_replay(self) -> None:
        """Other worlds do; of so many tasks it would take longer than all else."""


def scale_settings(controllers: int, tasks: int) -> Settings:
    """A calm world with as many controllers, each with one slot, as production has them by default."""
    settings = draw(random.Random(1), False)
    settings.work = Work(tasks, 1000, 0.0, reads=False)
    settings.controllers, settings.workers_max = controllers, 1
    settings.heartbeat_s, settings.controller_timeout_s = 1.0, 15.0
    settings.latency_s, settings.turn_s, settings.retry_wait_s = (0.0001, 0.0005), 1e-6, 1.0
    settings.worker_max_tasks, settings.master_stops_at, settings.check_every = 0, None, 1 << 30
    settings.durable, settings.master_dies_at = True, []
    settings.window_tasks, settings.ahead_bytes_max = 32768, 4 << 20
    settings.page_tasks, settings.load_below, settings.load_blocks = 65536, 16384, 8
    return settings


Figure = tuple[str, float, float]


def compare(controllers: int, tasks_per_s: float, seconds: float) -> Iterator[Figure]:
    """What was simulated and what was predicted, by name."""
    costs = Costs()
    times = ServiceTimes(costs)
    world = ScaleWorld(controllers, tasks_per_s, seconds, times)
    world.run()
    waits = sorted(world.waits_s)
    heartbeats_per_s = controllers / Terms("", 1.0, 15.0).pace_s(controllers)
    state_s, results_s = times.message_s[STATE_TAG], times.message_s[RESULTS_TAG]
    model = Loop(times.turn_s, state_s, results_s, heartbeats_per_s, tasks_per_s)
    yield "heartbeats/s", world.came[STATE_TAG] / seconds, heartbeats_per_s
    yield "tasks/s", world.came[RESULTS_TAG] / seconds, tasks_per_s
    yield "load of the master's loop, %", world.busy_s / seconds * 100, model.utilisation * 100
    for name, quantile in (("p50", 0.5), ("p99", 0.99)):
        simulated_s = waits[int(len(waits) * quantile)]
        yield f"dispatch latency {name}, us", simulated_s * 1e6, model.wait_s(quantile) * 1e6


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.scale", description=__doc__.partition("\n")[0])
    parser.add_argument("--controllers", type=int, default=10_000)
    parser.add_argument("--tasks-per-s", type=float, default=1000.0)
    parser.add_argument("--seconds", type=float, default=15.0, help="of virtual time, after the warm-up (default: 15)")
    args = parser.parse_args()
    agree = True
    print(f"{'':<30} {'simulated':>12} {'model':>12} {'apart':>8}")
    for name, simulated, predicted in compare(args.controllers, args.tasks_per_s, args.seconds):
        apart = simulated / predicted - 1
        agree &= abs(apart) <= AGREE_WITHIN
        print(f"{name:<30} {simulated:>12,.1f} {predicted:>12,.1f} {apart:>+8.1%}")
    print(f"within {AGREE_WITHIN:.0%}: {'yes' if agree else 'NO'}")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
