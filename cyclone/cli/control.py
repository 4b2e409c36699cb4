"""``cyclone hold``, ``release``, ``seal``: jobs wait, go on, get no more tasks. ``requeue``: tasks go back.

Owns what is meant where jobs are changed: the same as where they are looked at. The master knows open jobs only, and
would take an older one for the last, where that has ended.
"""

import argparse
from typing import TYPE_CHECKING

from cyclone.cli import answers, connecting, output, parsing, selectors, tasks
from cyclone.errors import CycloneError

if TYPE_CHECKING:
    from cyclone.client.client import Client
    from cyclone.protocol.client_messages import Answer

_ACTIONS = {
    "hold": (
        "start no task of jobs until they are released",
        "Start no task of these jobs until `cyclone release`. What runs goes on.",
    ),
    "release": ("let held jobs go on", "Let jobs go on that were held, or submitted with --hold."),
    "seal": (
        "give jobs no more tasks",
        "Say that these jobs get no more tasks: they end with those that they have. A job is sealed by whoever submits "
        "it; this is for one whose submitter has gone in the middle.",
    ),
}

_EXAMPLES = {
    "hold": (
        ("cyclone hold 5", "start no more tasks of job 5"),
        ("cyclone hold all -n night", "start no more tasks of all open jobs of a namespace"),
    ),
    "release": (
        ("cyclone release 5", "job 5 goes on"),
        ("cyclone release all --tag campaign=2026", "all held jobs with this tag go on"),
    ),
    "seal": (("cyclone seal 5", "job 5 ends with the tasks that it has"),),
    "requeue": (
        ("cyclone requeue 5", "all tasks of job 5 that nodes have begin again"),
        ("cyclone requeue 5.17", "one of them, from a node that hangs"),
    ),
}


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Their command lines."""
    for name, (summary, description) in _ACTIONS.items():
        parser = verbs.add_parser(name, help=summary, description=description)
        add_jobs(parser)
        selectors.add_filters(parser)
        _finish(parser)
        parsing.add_examples(parser, *_EXAMPLES[name])
    requeue = verbs.add_parser(
        "requeue",
        help="take tasks back from their nodes, to run again",
        description="Take tasks back from the nodes that have them, and let them wait again, in front of the others of "
        "their job. What runs of them is stopped. Nothing is charged.",
    )
    tasks.add_selection(requeue)
    _finish(requeue)
    parsing.add_examples(requeue, *_EXAMPLES["requeue"])


def add_jobs(parser: argparse.ArgumentParser, nargs: str = "+") -> None:
    """Which jobs."""
    argument = parser.add_argument(
        "selection", metavar="JOBS", nargs=nargs, type=selectors.jobs, help=f"which: {selectors.JOBS_FORMS}"
    )
    argument.completer = connecting.offered_jobs  # type: ignore[attr-defined]


def meant(client: "Client", jobs: selectors.Jobs, args: argparse.Namespace) -> selectors.Jobs:
    """The jobs, by its number where the newest is meant. Raises NoSuchJob, NoSuchNamespace, CycloneError where it is
    the generator's.
    """
    if namespace := getattr(args, "namespace", None):
        from cyclone.cli import namespaces

        namespaces.require(client, namespace)
    if jobs.last:
        newest = next(client.jobs(jobs.selection(args)), None)
        if newest is None:
            raise selectors.no_job(jobs)
        jobs = selectors.one_job(newest.job_id)
    if jobs == selectors.one_job(0):
        raise CycloneError(
            "job 0 is the generator's: `cyclone pause default` lets its tasks wait, and `cyclone cancel --tasks IDS` "
            "ends them"
        )
    return jobs


def told(client: "Client", jobs: selectors.Jobs, answer: "Answer") -> "Answer":
    """The answer about jobs; where a single one was meant that has ended, this is what it says. Raises NoSuchJob."""
    if answer.granted or len(jobs.ids) != 1 or jobs.ids[0][0] != jobs.ids[0][1]:
        return answer
    job = client.detail(jobs.ids[0][0]).job
    if job is None or job.state not in selectors.ENDED_JOB_STATES:
        return answer
    import msgspec

    return msgspec.structs.replace(answer, text=f"job {job.job_id} has ended: {job.state}")


def hold(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    return _steer(args, "hold")


def release(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    return _steer(args, "release")


def seal(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    return _steer(args, "seal")


def _steer(args: argparse.Namespace, wish: str) -> int:
    with connecting.client(args) as client:
        jobs = meant(client, selectors.merged(args.selection), args)
        steered = {"hold": client.hold, "release": client.release, "seal": client.seal}[wish]
        return answers.say([("", told(client, jobs, steered(jobs.selection(args))))], args)


def requeue(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    with connecting.client(args) as client:
        found = [
            (f"job {job_id}", told(client, selectors.one_job(job_id), client.requeue(job_id, list(one.indexes))))
            for one in args.selection
            for job_id in tasks.submitted(client, one.jobs)
        ]
    return answers.say(found, args)


def _finish(parser: argparse.ArgumentParser) -> None:
    output.add_json_option(parser)
    connecting.add_options(parser)
    parser.epilog = f"Exit codes: 0 done, 1 not granted, {connecting.EXIT_CODES}."
