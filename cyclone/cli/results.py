"""``cyclone results``: the results of jobs, a JSON object a line, in the order of their indexes or as they come.

Owns in which order they are read and when they count as processed: what was written and flushed is, in the order in
which it was written. Rows come from where they are read with None in between, wherever nothing more is there yet.
Nothing is kept: a page at most is in memory.
"""

import argparse
import bisect
import contextlib
import time
from collections.abc import Generator, Iterable, Iterator
from operator import itemgetter
from typing import TYPE_CHECKING

from cyclone.cli import answers, common, connecting, interrupts, output, parsing, selectors, tasks
from cyclone.cli.columns import DURATION, ERROR, ID, MOMENT, NUMBER, PACKED, PROGRAM, SIZE, STATE, TEXT, Column, Listing
from cyclone.errors import CycloneError, Unreachable, UsageError

if TYPE_CHECKING:
    from cyclone.client.client import Client
    from cyclone.client.job_results import JobTaskResult
    from cyclone.protocol.job_messages import TaskRow

LISTING = Listing(
    "cyclone.results/1",
    "results",
    (
        Column("job", lambda task: task.job_id, ID),
        Column("index", lambda task: task.row.index, ID),
        Column("task_id", lambda task: task.row.task_id, ID),
        Column("state", lambda task: task.row.state, STATE),
        Column("value", lambda task: task.row.value, PACKED),
        Column("error", lambda task: task.row.error or None, ERROR),
        Column("attempt", lambda task: task.row.attempt, NUMBER),
        Column("node", lambda task: task.row.controller, TEXT),
        Column("started", lambda task: task.row.started, MOMENT),
        Column("seconds", lambda task: task.row.seconds, DURATION),
        Column("cpu_s", lambda task: task.row.cpu_s, DURATION),
        Column("peak_bytes", lambda task: task.row.peak_bytes, SIZE),
        Column("traceback", lambda task: task.row.traceback or None, TEXT),
        Column("printed", lambda task: task.row.printed, PROGRAM),
    ),
    lines=True,
)
# Of which the next one is asked again, where a result is awaited that is not there yet.
_LOOK_MIN_S, _LOOK_MAX_S = 0.05, 0.5
_PROCESSED_AT_ONCE = 1000
_PROCESSED_EVERY_S = 1.0

_Row = tasks.JobTask | None

_EXAMPLES = (
    ("cyclone results 5 --format '{value}'", "the value of each task, a line each, by index"),
    ("cyclone results last --follow --in-order", "the newest job's results while it runs, by index"),
    (
        "cyclone results 5 -s completed --process >> results.jsonl",
        "what completed, each once: what was printed before is left out",
    ),
)


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Its command line."""
    parser = verbs.add_parser(
        "results",
        help="print the results of jobs, a JSON object a line",
        description="Print the results that there are, a JSON object a line, by index. --format '{value}' prints the "
        "values alone. With --follow the command goes on until the jobs have ended, and prints results as they come, "
        "or with --in-order by index.",
        epilog=f"Exit codes: 0 done, 1 there is no such job, {connecting.EXIT_CODES}.",
    )
    tasks.add_selection(parser)
    selectors.add_states_option(
        parser, "-s", "--state", help="only of tasks in these states", default=selectors.ENDED_TASK_STATES
    )
    parser.add_argument("--follow", action="store_true", help="go on until the jobs have ended")
    parser.add_argument(
        "--in-order", action="store_true", help="with --follow: by index, each when all before are there"
    )
    parser.add_argument(
        "--process",
        action="store_true",
        help="mark what completed as processed when it is printed, and leave out what was processed before",
    )
    output.add_list_options(parser, LISTING)
    connecting.add_options(parser)
    parsing.add_examples(parser, *_EXAMPLES)


def results(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    if open_states := set(args.states) - set(selectors.ENDED_TASK_STATES):
        raise UsageError(f"a task that is {', '.join(sorted(open_states))} has no result yet: `cyclone tasks` shows it")
    states = tuple(one for one in args.states if not (args.process and one == "processed"))
    with connecting.client(args, is_patient=args.follow) as client:
        rows: Iterable[_Row]
        if args.follow and args.in_order:
            rows = _followed_in_order(client, args.selection)
        elif args.follow:
            rows = _followed(client, args.selection, is_processing=args.process)
        else:
            is_of_generator = not args.process
            rows = tasks.chosen(client, args.selection, states, with_values=True, is_of_generator=is_of_generator)
        rows = (one for one in rows if one is None or one.row.state in states)
        if args.process:
            # A signal that says that it is enough must not make us forget what was printed.
            with interrupts.raised(), contextlib.closing(_processing(args, client, rows)) as processing:
                output.print_rows(LISTING, processing, args, at_once=True)
        else:
            output.print_rows(LISTING, (one for one in rows if one), args, at_once=args.follow)
    return common.EXIT_OK


def _followed(client: "Client", selection: Iterable[selectors.Tasks], is_processing: bool) -> Iterator[_Row]:
    """Results of jobs to their ends, one job after the other, as they are recorded; where they are processed, only
    those that were not before.
    """
    for one in selection:
        for job_id in tasks.submitted(client, one.jobs):
            before = _processed(client, job_id) if is_processing else []
            for batch in client.result_batches(job_id, read_value=bytes):
                is_empty = True
                for result in batch.rows:
                    is_empty = False
                    is_meant = not one.indexes or any(low <= result.index <= high for low, high in one.indexes)
                    if is_meant and not _is_in(before, result.index):
                        yield tasks.JobTask(job_id, _row(result))
                if is_empty:
                    yield None


def _row(result: "JobTaskResult") -> "TaskRow":
    from cyclone.protocol.job_messages import TaskRow

    error = result.error
    return TaskRow(
        result.index,
        result.task_id,
        result.state,
        result.attempt,
        result.controller,
        result.started,
        result.seconds,
        result.cpu_s,
        result.peak_bytes,
        error=f"{error.type}: {error.message}" if error else "",
        value=result.value or b"",
        traceback=error.traceback if error else "",
        printed=_printed(result) if error else b"",
    )


def _printed(result: "JobTaskResult") -> bytes:
    from cyclone.protocol.messages import OUTPUT_RECORD

    return next((packed for name, packed in result.packed_records if name == OUTPUT_RECORD), b"")


def _processed(client: "Client", job_id: int) -> selectors.Ranges:
    """Which tasks count as processed by now; whoever goes in order makes a range or two of them."""
    found: selectors.Ranges = []
    for row in client.tasks(job_id, states=("processed",)):
        if found and found[-1][1] == row.index - 1:
            found[-1] = (found[-1][0], row.index)
        else:
            found.append((row.index, row.index))
    return found


def _is_in(ranges: selectors.Ranges, index: int) -> bool:
    at = bisect.bisect_right(ranges, index, key=itemgetter(0))
    return at > 0 and index <= ranges[at - 1][1]


def _followed_in_order(client: "Client", selection: Iterable[selectors.Tasks]) -> Iterator[_Row]:
    """Results of jobs to their ends, one job after the other, by index: where one is missing, it is awaited."""
    for one in selection:
        for job_id in tasks.submitted(client, one.jobs):
            for low, high in one.indexes or ((0, None),):
                yield from _awaited(client, job_id, low, high)


def _awaited(client: "Client", job_id: int, low: int, high: int | None) -> Iterator[_Row]:
    pause_s = _LOOK_MIN_S
    while high is None or low <= high:
        # Asked before the tasks: what has ended then gets no more of them.
        job = client.detail(job_id).job
        assert job is not None
        for row in client.tasks(job_id, start=low, with_values=True):
            if row.state in selectors.OPEN_TASK_STATES or (high is not None and row.index > high):
                break
            yield tasks.JobTask(job_id, row)
            low, pause_s = row.index + 1, _LOOK_MIN_S
        if job.state in selectors.ENDED_JOB_STATES:
            return
        yield None
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LOOK_MAX_S)


def _processing(
    args: argparse.Namespace, client: "Client", rows: Iterable[_Row]
) -> Generator[tasks.JobTask, None, None]:
    """The rows; whoever comes for the next one has written and flushed those before, which then count as processed:
    where nothing more is there yet and at the latest after a while, so that few are told twice where we are killed.
    """
    taken: list[int] = []
    job_id, marked_at = 0, time.monotonic()
    try:
        for one in rows:
            if one and one.job_id != job_id:
                some, taken = taken, []
                if some:
                    _mark(client, job_id, some)
                # Before anything of it is printed: who may not do it would get the same again and again.
                _mark(client, one.job_id, [])
                job_id = one.job_id
            if one:
                yield one
                if one.row.state == "completed":
                    taken.append(one.row.index)
            is_due = time.monotonic() - marked_at >= _PROCESSED_EVERY_S or len(taken) == _PROCESSED_AT_ONCE
            if taken and (one is None or is_due):
                some, taken = taken, []
                _mark(client, job_id, some)
                marked_at = time.monotonic()
    except Unreachable:
        raise
    except BaseException:
        # Whatever ends it: Ctrl-C, a signal, a pipe that nobody reads any more.
        if taken:
            _mark_at_last(args, job_id, taken)
        raise
    if taken:
        _mark(client, job_id, taken)


def _mark(client: "Client", job_id: int, indexes: list[int]) -> None:
    """They count as processed. Raises CycloneError, and whatever ``answers.refusal`` makes, where they do not."""
    answer = client.processed(job_id, selectors.joined((index, index) for index in indexes))
    if not answer.granted:
        what = "what was printed last does" if indexes else f"nothing of job {job_id} is printed: results do"
        raise answers.refusal(answer, f"{what} not count as processed: {answer.text}")


def _mark_at_last(args: argparse.Namespace, job_id: int, indexes: list[int]) -> None:
    """The same where we are to end: by a client that is not as patient as ours, and what goes wrong is only told."""
    try:
        with connecting.client(args) as client:
            _mark(client, job_id, indexes)
    except CycloneError as error:
        output.note(f"cyclone: what was printed last may come again: {error}", args.json)
