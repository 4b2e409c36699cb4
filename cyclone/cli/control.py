"""``cyclone hold``, ``release``, ``seal``: jobs wait, go on, get no more tasks. ``requeue``: tasks go back."""

import argparse

from cyclone.cli import answers, connecting, output, selectors, tasks

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


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Their command lines."""
    for name, (summary, description) in _ACTIONS.items():
        parser = verbs.add_parser(name, help=summary, description=description)
        add_jobs(parser)
        selectors.add_filters(parser)
        _finish(parser)
    requeue = verbs.add_parser(
        "requeue",
        help="take tasks back from their nodes, to run again",
        description="Take tasks back from the nodes that have them, and let them wait again, in front of the others of "
        "their job. What runs of them is stopped. Nothing is charged.",
    )
    tasks.add_selection(requeue)
    _finish(requeue)


def add_jobs(parser: argparse.ArgumentParser, nargs: str = "+") -> None:
    """Which jobs."""
    argument = parser.add_argument(
        "selection", metavar="JOBS", nargs=nargs, type=selectors.jobs, help=f"which: {selectors.JOBS_FORMS}"
    )
    argument.completer = connecting.offered_jobs  # type: ignore[attr-defined]


def hold(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    with connecting.client(args) as client:
        return answers.say([("", client.hold(selectors.merged(args.selection).selection(args)))], args)


def release(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    with connecting.client(args) as client:
        return answers.say([("", client.release(selectors.merged(args.selection).selection(args)))], args)


def seal(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    with connecting.client(args) as client:
        return answers.say([("", client.seal(selectors.merged(args.selection).selection(args)))], args)


def requeue(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    with connecting.client(args) as client:
        found = [
            (f"job {job_id}", client.requeue(job_id, list(one.indexes)))
            for one in args.selection
            for job_id in tasks.submitted(client, one.jobs)
        ]
    return answers.say(found, args)


def _finish(parser: argparse.ArgumentParser) -> None:
    output.add_json_option(parser)
    connecting.add_options(parser)
    parser.epilog = f"Exit codes: 0 done, 1 not granted, {connecting.EXIT_CODES}."
