"""``keep``: old blocks go, the totals and what is still to be delivered stay, and the file stops growing."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cyclone.journal import SqliteJournal
from cyclone.journal.export import read_records
from cyclone.journal.verify import verify
from cyclone.master.events import AttemptsEnded, HorizonMoved
from cyclone.protocol import states
from tests.support.journals import JOBS, added, all_closed, finish, recorded

Opened = Callable[..., SqliteJournal]


def run(journal: SqliteJournal, blocks: range, size: int = 10) -> None:
    """Blocks, each with its results; the last result of a block comes with the first ones of the next."""
    for block in blocks:
        first = block * size + 1
        journal.append([added(first, size, pad=100), HorizonMoved(first + size - 1)])
        back = 1 if block else 0
        journal.append([recorded(block + 1, first - back, [states.COMPLETED] * (size - 1 + back))])


def test_given_a_count_then_the_oldest_blocks_go_beyond_it(opened: Opened, path: Path) -> None:
    journal = opened(keep_tasks=30)
    journal.append([*JOBS, AttemptsEnded(1, 1, 1, 1, states.CRASHED, "node-1")])
    run(journal, range(10))
    finish(journal, consumed=10)
    kept = [record.id for block in read_records(path) for record in block]
    assert kept == list(range(61, 101))
    assert next(journal.recover()) == all_closed(100, 10, {"completed": 90})
    assert [number for number, _ in journal.results_after(8)] == [9, 10]
    assert list(verify(path)) == []
    journal.close()
    again = opened(keep_tasks=30)
    run(again, range(10, 12))
    finish(again, consumed=12)
    assert [record.id for block in read_records(path) for record in block] == list(range(81, 121))
    assert list(verify(path)) == []


def test_given_results_that_were_not_consumed_then_their_blocks_stay(opened: Opened, path: Path) -> None:
    journal = opened(keep_tasks=1)
    journal.append(JOBS)
    run(journal, range(6))
    finish(journal, consumed=3)
    assert [number for number, _ in journal.results_after(3)] == [4, 5, 6]
    assert [block.args for _, block in journal.results_after(3)][0] == added(30, 10, pad=100).args
    # The second block ended with the third batch, and with it ended the first one that is kept.
    assert min(record.id for block in read_records(path) for record in block) == 21
    assert list(verify(path)) == []


@pytest.mark.parametrize(("age_s", "kept"), [(0.0, 50), (100.0, 30), (10.0, 10)])
def test_given_an_age_then_blocks_that_were_closed_earlier_go(
    opened: Opened, path: Path, age_s: float, kept: int
) -> None:
    now = 1_000_000.0
    journal = opened(keep_age_s=age_s, clock=lambda: now)
    journal.append(JOBS)
    run(journal, range(3))
    finish(journal, consumed=0)
    now += 60
    run(journal, range(3, 5))
    finish(journal, consumed=0)
    now += 50
    finish(journal, consumed=5)
    assert sum(len(block) for block in read_records(path)) == kept
    assert list(verify(path)) == []


def test_given_a_long_run_then_space_is_used_again(opened: Opened, path: Path) -> None:
    journal = opened(keep_tasks=100)
    journal.append(JOBS)
    sizes = []
    for turn in range(4):
        run(journal, range(turn * 50, turn * 50 + 50))
        finish(journal, consumed=turn * 50 + 50)
        sizes.append(journal._db.pragma("page_count"))
    assert sizes[3] <= sizes[1] * 1.1
