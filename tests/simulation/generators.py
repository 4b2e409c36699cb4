"""The user's generator of the virtual world: what it yields, and what it makes of each result.

The same in every process that ever runs it, as the documentation asks of a generator: what is yielded and made follows
from the seed, from its place and from the results alone. Task arguments are ``[microseconds, behaviour, origin,
ordinal]``: each attempt behaves alike wherever it runs, and the journal shows where each task belongs. ``origin`` is
the id of the task whose result it was made of, 0 for those of ``generate()``.
"""

import random
import zlib
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from cyclone.protocol import states
from cyclone.protocol.messages import JobOptions
from cyclone.results import OpenBlock, RecordedBlock
from tests.simulation.settings import ALONE, INFINITE, SETTLED_AFTER_S

if TYPE_CHECKING:
    from tests.simulation.world import World

OK, FAILS, KILLS, HANGS, FLAKY = range(5)
RETRY_DELAY_S = 0.05
LIMITED = "sim:Limited"
_pack = msgspec.msgpack.Encoder().encode
decode_args = msgspec.msgpack.Decoder(list[int]).decode
_decode_cursor = msgspec.msgpack.Decoder(tuple[int, int, int, int]).decode


def pack_plan(seconds: float, behaviour: int, origin: int, ordinal: int) -> bytes:
    """The arguments of a task."""
    return _pack([int(seconds * 1e6), behaviour, origin, ordinal])


class Row(NamedTuple):
    """A task: the options of its job, its arguments, its key (empty for none)."""

    job: JobOptions
    args: bytes
    key: bytes


class Script:
    """What the generator would yield and make if nothing ever went wrong. ``total`` is None until that is decided."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._work = work = world.settings.work
        self._rng = random.Random(f"{world.seed}/{world.faulty}/script")
        self._own: list[Row] = []
        self._children: dict[int, list[Row]] = {}
        self._settled = False
        initial = work.tasks if not work.children else max(1, work.tasks // work.own_share)
        self.total: int | None = None if work.tasks == INFINITE else initial
        self.children_max = work.tasks - initial
        self._odd = self._place_odd_ones(min(initial, 300))

    def _place_odd_ones(self, last: int) -> dict[int, int]:
        """Which of its own tasks kill their worker or hang."""
        odd = {self._rng.randint(1, last): HANGS for _ in range(self._work.hangers)}
        return odd | {self._rng.randint(1, last): KILLS for _ in range(self._work.killers)}

    def own(self, ordinal: int) -> Row:
        """What ``generate()`` yields as number so and so."""
        while len(self._own) < ordinal:
            place = len(self._own) + 1
            self._own.append(self._row(self._rng, self._odd.get(place, OK), 0, place))
        return self._own[ordinal - 1]

    def children(self, task_id: int) -> list[Row]:
        """What ``on_result`` makes of the success of a task, as long as there are not too many."""
        if not self._work.children:
            return []
        found = self._children.get(task_id)
        if found is None:
            rng = random.Random(f"{self._world.seed}/{self._world.faulty}/{task_id}")
            wanted = rng.uniform(0, 2 * self._work.children)
            count = int(wanted) + (rng.random() < wanted % 1)
            found = [self._row(rng, OK, task_id, ordinal) for ordinal in range(1, count + 1)]
            self._children[task_id] = found
        return found

    def held_back(self) -> int:
        """How many of its last tasks it does not yield yet: a seed that is done early proves little."""
        return 0 if self.may_end() or self.total is None else 1 + self.total // 10

    def may_end(self) -> bool:
        """Whether enough has happened."""
        world = self._world
        if not world.clients.have_submitted:
            return False
        if not world.settings.settles:
            return world.faults.enough
        settled = world.faults.healed and world.now > world.healed_at + SETTLED_AFTER_S
        if settled and not self._settled:
            self._settled = True
            world.ledger.controllers.check_settled(world.master.scheduler)
        return settled

    def _row(self, rng: random.Random, behaviour: int, origin: int, ordinal: int) -> Row:
        work = self._work
        weights = [weight for weight, *_ in work.classes]
        _, name, limit_s, low, high = rng.choices(work.classes, weights)[0] if len(weights) > 1 else work.classes[0]
        if behaviour == OK and work.fail and rng.random() < work.fail:
            behaviour = rng.choice([FAILS, FLAKY])
        if behaviour == HANGS:
            name, limit_s = LIMITED, 0.3
        seconds = rng.uniform(low, high) if high else (low if rng.random() < 0.98 else 0.4)
        key = b""
        if work.keys and rng.random() < 0.7:
            key = rng.randrange(work.keys).to_bytes(16, "big")
        return Row(
            JobOptions(name, limit_s, work.retries, RETRY_DELAY_S, (), name == ALONE),
            pack_plan(seconds, behaviour, origin, ordinal),
            key,
        )


class Reader:
    """A generator object in a process: its own memory, which a cursor can carry over to the next.

    ``digest`` covers each result that it has seen, in order: in the end it is known what that must be.
    """

    def __init__(self, script: Script, cursor: bytes) -> None:
        self._script = script
        self.yielded, self.made, self.seen, self.digest = _decode_cursor(cursor) if cursor else (0, 0, 0, 0)

    def next(self) -> Row:
        """``generate()`` yields."""
        self.yielded += 1
        return self._script.own(self.yielded)

    def on_result(self, task_id: int, status: int) -> list[Row]:
        """``on_result`` returns."""
        self.seen += 1
        self.digest = zlib.crc32(b"%d %d" % (task_id, status), self.digest)
        if status != states.COMPLETED:
            return []
        rows = self._script.children(task_id)[: max(0, self._script.children_max - self.made)]
        self.made += len(rows)
        return rows

    def cursor(self) -> bytes:
        """What the next process needs to go on from here."""
        return _pack([self.yielded, self.made, self.seen, self.digest])


def outcomes(block: RecordedBlock) -> list[tuple[int, int, bytes]]:
    """Task id, status and value of each row that counts."""
    values = OpenBlock(block).columns.values
    return [
        (block.first + row, status, values[row])
        for row, status in enumerate(block.statuses)
        if block.accepted is None or block.accepted[row]
    ]
