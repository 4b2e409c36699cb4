"""``cyclone run -- cmd``: submit, wait, print what it prints, exit as it exits.

Owns what a task's end is as an exit code, and what Ctrl-C means: cancel the job, a second time leave it to itself. The
job goes to the master that is named by an option, the environment or a profile; without one, to a cluster of our own
that ends with us.
"""

import argparse
import contextlib
import os
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from cyclone.cli import common, connecting, interrupts, output, submit, submit_options, submit_send
from cyclone.cli.live import Live
from cyclone.cli.submit_wait import pass_on, say_failure, telling_that_it_goes_on
from cyclone.errors import Unreachable, UsageError

if TYPE_CHECKING:
    from cyclone.client.client import Client
    from cyclone.client.job_results import JobTaskResult
    from cyclone.protocol.job_spec import JobSpec

# From here on exit codes are those of a shell.
_NOT_EXECUTABLE = 126
# Slurm and systemd kill half a minute and more after SIGTERM.
_LEAVE_S = 20.0
# What belongs to the run of a generator alone.
_OF_GENERATORS = {
    "config_file": "-f/--config-file",
    "resume": "--resume",
    "results": "--results",
    "overrides": "--set",
    "check_config": "--check-config",
    "debug": "-D/--debug",
}


def wants_command(args: argparse.Namespace) -> bool:
    """Whether a command line of ``cyclone run`` names a command, and not a generator's configuration."""
    given = submit_options.given(args)
    return bool(args.words or args.wrap is not None or args.job_file is not None or given)


def run_command(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    from cyclone.cli.submit_plan import make_plan
    from cyclone.programs.command import OUTPUT_BYTES_MAX

    for field, option in _OF_GENERATORS.items():
        if getattr(args, field):
            raise UsageError(f"{option} is for a generator, and the rest for a command: leave one of the two out")
    plan = make_plan(submit.asked_for(args), OUTPUT_BYTES_MAX)
    if args.dry_run:
        return submit.dry_run(plan, as_json=False)
    with interrupts.raised(), _client(args, plan.spec) as client:
        job_id, count = submit_send.send(client, plan)
        if not args.quiet and count != 1:
            output.note(f"job {job_id}: {count:,} tasks")
        with telling_that_it_goes_on(job_id) if _is_master_named(args) else contextlib.nullcontext():
            return _Run(client, job_id, count).code()


class _Run:
    """A job whose tasks print here. ``code`` waits for its end."""

    def __init__(self, client: "Client", job_id: int, count: int) -> None:
        self._client = client
        self._job_id = job_id
        self._count = count
        self._live = Live(client, job_id, is_on=count == 1)
        self._seen = 0
        self._largest = 0

    def code(self) -> int:
        """What to exit with: the largest exit code of a task."""
        try:
            self._follow()
        except interrupts.Interrupted as interrupted:
            output.note(f"cancelling job {self._job_id}; once more leaves it to itself")
            with interrupts.repeated(interrupted.number, _LEAVE_S):
                self._cancel("interrupted by its user")
                # What has ended meanwhile still prints; told once more, we leave.
                self._follow()
            return interrupted.exit_code
        except (BrokenPipeError, output.OutputLost):
            # As a command of this shell would be ended by SIGPIPE.
            if self._seen < self._count:
                output.note(f"cancelling job {self._job_id}: what it prints cannot be written")
                self._cancel("what it prints cannot be written")
            raise
        return self._largest

    def _follow(self) -> None:
        """To the end, from behind what was seen: results come in the same order each time."""
        self._live.follow()
        for result in islice(self._client.results(self._job_id), self._seen, None):
            self._seen += 1
            code = task_exit_code(result)
            self._largest = max(self._largest, code)
            pass_on(result, self._live)
            if code and (self._count != 1 or not _tells_by_itself(result)):
                say_failure(result)

    def _cancel(self, reason: str) -> None:
        from cyclone.protocol.job_spec import JobSelection

        self._client.cancel(JobSelection(ids=[(self._job_id, self._job_id)]), reason=reason)


def task_exit_code(result: "JobTaskResult") -> int:
    """As a shell would have it: the program's own, 128 + n for a signal, 124 for a time limit, 1 for other ends."""
    if result.ok:
        return 0
    if result.state == "timed_out":
        return common.EXIT_TIMEOUT
    from cyclone.programs.command import exit_code_of

    error = result.error
    found = exit_code_of(error.type, error.message) if error else None
    return common.EXIT_FAILED if found is None else found


def _tells_by_itself(result: "JobTaskResult") -> bool:
    """Whether a program has ended with a code of its own: then it has said what was wrong."""
    from cyclone.programs.command import exit_code_of

    error = result.error
    code = exit_code_of(error.type, error.message) if error and result.state == "failed" else None
    return code is not None and code < _NOT_EXECUTABLE


@contextlib.contextmanager
def _client(args: argparse.Namespace, spec: "JobSpec") -> "Iterator[Client]":
    """Of the master that is named, else of one that is started for this run."""
    if _is_master_named(args):
        if args.workers:
            raise UsageError("--workers is for a cluster of our own, and a master is named: leave one of the two out")
        with connecting.client(args, is_patient=True) as client:
            yield client
        return
    from cyclone.client.client import Client
    from cyclone.client.local_cluster import LocalCluster, check_feasible

    workers = args.workers or len(os.sched_getaffinity(0))
    check_feasible(spec, workers)
    # What its task prints comes to us, and not into the log of the cluster, which is our standard error.
    cluster = LocalCluster(workers, ["processing.output=keep"])
    with contextlib.closing(cluster), Client(cluster.address()) as client:
        try:
            yield client
        except Unreachable:
            raise cluster.died() from None


def _is_master_named(args: argparse.Namespace) -> bool:
    from cyclone.client.connection import is_server_named

    return bool(args.connect or args.profile or is_server_named())
