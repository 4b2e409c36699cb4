"""Journals for tests: a small master that appends what a real one would, and remembers what it was told is durable.

``Book`` is the model: it knows by itself, from the events alone, what a journal must give back.
"""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from cyclone import values
from cyclone.journal import Origin, SqliteJournal
from cyclone.journal.export import TaskRecord, read_records
from cyclone.journal.verify import verify
from cyclone.master.events import (
    AttemptsEnded,
    ControllerJoined,
    GeneratorAdvanced,
    HorizonMoved,
    JobAdded,
    Recorded,
    ResultsRecorded,
    TasksAdded,
    TasksStored,
)
from cyclone.master.progress import GeneratorProgress
from cyclone.protocol import states
from cyclone.protocol.messages import ErrorRecord, Job, ResultBatch, ResultColumns
from cyclone.results import encode_columns, pack_seconds

ORIGIN = Origin("tests.generators:Numbers", {"numbers": {"count": "100"}})
CLASSES = {1: "tests.tasks:Square", 2: "tests.tasks:Cube"}
JOBS: list[Recorded] = [JobAdded(Job(number, name)) for number, name in CLASSES.items()]
STARTED = 1_700_000_000.0
ENDINGS = (states.COMPLETED, states.COMPLETED, states.COMPLETED, states.FAILED, states.TIMED_OUT, states.CANCELLED)


def added(first: int, count: int, keys: list[bytes] | None = None, pad: int = 0) -> TasksAdded:
    """A block whose tasks have their id as argument; its first half, rounded down, is of the second job."""
    runs = [(job, length) for job, length in ((2, count // 2), (1, count - count // 2)) if length]
    args = [values.encode([task_id, "x" * pad]) for task_id in range(first, first + count)]
    return TasksAdded(first, runs, args, keys)


def recorded(
    number: int, first: int, statuses: Sequence[int], accepted: bytes | None = None, epoch: int = 1, attempt: int = 1
) -> ResultsRecorded:
    """Results whose values are the ids squared, each of a tenth of a second."""
    outcomes = [
        values.encode((first + row) ** 2)
        if status == states.COMPLETED
        else encode_columns(ErrorRecord("ValueError", f"task {first + row}"))
        for row, status in enumerate(statuses)
    ]
    body = encode_columns(ResultColumns(outcomes, pack_seconds([0.1] * len(outcomes)), STARTED + number, 4711))
    batch = ResultBatch(first, epoch, attempt, bytes(statuses), body)
    return ResultsRecorded(number, batch, accepted, f"node-{number % 3}")


class Book:
    """What has been appended."""

    def __init__(self) -> None:
        self.last_id = 0
        self.horizon = 0
        self.blocks: dict[int, TasksAdded] = {}
        self.numbers: list[ResultsRecorded] = []
        self.ended: dict[int, tuple[int, int]] = {}
        """By id: the status, and the number of the results that say so."""
        self.progress: GeneratorProgress | None = None

    def add(self, events: Sequence[Recorded]) -> None:
        for event in events:
            match event:
                case TasksAdded():
                    self.last_id += len(event.args)
                    self.blocks[event.first] = event
                case HorizonMoved(last_id):
                    self.horizon = last_id
                case GeneratorAdvanced(progress):
                    self.progress = progress
                case ResultsRecorded(number, batch, accepted, _):
                    self.numbers.append(event)
                    for row, status in enumerate(batch.statuses):
                        if accepted is None or accepted[row]:
                            assert batch.first + row not in self.ended
                            self.ended[batch.first + row] = (status, number)

    def counts(self) -> dict[str, int]:
        """Ended tasks by state."""
        found = [states.STATE_NAMES[status] for status, _ in self.ended.values()]
        return {state: found.count(state) for state in set(found)}


def random_turns(seed: int, count: int, size: int = 40) -> Iterator[list[Recorded]]:
    """Turns of a master: blocks of up to ``size`` tasks, results in any order, across blocks, with rows too late."""
    rng = random.Random(seed)
    book = Book()
    yield [*JOBS, ControllerJoined("node-1", "a" * 32)]
    for turn in range(count):
        events: list[Recorded] = []
        if rng.random() < 0.6:
            block = added(book.last_id + 1, rng.randint(1, size))
            end = block.first + len(block.args) - 1
            events += [block, GeneratorAdvanced(GeneratorProgress(pulled=end, cursor=b"%d" % end, consumed=turn))]
        if rng.random() < 0.7 and book.horizon < book.last_id:
            events.append(HorizonMoved(rng.randint(book.horizon + 1, book.last_id)))
        waiting = [task_id for task_id in range(1, book.horizon + 1) if task_id not in book.ended][: 3 * size]
        for _ in range(rng.randint(0, 3)):
            if not waiting:
                break
            first = rng.choice(waiting)
            statuses = [rng.choice(ENDINGS) for _ in range(min(rng.randint(1, size), book.horizon + 1 - first))]
            late = [first + row not in waiting or rng.random() < 0.1 for row in range(len(statuses))]
            accepted = None if not any(late) else bytes(not mark for mark in late)
            waiting = [i for i in waiting if not first <= i < first + len(statuses) or late[i - first]]
            if accepted is None or any(accepted):
                result = recorded(len(book.numbers) + 1, first, statuses, accepted, attempt=rng.randint(1, 3))
                events.append(result)
                book.add([result])
        if waiting and rng.random() < 0.2:
            events.append(AttemptsEnded(waiting[0], 1, 1, 1, states.CRASHED, "node-1"))
        book.add([event for event in events if not isinstance(event, ResultsRecorded)])
        yield events


def finish(journal: SqliteJournal, consumed: int = 0) -> None:
    """Let it tidy up to the end."""
    while journal.tend(consumed, idle=True):
        pass


def kill(journal: SqliteJournal) -> None:
    """End it as a kill of its process does: without a checkpoint, and the lock is gone."""
    journal._is_closed = True
    journal._db.close()
    journal._lock.close()


def check(journal: SqliteJournal, book: Book) -> None:
    """An open journal holds what the book says, all of it and nothing else."""
    closed, *replayed = journal.recover()
    assert (closed.last_id, closed.number) == (book.last_id, len(book.numbers))  # type: ignore[union-attr]
    ended = dict(closed.ended)  # type: ignore[union-attr]
    open_ids: set[int] = set()
    for event in replayed:
        match event:
            case TasksAdded(first, runs, args):
                assert first <= book.horizon
                assert (runs, args) == (book.blocks[first].runs, book.blocks[first].args)
                open_ids.update(range(first, first + len(args)))
            case TasksStored(first, count):
                assert first > book.horizon
                block = journal.load(first)
                assert (block.runs, block.args) == (book.blocks[first].runs, book.blocks[first].args)
                open_ids.update(range(first, first + count))
            case ResultsRecorded(number, batch, accepted, _):
                for row, status in enumerate(batch.statuses):
                    if accepted is None or accepted[row]:
                        assert book.ended[batch.first + row] == (status, number)
                        open_ids.remove(batch.first + row)
                        ended[states.STATE_NAMES[status]] = ended.get(states.STATE_NAMES[status], 0) + 1
            case AttemptsEnded(first, count):
                assert open_ids.issuperset(range(first, first + count))
            case GeneratorAdvanced(progress):
                assert progress == book.progress
            case HorizonMoved(last_id):
                assert last_id == book.horizon
    assert ended == book.counts()
    assert open_ids == set(range(1, book.last_id + 1)) - book.ended.keys()
    check_results(journal, book)


def check_results(journal: SqliteJournal, book: Book, after: int = 0) -> None:
    """What is delivered again is what was recorded."""
    found = list(journal.results_after(after))
    assert [number for number, _ in found] == [event.number for event in book.numbers[after:]]
    for (_, block), event in zip(found, book.numbers[after:], strict=True):
        batch = event.batch
        assert (block.first, block.attempt, block.statuses) == (batch.first, batch.attempt, batch.statuses)
        assert (block.accepted, block.body, block.controller) == (event.accepted, batch.body, event.controller)
        classes = [name for name, count in block.runs for _ in range(count)]
        assert len(classes) == len(block.args) == len(batch.statuses)
        for row, (args, name) in enumerate(zip(block.args, classes, strict=True)):
            if event.accepted is None or event.accepted[row]:
                assert values.decode(args)[0] == batch.first + row
                assert name in CLASSES.values()


def check_file(path: Path, book: Book) -> None:
    """From outside: verify finds nothing, and export has a record for each task, with its state and value."""
    assert list(verify(path)) == []
    records = [record for block in read_records(path) for record in block]
    assert [record.id for record in records] == list(range(1, book.last_id + 1))
    for record in records:
        check_record(record, book)


def check_record(record: TaskRecord, book: Book) -> None:
    status, number = book.ended.get(record.id, (None, 0))
    assert record.args[0] == record.id
    if status is None:
        assert (record.state, record.value, record.error, record.attempt) == ("queued", None, None, None)
    elif status == states.COMPLETED:
        assert (record.state, record.value, record.error) == ("completed", record.id**2, None)
    else:
        assert (record.state, record.value) == (states.STATE_NAMES[status], None)
        assert record.error is not None
        assert record.error["message"] == f"task {record.id}"
    if status is not None:
        event = book.numbers[number - 1]
        assert (record.attempt, record.controller) == (event.batch.attempt, event.controller)
