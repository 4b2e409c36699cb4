"""The virtual generator: yields tasks at its own pace within the back-pressure, and may answer results with tasks.

A task's arguments are ``[microseconds, behaviour]``, so that each attempt behaves alike wherever it runs.
"""

from typing import TYPE_CHECKING

import msgspec

from cyclone.protocol import states
from cyclone.results import OpenBlock, RecordedBlock
from tests.simulation.settings import SETTLED_AFTER_S

if TYPE_CHECKING:
    from tests.simulation.world import World

OK, FAILS, KILLS, HANGS = range(4)
LIMITED = "sim:Limited"
_pack = msgspec.msgpack.Encoder().encode


class Feed:
    """The generator process as the master sees it."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._rng = world.rng
        self._work = world.settings.work
        self.produced = 0
        self.behaviours: list[int] = [OK]
        self.done = False
        self.last_block_at = 0.0
        self._from_results = 0
        self._limit = 0
        self._reads_at = 0.0
        self._settled = False
        self._odd = self._place_odd_ones()

    def _place_odd_ones(self) -> dict[int, int]:
        """Where the tasks are that kill their worker or hang."""
        work = self._work
        last = min(work.tasks, 300)
        odd = {self._rng.randint(1, last): HANGS for _ in range(work.hangers)}
        return odd | {self._rng.randint(1, last): KILLS for _ in range(work.killers)}

    def start(self) -> None:
        """Begin to yield."""
        self._world.at(0.01, self._yield_block)

    def allow(self, limit: int) -> None:
        """The master's ``pull_limit``."""
        self._limit = max(self._limit, limit)

    def _yield_block(self) -> None:
        if self.done:
            return
        world, work = self._world, self._work
        own = self.produced - self._from_results
        initial = work.tasks if not work.children else max(1, work.tasks // 10)
        # The last tasks wait until enough faults have come: a seed that is done early proves little.
        held_back = 0 if self._may_end() else 1 + initial // 10
        count = min(self._rng.randint(1, work.block_max), initial - held_back - own, self._limit - self.produced)
        if count > 0:
            world.master.feed(*self._block(count))
            own += count
            self.last_block_at = world.now
        if own >= initial or (work.cut_at and world.now >= work.cut_at and self._may_end()):
            self.done = True
            world.master.exhaust()
            return
        wait_s = self._rng.expovariate(1 / work.pace_s) if work.pace_s else 0.002
        world.after(max(wait_s, 0.001 if count > 0 else 0.03), self._yield_block)

    def _may_end(self) -> bool:
        world = self._world
        if not world.settings.settles:
            return world.faults.enough
        settled = world.faults.healed and world.now > world.healed_at + SETTLED_AFTER_S
        if settled and not self._settled:
            self._settled = True
            world.ledger.check_settled(world.master.scheduler)
        return settled

    def _block(self, count: int) -> tuple[list[tuple[str, float | None]], list[tuple[int, int]], list[bytes]]:
        """Job column, run-length column and arguments of the next tasks."""
        rng, work = self._rng, self._work
        weights = [weight for weight, *_ in work.classes]
        jobs: dict[tuple[str, float | None], int] = {}
        runs: list[tuple[int, int]] = []
        args = []
        for _ in range(count):
            self.produced += 1
            _, name, limit_s, low, high = rng.choices(work.classes, weights)[0] if len(weights) > 1 else work.classes[0]
            behaviour = self._odd.get(self.produced, FAILS if work.fail and rng.random() < work.fail else OK)
            if behaviour == HANGS:
                name, limit_s = LIMITED, 0.3
            self.behaviours.append(behaviour)
            seconds = rng.uniform(low, high) if high else (low if rng.random() < 0.98 else 0.4)
            args.append(_pack([int(seconds * 1e6), behaviour]))
            job = jobs.setdefault((name, limit_s), len(jobs))
            if runs and runs[-1][0] == job:
                runs[-1] = (job, runs[-1][1] + 1)
            else:
                runs.append((job, 1))
        return list(jobs), runs, args

    def deliver(self, number: int, block: RecordedBlock) -> None:
        """Results leave for the generator, which reads them in their order."""
        self._reads_at = max(self._reads_at, self._world.now + self._rng.uniform(0.0001, 0.01))
        self._world.at(self._reads_at, self._read, number, block)

    def _read(self, number: int, block: RecordedBlock) -> None:
        """Results reach the generator; what follows from them comes before the receipt."""
        world, work = self._world, self._work
        if work.children and self.produced < work.tasks:
            wanted = 0.0
            for row, status in enumerate(block.statuses):
                if status == states.COMPLETED and (block.accepted is None or block.accepted[row]):
                    wanted += self._rng.uniform(0, 2 * work.children)
            count = min(int(wanted) or (self._rng.random() < wanted), work.tasks - self.produced)
            if count:
                self._from_results += count
                world.master.feed(*self._block(count))
                self.last_block_at = world.now
        world.master.consume(number, len(block.body))


def outcomes(block: RecordedBlock) -> list[tuple[int, int, bytes]]:
    """Task id, status and value of each row that counts."""
    values = OpenBlock(block).columns.values
    return [
        (block.first + row, status, values[row])
        for row, status in enumerate(block.statuses)
        if block.accepted is None or block.accepted[row]
    ]
