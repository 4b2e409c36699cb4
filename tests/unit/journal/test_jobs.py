"""Submitted jobs in a journal: what a restart reads of them, what is found of them later, and when they go."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cyclone.journal import SqliteJournal, job_queries, job_rows
from cyclone.journal.export import read_records
from cyclone.journal.verify import verify
from cyclone.master.events import (
    CancelWanted,
    HorizonMoved,
    JobEnded,
    JobHeld,
    JobRestored,
    JobSealed,
    JobSubmitted,
    NamespaceDeleted,
    NamespaceSet,
    Recorded,
    ResultsRecorded,
    TasksAdded,
    TasksClosed,
    TasksProcessed,
    TasksStored,
)
from cyclone.protocol import states
from cyclone.protocol.job_messages import JobSummary
from cyclone.protocol.job_spec import JobSelection, Namespace
from tests.support.journals import (
    JOBS,
    Book,
    added,
    added_to,
    check,
    check_file,
    finish,
    key_of,
    kill,
    recorded,
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


def run_job(journal: SqliteJournal, job_id: int, count: int, finished: float = 5.0, **options: Any) -> None:
    """A job of one block that is submitted, done and ended."""
    first, number = journal._progress.last_id + 1, journal._progress.number + 1
    events: list[Recorded] = [submitted(job_id, **options)]
    if count:
        events += [
            added_to(job_id, first, count),
            HorizonMoved(first + count - 1),
            recorded(number, first, [DONE] * count),
        ]
    journal.append([*events, JobSealed(job_id), JobEnded(job_id, finished)])


def listed(journal: SqliteJournal, selection: JobSelection, page: int = 100) -> list[int]:
    """The ended jobs of all pages."""
    found: list[JobSummary] = []
    before = 0
    while True:
        jobs, before = journal.ended_jobs(selection, before, page)
        found += jobs
        if not before:
            return [job.job_id for job in found]


def test_given_every_event_of_jobs_when_opened_again_then_they_come_back_in_the_promised_order(opened: Opened) -> None:
    journal = opened()
    first, second = submitted(3, shared=b"\x91\x01", name="night"), submitted(4, held=True, keep_s=60.0)
    namespace = Namespace(name="other", weight=2.0, paused=True, jobs_max=5)
    wish = CancelWanted(5, 7, "", 3, states.EXPIRED, "too late")
    events: list[Recorded] = [
        *JOBS,
        NamespaceSet(Namespace(name="third")),
        NamespaceSet(Namespace(name="other")),
        NamespaceSet(namespace),
        NamespaceDeleted("third"),
        first,
        added(1, 2),
        added_to(3, 3, 2),
        second,
        added_to(3, 5, 3, offset=2),
        added_to(4, 8, 2),
        JobSealed(3),
        JobHeld(3, True),
        JobHeld(4, False),
        HorizonMoved(6, ((0, 2), (3, 6))),
        recorded(1, 2, [DONE, states.FAILED, DONE, DONE]),
        TasksProcessed(3, ((1, 1),)),
        wish,
    ]
    journal.append(events)
    journal.append([TasksProcessed(3, ((2, 2),))])
    kill(journal)
    again = opened()
    (done,) = [event for event in events if isinstance(event, ResultsRecorded)]
    closed, *rest = again.recover()
    assert closed == TasksClosed(9, 1, {"failed": 1, "completed": 1}, {}, 4)
    cut = msgspec.structs.replace(done.batch, body=b"")
    assert rest == [
        NamespaceSet(namespace),
        *JOBS,
        JobRestored(first, True, True, 5, {"failed": 1, "completed": 1}, ((0, 3, 2),), ((1, 2),)),
        JobRestored(second, False, False, 2, {}, ()),
        HorizonMoved(6, ((0, 2), (3, 6), (4, 0))),
        added(1, 2),
        added_to(3, 5, 3, offset=2),
        TasksStored(8, 2, 4, 0),
        ResultsRecorded(1, cut, b"\x01\x00\x00\x01", done.controller),
        wish,
    ]
    assert again.load(8) == added_to(4, 8, 2)
    assert again.job_parts(2, 5) == [(3, 0, 1, 4)]
    assert again.job_parts(7, 3) == [(3, 4, 0, 1), (4, 0, 1, 2)]


def test_given_jobs_that_have_ended_then_a_restart_reads_nothing_of_them(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened()
    for job_id in range(3, 40):
        run_job(journal, job_id, count=job_id % 3)
    journal.append([CancelWanted(1, 1, "", 40), submitted(40), added_to(40, journal._progress.last_id + 1, 1)])
    finish(journal)
    assert len(journal._open_jobs) == 1
    kill(journal)
    read: list[int] = []
    submitted_of = job_rows.submitted_of

    def reading(row: tuple[Any, ...]) -> JobSubmitted:
        read.append(row[0])
        return submitted_of(row)

    monkeypatch.setattr(job_rows, "submitted_of", reading)
    monkeypatch.setattr(job_rows, "ended_of", None)
    again = opened()
    replayed = list(again.recover())
    assert read == [40]
    assert [type(event) for event in replayed] == [TasksClosed, JobRestored, HorizonMoved, TasksStored]
    assert len(again._blocks) == 1
    assert again._classes == {}


def test_given_a_job_whose_last_block_was_not_closed_yet_then_it_does_not_come_back(opened: Opened) -> None:
    journal = opened()
    run_job(journal, 3, count=2)
    assert len(journal._blocks.finished) == 1
    kill(journal)
    again = opened()
    assert list(again.recover()) == [TasksClosed(2, 1, {"completed": 2}, {}, 3), HorizonMoved(2)]
    (job,), _ = again.ended_jobs(JobSelection(), 0, 10)
    assert job.tasks == {"completed": 2}
    rows, following = again.task_rows(3, 0, 10, (), with_args=False, with_values=False)
    assert ([row.index for row in rows], following) == ([0, 1], None)


SELECTIONS = [
    (JobSelection(), [9, 8, 7, 6, 5, 4, 3]),
    (JobSelection(namespace="other"), [9, 7, 5, 3]),
    (JobSelection(owner="bob"), [9, 6, 3]),
    (JobSelection(namespace="other", owner="bob"), [9, 3]),
    (JobSelection(name="night"), [4]),
    (JobSelection(session="s"), [8, 4]),
    (JobSelection(tags={"run": "1"}), [7, 4]),
    (JobSelection(tags={"run": "1", "more": "x"}), []),
    (JobSelection(states=("completed",)), [9, 8, 7, 6, 4, 3]),
    (JobSelection(states=("failed", "cancelled")), [5]),
    (JobSelection(states=("queued",)), []),
    (JobSelection(ids=[(4, 5), (8, 100)]), [9, 8, 5, 4]),
    (JobSelection(ids=[(100, 200)]), []),
    (JobSelection(owner="nobody"), []),
]


@pytest.mark.parametrize(("page", "looks"), [(1, 1), (3, 2), (100, 1000)])
@pytest.mark.parametrize(("selection", "expected"), SELECTIONS)
def test_given_filters_then_the_ended_jobs_that_fit_are_listed_page_by_page(
    opened: Opened,
    monkeypatch: pytest.MonkeyPatch,
    selection: JobSelection,
    expected: list[int],
    page: int,
    looks: int,
) -> None:
    monkeypatch.setattr(job_queries, "_LOOKS_MAX", looks)
    journal = opened()
    journal.append([submitted(2)])
    for job_id in range(3, 10):
        run_job(
            journal,
            job_id,
            count=0,
            namespace="other" if job_id % 2 else "default",
            owner="bob" if job_id % 3 == 0 else "ann",
            name="night" if job_id == 4 else "",
            session="s" if job_id in (4, 8) else "",
            tags={"run": "1"} if job_id in (4, 7) else {},
        )
        if job_id == 5:
            row = journal._db.execute(f"SELECT {job_rows.ENDED_JOBS} FROM ended_jobs WHERE job_id = 5").get
            job = job_rows.ended_of(row)
            failed = msgspec.structs.replace(job, summary=msgspec.structs.replace(job.summary, state="failed"))
            with journal._transaction() as turn:
                turn._write_ended(job_rows.ended_row(failed, None))
    assert listed(journal, selection, page) == expected


def test_given_a_job_with_every_kind_of_end_then_its_tasks_are_found_by_state(opened: Opened) -> None:
    journal = opened()
    ends = [DONE, states.FAILED, DONE, states.EXPIRED, DONE, states.SETUP_FAILED]
    journal.append(
        [submitted(3), added_to(3, 1, 6), added_to(3, 7, 2, offset=6), HorizonMoved(8), recorded(1, 1, ends)]
    )
    journal.append([TasksProcessed(3, ((0, 0), (2, 2)))])

    def found(*wanted: str, start: int = 0, page: int = 100) -> tuple[list[int], int | None]:
        rows, following = journal.task_rows(3, start, page, wanted, with_args=False, with_values=False)
        assert all(row.args == row.value == b"" for row in rows)
        return [row.index for row in rows], following

    for _ in range(2):
        assert found() == ([0, 1, 2, 3, 4, 5], None)
        assert found("completed") == ([4], None)
        assert found("processed") == ([0, 2], None)
        assert found("failed", "setup_failed") == ([1, 5], None)
        assert found("cancelled") == ([], None)
        assert found(start=2, page=2) == ([2, 3], 4)
        assert found("processed", page=1) == ([0], 2)
        assert found(start=6) == found(start=1000) == ([], None)
        finish(journal)
    assert journal.task_rows(9, 0, 10, (), with_args=True, with_values=True) == ([], None)


def test_given_large_values_then_a_page_ends_early_and_holds_at_least_one(opened: Opened) -> None:
    journal = opened()
    journal.append([submitted(3), added_to(3, 1, 5, pad=700_000), HorizonMoved(5), recorded(1, 1, [DONE] * 5)])
    indexes: list[int] = []
    at: int | None = 0
    while at is not None:
        rows, following = journal.task_rows(3, at, 100, (), with_args=True, with_values=False)
        assert len(rows) == 1
        indexes += [row.index for row in rows]
        at = following
    assert indexes == [0, 1, 2, 3, 4]


def test_given_very_many_tasks_that_do_not_fit_then_a_page_ends_before_all_were_looked_at(opened: Opened) -> None:
    journal = opened()
    journal.append([submitted(3), *(added_to(3, 1 + at, 4096, offset=at) for at in range(0, 8 * 4096, 4096))])
    journal.append([HorizonMoved(8 * 4096)])
    for number in range(8):
        ends = [states.FAILED, *[DONE] * 4095]
        journal.append([recorded(number + 1, 1 + 4096 * number, ends)])
    rows, following = journal.task_rows(3, 1, 100, ("failed",), with_args=False, with_values=False)
    assert following is not None
    assert 4096 <= following < 8 * 4096
    assert [row.index for row in rows] == list(range(4096, following, 4096))


def test_given_results_shared_with_other_jobs_then_each_follower_gets_only_his_own(opened: Opened) -> None:
    journal = opened()
    journal.append([*JOBS, submitted(3), submitted(4), added_to(3, 1, 2), added_to(4, 3, 2), added(5, 2)])
    journal.append([HorizonMoved(6), recorded(1, 1, [DONE] * 6, b"\x01\x00\x01\x01\x01\x01")])
    for _ in range(2):
        ((number, (block,)),) = journal.job_results_after(3, 0)
        assert (number, block.index, block.task_id, block.statuses, block.accepted) == (1, 0, 1, b"\0\0", b"\x01\x00")
        ((_, (other,)),) = journal.job_results_after(4, 0)
        assert (other.index, other.task_id, other.statuses, other.accepted) == (0, 3, b"\0\0", None)
        assert b"\x09" in other.body
        assert b"\x24" not in other.body, "the square of 6 is nobody's but the generator's"
        assert list(journal.job_results_after(3, 1)) == []
        finish(journal)


def test_given_a_follower_then_it_sees_what_is_appended_meanwhile(opened: Opened) -> None:
    journal = opened()
    journal.append([submitted(3), added_to(3, 1, 3), HorizonMoved(3), recorded(1, 1, [DONE])])
    following = journal.job_results_after(3, 0)
    assert next(following)[0] == 1
    journal.append([recorded(2, 2, [DONE])])
    assert next(following)[0] == 2
    journal.append([recorded(3, 3, [DONE]), JobSealed(3), JobEnded(3, 5.0)])
    finish(journal)
    assert next(following)[0] == 3
    assert next(following, None) is None


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
