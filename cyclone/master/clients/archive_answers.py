"""Lists of jobs and tasks for clients: what is open from the brain, what has ended from the journal, in one order.

Owns how both are put together. Each answer is a page, whose size and time are bounded whatever is asked for; a client
asks on where it ends.
"""

from itertools import islice

import msgspec

from cyclone.lifecycle import BAD_ENDS
from cyclone.master.jobs.failures import Failures
from cyclone.master.jobs.listing import LiveTasks
from cyclone.master.journal import Journal
from cyclone.master.scheduler import Scheduler
from cyclone.protocol.figure_messages import FiguresReport, FiguresRequest
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
from cyclone.protocol.limits import BATCH_BYTES_TARGET, ID_MAX, PAGE_ROWS_MAX

# An answer has so many rows at most, and for one so many runs of open tasks are looked at: some milliseconds.
_ROWS_MAX = 1024
_RUNS_MAX = 4096
# What people call their jobs may be long: so much of it is told at a time.
_JOBS_BYTES_MAX = BATCH_BYTES_TARGET
_encode = msgspec.msgpack.Encoder().encode

AnyList = JobsReport | TasksReport | JobDetail | FiguresReport


class ArchiveAnswers:
    """See the module."""

    def __init__(self, scheduler: Scheduler, journal: Journal) -> None:
        self._scheduler = scheduler
        self._journal = journal

    def answer(self, request: JobsRequest | TasksRequest | DetailRequest | FiguresRequest) -> AnyList:
        """What there is."""
        match request:
            case JobsRequest():
                return self._jobs(request)
            case TasksRequest():
                return self._tasks(request)
            case DetailRequest():
                return self._detail(request)
            case FiguresRequest():
                return self._figures(request)

    def _jobs(self, request: JobsRequest) -> JobsReport:
        selection, page = request.selection, 1 if request.selection.last else min(request.page, _ROWS_MAX)
        opened, opened_to = self._scheduler.job_summaries(selection, request.before, page + 1)
        ended, ended_to = self._journal.ended_jobs(selection, request.before, page + 1)
        looked_to = max(opened_to, ended_to)
        # Between those that are older than what was looked at there may be others: they wait for their page.
        found = [job for job in (*opened, *ended) if job.job_id >= looked_to]
        found.sort(key=lambda job: job.job_id, reverse=True)
        shown = _fitting(found[:page])
        following = shown[-1].job_id if len(found) > len(shown) else looked_to
        return JobsReport(request.request, shown, 0 if selection.last and found else following)

    def _tasks(self, request: TasksRequest) -> TasksReport:
        """Rows with a result and rows without one, by index; where one kind ends early the page does."""
        rows, end = self._journal.task_rows(
            request.job_id, request.start, request.page, request.states, request.with_args, request.with_values
        )
        live, live_end = self._live(request, ID_MAX if end is None else end)
        if live_end is not None:
            rows, end = [row for row in rows if row.index < live_end], live_end
        both = sorted([*rows, *live], key=lambda row: row.index)
        if len(both) > request.page:
            return TasksReport(request.request, both[: request.page], both[request.page].index)
        return TasksReport(request.request, both, end)

    def _live(self, request: TasksRequest, stop: int) -> tuple[list[TaskRow], int | None]:
        """Those without a result, by index, as many as a page has; and from where on there may be more."""
        found: list[TaskRow] = []
        room = min(request.page, _ROWS_MAX)
        for looked_at, run in enumerate(self._scheduler.live_tasks(request.job_id, request.start, stop)):
            if looked_at == _RUNS_MAX or len(found) == room:
                return found, run.index
            if request.states and run.state not in request.states:
                continue
            count = min(run.count, room - len(found))
            found += [
                TaskRow(run.index + row, run.task_id + row, run.state, run.attempt, run.controller, since=run.since)
                for row in range(count)
            ]
            if count < run.count:
                return found, run.index + count
        return found, None

    def _figures(self, request: FiguresRequest) -> FiguresReport:
        """Of tasks with a result and of those without one; where one kind ends early the page does."""
        job_id, start, stop = request.job_id, request.start, ID_MAX if request.stop is None else request.stop
        figures, end = self._journal.task_figures(job_id, start, stop)
        runs, live_end = self._runs(job_id, start, stop if end is None else end)
        if live_end is not None:
            figures, end = self._journal.task_figures(job_id, start, live_end)
            end = live_end if end is None else end
        for run in runs:
            if end is None or run.index < end:
                count = run.count if end is None else min(run.count, end - run.index)
                figures.add_open(run.state, count, run.attempt, run.controller)
        return FiguresReport(request.request, figures.told(), end)

    def _runs(self, job_id: int, start: int, stop: int) -> tuple[list[LiveTasks], int | None]:
        """The first runs of those without a result, and from where on there may be more."""
        found = list(islice(self._scheduler.live_tasks(job_id, start, stop), _RUNS_MAX + 1))
        return found[:_RUNS_MAX], found[_RUNS_MAX].index if len(found) > _RUNS_MAX else None

    def _detail(self, request: DetailRequest) -> JobDetail:
        if found := self._scheduler.detail(request.job_id):
            return _without_shared(found, request)
        ended = self._journal.ended_job(request.job_id)
        if ended is None:
            return JobDetail(request.request, None)
        submitted, summary, reason = ended
        detail = JobDetail(request.request, summary, submitted.spec, self._failures(summary), reason)
        return _without_shared(detail, request)

    def _failures(self, job: JobSummary) -> list[tuple[str, int, int]]:
        """The kinds of errors of a job that has ended, by a first page of them."""
        if not any(job.tasks.get(state) for state in BAD_ENDS):
            return []
        rows, _ = self._journal.task_rows(job.job_id, 0, PAGE_ROWS_MAX, BAD_ENDS, with_args=False, with_values=False)
        failures = Failures()
        for row in rows:
            failures.tell(job.job_id, row.index, row.error)
        return failures.of_job(job.job_id)


def _fitting(jobs: list[JobSummary]) -> list[JobSummary]:
    """As many of the first as an answer may hold, at least one."""
    size = 0
    for count, job in enumerate(jobs):
        size += len(_encode(job))
        if count and size > _JOBS_BYTES_MAX:
            return jobs[:count]
    return jobs


def _without_shared(detail: JobDetail, request: DetailRequest) -> JobDetail:
    spec = detail.spec
    if spec is not None and spec.shared and not request.with_shared:
        spec = msgspec.structs.replace(spec, shared=b"")
    return msgspec.structs.replace(detail, request=request.request, spec=spec)
