"""What comes after submitting: waiting for the end of a job, what its tasks print meanwhile, and how it went.

Owns how outputs are passed on and what they mean as an exit code. Standard output gets what tasks print there, and
nothing of ours.
"""

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cyclone.cli import common, output
from cyclone.cli.live import Live, write
from cyclone.errors import Unreachable

if TYPE_CHECKING:
    from cyclone.client.client import Client
    from cyclone.client.job_results import JobTaskResult
    from cyclone.protocol.job_messages import JobSummary

# The states in which a task has done what it was to do.
_SUCCESSES = ("completed", "processed")
# With this a failed program's message goes on: its last lines.
_PRINTED = "; standard "
# What the program of a bundle has left as its output, behind what it has printed.
_BUNDLE_OUTPUT = "output"


def wait(
    client: "Client", job_id: int, follow: bool = False, progress: bool = False, as_json: bool = False
) -> "JobSummary":
    """The job when it has ended; with ``follow``, what its one task prints is passed on as it comes, what several
    print as they end.
    """
    from cyclone.cli.wait import Progress, waited

    shown = Progress(progress, as_json)
    with telling_that_it_goes_on(job_id, as_json), contextlib.closing(shown):
        if follow:
            summary = client.detail(job_id).job
            live = Live(client, job_id, is_on=summary is not None and sum(summary.tasks.values()) == 1)
            live.follow()
            for result in client.results(job_id):
                pass_on(result, live)
                say_failure(result)
        (job,) = waited(client, [job_id], None, shown)
    return job


@contextlib.contextmanager
def telling_that_it_goes_on(job_id: int, as_json: bool = False) -> Iterator[None]:
    """Where the master cannot be reached any more, its job is not over."""
    try:
        yield
    except Unreachable:
        output.note(f"job {job_id} goes on as soon as its master does: cyclone wait {job_id}", as_json)
        raise


def pass_on(result: "JobTaskResult", live: Live) -> None:
    """What a program has printed goes where ours does, without what was shown live; the value of another task is a line
    of JSON.
    """
    value = result.value
    printed = value if _is_program(value) else None if result.ok else _printed_in_vain(result)
    if printed is not None:
        for stream, name in ((sys.stdout, "stdout"), (sys.stderr, "stderr"), (sys.stdout, _BUNDLE_OUTPUT)):
            kept, shown = printed.get(name) or b"", live.shown_bytes(result.attempt, name)
            kept = kept if isinstance(kept, bytes) else kept.encode("utf-8", "surrogateescape")
            write(stream, kept[shown:])
            if printed.get(f"{name}_truncated") and shown < printed[f"{name}_bytes"]:
                part = f"{max(len(kept), shown):,} of {printed[f'{name}_bytes']:,} bytes are here"
                output.note(f"cyclone: task {result.job_id}.{result.index}: its {name} is cut: {part}")
    elif value is not None:
        from cyclone import json_values

        output.write(json_values.encode_value(value).decode(), is_json=True)
        sys.stdout.flush()


def _is_program(value: Any) -> bool:
    """Whether it is what ``tasks.job_command`` and ``tasks.script`` return."""
    return isinstance(value, dict) and {"exit_code", "stdout", "stderr"} <= value.keys()


def _printed_in_vain(result: "JobTaskResult") -> dict[str, Any] | None:
    """The outputs of a program that failed."""
    from cyclone.protocol.messages import OUTPUT_RECORD

    return next((fields for name, fields in result.records if name == OUTPUT_RECORD), None)


def say_failure(result: "JobTaskResult") -> None:
    """Why a task did not complete; without the end of what it has printed, where that was passed on."""
    if result.ok:
        return
    error = result.error
    reason = f": {error.type.rpartition('.')[2]}: {error.message}" if error else ""
    if _printed_in_vain(result):
        reason = reason.partition(_PRINTED)[0]
    print(f"cyclone: task {result.job_id}.{result.index} {result.state}{reason}", file=sys.stderr)


def exit_code(job: "JobSummary") -> int:
    """0 where every task has completed."""
    others = [state for state, count in job.tasks.items() if count and state not in _SUCCESSES]
    return common.EXIT_FAILED if others else common.EXIT_OK
