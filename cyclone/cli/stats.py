"""``cyclone stats``: the figures of jobs, from their tasks; without a job those of the whole master.

A job's tasks are read page by page and counted: nothing is kept of them but sums.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from cyclone.cli import columns, common, connecting, output, tasks
from cyclone.cli.causes import Causes
from cyclone.cli.columns import DURATION, ID, MOMENT, NUMBER, SIZE, TALLY, Column, Listing

if TYPE_CHECKING:
    from cyclone.client.client import Client
    from cyclone.protocol.job_messages import TaskRow

_CAUSES_SHOWN = 5
# How often it is told how many tasks are read: by a bar on a terminal, by a line elsewhere.
_BAR_EVERY_S, _LINE_EVERY_S = 0.2, 5.0
_TASKS_BETWEEN_LOOKS = 1024


class _Reading:
    """How far we are, on standard error: a million tasks take a while. Nothing where a program reads us."""

    def __init__(self, client: "Client", args: argparse.Namespace) -> None:
        self._client = client
        self._args = args
        self._every_s = _BAR_EVERY_S if sys.stderr.isatty() else _LINE_EVERY_S
        self._total: int | None = None
        self._bar: Any = None

    def tasks(self) -> Iterator[tasks.JobTask]:
        """Those that are meant."""
        show_at = time.monotonic() + self._every_s
        try:
            for count, task in enumerate(tasks.chosen(self._client, self._args.selection)):
                if count % _TASKS_BETWEEN_LOOKS == 0 and time.monotonic() >= show_at and not self._args.json:
                    self._show(count)
                    show_at = time.monotonic() + self._every_s
                yield task
        finally:
            if self._bar is not None:
                self._bar.close()

    def _show(self, count: int) -> None:
        if self._total is None:
            # By the master's own counts; of parts of jobs nobody knows how much of them there is.
            meant = () if any(one.indexes for one in self._args.selection) else self._args.selection
            self._total = sum(
                sum(job.tasks.values()) for one in meant for job in self._client.jobs(one.jobs.selection())
            )
        if not sys.stderr.isatty():
            of_all = f" of {self._total:,}" if self._total else ""
            output.note(f"{count:,}{of_all} tasks read")
            return
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=self._total or None, unit=" tasks", smoothing=0.1, leave=False, file=sys.stderr)
        self._bar.n = count
        self._bar.refresh()


class _Figures:
    """Sums over the tasks of a job. ``rate`` is tasks a second, from the first start to the last end."""

    def __init__(self, job_id: int) -> None:
        self.job_id = job_id
        self.states: Counter[str] = Counter()
        self.nodes: set[str] = set()
        self.causes = Causes()
        self.ran = self.attempts = self.peak_bytes = 0
        self.seconds = self.longest_s = self.cpu_s = self.finished = 0.0
        self.shortest_s = self.started = float("inf")

    def add(self, row: "TaskRow") -> None:
        """Count a task."""
        self.states[row.state] += 1
        self.attempts += row.attempt
        self.causes.add(row)
        if row.controller:
            self.nodes.add(row.controller)
        if not row.started:
            return
        self.ran += 1
        self.seconds += row.seconds
        self.cpu_s += row.cpu_s
        self.peak_bytes = max(self.peak_bytes, row.peak_bytes)
        self.shortest_s = min(self.shortest_s, row.seconds)
        self.longest_s = max(self.longest_s, row.seconds)
        self.started = min(self.started, row.started)
        self.finished = max(self.finished, row.started + row.seconds)

    @property
    def elapsed_s(self) -> float:
        """From the first start to the last end."""
        return max(0.0, self.finished - self.started) if self.ran else 0.0

    @property
    def rate(self) -> float:
        """Tasks a second."""
        return self.ran / self.elapsed_s if self.elapsed_s else 0.0


def _of_those_that_ran(value: "float | int", figures: _Figures) -> "float | int | None":
    return value if figures.ran else None


LISTING = Listing(
    "cyclone.stats/1",
    "jobs",
    (
        Column("job", lambda one: one.job_id, ID),
        Column("tasks", lambda one: sum(one.states.values()), NUMBER),
        Column("states", lambda one: dict(one.states), TALLY),
        Column("attempts", lambda one: one.attempts, NUMBER, shown=False),
        Column("mean_s", lambda one: _of_those_that_ran(one.seconds / max(one.ran, 1), one), DURATION, title="mean"),
        Column("shortest_s", lambda one: _of_those_that_ran(one.shortest_s, one), DURATION, title="min"),
        Column("longest_s", lambda one: _of_those_that_ran(one.longest_s, one), DURATION, title="max"),
        Column("seconds", lambda one: one.seconds, DURATION, title="sum"),
        Column("cpu_s", lambda one: one.cpu_s, DURATION, title="cpu"),
        Column("peak_bytes", lambda one: one.peak_bytes, SIZE, title="peak"),
        Column("started", lambda one: one.started if one.ran else 0.0, MOMENT, shown=False),
        Column("elapsed_s", lambda one: one.elapsed_s, DURATION, title="elapsed"),
        Column("rate", lambda one: round(one.rate, 3), NUMBER, title="tasks/s"),
        Column("nodes", lambda one: len(one.nodes), NUMBER),
        Column("errors", lambda one: {cause: count for cause, count, _ in one.causes.ranked()}, TALLY, shown=False),
    ),
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


def stats(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    with connecting.client(args) as client:
        if not args.selection:
            return _of_master(client, args)
        shown: list[_Figures] = []
        output.print_rows(LISTING, _figures(client, args, shown), args)
    if not (args.json or args.shape or args.parsable):
        for one in shown:
            for cause, count, index in one.causes.ranked()[:_CAUSES_SHOWN]:
                output.note(f"job {one.job_id}: {count:,} x {columns.error_text(cause)} (such as {one.job_id}.{index})")
    return common.EXIT_OK


def _figures(client: "Client", args: argparse.Namespace, shown: list[_Figures]) -> Iterable[_Figures]:
    """Of each job when all of its tasks are counted; ``shown`` keeps those that had errors."""
    figures: _Figures | None = None
    for task in _Reading(client, args).tasks():
        if figures is None or figures.job_id != task.job_id:
            if figures is not None:
                yield figures
            figures = _Figures(task.job_id)
        figures.add(task.row)
        if figures.causes and figures not in shown and len(shown) < _CAUSES_SHOWN:
            shown.append(figures)
    if figures is not None:
        yield figures


def _of_master(client: "Client", args: argparse.Namespace) -> int:
    report, held = client.status(), client.namespaces()
    slots = sum(one.slots for one in report.controllers)
    busy = sum(one.busy for one in report.controllers)
    open_jobs = sum(one.open_jobs for one in held)
    if args.json:
        fields = {"tasks": report.tasks, "open_jobs": open_jobs, "namespaces": len(held)}
        fields |= {"controllers": len(report.controllers), "slots": slots, "busy": busy}
        output.print_json("cyclone.master_stats/1", fields)
        return common.EXIT_OK
    share = f", {100 * busy / slots:.0f} %" if slots else ""
    output.print_pairs(
        [
            ("tasks", columns.TALLY.for_people(report.tasks) or "none yet"),
            ("open jobs", f"{open_jobs:,} in {len(held):,} namespaces"),
            ("controllers", f"{len(report.controllers):,}"),
            ("slots", f"{busy:,} of {slots:,} at work{share}"),
        ]
    )
    return common.EXIT_OK
