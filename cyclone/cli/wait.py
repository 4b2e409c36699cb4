"""``cyclone wait``: until jobs have ended, and how they did."""

import argparse
import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cyclone.cli import columns, common, connecting, control, jobs, output, parsing, selectors

if TYPE_CHECKING:
    from cyclone.client.client import Client
    from cyclone.protocol.job_messages import JobSummary

# Of how many jobs one question is about.
_JOBS_AT_ONCE = 1000
_BAR_EVERY_S = 0.5
_LINE_EVERY_S = 5.0

_EXAMPLES = (
    ("cyclone wait 5 --progress", "until job 5 has ended, with a bar"),
    ("cyclone wait 5 && ./publish", "go on only where all of its tasks have completed"),
    ("cyclone wait all -n night --timeout 1h", "all jobs of a namespace that are open now; 124 after an hour"),
)


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Its command line."""
    parser = verbs.add_parser(
        "wait",
        help="wait until jobs have ended",
        description="Wait until jobs have ended. `all` are those that are open now.",
        epilog="Exit codes: 0 every task completed, 1 some did not (with --infra-only: 0), 124 the time is over, which "
        f"tells how far they are, {connecting.EXIT_CODES}.",
    )
    control.add_jobs(parser)
    selectors.add_filters(parser)
    parser.add_argument("--timeout", metavar="TIME", type=connecting.duration, help="no longer than this: 90, 10m")
    parser.add_argument("--progress", action="store_true", help="show how far they are, on standard error")
    parser.add_argument(
        "--infra-only",
        action="store_true",
        help="end with 0 also where tasks failed: only trouble with the master counts",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing at the end")
    output.add_json_option(parser)
    connecting.add_options(parser)
    parsing.add_examples(parser, *_EXAMPLES)


def wait(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    deadline = None if args.timeout is None else time.monotonic() + args.timeout
    with connecting.client(args, is_patient=True, patience_s=args.timeout) as client:
        ids = _ids(client, args)
        found: list[JobSummary] = []
        is_late = False
        with contextlib.closing(Progress(args.progress, args.json)) as progress:
            for first in range(0, len(ids), _JOBS_AT_ONCE):
                some = ids[first : first + _JOBS_AT_ONCE]
                try:
                    found += waited(client, some, deadline, progress)
                except TimeoutError:
                    is_late = True
                    found += sorted(_now(client, some), key=lambda job: job.job_id)
    if args.json:
        fields = [{one.name: one.kind.as_json(one.get(job)) for one in jobs.LISTING.columns} for job in found]
        output.print_json("cyclone.wait/1", {"timed_out": is_late, "jobs": fields})
    elif not args.quiet:
        for job in found:
            output.note(columns.summary_text(job))
    if is_late:
        return common.EXIT_TIMEOUT
    good = args.infra_only or all(job.state == "completed" for job in found)
    return common.EXIT_OK if good else common.EXIT_FAILED


def _now(client: "Client", ids: Sequence[int]) -> "Iterator[JobSummary]":
    return client.jobs(selectors.Jobs(tuple(selectors.joined((one, one) for one in ids))).selection())


def _ids(client: "Client", args: argparse.Namespace) -> list[int]:
    """The jobs that are meant; a number that is written must be there, of ranges what is."""
    chosen = selectors.merged(args.selection)
    if chosen.ids and all(low == high for low, high in chosen.ids):
        return [low for low, _ in chosen.ids]
    args.job_states = selectors.OPEN_JOB_STATES if chosen.is_all else ()
    found = sorted(job.job_id for job in client.jobs(chosen.selection(args)))
    if not found and args.namespace:
        from cyclone.cli import namespaces

        # That nothing is to be waited for would be bad news for who has mistyped it.
        namespaces.require(client, args.namespace)
    if not found and not chosen.is_all:
        raise selectors.no_job(chosen)
    return found


def waited(client: "Client", ids: Sequence[int], deadline: float | None, progress: "Progress") -> "list[JobSummary]":
    """These jobs when they have ended. Raises TimeoutError at the deadline."""
    while True:
        left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
        if progress.every_s is None:
            return client.wait(ids, left_s)
        try:
            ended = client.wait(ids, progress.every_s if left_s is None else min(left_s, progress.every_s))
        except TimeoutError:
            if left_s is not None and left_s <= progress.every_s:
                raise
            progress.show(list(_now(client, ids)))
        else:
            progress.show(ended)
            return ended


class Progress:
    """A bar on a terminal, a line now and then elsewhere; ``every_s`` is how often, None for never."""

    def __init__(self, is_wanted: bool, as_json: bool = False) -> None:
        self._as_json = as_json
        self.every_s = (_BAR_EVERY_S if sys.stderr.isatty() else _LINE_EVERY_S) if is_wanted else None
        self._bar: Any = None

    def show(self, found: "Sequence[JobSummary]") -> None:
        """Where these jobs are."""
        total = sum(sum(job.tasks.values()) for job in found)
        ended = sum(job.tasks.get(state, 0) for job in found for state in selectors.ENDED_TASK_STATES)
        bad = sum(job.tasks.get(state, 0) for job in found for state in selectors.BAD_TASK_STATES)
        if not sys.stderr.isatty():
            output.note(f"{ended:,} of {total:,} tasks ended{f', {bad:,} of them badly' if bad else ''}", self._as_json)
            return
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=total, initial=ended, unit=" tasks", smoothing=0.1, file=sys.stderr)
        self._bar.total = total
        self._bar.n = ended
        self._bar.set_postfix_str(f"{bad:,} failed" if bad else "", refresh=False)
        self._bar.refresh()

    def close(self) -> None:
        """Leave the terminal tidy."""
        if self._bar is not None:
            self._bar.close()
