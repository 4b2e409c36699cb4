"""``cyclone retry``: a new job of those tasks of a job that did not complete, with the same options.

Owns which tasks these are and what the new job is called. The master knows nothing of it: tasks are read page by page,
and submitted as they come. The new job's key follows from the old job and the selection, so that saying it twice makes
one job.
"""

import argparse
import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cyclone.cli import columns, common, connecting, output, selectors, show, tasks
from cyclone.errors import CycloneError, SubmitRefused

if TYPE_CHECKING:
    from cyclone.client.client import Client
    from cyclone.protocol.job_messages import JobSummary
    from cyclone.protocol.job_spec import JobSpec

TAG = "retry-of"
_USUAL_STATES = (*selectors.BAD_TASK_STATES, *selectors.MISSING_TASK_STATES)


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Its command line."""
    parser = verbs.add_parser(
        "retry",
        help="submit again what did not complete of a job",
        description="Make a new job, with the same options, of those tasks of a job that have ended and did not "
        f"complete, and print its number. It has the tag {TAG}=ID. Saying the same again gives the same job; --again "
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


def retry(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    from cyclone.protocol.job_messages import SEALED

    if open_states := set(args.states) - set(selectors.ENDED_TASK_STATES):
        raise CycloneError(f"a task that is {', '.join(sorted(open_states))} has not ended: it needs no retry")
    with connecting.client(args) as client:
        job_id = _one_job(client, args.selection.jobs)
        found = _Args(client, job_id, args)
        if args.dry_run:
            count = sum(1 for _ in found)
            return _say(args, None, job_id, count)
        detail = client.detail(job_id, with_shared=True)
        assert detail.job is not None
        if detail.spec is None:
            raise CycloneError("the tasks of job 0 are the generator's: it alone can yield them again")
        first = next(iter(found), None)
        if first is None:
            raise CycloneError(f"job {job_id} has no task that is {', '.join(args.states)}")
        key = None if args.again else _key(detail.job, args)
        try:
            made = client.submit(_spec(detail.spec, job_id, args.hold), found, key=key)
        except SubmitRefused as error:
            if error.code != SEALED:
                raise
            raise CycloneError(
                "this was submitted again before, and since then more tasks have ended so: --again makes another job"
            ) from None
        return _say(args, made, job_id, found.count)


class _Args:
    """The arguments of the tasks that are meant, read as they are wanted; ``count`` is how many that were."""

    def __init__(self, client: "Client", job_id: int, args: argparse.Namespace) -> None:
        self._client = client
        self._chosen = selectors.Tasks(selectors.Jobs(((job_id, job_id),)), args.selection.indexes)
        self._states = args.states
        self.count = 0

    def __iter__(self) -> Iterator[bytes]:
        self.count = 0
        for task in tasks.chosen(self._client, [self._chosen], self._states, with_args=True):
            if not task.row.args:
                raise CycloneError(f"the arguments of task {task.job_id}.{task.row.index} are not here any more")
            self.count += 1
            yield task.row.args


def _one_job(client: "Client", jobs: selectors.Jobs) -> int:
    if jobs.last:
        return show.newest(client, selectors.Task(None))
    if len(jobs.ids) != 1 or jobs.ids[0][0] != jobs.ids[0][1]:
        raise CycloneError("one job at a time: each becomes a job of its own")
    return jobs.ids[0][0]


def _spec(spec: "JobSpec", job_id: int, hold: bool) -> "JobSpec":
    """The options of the old job; moments that were its own do not hold for the new one."""
    import msgspec

    tags = {**spec.tags, TAG: str(job_id)}
    return msgspec.structs.replace(spec, tags=tags, held=hold, not_before=None, not_after=None)


def _key(job: "JobSummary", args: argparse.Namespace) -> bytes:
    """The same for the same job, wherever its number was given once more, and the same selection."""
    text = f"retry {job.job_id} {job.submitted!r} {sorted(args.states)} {args.selection.indexes}"
    return hashlib.sha256(text.encode()).digest()[:16]


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
