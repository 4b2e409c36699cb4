"""``cyclone results``: the results of jobs, a JSON object a line, in the order of their indexes or as they come.

Owns in which order they are read and when they count as processed: what was written and flushed is, in the order in
which it was written. Nothing is kept: a page at most is in memory.
"""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from cyclone.cli import common, connecting, output, selectors, tasks
from cyclone.cli.columns import DURATION, ERROR, ID, MOMENT, NUMBER, PACKED, SIZE, STATE, TEXT, Column, Listing
from cyclone.errors import UsageError

if TYPE_CHECKING:
    from cyclone.client.client import Client

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
    ),
    lines=True,
)
# Of which the next one is asked again, where a result is awaited that is not there yet.
_LOOK_MIN_S, _LOOK_MAX_S = 0.05, 0.5
_PROCESSED_AT_ONCE = 1000


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


def results(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    if open_states := set(args.states) - set(selectors.ENDED_TASK_STATES):
        raise UsageError(f"a task that is {', '.join(sorted(open_states))} has no result yet: `cyclone tasks` shows it")
    states = tuple(one for one in args.states if not (args.process and one == "processed"))
    with connecting.client(args) as client:
        rows: Iterable[tasks.JobTask]
        if args.follow and args.in_order:
            rows = _followed_in_order(client, args.selection)
        elif args.follow:
            rows = _followed(client, args.selection)
        else:
            is_of_generator = not args.process
            rows = tasks.chosen(client, args.selection, states, with_values=True, is_of_generator=is_of_generator)
        rows = (one for one in rows if one.row.state in states)
        if args.process:
            rows = _processing(client, rows)
        output.print_rows(LISTING, rows, args, at_once=args.follow)
    return common.EXIT_OK


def _followed(client: "Client", selection: Iterable[selectors.Tasks]) -> Iterator[tasks.JobTask]:
    """Results of jobs to their ends, one job after the other, as they are recorded."""
    from cyclone.protocol.job_messages import TaskRow

    for one in selection:
        for job_id in tasks.submitted(client, one.jobs):
            for result in client.results(job_id, read_value=bytes):
                if not one.indexes or any(low <= result.index <= high for low, high in one.indexes):
                    error = result.error
                    row = TaskRow(
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
                    )
                    yield tasks.JobTask(job_id, row)


def _followed_in_order(client: "Client", selection: Iterable[selectors.Tasks]) -> Iterator[tasks.JobTask]:
    """Results of jobs to their ends, one job after the other, by index: where one is missing, it is awaited."""
    for one in selection:
        for job_id in tasks.submitted(client, one.jobs):
            for low, high in one.indexes or ((0, None),):
                yield from _awaited(client, job_id, low, high)


def _awaited(client: "Client", job_id: int, low: int, high: int | None) -> Iterator[tasks.JobTask]:
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
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LOOK_MAX_S)


def _processing(client: "Client", rows: Iterable[tasks.JobTask]) -> Iterator[tasks.JobTask]:
    """The rows; whoever comes for the next one has written those before, which then count as processed."""
    taken: list[int] = []
    job_id = 0
    for one in rows:
        if taken and (one.job_id != job_id or len(taken) == _PROCESSED_AT_ONCE):
            _mark(client, job_id, taken)
            taken = []
        job_id = one.job_id
        yield one
        if one.row.state == "completed":
            taken.append(one.row.index)
    if taken:
        _mark(client, job_id, taken)


def _mark(client: "Client", job_id: int, indexes: list[int]) -> None:
    """What a consumer has really got: nothing of it is in our buffer any more."""
    sys.stdout.flush()
    answer = client.processed(job_id, selectors.joined((index, index) for index in indexes))
    if not answer.granted:
        output.note(f"job {job_id}: {answer.text}")
