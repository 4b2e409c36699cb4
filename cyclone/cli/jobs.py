"""``cyclone jobs``: the jobs of a master, the newest first."""

import argparse
from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING

from cyclone.cli import common, connecting, output, paging, selectors
from cyclone.cli.columns import DURATION, ID, MOMENT, NUMBER, PAIRS, STATE, TALLY, TEXT, Column, Listing

if TYPE_CHECKING:
    from cyclone.protocol.job_messages import JobSummary


def _count(*states: str) -> "Callable[[JobSummary], int]":
    return lambda job: sum(job.tasks.get(state, 0) for state in states)


def _seconds(job: "JobSummary") -> float | None:
    return job.finished - job.submitted if job.finished and job.submitted else None


LISTING = Listing(
    "cyclone.jobs/1",
    "jobs",
    (
        Column("id", lambda job: job.job_id, ID),
        Column("name", lambda job: job.name, TEXT),
        Column("namespace", lambda job: job.namespace, TEXT),
        Column("owner", lambda job: job.owner, TEXT, shown=False),
        Column("state", lambda job: job.state, STATE),
        Column("total", lambda job: sum(job.tasks.values()), NUMBER, title="tasks"),
        Column("ended", _count(*selectors.ENDED_TASK_STATES), NUMBER),
        Column("bad", _count(*selectors.BAD_TASK_STATES), NUMBER),
        Column("priority", lambda job: job.priority, NUMBER, shown=False),
        Column("submitted", lambda job: job.submitted, MOMENT),
        Column("finished", lambda job: job.finished, MOMENT),
        Column("seconds", _seconds, DURATION, title="time"),
        Column("class", lambda job: job.task_class, TEXT, shown=False),
        Column("sealed", lambda job: job.sealed, TEXT, shown=False),
        Column("tasks", lambda job: {state: count for state, count in job.tasks.items() if count}, TALLY, shown=False),
        Column("session", lambda job: job.session, TEXT, shown=False),
        Column("tags", lambda job: job.tags, PAIRS, shown=False),
    ),
)


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Its command line."""
    parser = verbs.add_parser(
        "jobs",
        help="list jobs, the newest first",
        description="List jobs, the newest first. Job 0 is what the generator of the configuration has yielded.",
        epilog=f"Exit codes: 0 done, 1 there is no job of these numbers, {connecting.EXIT_CODES}.",
    )
    argument = parser.add_argument(
        "selection",
        metavar="JOBS",
        nargs="*",
        type=selectors.jobs,
        default=[selectors.ALL],
        help=f"which: {selectors.JOBS_FORMS} (default: all)",
    )
    argument.completer = connecting.offered_jobs  # type: ignore[attr-defined]
    selectors.add_filters(parser)
    selectors.add_states_option(parser, "-s", "--state", help="only jobs in these states", of_jobs=True)
    parser.add_argument(
        "--before", metavar="ID", type=selectors.number, default=0, help="only jobs older than this one"
    )
    paging.add_option(parser, "the newest so many")
    output.add_list_options(parser, LISTING)
    connecting.add_options(parser)


def jobs(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    chosen = selectors.merged(args.selection)
    selection = chosen.selection(args)
    with connecting.client(args) as client:
        found = client.jobs(selection, before=args.before, page=paging.page_rows(args))
        first = next(found, None)
        if first is None and chosen.ids and selection == chosen.selection() and not args.before:
            raise selectors.no_job(chosen)
        rows = paging.Limited(found if first is None else chain([first], found), args)
        output.print_rows(LISTING, rows, args)
    if rows.last and rows.following:
        output.note(f"there are older ones: --before {rows.last.job_id} goes on, --limit 0 lists all")
    return common.EXIT_OK
