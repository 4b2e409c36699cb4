"""Sinks on the durable journal: what one of them lacks stays, and comes with all that belongs to it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from cyclone.journal import SqliteJournal, open_journal
from cyclone.master.events import HorizonMoved
from cyclone.protocol import states
from cyclone.protocol.sink_messages import Attached, Blocks, Stored
from cyclone.sinks.rows import rows
from tests.support.journals import CLASSES, JOBS, ORIGIN, added, finish, recorded
from tests.support.played_sink import Harness

BLOCKS, SIZE = 8, 10


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    """Keeps ten tasks; eight blocks of ten are done, the last result of each comes with the first ones of the next."""
    with contextlib.closing(open_journal(tmp_path / "journal", ORIGIN, keep_tasks=SIZE)) as one:
        one.append(JOBS)
        for block in range(BLOCKS):
            first = block * SIZE + 1
            one.append([added(first, SIZE), HorizonMoved(first + SIZE - 1)])
            back = 1 if block else 0
            one.append([recorded(block + 1, first - back, [states.COMPLETED] * (SIZE - 1 + back))])
        yield one


def got(master: Harness) -> dict[int, int]:
    """By task the value of its result, of all blocks that reached the sink."""
    messages = [message for message in master.sink.got if isinstance(message, Blocks)]
    found = [row for message in messages for block in message.blocks if block for row in rows("j", block)]
    assert all(row.error == "" and row.task_class in CLASSES.values() for row in found)
    assert all(row.fields["args"][0] == row.task_id for row in found)
    return {row.task_id: row.fields["value"] for row in found}


def attach(master: Harness, number: int) -> None:
    master.until(lambda: master.sink.attaches() > 0)
    master.sink.got.clear()
    master.sink.say(Attached(master.journal.journal_id, number))
    master.until(lambda: master.feeds.status()[0].attached)


def test_given_a_sink_that_comes_late_then_nothing_was_dropped_and_it_gets_all(journal: SqliteJournal) -> None:
    with Harness(journal, last=BLOCKS) as master:
        finish(journal, master.feeds.consumed(BLOCKS))
        attach(master, 0)
        master.until(lambda: master.sink.numbers() == list(range(1, BLOCKS + 1)))
        assert got(master) == {task_id: task_id**2 for task_id in range(1, BLOCKS * SIZE)}
        master.sink.say(Stored(journal.journal_id, BLOCKS, ""))
        master.until(lambda: master.feeds.status()[0].lag == 0)
        finish(journal, master.feeds.consumed(BLOCKS))
        assert min(number for number, _ in journal.results_after(0)) > 1


def test_given_a_sink_that_is_new_to_an_old_journal_then_it_gets_what_is_left_and_no_half_of_a_task(
    journal: SqliteJournal,
) -> None:
    finish(journal, consumed=BLOCKS)
    left = [number for number, _ in journal.results_after(0)]
    assert 0 < len(left) < BLOCKS
    with Harness(journal, last=BLOCKS) as master:
        attach(master, 0)
        master.until(lambda: len(master.sink.numbers()) == BLOCKS)
        numbers = master.sink.numbers()
        assert [number for number in numbers if number > 0] == left
        assert numbers == [number if number in left else -number for number in range(1, BLOCKS + 1)]
        found = got(master)
        # The oldest batch that is left has a row of a block that is gone.
        assert (min(left) - 1) * SIZE not in found
        assert found == {task_id: task_id**2 for task_id in range((min(left) - 1) * SIZE + 1, BLOCKS * SIZE)}


def test_given_a_sink_that_reads_while_blocks_are_closed_then_it_misses_nothing(journal: SqliteJournal) -> None:
    with Harness(journal, last=BLOCKS) as master:
        attach(master, 2)
        master.until(lambda: master.sink.numbers()[:1] == [3])
        finish(journal, master.feeds.consumed(BLOCKS))
        master.until(lambda: master.sink.numbers() == list(range(3, BLOCKS + 1)))
        sealed = [block for message in master.sink.got if isinstance(message, Blocks) for block in message.blocks]
        assert all(msgspec.msgpack.decode(block) for block in sealed)
