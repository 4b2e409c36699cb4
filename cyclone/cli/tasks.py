"""``cyclone tasks``: the tasks of jobs, by index."""

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from cyclone.cli import common, connecting, output, paging, selectors
from cyclone.cli.columns import DURATION, ID, MOMENT, NUMBER, PACKED, SIZE, STATE, TEXT, Column, Listing

if TYPE_CHECKING:
    from cyclone.client.client import Client
    from cyclone.protocol.job_messages import TaskRow


class JobTask(NamedTuple):
    """A task and its job."""

    job_id: int
    row: "TaskRow"


COLUMNS = (
    Column("id", lambda task: f"{task.job_id}.{task.row.index}", ID),
    Column("job", lambda task: task.job_id, ID, shown=False),
    Column("index", lambda task: task.row.index, ID, shown=False),
    Column("task_id", lambda task: task.row.task_id, ID),
    Column("state", lambda task: task.row.state, STATE),
    Column("attempt", lambda task: task.row.attempt, NUMBER),
    Column("node", lambda task: task.row.controller, TEXT),
    Column("started", lambda task: task.row.started, MOMENT),
    Column("seconds", lambda task: task.row.seconds, DURATION, title="time"),
    Column("cpu_s", lambda task: task.row.cpu_s, DURATION, shown=False, title="cpu"),
    Column("peak_bytes", lambda task: task.row.peak_bytes, SIZE, shown=False, title="peak"),
    Column("error", lambda task: task.row.error, TEXT),
)
ARGS = Column("args", lambda task: task.row.args, PACKED, shown=False)
VALUE = Column("value", lambda task: task.row.value, PACKED, shown=False)
LISTING = Listing("cyclone.tasks/1", "tasks", (*COLUMNS, ARGS, VALUE))


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Its command line."""
    parser = verbs.add_parser(
        "tasks",
        help="list the tasks of jobs, by index",
        description="List tasks of jobs, in the order of their indexes. The tasks of job 0 are the generator's.",
        epilog=f"Exit codes: 0 done, 1 there is no such job, {connecting.EXIT_CODES}.",
    )
    add_selection(parser)
    selectors.add_states_option(parser, "-s", "--state", help="only tasks in these states")
    parser.add_argument("--args", action="store_true", help="also their arguments")
    parser.add_argument("--values", action="store_true", help="also the values of those that completed")
    paging.add_option(parser, "the first so many")
    output.add_list_options(parser, LISTING)
    connecting.add_options(parser)


def add_selection(parser: argparse.ArgumentParser, nargs: str = "+") -> None:
    """Which tasks."""
    argument = parser.add_argument(
        "selection", metavar="TASKS", nargs=nargs, type=selectors.tasks, help=f"which: {selectors.TASKS_FORMS}"
    )
    argument.completer = connecting.offered_jobs  # type: ignore[attr-defined]


def tasks(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    asked = {column.name for column in args.shape.columns} if args.shape else set()
    with_args, with_values = args.args or "args" in asked, args.values or "value" in asked
    more = [column._replace(shown=True) for column, on in ((ARGS, with_args), (VALUE, with_values)) if on]
    with connecting.client(args) as client:
        found = chosen(client, args.selection, args.states, with_args, with_values, paging.page_rows(args))
        rows = paging.Limited(found, args)
        output.print_rows(LISTING._replace(columns=(*COLUMNS, *more)), rows, args)
    if rows.last and rows.following:
        output.note(f"there are more behind {rows.last.job_id}.{rows.last.row.index}: --limit 0 lists all")
    return common.EXIT_OK


def chosen(
    client: "Client",
    selection: Sequence[selectors.Tasks],
    states: Sequence[str] = (),
    with_args: bool = False,
    with_values: bool = False,
    page: int = 4096,
) -> Iterator[JobTask]:
    """The tasks that are meant, job by job, in the order of indexes; asked for as they are read."""
    for one in selection:
        for job_id in job_ids(client, one.jobs):
            for low, high in one.indexes or ((0, None),):
                rows = client.tasks(
                    job_id,
                    start=low,
                    states=states,
                    with_args=with_args,
                    with_values=with_values,
                    page=page if high is None else min(page, high - low + 1),
                )
                for row in rows:
                    if high is not None and row.index > high:
                        break
                    yield JobTask(job_id, row)


def job_ids(client: "Client", jobs: selectors.Jobs) -> Iterator[int]:
    """The numbers of these jobs: as they are asked for, where ranges or ``all`` are, the newest first."""
    if jobs.ids and all(low == high for low, high in jobs.ids):
        # Also where there is none of that number: then the question for its tasks says so.
        yield from (low for low, _ in jobs.ids)
    else:
        yield from (job.job_id for job in client.jobs(jobs.selection()))
