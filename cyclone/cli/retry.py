"""``cyclone retry``: a new job of those tasks of a job that did not complete, with the same options.

Owns how that is asked for and what is said of it; which tasks these are is ``client.retrying``'s.
"""

import argparse
from typing import TYPE_CHECKING

from cyclone.cli import columns, common, connecting, output, parsing, selectors, show, tasks
from cyclone.errors import CycloneError, SubmitRefused

if TYPE_CHECKING:
    from cyclone.client.client import Client
    from cyclone.client.retrying import Retry

_USUAL_STATES = (*selectors.BAD_TASK_STATES, *selectors.MISSING_TASK_STATES)

_EXAMPLES = (
    ("cyclone retry 5", "a new job of all tasks of job 5 that did not complete"),
    (
        "cyclone retry last --only timed_out --dry-run",
        "how many tasks of the newest job have timed out; nothing is submitted",
    ),
    ("cyclone retry 5.17 --again", "once more, although task 17 was submitted again before"),
)


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Its command line."""
    parser = verbs.add_parser(
        "retry",
        help="submit again what did not complete of a job",
        description="Make a new job, with the same options, of those tasks of a job that have ended and did not "
        "complete, and print its number. It has the tag retry-of=ID. Saying the same again gives the same job; --again "
        "makes another one.",
        epilog=f"Exit codes: 0 done, 1 there is no such task or job, 75 no room for it, {connecting.EXIT_CODES}.",
    )
    argument = parser.add_argument(
        "selection",
        metavar="TASKS",
        type=selectors.tasks,
        help="a job, or tasks of it: 5, last, 5.17, 5.0-99",
    )
    argument.completer = connecting.offered_jobs  # type: ignore[attr-defined]
    selectors.add_states_option(
        parser,
        "--only",
        "-s",
        help=f"only tasks in these states (default: {', '.join(_USUAL_STATES)})",
        default=_USUAL_STATES,
    )
    parser.add_argument("--again", action="store_true", help="also where the same was submitted again before")
    parser.add_argument("--hold", action="store_true", help="the new job waits until it is released")
    parser.add_argument("--dry-run", action="store_true", help="say how many tasks it would be, and do nothing")
    parser.add_argument("--parsable", action="store_true", help="print nothing but the number of the new job")
    output.add_json_option(parser)
    connecting.add_options(parser)
    parsing.add_examples(parser, *_EXAMPLES)


def retry(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    from cyclone.client.retrying import Retry
    from cyclone.protocol.job_messages import SEALED

    with connecting.client(args) as client:
        job_id = _one_job(client, args.selection.jobs)
        if args.selection.indexes:
            tasks.check_indexes(client, job_id, args.selection.indexes)
        found = Retry(client, job_id, list(args.selection.indexes), args.states, args.hold)
        if args.dry_run:
            return _say(args, None, job_id, _counted(client, job_id, args, found))
        newest = connecting.newest_job(client)
        try:
            made = client.submit(found.spec, found, key=None if args.again else found.key)
        except SubmitRefused as error:
            if error.code != SEALED:
                raise
            raise CycloneError(
                "this was submitted again before, and since then more tasks have ended so: --again makes another job"
            ) from None
        if made <= newest and (before := client.detail(made).job):
            output.note(f"job {made} was made of them before ({before.state}): --again makes another one", args.json)
        return _say(args, made, job_id, found.count)


def _counted(client: "Client", job_id: int, args: argparse.Namespace, found: "Retry") -> int:
    """How many tasks are meant; those of a whole job the master has counted."""
    job = client.detail(job_id).job
    if args.selection.indexes or job is None:
        return sum(1 for _ in found.rows())
    return sum(job.tasks.get(state, 0) for state in args.states)


def _one_job(client: "Client", jobs: selectors.Jobs) -> int:
    if jobs.last:
        return show.newest(client, selectors.Task(None))
    if len(jobs.ids) != 1 or jobs.ids[0][0] != jobs.ids[0][1]:
        raise CycloneError("one job at a time: each becomes a job of its own")
    return jobs.ids[0][0]


def _say(args: argparse.Namespace, made: int | None, job_id: int, count: int) -> int:
    if args.json:
        output.print_json("cyclone.retry/1", {"job": made, "of": job_id, "tasks": count, "dry_run": args.dry_run})
    elif made is None:
        output.write(f"{columns.counted(count, 'task')} of job {job_id} would be submitted again")
    elif args.parsable:
        output.write(str(made))
    else:
        output.write(f"job {made}: {columns.counted(count, 'task')} of job {job_id}")
    return common.EXIT_OK
