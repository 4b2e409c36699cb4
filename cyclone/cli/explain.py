"""``cyclone explain``: why a job, or a task of it, does not run."""

import argparse
import re
from typing import TYPE_CHECKING

from cyclone.cli import columns, common, connecting, output, parsing, selectors, show

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cyclone.client.client import Client

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
# What keeps a job whoever waits before it: it would not run if it were the only one.
_KEEPS = frozenset(("held", "paused", "not_before", "parallel", "limit", "no_controller", "no_fit"))
_KEEPS |= {"master_rests", "cancelled", "expired"}
# The same, unless another controller will take it in time.
_AWAY = frozenset(("drained", "suspected", "leaving", "unreachable"))
_LATER = frozenset(("kept", "busy", "resting", "no_credit"))

_EXAMPLES = (
    ("cyclone explain 5", "why job 5 does not run: it is held, all is busy, no node fits it"),
    ("cyclone explain 5.17", "why one of its tasks does not, and what waits before it"),
)


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Its command line."""
    parser = verbs.add_parser(
        "explain",
        help="why a job or a task does not run",
        description="Say why a job, or one task of it, does not run: what matters most comes first.",
        epilog=f"Exit codes: 0 done, 1 there is none, {connecting.EXIT_CODES}.",
    )
    show.add_place(parser)
    output.add_json_option(parser)
    connecting.add_options(parser)
    parsing.add_examples(parser, *_EXAMPLES)


def explain(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    with connecting.client(args) as client:
        job_id = show.newest(client, args.place)
        job = client.detail(job_id).job
        assert job is not None
        # What has ended is told by what is listed: the master remembers reasons of open jobs only.
        if job.state not in selectors.ENDED_JOB_STATES:
            reasons = client.explain(job_id, args.place.number)
            if args.place.number is not None and [code for code, _ in reasons] == ["done"]:
                reasons = [_ended(client, job_id, args.place.number)]
        elif args.place.number is None:
            counts = columns.TALLY.for_people(job.tasks) or "it had no tasks"
            reasons = [("ended", f"job {job_id} has ended: {job.state}; {counts}")]
        else:
            reasons = [_ended(client, job_id, args.place.number)]
    if args.json:
        found = [{"code": code, "text": text} for code, text in reasons]
        output.print_json("cyclone.explanation/1", {"job": job_id, "index": args.place.number, "reasons": found})
    else:
        for text in _for_people(reasons):
            output.write(columns.safe(text))
    return common.EXIT_OK


def _ended(client: "Client", job_id: int, index: int) -> tuple[str, str]:
    row = show.one_task(client, job_id, index).row
    error = f": {columns.error_text(row.error)}" if row.error else ""
    return "ended", f"task {job_id}.{row.index} has ended: {row.state}{error}"


def _for_people(reasons: "Sequence[tuple[str, str]]") -> "Iterator[str]":
    """The sentences, with moments as everywhere in tables; without its place in a queue where that keeps it not."""
    from datetime import datetime

    def moment(found: re.Match[str]) -> str:
        return columns.moment_text(datetime.fromisoformat(found[0]).timestamp())

    codes = {code for code, _ in reasons}
    is_kept = bool(codes & _KEEPS or (codes & _AWAY and not codes & _LATER))
    for code, text in reasons:
        if not (is_kept and code == "position"):
            yield _MOMENT.sub(moment, text)
