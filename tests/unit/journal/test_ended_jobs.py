"""Submitted jobs in a journal after their end: what can still be said of them, and how long they stay."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cyclone.journal import SqliteJournal
from cyclone.journal.export import read_records
from cyclone.journal.verify import verify
from cyclone.master.events import (
    CancelWanted,
    HorizonMoved,
    JobEnded,
    JobRestored,
    JobSealed,
    NamespaceSet,
    Recorded,
    TasksAdded,
    TasksClosed,
    TasksProcessed,
)
from cyclone.protocol import states
from cyclone.protocol.job_spec import JobSelection, Namespace
from tests.support.journal_checks import check, check_file
from tests.support.journals import (
    JOBS,
    Book,
    added,
    added_to,
    finish,
    key_of,
    kill,
    listed,
    recorded,
    run_job,
    submitted,
)

Opened = Callable[..., SqliteJournal]
DONE = states.COMPLETED


class Clock:
    """Unix time, as a test wants it."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


PROCESSED = [
    ([((0, 3),), ((5, 9),)], [(0, 3), (5, 9)]),
    ([((0, 3),), ((4, 9),)], [(0, 9)]),
    ([((5, 9),), ((0, 4),)], [(0, 9)]),
    ([((0, 1), (3, 4), (6, 7)), ((2, 2), (5, 5))], [(0, 7)]),
    ([((0, 9),), ((2, 3),), ((0, 9),)], [(0, 9)]),
    ([((2, 3),), ((6, 7),), ((0, 9),)], [(0, 9)]),
    ([((4, 4),), ((2, 2),), ((3, 3),)], [(2, 4)]),
]


@pytest.mark.parametrize(("turns", "ranges"), PROCESSED)
@pytest.mark.parametrize("has_ended", [False, True])
def test_given_processed_tasks_then_their_ranges_grow_together(
    opened: Opened, path: Path, turns: list[Any], ranges: list[tuple[int, int]], has_ended: bool
) -> None:
    journal = opened()
    journal.append([submitted(3), added_to(3, 1, 10), JobSealed(3), HorizonMoved(10), recorded(1, 1, [DONE] * 10)])
    if has_ended:
        journal.append([JobEnded(3, 5.0)])
    for indexes in turns:
        journal.append([TasksProcessed(3, indexes)])
    if not has_ended:
        journal.append([JobEnded(3, 5.0)])
    assert list(journal._db.execute("SELECT first, last FROM processed")) == ranges
    (job,), _ = journal.ended_jobs(JobSelection(), 0, 1)
    count = sum(last - first + 1 for first, last in ranges)
    assert (job.tasks.get("completed", 0), job.tasks["processed"]) == (10 - count, count)
    assert list(verify(path)) == []


@pytest.mark.parametrize("has_ended", [False, True])
def test_given_processed_tasks_that_never_completed_then_no_more_count_than_did(
    opened: Opened, path: Path, has_ended: bool
) -> None:
    journal = opened()
    statuses = [DONE, *[states.FAILED] * 3, DONE]
    journal.append([submitted(3), added_to(3, 1, 5), JobSealed(3), HorizonMoved(5), recorded(1, 1, statuses)])
    journal.append([submitted(4), added_to(4, 6, 2), JobSealed(4), HorizonMoved(7), recorded(2, 6, statuses[1:3])])
    taken: list[Recorded] = [TasksProcessed(3, ((0, 2),)), TasksProcessed(3, ((1, 3),)), TasksProcessed(4, ((0, 1),))]
    ended: list[Recorded] = [JobEnded(3, 5.0), JobEnded(4, 6.0)]
    for event in [*ended, *taken] if has_ended else [*taken, *ended]:
        journal.append([event])
    (none, some), _ = journal.ended_jobs(JobSelection(), 0, 10)
    assert (some.tasks, none.tasks) == ({"failed": 3, "processed": 2}, {"failed": 2})
    assert list(verify(path)) == []


@pytest.mark.parametrize(
    ("wishes", "reason"),
    [
        ([], ""),
        ([CancelWanted(1, 5, "", 3, reason="too slow")], "too slow"),
        ([CancelWanted(1, 5, "", 3, reason="first"), CancelWanted(1, 9, "", 3, reason="last")], "last"),
        ([CancelWanted(1, 4, "", 3, reason="not all of it")], ""),
        ([CancelWanted(1, 5, "", 2, reason="another one")], ""),
    ],
)
def test_given_a_job_that_was_cancelled_then_it_is_known_why_after_its_end(
    opened: Opened, wishes: list[Recorded], reason: str
) -> None:
    journal = opened()
    journal.append([submitted(2), submitted(3), added_to(3, 1, 5), HorizonMoved(5), *wishes, JobSealed(3)])
    journal.append([recorded(1, 1, [states.CANCELLED] * 5), JobEnded(3, 5.0)])
    found = journal.ended_job(3)
    assert found is not None
    assert found[2] == reason


def test_given_very_many_ranges_of_ids_then_a_call_looks_at_some_of_them(opened: Opened) -> None:
    journal = opened()
    for job_id in (5, 7001):
        run_job(journal, job_id, count=0)
    selection = JobSelection(ids=[(number, number) for number in range(1, 9000, 2)])
    pages, before = 0, 0
    found: list[int] = []
    while before or not pages:
        jobs, before = journal.ended_jobs(selection, before, 100)
        found += [job.job_id for job in jobs]
        pages += 1
    assert found == [7001, 5]
    assert 30 <= pages <= 40


def test_given_processed_tasks_of_a_job_that_is_not_there_any_more_then_nothing_is_written(opened: Opened) -> None:
    journal = opened()
    journal.append([TasksProcessed(3, ((0, 5),))])
    assert journal._db.execute("SELECT count(*) FROM processed").get == 0


KEPT = [
    # What the journal keeps, what the job says, how long after its end, and whether it is there.
    ({}, None, 1e9, True),
    ({"keep_age_s": 100.0}, None, 50.0, True),
    ({"keep_age_s": 100.0}, None, 200.0, False),
    ({}, 1000.0, 999.0, True),
    ({}, 1000.0, 1001.0, False),
    ({"keep_age_s": 100.0}, 1000.0, 999.0, True),
    ({"keep_tasks": 1}, 1000.0, 999.0, True),
    # Who follows it can still take the last results.
    ({}, 0.0, 30.0, True),
    ({}, 0.0, 61.0, False),
]


@pytest.mark.parametrize("count", [0, 3])
@pytest.mark.parametrize(("keep", "keep_s", "later_s", "is_kept"), KEPT)
def test_how_long_an_ended_job_is_kept(
    opened: Opened, path: Path, keep: dict[str, Any], keep_s: float | None, later_s: float, is_kept: bool, count: int
) -> None:
    clock = Clock()
    journal = opened(clock=clock, **keep)
    run_job(journal, 3, count, clock.now, keep_s=keep_s)
    finish(journal)
    clock.now += later_s
    finish(journal, consumed=journal._progress.number)
    assert listed(journal, JobSelection()) == ([3] if is_kept else [])
    assert (journal.ended_job(3) is not None) == is_kept
    assert len(journal.task_rows(3, 0, 10, (), with_args=False, with_values=False)[0]) == (count if is_kept else 0)
    assert len(list(journal.job_results_after(3, 0))) == (1 if is_kept and count else 0)
    assert journal.job_of_key(key_of(3)) == 3, "a repeated submit would make a second job"
    assert journal._db.execute("SELECT count(*) FROM submitted").get == is_kept
    assert journal._db.execute("SELECT count(*) FROM job_results").get == (is_kept and count > 0)
    assert list(verify(path)) == []


def test_given_a_count_to_keep_then_jobs_go_with_their_blocks_and_empty_ones_after_a_day(
    opened: Opened, path: Path
) -> None:
    clock = Clock()
    journal = opened(clock=clock, keep_tasks=2)
    for job_id, count in ((3, 2), (4, 0), (5, 2), (6, 2)):
        run_job(journal, job_id, count, clock.now)
    finish(journal, consumed=3)
    assert listed(journal, JobSelection()) == [6, 4]
    clock.now += 86401
    finish(journal, consumed=3)
    assert listed(journal, JobSelection()) == [6]
    assert list(verify(path)) == []


def test_given_results_that_a_sink_has_not_had_then_a_job_stays_however_long_it_wants_to_be_kept(
    opened: Opened,
) -> None:
    clock = Clock()
    journal = opened(clock=clock)
    run_job(journal, 3, 2, clock.now, keep_s=0.0)
    run_job(journal, 4, 2, clock.now, keep_s=0.0)
    clock.now += 1000
    finish(journal, consumed=0)
    assert listed(journal, JobSelection()) == [4, 3]
    finish(journal, consumed=1)
    assert listed(journal, JobSelection()) == [4]
    finish(journal, consumed=2)
    assert listed(journal, JobSelection()) == []


def test_given_load_then_jobs_go_within_the_appends_of_others(opened: Opened, path: Path) -> None:
    clock = Clock()
    journal = opened(clock=clock)
    for job_id in range(3, 9):
        run_job(journal, job_id, 2, clock.now, keep_s=0.0)
    journal.tend(10, idle=False)
    clock.now += 61
    for _ in range(4):
        journal.append([NamespaceSet(Namespace(name="other"))])
    assert listed(journal, JobSelection()) == []
    assert list(verify(path)) == []
    kill(journal)
    assert next(iter(opened().recover())) == TasksClosed(12, 6, {"completed": 12}, {}, 8)


def test_given_an_open_job_whose_oldest_blocks_were_dropped_then_the_rest_goes_on(opened: Opened, path: Path) -> None:
    journal = opened(keep_tasks=4)
    journal.append([submitted(3)])
    for number in range(4):
        first = 1 + 4 * number
        events: list[Recorded] = [added_to(3, first, 4, offset=4 * number), HorizonMoved(first + 3)]
        journal.append([*events, recorded(number + 1, first, [DONE] * 4)])
        finish(journal, consumed=number + 1)
    journal.append([added_to(3, 17, 1, offset=16)])
    assert journal.lost_results(3) == 12
    assert list(verify(path)) == []
    kill(journal)
    again = opened(keep_tasks=4)
    (job,) = [event for event in again.recover() if isinstance(event, JobRestored)]
    assert (job.added, job.ended, job.extents) == (17, {"completed": 16}, ((12, 13, 4),))
    assert [number for number, _ in again.job_results_after(3, 0)] == [4]
    rows, _ = again.task_rows(3, 0, 100, (), with_args=False, with_values=False)
    assert [row.index for row in rows] == [12, 13, 14, 15]
    again.append([HorizonMoved(17), recorded(5, 17, [DONE]), JobSealed(3), JobEnded(3, 5.0)])
    (ended,), _ = again.ended_jobs(JobSelection(), 0, 1)
    assert ended.tasks == {"completed": 17}
    assert again.lost_results(3) == 12
    finish(again, consumed=5)
    assert list(verify(path)) == []


def test_given_an_export_of_a_job_then_its_tasks_have_their_index(opened: Opened, path: Path) -> None:
    journal, book = opened(), Book()
    events: list[Recorded] = [
        *JOBS,
        submitted(3),
        added(1, 2),
        added_to(3, 3, 2),
        added(5, 2),
        added_to(3, 7, 2, offset=2),
        HorizonMoved(7),
        recorded(1, 2, [DONE, DONE, states.FAILED]),
        TasksProcessed(3, ((0, 0),)),
    ]
    journal.append(events)
    book.add(events)
    finish(journal)
    check(journal, book)
    check_file(path, book)
    records = [record for block in read_records(path, job_id=3) for record in block]
    assert [(record.index, record.id, record.state) for record in records] == [
        (0, 3, "processed"),
        (1, 4, "failed"),
        (2, 7, "queued"),
        (3, 8, "queued"),
    ]
    assert [record.id for block in read_records(path, state="processed") for record in block] == [3]
    assert [record.id for block in read_records(path, state="completed") for record in block] == [2]


def test_given_a_job_that_is_added_done_and_ended_in_one_turn_then_it_is_there(opened: Opened, path: Path) -> None:
    journal, book = opened(), Book()
    events: list[Recorded] = [submitted(3), added_to(3, 1, 2), HorizonMoved(2, ((3, 2),)), recorded(1, 1, [DONE] * 2)]
    events += [JobSealed(3), JobEnded(3, 5.0)]
    journal.append(events)
    book.add(events)
    check(journal, book)
    finish(journal)
    check(journal, book)
    check_file(path, book)
    assert [event for event in journal.recover() if isinstance(event, TasksAdded | JobRestored)] == []
