"""``cyclone jobs``: the jobs of a master, the newest first."""

import argparse
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING

from cyclone.cli import common, connecting, output, paging, parsing, selectors
from cyclone.cli.columns import DURATION, ID, MOMENT, NUMBER, PAIRS, STATE, TALLY, TEXT, Column, Listing
from cyclone.cli.submit_values import PAST_FORMS, argument, past

if TYPE_CHECKING:
    from cyclone.client.client import Client
    from cyclone.protocol.job_messages import JobSummary
    from cyclone.protocol.job_spec import JobSelection

# Among so many of the newest others are looked for, where an owner has no job.
_OWNERS_OF_JOBS_MAX = 4096


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

_EXAMPLES = (
    ("cyclone jobs -s open", "jobs that have not ended, as squeue has them"),
    ("cyclone jobs --since 20:00 -s failed", "what has failed since eight in the evening"),
    (
        "cyclone jobs -n night --limit 10 -o id,name,state,ended,total",
        "the newest ten of a namespace, with these fields",
    ),
    ("cyclone jobs 5 --json | jq '.jobs[0].tasks'", "how many tasks of job 5 are in which state, for a script"),
)


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Its command line."""
    parser = verbs.add_parser(
        "jobs",
        help="list jobs, the newest first",
        description="List jobs, the newest first. Job 0 is what the generator of the configuration has yielded.",
        epilog=f"Exit codes: 0 done, 1 there is no job of these numbers, {connecting.EXIT_CODES}.",
    )
    option = parser.add_argument(
        "selection",
        metavar="JOBS",
        nargs="*",
        type=selectors.jobs,
        default=[selectors.ALL],
        help=f"which: {selectors.JOBS_FORMS} (default: all)",
    )
    option.completer = connecting.offered_jobs  # type: ignore[attr-defined]
    selectors.add_filters(parser)
    selectors.add_states_option(parser, "-s", "--state", help="only jobs in these states", of_jobs=True)
    parser.add_argument(
        "--since",
        metavar="MOMENT",
        type=argument(past),
        help=f"only jobs that were submitted or have ended since: {PAST_FORMS}",
    )
    parser.add_argument(
        "--before", metavar="ID", type=selectors.number, default=0, help="only jobs older than this one"
    )
    paging.add_option(parser, "the newest so many")
    output.add_list_options(parser, LISTING)
    connecting.add_options(parser)
    parsing.add_examples(parser, *_EXAMPLES)


def jobs(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    chosen = selectors.merged(args.selection)
    selection = chosen.selection(args)
    with connecting.client(args) as client:
        found = _found(client, selection, args)
        first = next(found, None)
        is_narrowed = selection != chosen.selection() or args.before or args.since is not None
        if first is None and chosen.ids and not is_narrowed:
            raise selectors.no_job(chosen)
        if first is None:
            _explain_none(client, args)
        rows = paging.Limited(found if first is None else chain([first], found), args)
        output.print_rows(LISTING, rows, args)
    if rows.last and rows.following:
        output.note(f"there are older ones: --before {rows.last.job_id} goes on, --limit 0 lists all", args.json)
    return common.EXIT_OK


def _found(client: "Client", selection: "JobSelection", args: argparse.Namespace) -> "Iterator[JobSummary]":
    since: float | None = args.since
    if since is None:
        return client.jobs(selection, before=args.before, page=paging.page_rows(args))
    # Also an old one may have ended since: all are read, as far as they are wanted, in pages of the usual size.
    every = client.jobs(selection, before=args.before)
    return (job for job in every if max(job.submitted, job.finished) >= since)


def _explain_none(client: "Client", args: argparse.Namespace) -> None:
    """A filter that nothing can pass is told of. Raises NoSuchNamespace."""
    if args.namespace:
        from cyclone.cli import namespaces

        namespaces.require(client, args.namespace)
    if args.owner:
        owners = {job.owner for job in islice(client.jobs(selectors.ALL.selection()), _OWNERS_OF_JOBS_MAX)} - {""}
        if args.owner not in owners:
            known = ", ".join(sorted(owners)) or "nobody with a key"
            output.note(f"no job is {args.owner}'s; there are jobs of {known}", args.json)
