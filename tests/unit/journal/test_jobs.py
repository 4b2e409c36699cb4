"""Submitted jobs in a journal: what a restart reads of them, and what is found of them and of their tasks later."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from cyclone.journal import SqliteJournal, job_queries, job_rows
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
    TasksClosed,
    TasksProcessed,
    TasksStored,
)
from cyclone.protocol import states
from cyclone.protocol.job_spec import JobSelection, Namespace
from tests.support.journals import (
    JOBS,
    added,
    added_to,
    finish,
    kill,
    listed,
    recorded,
    run_job,
    submitted,
)

Opened = Callable[..., SqliteJournal]
DONE = states.COMPLETED


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


def test_given_options_of_single_tasks_then_they_come_with_the_arguments(opened: Opened) -> None:
    journal = opened()
    ends = [DONE, states.FAILED, DONE, states.FAILED, DONE]
    journal.append([submitted(3), added_to(3, 1, 2), added_to(3, 3, 3, offset=2), HorizonMoved(5)])
    journal.append([recorded(1, 1, ends)])
    for _ in range(2):
        for with_args in (True, False):
            rows, _ = journal.task_rows(3, 0, 10, (), with_args=with_args, with_values=False)
            expected = [None, 2.5, None, None, 2.5] if with_args else [None] * 5
            assert [row.time_limit_s for row in rows] == expected
            assert [row.not_before for row in rows] == [None] * 5
        rows, _ = journal.task_rows(3, 1, 10, ("failed",), with_args=True, with_values=False)
        assert [(row.index, row.time_limit_s) for row in rows] == [(1, 2.5), (3, None)]
        finish(journal)


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
