"""Lists of jobs and tasks: what the brain and the journal know, in one order, page by page."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest

from cyclone.master.clients import archive_answers
from cyclone.master.clients.archive_answers import ArchiveAnswers
from cyclone.master.events import JobSubmitted
from cyclone.master.jobs.listing import LiveTasks
from cyclone.master.journal import Journal
from cyclone.master.scheduler import Scheduler
from cyclone.protocol import wire
from cyclone.protocol.figure_messages import FiguresReport, FiguresRequest, TaskFigures
from cyclone.protocol.job_lists import ended_summary
from cyclone.protocol.job_messages import (
    DetailRequest,
    JobDetail,
    JobsReport,
    JobsRequest,
    JobSummary,
    TaskRow,
    TasksReport,
    TasksRequest,
)
from cyclone.protocol.job_spec import JobSelection, JobSpec
from cyclone.protocol.messages import Job
from cyclone.task_figures import Figures

SPEC = JobSpec(task_class="tests.tasks:Root", shared=b"\x91\x01")
JOB = 7


class Known:
    """A brain and a journal: of each task its state by index, of each job whether it has ended."""

    def __init__(self, tasks: Sequence[str] = (), jobs: Sequence[bool] = ()) -> None:
        self.tasks = tasks
        self.jobs = {number: has_ended for number, has_ended in enumerate(jobs, 1)}
        self.rows_max = 4
        self.answers = ArchiveAnswers(cast(Scheduler, self), cast(Journal, self))

    def live_tasks(self, job_id: int, start: int, stop: int) -> Iterator[LiveTasks]:
        for index, state in enumerate(self.tasks):
            if start <= index < stop and state in ("queued", "leased"):
                yield LiveTasks(index, index + 1, 1, state, 0, "")

    def task_rows(
        self, job_id: int, start: int, page: int, states: Sequence[str], *_: object, **__: object
    ) -> tuple[list[TaskRow], int | None]:
        found = [
            TaskRow(index, index + 1, state, 1, "node1")
            for index, state in enumerate(self.tasks)
            if index >= start and state == "completed" and (not states or state in states)
        ]
        room = min(page, self.rows_max)
        return found[:room], found[room].index if len(found) > room else None

    def task_figures(self, job_id: int, start: int, stop: int) -> tuple[Figures, int | None]:
        found = Figures()
        rows, following = self.task_rows(job_id, start, self.rows_max, ())
        for row in rows:
            if row.index < stop:
                found.add(TaskFigures({row.state: 1}, row.attempt, [row.controller]))
        return found, following if following is not None and following < stop else None

    def _job(self, job_id: int) -> JobSummary:
        return ended_summary(job_id, SPEC, "ann", 1.0, 2.0, {})

    def _meant(self, before: int, has_ended: bool) -> list[JobSummary]:
        return [
            self._job(job_id)
            for job_id, ended in reversed(self.jobs.items())
            if ended == has_ended and (not before or job_id < before)
        ]

    def job_summaries(self, selection: JobSelection, before: int, page: int) -> tuple[list[JobSummary], int]:
        return self._page(self._meant(before, has_ended=False), min(page, 2))

    def ended_jobs(self, selection: JobSelection, before: int, page: int) -> tuple[list[JobSummary], int]:
        return self._page(self._meant(before, has_ended=True), min(page, self.rows_max))

    @staticmethod
    def _page(found: list[JobSummary], room: int) -> tuple[list[JobSummary], int]:
        return found[:room], found[room].job_id + 1 if len(found) > room else 0

    def detail(self, job_id: int) -> JobDetail | None:
        return None

    def ended_job(self, job_id: int) -> tuple[JobSubmitted, JobSummary, str] | None:
        if job_id != JOB:
            return None
        job = Job(JOB, SPEC.task_class, shared=SPEC.shared)
        return JobSubmitted(job, SPEC, b"k" * 16, "ann", 1.0, 0), self._job(JOB), "too slow"


def ask(known: Known, request: Any) -> Any:
    return known.answers.answer(request)


@pytest.mark.parametrize("states", [(), ("queued",), ("completed",), ("completed", "leased"), ("cancelled",)])
@pytest.mark.parametrize("page", [1, 3, 100])
@pytest.mark.parametrize("limits", [(1024, 4096), (2, 3), (1, 1)])
def test_given_tasks_with_and_without_a_result_then_each_comes_once_and_in_order(
    monkeypatch: pytest.MonkeyPatch, states: tuple[str, ...], page: int, limits: tuple[int, int]
) -> None:
    monkeypatch.setattr(archive_answers, "_ROWS_MAX", limits[0])
    monkeypatch.setattr(archive_answers, "_RUNS_MAX", limits[1])
    known = Known(["completed", "queued", "leased", "completed", "completed", "queued", "leased"] * 3)
    rows: list[TaskRow] = []
    start: int | None = 0
    while start is not None:
        report = ask(known, TasksRequest(1, JOB, start, page, states))
        assert isinstance(report, TasksReport)
        assert len(report.rows) <= page
        rows += report.rows
        assert report.next is None or report.next > start
        start = report.next
    expected = [(index, state) for index, state in enumerate(known.tasks) if not states or state in states]
    assert [(row.index, row.state) for row in rows] == expected


@pytest.mark.parametrize("runs_max", [1, 2, 3, 4096])
@pytest.mark.parametrize("rows_max", [1, 4, 100])
@pytest.mark.parametrize(("start", "stop"), [(0, None), (2, 17), (5, 6), (20, 30), (9, 4)])
def test_given_tasks_with_and_without_a_result_then_each_counts_once(
    monkeypatch: pytest.MonkeyPatch, start: int, stop: int | None, rows_max: int, runs_max: int
) -> None:
    monkeypatch.setattr(archive_answers, "_RUNS_MAX", runs_max)
    known = Known(["completed", "queued", "leased", "completed", "completed", "queued", "leased"] * 3)
    known.rows_max = rows_max
    found = Figures()
    position: int | None = start
    while position is not None:
        report = ask(known, FiguresRequest(1, JOB, position, stop))
        assert isinstance(report, FiguresReport)
        assert report.next is None or report.next > position
        found.add(report.figures)
        position = report.next
    assert found.tasks == Counter(known.tasks[start:stop])


@pytest.mark.parametrize("page", [1, 3, 100])
def test_given_open_and_ended_jobs_then_each_comes_once_the_newest_first(page: int) -> None:
    known = Known(jobs=[True, False, True, True, False, True, True, True, True, True, False, False])
    found: list[int] = []
    before = 0
    while before or not found:
        report = ask(known, JobsRequest(1, JobSelection(), page, before))
        assert isinstance(report, JobsReport)
        found += [job.job_id for job in report.jobs]
        before = report.next
    assert found == sorted(known.jobs, reverse=True)


def test_given_jobs_with_long_names_and_many_tags_then_a_page_ends_before_it_is_too_large_to_be_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archive_answers, "_JOBS_BYTES_MAX", 200)
    known = Known(jobs=[True] * 12)
    found: list[int] = []
    before, pages = 0, 0
    while before or not pages:
        report = ask(known, JobsRequest(1, JobSelection(), 100, before))
        # One is in it in any case, or nobody would ever come behind it.
        assert report.jobs and (len(report.jobs) == 1 or len(wire.encode(report)[1]) < 300)
        found += [job.job_id for job in report.jobs]
        before, pages = report.next, pages + 1
    assert found == sorted(known.jobs, reverse=True)
    assert pages > 3


@pytest.mark.parametrize("with_shared", [False, True])
def test_given_a_job_that_has_ended_then_its_detail_says_why_and_what_it_was(with_shared: bool) -> None:
    detail = ask(Known(), DetailRequest(5, JOB, with_shared))
    assert (detail.request, detail.job.job_id, detail.reason) == (5, JOB, "too slow")
    assert detail.spec.shared == (SPEC.shared if with_shared else b"")
    assert ask(Known(), DetailRequest(6, JOB + 1)) == JobDetail(6, None)
