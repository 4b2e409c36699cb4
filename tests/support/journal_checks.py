"""What a journal must give back: everything that the model of it says (``journals.Book``), and nothing else."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from cyclone import values
from cyclone.journal import SqliteJournal
from cyclone.journal.export import TaskRecord, read_records
from cyclone.journal.verify import verify
from cyclone.master.events import (
    AttemptsEnded,
    CancelWanted,
    GeneratorAdvanced,
    HorizonMoved,
    JobRestored,
    NamespaceSet,
    ResultsRecorded,
    TasksAdded,
    TasksClosed,
    TasksStored,
)
from cyclone.master.journal import Journal
from cyclone.protocol import limits, states
from cyclone.protocol.job_messages import JobSummary
from cyclone.protocol.job_spec import GENERATOR_JOB, JobSelection
from tests.support.journals import CLASSES, JOB_CLASS, Book, BookedJob, key_of


def check(journal: SqliteJournal, book: Book) -> None:
    """An open journal holds what the book says, all of it and nothing else."""
    closed, *replayed = journal.recover()
    assert isinstance(closed, TasksClosed)
    assert (closed.last_id, closed.number, closed.last_job_id) == (book.last_id, len(book.numbers), book.last_job_id)
    ended, open_ids, found_jobs = Counter(closed.ended), set[int](), dict[int, JobRestored]()
    wishes, namespaces = [], {}
    for event in replayed:
        match event:
            case TasksAdded(first, args=args):
                _check_block(event, book)
                open_ids.update(range(first, first + len(args)))
            case TasksStored(first, count, job_id, offset):
                assert first > book.horizon_of(job_id)
                block = journal.load(first)
                assert block == _without_keys(book.blocks[first])
                assert (len(block.args), block.job_id, block.offset) == (count, job_id, offset)
                open_ids.update(range(first, first + count))
            case ResultsRecorded(number, batch, accepted, _):
                for row, status in enumerate(batch.statuses):
                    if accepted is None or accepted[row]:
                        assert book.ended[batch.first + row] == (status, number)
                        open_ids.remove(batch.first + row)
                        ended[states.STATE_NAMES[status]] += 1
            case AttemptsEnded(first, count):
                assert open_ids.issuperset(range(first, first + count))
            case GeneratorAdvanced(progress):
                assert progress == book.progress
            case HorizonMoved(last_id, jobs):
                assert last_id == book.horizon
                assert all(book.horizon_of(job_id) == last for job_id, last in jobs or ())
                assert (jobs is None) == (book.generator_horizon is None)
            case JobRestored(submitted=it):
                found_jobs[it.job.job_id] = event
            case NamespaceSet(namespace):
                namespaces[namespace.name] = namespace
            case CancelWanted():
                wishes.append(event)
    assert ended == book.counts()
    assert open_ids == set(range(1, book.last_id + 1)) - book.ended.keys()
    assert namespaces == book.namespaces
    assert all(wish in book.wishes for wish in wishes)
    of_open_jobs = [wish for wish in book.wishes if _is_open(book, wish)]
    assert [wish for wish in wishes if _is_open(book, wish)] == of_open_jobs
    _check_restored(found_jobs, closed, replayed, book)
    check_results(journal, book)
    check_jobs(journal, book)


def _is_open(book: Book, wish: CancelWanted) -> bool:
    ids = range(1, book.last_id + 1) if wish.job_id is None else book.jobs[wish.job_id].ids
    return any(wish.first <= i <= wish.last and i not in book.ended for i in ids)


def _without_keys(block: TasksAdded) -> TasksAdded:
    return TasksAdded(
        block.first, block.runs, block.args, job_id=block.job_id, offset=block.offset, options=block.options
    )


def _check_block(event: TasksAdded, book: Book) -> None:
    assert event.first <= book.horizon_of(event.job_id)
    assert event == _without_keys(book.blocks[event.first])


def _check_restored(found: dict[int, JobRestored], closed: TasksClosed, replayed: Sequence[object], book: Book) -> None:
    """The open jobs, and nothing of those that have ended."""
    assert found.keys() == {job_id for job_id, job in book.jobs.items() if not job.finished}
    blocks = [event for event in replayed if isinstance(event, TasksAdded | TasksStored)]
    for job_id, event in found.items():
        job = book.jobs[job_id]
        assert (event.submitted, event.sealed, event.held) == (job.submitted, job.sealed, job.held)
        assert event.added == len(job.ids)
        ids: list[int] = []
        for index, first, count in event.extents:
            assert job.ids[index : index + count] == list(range(first, first + count))
            ids += range(first, first + count)
        ends = {(index + count, first + count) for index, first, count in event.extents}
        assert not ends & {(index, first) for index, first, _ in event.extents}, "extents that adjoin are not joined"
        assert book.counts(ids) == event.ended
        assert book.ended.keys() >= set(ids)
        for block in (block for block in blocks if block.job_id == job_id):
            count = len(block.args) if isinstance(block, TasksAdded) else block.count
            ids += range(block.first, block.first + count)
        assert sorted(ids) == job.ids
        assert {index for low, high in event.processed for index in range(low, high + 1)} == job.processed
    assert {block.job_id for block in blocks} <= {GENERATOR_JOB, *found}
    of_jobs = {task_id for job in book.jobs.values() for task_id in job.ids}
    open_ids = {i for block in blocks for i in range(block.first, block.first + len(book.blocks[block.first].args))}
    assert Counter(closed.generator_ended) == book.counts(sorted(book.ended.keys() - of_jobs - open_ids))


def check_jobs(journal: Journal, book: Book) -> None:
    """What is asked about jobs is what was recorded."""
    assert [journal.job_of_key(key_of(job_id)) for job_id in book.jobs] == list(book.jobs)
    assert journal.job_of_key(b"?" * 16) is None
    ended = {job_id: job for job_id, job in book.jobs.items() if job.finished}
    found: list[JobSummary] = []
    before = 0
    while True:
        page, before = journal.ended_jobs(JobSelection(), before, 3)
        found += page
        if not before:
            break
    assert [job.job_id for job in found] == sorted(ended, reverse=True)
    for summary in found:
        job = ended[summary.job_id]
        assert Counter(summary.tasks) == Counter(book.state(job, index) for index in range(len(job.ids)))
        assert (summary.finished, summary.owner) == (job.finished, job.submitted.owner)
        assert journal.ended_job(summary.job_id) == (job.submitted, summary, book.reason(summary.job_id))
    for job_id, job in book.jobs.items():
        assert journal.lost_results(job_id) == 0
        check_rows(journal, book, job_id, job)
        check_figures(journal, book, job_id, job)
        check_job_results(journal, book, job_id, job)


def check_rows(journal: Journal, book: Book, job_id: int, job: BookedJob) -> None:
    """Page by page each task of a job that has a result comes once."""
    rows, at = [], 0
    while True:
        page, following = journal.task_rows(job_id, at, 7, (), with_args=True, with_values=True)
        rows += page
        if following is None:
            break
        assert at < following
        at = following
    assert [row.index for row in rows] == [index for index, task_id in enumerate(job.ids) if task_id in book.ended]
    for row in rows:
        task_id = job.ids[row.index]
        event = book.numbers[book.ended[task_id][1] - 1]
        assert (row.task_id, row.state) == (task_id, book.state(job, row.index))
        assert (row.attempt, row.controller) == (event.batch.attempt, event.controller)
        assert row.args == values.encode([task_id, ""])
        if row.state in ("completed", "processed"):
            assert (values.decode(row.value), row.error) == (task_id**2, "")
        else:
            assert (row.value, row.error) == (b"", f"ValueError: task {task_id}")


def check_figures(journal: Journal, book: Book, job_id: int, job: BookedJob) -> None:
    """The sums over the tasks that have a result are those of each of them, also of a part of the job."""
    for start, stop in ((0, limits.ID_MAX), (len(job.ids) // 3, 2 * len(job.ids) // 3)):
        found, following = journal.task_figures(job_id, start, stop)
        assert following is None
        meant = [index for index in range(start, min(stop, len(job.ids))) if job.ids[index] in book.ended]
        assert found.tasks == Counter(book.state(job, index) for index in meant)
        events = [book.numbers[book.ended[job.ids[index]][1] - 1] for index in meant]
        assert found.attempts == sum(event.batch.attempt for event in events)
        assert found.nodes == {event.controller for event in events}
        failed = sum(book.state(job, index) not in ("completed", "processed") for index in meant)
        assert sum(count for _, count, _ in found.failures) == failed


def check_job_results(journal: Journal, book: Book, job_id: int, job: BookedJob) -> None:
    """Who follows a job gets each of its results, in the order of their numbers, and nothing of other jobs."""
    found: dict[int, tuple[int, int]] = {}
    numbers = []
    for number, results in journal.job_results_after(job_id, 0):
        numbers.append(number)
        for block in results:
            assert len(block.statuses) <= len(job.ids)
            for row, status in enumerate(block.statuses):
                task_id = job.ids[block.index + row]
                assert task_id == block.task_id + row
                if block.accepted is None or block.accepted[row]:
                    found[task_id] = (status, number)
    assert found == {task_id: book.ended[task_id] for task_id in job.ids if task_id in book.ended}
    assert numbers == sorted(set(numbers))
    if numbers:
        middle = numbers[len(numbers) // 2]
        assert [number for number, _ in journal.job_results_after(job_id, middle)] == [n for n in numbers if n > middle]


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
                assert name in (*CLASSES.values(), JOB_CLASS)
        parts = journal.job_parts(batch.first, len(batch.statuses))
        of_jobs = {batch.first + at for _, _, row, count in parts for at in range(row, row + count)}
        mine = {batch.first + row for row, name in enumerate(classes) if name == JOB_CLASS}
        assert of_jobs == mine


def check_file(path: Path, book: Book) -> None:
    """From outside: verify finds nothing, and export has a record for each task, with its state and value."""
    assert list(verify(path)) == []
    records = [record for block in read_records(path) for record in block]
    assert [record.id for record in records] == list(range(1, book.last_id + 1))
    places = {task_id: (job_id, at) for job_id, job in book.jobs.items() for at, task_id in enumerate(job.ids)}
    for record in records:
        assert (record.job, record.index) == places.get(record.id, (None, None))
        check_record(record, book)


def check_record(record: TaskRecord, book: Book) -> None:
    status, number = book.ended.get(record.id, (None, 0))
    assert record.args[0] == record.id
    if status is None:
        assert (record.state, record.value, record.error, record.attempt) == ("queued", None, None, None)
    elif status == states.COMPLETED:
        is_processed = record.job is not None and record.index in book.jobs[record.job].processed
        state = "processed" if is_processed else "completed"
        assert (record.state, record.value, record.error) == (state, record.id**2, None)
    else:
        assert (record.state, record.value) == (states.STATE_NAMES[status], None)
        assert record.error is not None
        assert record.error["message"] == f"task {record.id}"
    if status is not None:
        event = book.numbers[number - 1]
        assert (record.attempt, record.controller) == (event.batch.attempt, event.controller)
