"""What a master without a journal remembers of submitted jobs, and what goes when memory is short."""

from typing import Any

import msgspec
import pytest

from cyclone.master import memory_journal
from cyclone.master.events import JobEnded, JobSealed, Recorded, ResultsRecorded, TasksProcessed
from cyclone.master.journal import NoJournal
from cyclone.protocol import states
from cyclone.protocol.job_spec import JobSelection
from tests.support.journal_checks import check_jobs
from tests.support.journals import Book, added, added_to, key_of, random_turns, recorded, submitted

DONE = states.COMPLETED
ALL = JobSelection()


class Filled:
    """A master without a journal, whose tasks are numbered from 1."""

    def __init__(self, memory_bytes_max: int = memory_journal.MEMORY_BYTES_MAX) -> None:
        self.journal = NoJournal(memory_bytes_max)
        self.last_id = self.number = 0

    def submit(self, job_id: int, count: int, **options: Any) -> None:
        """A job with a block of tasks."""
        self.journal.append([submitted(job_id, **options), added_to(job_id, self.last_id + 1, count)])
        self.last_id += count

    def result(self, first: int, count: int, body_bytes: int = 0) -> None:
        """A batch of results, of a size that is given or as it comes."""
        self.number += 1
        event = recorded(self.number, first, [DONE] * count)
        if body_bytes:
            batch = msgspec.structs.replace(event.batch, body=bytes(body_bytes))
            event = ResultsRecorded(self.number, batch, None, "node-1")
        self.journal.append([event])

    def end(self, job_id: int, finished: float = 5.0) -> None:
        """The job has its results."""
        self.journal.append([JobSealed(job_id), JobEnded(job_id, finished)])

    def numbers(self, job_id: int) -> list[int]:
        """Of the results that are left."""
        return [number for number, _ in self.journal.job_results_after(job_id, 0)]

    def indexes(self, job_id: int, *wanted: str) -> list[int]:
        """Of the tasks whose results are left."""
        rows, following = self.journal.task_rows(job_id, 0, 4096, wanted, with_args=False, with_values=False)
        assert following is None
        return [row.index for row in rows]

    def ended(self) -> list[int]:
        """The jobs that are listed as ended."""
        return [job.job_id for job in self.journal.ended_jobs(ALL, 0, 4096)[0]]


@pytest.mark.parametrize("seed", range(8))
def test_random_turns_are_remembered_as_a_journal_remembers_them(seed: int) -> None:
    journal, book = NoJournal(), Book()
    for at, events in enumerate(random_turns(seed, 60, size=(1, 5, 40)[seed % 3])):
        journal.append(events)
        book.add(events)
        if at % 20 == 0:
            check_jobs(journal, book)
    check_jobs(journal, book)


def test_given_results_beyond_the_memory_then_those_of_jobs_that_ended_first_go_first() -> None:
    filled = Filled(memory_bytes_max=400_000)
    for job_id in (3, 4, 5):
        filled.submit(job_id, 1)
    for job_id, first in ((5, 3), (3, 1), (4, 2)):
        filled.result(first, 1, body_bytes=100_000)
        filled.end(job_id)
    filled.submit(6, 2)
    filled.result(4, 1, body_bytes=150_000)
    assert [filled.numbers(job_id) for job_id in (5, 3, 4, 6)] == [[], [2], [3], [4]]
    assert [filled.journal.lost_results(job_id) for job_id in (5, 3, 4, 6)] == [1, 0, 0, 0]
    assert filled.ended() == [5, 4, 3]
    filled.result(5, 1, body_bytes=150_000)
    assert [filled.numbers(job_id) for job_id in (5, 3, 4, 6)] == [[], [], [], [4, 5]]


def test_given_options_of_single_tasks_then_they_come_with_the_arguments_and_go_with_them() -> None:
    filled = Filled(memory_bytes_max=100_000)
    filled.journal.append([submitted(3), added_to(3, 1, 3, pad=10_000)])
    filled.result(1, 1, body_bytes=40_000)
    filled.result(3, 1)
    rows, _ = filled.journal.task_rows(3, 0, 10, (), with_args=True, with_values=False)
    assert [(bool(row.args), row.time_limit_s) for row in rows] == [(True, None), (True, 2.5)]
    filled.result(2, 1, body_bytes=40_000)
    rows, _ = filled.journal.task_rows(3, 0, 10, (), with_args=True, with_values=False)
    assert [(row.args, row.time_limit_s) for row in rows] == [(b"", None)] * 3


def test_given_open_jobs_alone_then_their_arguments_go_first_and_then_the_oldest_results() -> None:
    filled = Filled(memory_bytes_max=300_000)
    filled.journal.append([submitted(3), added_to(3, 1, 4, pad=20_000)])
    for first in (1, 2):
        filled.result(first, 1, body_bytes=100_000)
    rows, _ = filled.journal.task_rows(3, 0, 10, (), with_args=True, with_values=False)
    assert [len(row.args) > 20_000 for row in rows] == [True, True]
    filled.result(3, 1, body_bytes=50_000)
    rows, _ = filled.journal.task_rows(3, 0, 10, (), with_args=True, with_values=False)
    assert [row.args for row in rows] == [b"", b"", b""]
    assert filled.numbers(3) == [1, 2, 3]
    filled.result(4, 1, body_bytes=100_000)
    assert filled.numbers(3) == [2, 3, 4]
    assert filled.indexes(3) == [1, 2, 3]
    assert filled.journal.lost_results(3) == 1


def test_given_a_fleeting_job_then_its_results_go_when_they_were_taken() -> None:
    filled = Filled()
    filled.submit(3, 3, keep_s=0.0)
    filled.submit(4, 1)
    for first in (1, 2, 3, 4):
        filled.result(first, 1)
    following = filled.journal.job_results_after(3, 0)
    assert next(following)[0] == 1
    filled.journal.forget(3, 2)
    filled.journal.forget(4, 4)
    filled.journal.forget(9, 4)
    assert filled.numbers(3) == [3]
    assert next(following)[0] == 3
    assert filled.journal.lost_results(3) == 0, "somebody has them"
    assert filled.numbers(4) == [4]
    filled.journal.forget(3, 3)
    filled.journal.forget(4, 4)
    assert list(filled.journal._jobs[3].entries) == []


@pytest.mark.parametrize(
    ("keep_s", "later_s", "is_kept"), [(None, 1e9, True), (100.0, 99.0, True), (100.0, 101.0, False), (0.0, 59.0, True)]
)
def test_how_long_an_ended_job_is_kept(keep_s: float | None, later_s: float, is_kept: bool) -> None:
    filled = Filled()
    filled.submit(3, 2, keep_s=keep_s)
    filled.result(1, 2)
    filled.end(3, finished=1000.0)
    filled.journal.expire(1000.0 + later_s)
    assert filled.ended() == ([3] if is_kept else [])
    assert filled.numbers(3) == ([1] if is_kept else [])
    assert filled.journal.job_of_key(key_of(3)) == 3


def test_given_very_many_ended_jobs_then_the_first_are_forgotten_and_later_their_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory_journal, "ENDED_JOBS_MAX", 5)
    monkeypatch.setattr(memory_journal, "_KEYS_MAX", 8)
    filled = Filled()
    for job_id in range(3, 23):
        filled.submit(job_id, 1)
        filled.result(job_id - 2, 1)
        filled.end(job_id)
    assert filled.ended() == [22, 21, 20, 19, 18]
    assert filled.journal.ended_job(17) is None
    known = [job_id for job_id in range(3, 23) if filled.journal.job_of_key(key_of(job_id)) == job_id]
    assert known == list(range(15, 23))
    held = (filled.journal._jobs, filled.journal._by_end, filled.journal._holding)
    assert [len(one) for one in held] == [5, 5, 5]
    assert len(filled.journal._places) == 0


def test_given_more_ended_jobs_than_one_call_looks_at_then_its_cursor_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_journal, "_LOOKS_MAX", 2)
    filled = Filled()
    for job_id in range(3, 8):
        filled.submit(job_id, 1, name="night" if job_id == 3 else "")
        filled.result(job_id - 2, 1)
        filled.end(job_id)
    pages, before = [], 0
    while True:
        jobs, before = filled.journal.ended_jobs(JobSelection(name="night"), before, 10)
        pages.append([job.job_id for job in jobs])
        if not before:
            break
    assert pages == [[], [], [3]]


def test_given_a_batch_across_jobs_then_each_has_its_own_part_and_the_generator_none() -> None:
    filled = Filled()
    filled.submit(3, 2)
    filled.submit(4, 2)
    generated: list[Recorded] = [added(5, 2)]
    filled.journal.append(generated)
    filled.result(1, 6)
    for job_id, first in ((3, 1), (4, 3)):
        ((_, (block,)),) = filled.journal.job_results_after(job_id, 0)
        assert (block.index, block.task_id, block.statuses, block.accepted) == (0, first, b"\0\0", None)
    filled.journal.append([TasksProcessed(3, ((0, 0),))])
    assert filled.indexes(3, "processed") == [0]
    assert filled.indexes(3, "completed") == [1]
    filled.end(3)
    (job,), _ = filled.journal.ended_jobs(ALL, 0, 10)
    assert job.tasks == {"completed": 1, "processed": 1}


def test_given_ended_jobs_with_large_options_then_those_that_ended_first_go_as_a_whole() -> None:
    filled = Filled(memory_bytes_max=400_000)
    for job_id in range(3, 20):
        filled.submit(job_id, 1, shared=b"\x91\xc6" + bytes(50_000))
        filled.result(filled.last_id, 1)
        filled.end(job_id)
    assert filled.ended() == list(range(19, 12, -1))
    assert filled.numbers(19) == [17]
    assert filled.journal.ended_job(12) is None
    assert filled.journal.job_of_key(key_of(12)) == 12


def test_given_results_between_two_pages_in_any_order_then_each_is_listed_at_its_place() -> None:
    filled = Filled()
    filled.submit(3, 9)
    filled.result(4, 2)
    assert filled.indexes(3) == [3, 4]
    for first in (8, 1, 6, 2):
        filled.result(first, 1)
        filled.indexes(3)
    assert filled.indexes(3) == [0, 1, 3, 4, 5, 7]
