"""What the generator put into the journal, compared with what it yields and makes when nothing ever goes wrong.

Two streams: the tasks of ``generate()`` in their order, and those that ``on_result`` makes of the recorded results in
*their* order. A task that is missing or comes twice shows at once, in whatever process or epoch it was made. Where
tasks have keys, the first of each counts and no other.
"""

from typing import TYPE_CHECKING

from cyclone.master.events import ResultsRecorded, TasksAdded
from tests.simulation.generators import OK, Reader, Row, decode_args

if TYPE_CHECKING:
    from tests.simulation.world import World


class _Stream:
    """Rows in the order in which they must come; what has a key that is known by then is left out."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._rows: list[Row] = []
        self._at = 0

    def extend(self, rows: list[Row]) -> None:
        self._rows += rows

    @property
    def length(self) -> int:
        return len(self._rows)

    def take(self, args: bytes, keys: set[bytes], task_id: int) -> None:
        """The next task in the journal that is of this stream."""
        self._pass_known(keys)
        place = decode_args(args)[2:]
        assert self._at < len(self._rows), f"task {task_id}: {self._name} had no more to give, but {place} came"
        due = decode_args(self._rows[self._at].args)[2:]
        assert self._rows[self._at].args == args, f"task {task_id}: {self._name} was due with {due}, {place} came"
        self._at += 1

    def left(self, keys: set[bytes]) -> int:
        """How many are still missing."""
        self._pass_known(keys)
        return len(self._rows) - self._at

    def _pass_known(self, keys: set[bytes]) -> None:
        while self._at < len(self._rows) and self._rows[self._at].key in keys:
            self._at += 1


class Outputs:
    """See the module. ``behaviours`` is of each task by its id; ``seen`` is how the results look to a generator."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.behaviours: list[int] = [OK]
        self.reference = Reader(world.script, b"")
        self.added_at = 0.0
        self._own = _Stream("generate()")
        self._made = _Stream("on_result")
        self._keys: set[bytes] = set()

    @property
    def produced(self) -> int:
        """Tasks in the journal."""
        return len(self.behaviours) - 1

    def added(self, block: TasksAdded) -> None:
        """A block is durable."""
        assert block.first == self.produced + 1, f"a block begins with {block.first} after task {self.produced}"
        assert sum(count for _, count in block.runs) == len(block.args), "a block with ragged columns"
        self.added_at = self._world.now
        for row, args in enumerate(block.args):
            _, behaviour, origin, ordinal = decode_args(args)
            if block.job_id:
                pass  # job_checks.py knows what its client wanted
            elif origin:
                self._made.take(args, self._keys, block.first + row)
            else:
                while self._own.length < ordinal:
                    self._own.extend([self._world.script.own(self._own.length + 1)])
                self._own.take(args, self._keys, block.first + row)
            if block.keys is not None and (key := block.keys[row]):
                assert key not in self._keys, f"task {block.first + row}: the key {key.hex()} is there already"
                self._keys.add(key)
            self.behaviours.append(behaviour)

    def recorded(self, event: ResultsRecorded) -> None:
        """Results are durable: a generator that reads makes something of each."""
        if not self._world.settings.work.reads:
            return
        for row, status in enumerate(event.batch.statuses):
            mine = not self._world.ledger.jobs.job_of(event.batch.first + row)
            if mine and (event.accepted is None or event.accepted[row]):
                self._made.extend(self.reference.on_result(event.batch.first + row, status))

    def check_complete(self) -> None:
        """Everything is in the journal that ever had to come."""
        total = self._world.script.total
        assert total is not None, "finished before the generator knew its end"
        self._own.extend([self._world.script.own(place) for place in range(self._own.length + 1, total + 1)])
        for stream, name in ((self._own, "generate()"), (self._made, "on_result")):
            missing = stream.left(self._keys)
            assert not missing, f"finished, but {missing} tasks of {name} never came"

    def check_summary(self, reader: Reader | None) -> None:
        """The generator that lived to see the end knows every result, each of them once."""
        assert reader is not None, "the generator ended without a summary"
        if self._world.settings.work.reads:
            assert (reader.seen, reader.digest, reader.made) == (
                self.reference.seen,
                self.reference.digest,
                self.reference.made,
            ), f"the generator saw {reader.seen} results in its own order, recorded are {self.reference.seen}"
