"""``cyclone cancel``: jobs, tasks of jobs, or tasks of the whole master, ended before their time.

Owns how the two are told apart on a command line: JOBS and TASKS are submitted jobs and their tasks; ``--tasks``,
``--class``, ``--state`` and ``--all`` mean tasks whosever they are, which is an administrator's right.
"""

import argparse
from functools import partial
from typing import TYPE_CHECKING

from cyclone.cli import answers, connecting, control, output, parsing, selectors, tasks
from cyclone.cli.submit_values import argument, line
from cyclone.errors import NoSuchJob, UsageError

if TYPE_CHECKING:
    from cyclone.client.client import Client
    from cyclone.protocol.client_messages import Answer

_DESCRIPTION = """\
Cancel jobs, or tasks of them: what waits ends at once; what runs gets SIGTERM, after a grace SIGKILL, and is cancelled
when its controller says that it is gone. What is cancelled never completes. A job all of whose tasks have ended has
ended itself. With --tasks, --class, --state or --all tasks of the whole master are meant, also the generator's.
"""

_EXAMPLES = (
    ("cyclone cancel 5 --reason 'wrong input'", "a job, and what it runs"),
    ("cyclone cancel 5.50-99 --dry-run", "how many tasks these would be; nothing is cancelled"),
    ("cyclone cancel all -n night --only pending", "what has not begun, of all jobs of a namespace"),
    ("cyclone cancel --tasks 17-42", "tasks by their ids in the master, also a generator's"),
)


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Its command line."""
    parser = verbs.add_parser("cancel", help="end jobs or tasks before their time", description=_DESCRIPTION)
    parser.epilog = f"Exit codes: 0 done, 1 not granted, {connecting.EXIT_CODES}."
    tasks.add_selection(parser, "*")
    selectors.add_states_option(parser, "--only", "-s", help="only tasks in these states")
    parser.add_argument(
        "--reason", metavar="TEXT", type=argument(line), default="", help="why, for whoever looks at the job later"
    )
    parser.add_argument("--dry-run", action="store_true", help="say how many tasks it would be, and do nothing")
    output.add_yes_option(parser)
    selectors.add_filters(parser)
    whole = parser.add_argument_group("tasks of the whole master, instead of JOBS and TASKS")
    whole.add_argument("--tasks", metavar="IDS", type=selectors.task_ids, help="these task ids, such as 17 or 17-42")
    whole.add_argument("--class", metavar="MODULE:CLASS", dest="task_class", help="only tasks of this class")
    whole.add_argument("--state", choices=("queued", "leased"), help="only those that wait, or that are at work")
    whole.add_argument("--all", action="store_true", help="every task that has no result")
    output.add_json_option(parser)
    connecting.add_options(parser)
    parsing.add_examples(parser, *_EXAMPLES)


def cancel(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    of_master = bool(args.tasks or args.task_class or args.state or args.all)
    if of_master == bool(args.selection):
        raise UsageError(
            "cancel what? Give jobs or tasks of them, such as 5, 5.17 or `cyclone cancel all --name NAME`, or else "
            "task ids of the whole master by --tasks, --class, --state or --all"
        )
    if of_master and (args.dry_run or args.reason or args.states):
        raise UsageError("--dry-run, --reason and --only are for jobs and their tasks, not for the whole master")
    with connecting.client(args) as client:
        if of_master:
            if args.all:
                output.confirm(lambda: "every task without a result that fits, of the whole master: cancel them?", args)
            return answers.say(_of_master(client, args), args)
        if any(one.jobs.is_all for one in args.selection) and not args.dry_run:
            output.confirm(lambda: f"{_of_jobs(client, args, dry_run=True)[0][1].text}: go on?", args)
        return answers.say(_of_jobs(client, args, args.dry_run), args)


def _of_jobs(client: "Client", args: argparse.Namespace, dry_run: bool) -> "list[tuple[str, Answer]]":
    """Whole jobs in one question, however many; a question for each job of which only tasks are meant."""
    whole = [one.jobs for one in args.selection if not one.indexes]
    chosen = [selectors.Tasks(selectors.merged(whole))] if whole else []
    chosen += [one for one in args.selection if one.indexes]
    found = []
    for named, indexes in chosen:
        jobs = control.meant(client, named, args)
        answer = client.cancel(
            jobs.selection(args), indexes=list(indexes), states=args.states, reason=args.reason, dry_run=dry_run
        )
        answer = control.told(client, jobs, answer)
        if indexes and not answer.count and not answer.code:
            answer = _refused_if_none(client, jobs.ids[0][0], indexes, answer)
        found.append((f"job {selectors.fold(jobs.ids) or 'all'}", answer))
    return found


def _refused_if_none(client: "Client", job_id: int, indexes: tuple[tuple[int, int], ...], answer: "Answer") -> "Answer":
    """The answer; a refusal where the job never had any of these tasks."""
    try:
        job = client.detail(job_id).job
    except NoSuchJob:
        # It has ended so long ago that nothing more is known of it.
        return answer
    assert job is not None
    if not (text := tasks.lacks(job, indexes)):
        return answer
    import msgspec

    return msgspec.structs.replace(answer, granted=False, text=text)


def _of_master(client: "Client", args: argparse.Namespace) -> "list[tuple[str, Answer]]":
    from cyclone.protocol import limits
    from cyclone.protocol.client_messages import Answer, CancelRequest

    found: list[tuple[str, Answer]] = []
    for low, high in args.tasks or ((1, limits.ID_MAX),):
        make = partial(CancelRequest, first=low, last=high, task_class=args.task_class or "", state=args.state or "")
        answer = client.ask(make)
        assert isinstance(answer, Answer)
        found.append((f"tasks {low}-{high}", answer))
    return found
