"""``cyclone stats``: the figures of jobs, from their tasks; without a job those of the whole master.

The master adds up a job's tasks, some ten thousand for each answer: none of them is read here.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from cyclone.cli import columns, common, connecting, output, parsing, tasks
from cyclone.cli.columns import DURATION, ID, MOMENT, NUMBER, SIZE, TALLY, Column, Listing

if TYPE_CHECKING:
    from cyclone.client.client import Client
    from cyclone.protocol.figure_messages import TaskFigures
    from cyclone.task_figures import Figures

# Of so many jobs so many kinds of errors are told apart below the table.
_JOBS_SHOWN = _KINDS_SHOWN = 5
# How often it is told how many tasks are counted: by a bar on a terminal, by a line elsewhere.
_BAR_EVERY_S, _LINE_EVERY_S = 0.2, 5.0


class _OfJob(NamedTuple):
    """A job and the sums over those of its tasks that are meant."""

    job_id: int
    figures: "Figures"

    @property
    def elapsed_s(self) -> float:
        """From the first start to the last end."""
        return max(0.0, self.figures.finished - self.figures.started) if self.figures.ran else 0.0

    @property
    def rate(self) -> float:
        """Tasks a second in that time."""
        return self.figures.ran / self.elapsed_s if self.elapsed_s else 0.0


class _Reading:
    """How far we are, on standard error: a hundred million tasks take a while. Nothing where a program reads us."""

    def __init__(self, client: "Client", args: argparse.Namespace) -> None:
        self._client = client
        self._args = args
        self._every_s = _BAR_EVERY_S if sys.stderr.isatty() else _LINE_EVERY_S
        self._total: int | None = None
        self._bar: Any = None

    def figures(self) -> "Iterator[tuple[int, TaskFigures]]":
        """Of the tasks that are meant, job by job, as the master tells them. Raises NoSuchJob."""
        show_at = time.monotonic() + self._every_s
        count = 0
        try:
            for job_id, told in self._asked():
                if time.monotonic() >= show_at and not self._args.json:
                    self._show(count)
                    show_at = time.monotonic() + self._every_s
                count += sum(told.tasks.values())
                yield job_id, told
        finally:
            if self._bar is not None:
                self._bar.close()

    def _asked(self) -> "Iterator[tuple[int, TaskFigures]]":
        for one in self._args.selection:
            for job_id in tasks.job_ids(self._client, one.jobs):
                is_empty = True
                for low, high in one.indexes or ((0, None),):
                    for told in _pages(self._client, job_id, low, None if high is None else high + 1):
                        is_empty = is_empty and not told.tasks
                        yield job_id, told
                if is_empty:
                    # There is nothing to tell, or nothing to tell it of.
                    tasks.check_indexes(self._client, job_id, one.indexes)

    def _show(self, count: int) -> None:
        if self._total is None:
            # By the master's own counts; of parts of jobs nobody knows how much of them there is.
            meant = () if any(one.indexes for one in self._args.selection) else self._args.selection
            self._total = sum(
                sum(job.tasks.values()) for one in meant for job in self._client.jobs(one.jobs.selection())
            )
        if not sys.stderr.isatty():
            of_all = f" of {self._total:,}" if self._total else ""
            output.note(f"{count:,}{of_all} tasks counted")
            return
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=self._total or None, unit=" tasks", smoothing=0.1, leave=False, file=sys.stderr)
        self._bar.n = count
        self._bar.refresh()


def _pages(client: "Client", job_id: int, low: int, stop: int | None) -> "Iterator[TaskFigures]":
    """Of the tasks with indexes from ``low`` on, each page of them once."""
    from cyclone.protocol.figure_messages import FiguresReport, FiguresRequest

    position: int | None = low
    while position is not None:
        report = client.expect(FiguresReport, partial(FiguresRequest, job_id=job_id, start=position, stop=stop))
        yield report.figures
        position = report.next


def _of_those_that_ran(value: "float | int", one: _OfJob) -> "float | int | None":
    return value if one.figures.ran else None


def _mean_s(one: _OfJob) -> "float | None":
    return one.figures.seconds / one.figures.ran if one.figures.ran else None


LISTING = Listing(
    "cyclone.stats/1",
    "jobs",
    (
        Column("job", lambda one: one.job_id, ID),
        Column("tasks", lambda one: sum(one.figures.tasks.values()), NUMBER),
        Column("states", lambda one: dict(one.figures.tasks), TALLY),
        Column("attempts", lambda one: one.figures.attempts, NUMBER, shown=False),
        Column("mean_s", _mean_s, DURATION, title="mean"),
        Column("shortest_s", lambda one: _of_those_that_ran(one.figures.shortest_s, one), DURATION, title="min"),
        Column("longest_s", lambda one: _of_those_that_ran(one.figures.longest_s, one), DURATION, title="max"),
        Column("seconds", lambda one: one.figures.seconds, DURATION, title="sum"),
        Column("cpu_s", lambda one: one.figures.cpu_s, DURATION, title="cpu"),
        Column("peak_bytes", lambda one: one.figures.peak_bytes, SIZE, title="peak"),
        Column("started", lambda one: one.figures.started if one.figures.ran else 0.0, MOMENT, shown=False),
        Column("elapsed_s", lambda one: one.elapsed_s, DURATION, title="elapsed"),
        Column("rate", lambda one: round(one.rate, 3), NUMBER, title="tasks/s"),
        Column("nodes", lambda one: len(one.figures.nodes), NUMBER),
        Column("errors", lambda one: {kind: count for kind, count, _ in one.figures.failures}, TALLY, shown=False),
    ),
)

_EXAMPLES = (
    ("cyclone stats 5", "job 5: times, CPU, memory, tasks a second, and what went wrong"),
    ("cyclone stats 5.0-99 -o tasks,mean_s,longest_s,peak_bytes", "some of these figures, of its first hundred tasks"),
    ("cyclone stats", "the whole master in a few lines"),
)


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Its command line."""
    parser = verbs.add_parser(
        "stats",
        help="figures of jobs: times, CPU, memory, rate, failures by cause",
        description="Add up the tasks of jobs: their times, CPU, memory, rate, nodes, and what went wrong. Without a "
        "job, say in a few lines what the whole master has and does.",
        epilog=f"Exit codes: 0 done, 1 there is no such job, {connecting.EXIT_CODES}.",
    )
    tasks.add_selection(parser, "*")
    output.add_list_options(parser, LISTING)
    connecting.add_options(parser)
    parsing.add_examples(parser, *_EXAMPLES)


def stats(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    with connecting.client(args) as client:
        if not args.selection:
            return _of_master(client, args)
        shown: list[_OfJob] = []
        output.print_rows(LISTING, _jobs(client, args, shown), args)
    if not (args.json or args.shape or args.parsable):
        for one in shown:
            for kind, count, index in one.figures.failures[:_KINDS_SHOWN]:
                output.note(f"job {one.job_id}: {count:,} x {columns.error_text(kind)} (such as {one.job_id}.{index})")
    return common.EXIT_OK


def _jobs(client: "Client", args: argparse.Namespace, shown: list[_OfJob]) -> Iterator[_OfJob]:
    """Each job that has tasks, when all of them are counted; ``shown`` keeps some of those that had errors."""
    from cyclone.task_figures import Figures

    for job_id, of_job in groupby(_Reading(client, args).figures(), key=itemgetter(0)):
        one = _OfJob(job_id, Figures())
        for _, told in of_job:
            one.figures.add(told)
        if one.figures.failures and len(shown) < _JOBS_SHOWN:
            shown.append(one)
        if one.figures.tasks:
            yield one


def _of_master(client: "Client", args: argparse.Namespace) -> int:
    report, held = client.status(), client.namespaces()
    slots = sum(one.slots for one in report.controllers)
    busy = sum(one.busy for one in report.controllers)
    resting = sum(one.resting for one in report.controllers)
    open_jobs = sum(one.open_jobs for one in held)
    if args.json:
        fields = {"tasks": report.tasks, "open_jobs": open_jobs, "namespaces": len(held)}
        fields |= {"controllers": len(report.controllers), "slots": slots, "busy": busy}
        fields["resting"] = resting
        output.print_json("cyclone.master_stats/1", fields)
        return common.EXIT_OK
    at_work = busy - resting
    share = f", {100 * at_work / slots:.0f} %" if slots else ""
    at_rest = f"; {resting:,} at rest after a task" if resting else ""
    output.print_pairs(
        [
            ("tasks", columns.TALLY.for_people(report.tasks) or "none yet"),
            ("open jobs", f"{open_jobs:,} in {len(held):,} namespaces"),
            ("controllers", f"{len(report.controllers):,}"),
            ("slots", f"{at_work:,} of {slots:,} at work{share}{at_rest}"),
        ]
    )
    return common.EXIT_OK
