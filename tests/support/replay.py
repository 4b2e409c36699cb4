"""The reference of ``Journal.recover``: what a list of recorded events gives back after a restart.

The slow and obvious way, for tests that restart a master without a journal of bytes: ``cyclone/master/journal.py`` says
in which order a journal replays and what it leaves out, and this is that text as code.
"""

import bisect
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from cyclone.master.events import (
    AttemptsEnded,
    CancelWanted,
    ControllerJoined,
    ControllerLeft,
    ControllerMarked,
    GeneratorAdvanced,
    HorizonMoved,
    JobAdded,
    Recorded,
    Replayed,
    ResultsRecorded,
    TasksAdded,
    TasksClosed,
    TasksStored,
)
from cyclone.protocol import states
from cyclone.protocol.messages import ResultBatch


class _Block:
    """One block of tasks, with what became of each of them: its status, or None while it is open."""

    def __init__(self, added: TasksAdded) -> None:
        self.added = added
        self.statuses: list[int | None] = [None] * len(added.args)
        self.open_count = len(added.args)

    @property
    def stop(self) -> int:
        return self.added.first + len(self.added.args)

    def record(self, task_id: int, status: int) -> None:
        row = task_id - self.added.first
        assert self.statuses[row] is None, f"a second result of task {task_id} is recorded"
        self.statuses[row] = status
        self.open_count -= 1


class _Blocks:
    """All blocks, found by id."""

    def __init__(self) -> None:
        self.all: list[_Block] = []
        self._firsts: list[int] = []

    def add(self, added: TasksAdded) -> None:
        last_id = self.all[-1].stop - 1 if self.all else 0
        assert added.first == last_id + 1, f"a block begins with {added.first} behind task {last_id}"
        self.all.append(_Block(added))
        self._firsts.append(added.first)

    def overlapping(self, start: int, stop: int) -> Iterator[tuple[_Block, int, int]]:
        """The blocks with ids from start up to stop, each with the part it shares."""
        for block in self.all[max(0, bisect.bisect_right(self._firsts, start) - 1) :]:
            low, high = max(block.added.first, start), min(block.stop, stop)
            if low < high:
                yield block, low, high
            if block.stop >= stop:
                return


def as_recorded(event: Recorded) -> Recorded:
    """What a disk would keep of an event: a scheduler may cut the columns of its tasks after the turn."""
    if isinstance(event, TasksAdded):
        return TasksAdded(event.first, list(event.runs), list(event.args), event.keys and list(event.keys))
    return event


def replay(events: Iterable[Recorded]) -> list[Replayed]:
    """What a journal to which these events were appended, over all epochs, replays to the next master.

    The caller owes: each event put through ``as_recorded`` in the turn in which it was recorded.
    """
    recorded = list(events)
    blocks, horizon, number, live, advanced = _Blocks(), HorizonMoved(0), 0, dict[str, ControllerJoined](), None
    for event in recorded:
        match event:
            case TasksAdded():
                blocks.add(event)
            case ResultsRecorded():
                assert event.number == number + 1, f"results {event.number} were recorded after {number}"
                number = event.number
                _record(blocks, event)
            case HorizonMoved():
                horizon = event
            case GeneratorAdvanced():
                advanced = event
            case ControllerJoined(name):
                live[name] = event
            case ControllerLeft(name):
                live.pop(name, None)
    return [
        _closed(blocks.all, number),
        *(event for event in recorded if isinstance(event, JobAdded)),
        horizon,
        *(_replayed(block, horizon.last_id) for block in blocks.all if block.open_count),
        *(part for event in recorded if isinstance(event, ResultsRecorded) for part in _cut_results(blocks, event)),
        *(part for event in recorded if isinstance(event, AttemptsEnded) for part in _cut_attempts(blocks, event)),
        *([advanced] if advanced else []),
        *live.values(),
        *(event for event in recorded if isinstance(event, CancelWanted | ControllerMarked)),
    ]


def stored_block(events: Iterable[Recorded], first: int) -> TasksAdded:
    """``Journal.load``: the block that begins with this id."""
    block = next(event for event in events if isinstance(event, TasksAdded) and event.first == first)
    return TasksAdded(block.first, list(block.runs), list(block.args), block.keys)


def _record(blocks: _Blocks, results: ResultsRecorded) -> None:
    batch, accepted = results.batch, results.accepted
    for block, low, high in blocks.overlapping(batch.first, batch.first + len(batch.statuses)):
        for task_id in range(low, high):
            row = task_id - batch.first
            if accepted is None or accepted[row]:
                block.record(task_id, batch.statuses[row])


def _closed(blocks: Sequence[_Block], number: int) -> TasksClosed:
    ended = Counter(
        states.STATE_NAMES[status]
        for block in blocks
        if not block.open_count
        for status in block.statuses
        if status is not None
    )
    return TasksClosed(blocks[-1].stop - 1 if blocks else 0, number, dict(ended))


def _replayed(block: _Block, horizon: int) -> Recorded | TasksStored:
    added = block.added
    return as_recorded(added) if added.first <= horizon else TasksStored(added.first, len(added.args))


def _cut_results(blocks: _Blocks, results: ResultsRecorded) -> Iterator[ResultsRecorded]:
    """A part for each open block, without the body that no state ever looks at."""
    batch, accepted = results.batch, results.accepted
    for block, low, high in blocks.overlapping(batch.first, batch.first + len(batch.statuses)):
        if block.open_count:
            rows = slice(low - batch.first, high - batch.first)
            part = ResultBatch(low, batch.epoch, batch.attempt, batch.statuses[rows], b"")
            yield ResultsRecorded(results.number, part, accepted and accepted[rows], results.controller)


def _cut_attempts(blocks: _Blocks, ended: AttemptsEnded) -> Iterator[AttemptsEnded]:
    """A part for each open task."""
    for block, low, high in blocks.overlapping(ended.first, ended.first + ended.count):
        for task_id in range(low, high):
            if block.statuses[task_id - block.added.first] is None:
                yield AttemptsEnded(task_id, 1, ended.epoch, ended.attempt, ended.status, ended.controller)
