"""What takes many questions and pauses between them: submitting, adding, waiting, looking. As steps, each short.

Owns their order, and how long to pause; whoever takes the steps (``pacing.run``, or an event loop) knows no more than
that. Knows no socket.
"""

import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from cyclone.client.checking import check_spec
from cyclone.client.pacing import Steps
from cyclone.client.submitting import Blocks, Row, check, pause_s
from cyclone.errors import NoSuchJob
from cyclone.protocol.job_messages import (
    NO_JOB,
    AddRequest,
    DetailRequest,
    JobDetail,
    JobSummary,
    OutputAnswer,
    SubmitRequest,
    Submitted,
)
from cyclone.protocol.job_spec import IndexRanges, JobSelection, JobSpec
from cyclone.protocol.states import ENDED_JOB_STATES

if TYPE_CHECKING:
    from cyclone.client.client import Client

_LOOK_MIN_S, _LOOK_MAX_S = 0.01, 0.5
# Of the time that has passed: whoever waits for long hears of the end with a delay of so little of it.
_LOOK_SHARE = 0.1


def submit(
    client: "Client", spec: JobSpec, tasks: Iterable[bytes | Row | None], key: bytes | None = None, sealed: bool = True
) -> Steps[int]:
    """See ``Client.submit``."""
    check_spec(spec)
    key = os.urandom(16) if key is None else key
    blocks = Blocks(tasks)
    block = blocks.take()
    last = sealed and blocks.exhausted
    answer = client.expect(Submitted, lambda n: SubmitRequest(n, key, spec, block, last))
    check(answer, blocks.end)
    blocks.taken(answer.count)
    if answer.sealed and not last:
        # Its key made it before, and whoever did so has said that it is whole.
        return answer.job_id
    if not (blocks.exhausted and not blocks.waiting and (answer.sealed or not sealed)):
        yield from _stream(client, answer.job_id, blocks, sealed, pause_s(answer, 0.0))
    return answer.job_id


def add(
    client: "Client", job_id: int, tasks: Iterable[bytes | Row | None], offset: int, sealed: bool = False
) -> Steps[int]:
    """See ``Client.add``."""
    blocks = Blocks(tasks, offset)
    yield from _stream(client, job_id, blocks, sealed, 0.0)
    return blocks.offset


def wait(client: "Client", job_ids: Sequence[int], timeout_s: float | None = None) -> Steps[list[JobSummary]]:
    """See ``Client.wait``."""
    began = time.monotonic()
    ended: dict[int, JobSummary] = {}
    while missing := sorted(set(job_ids) - ended.keys()):
        selection = JobSelection(ids=_ranges(missing))
        found = {job.job_id: job for job in client.jobs(selection)}
        if unknown := [job_id for job_id in missing if job_id not in found]:
            raise no_job(unknown[0])
        ended |= {job_id: job for job_id, job in found.items() if job.state in ENDED_JOB_STATES}
        passed = time.monotonic() - began
        if len(ended) == len(set(job_ids)):
            break
        if timeout_s is not None and passed >= timeout_s:
            still = ", ".join(str(job_id) for job_id in missing if job_id not in ended)
            raise TimeoutError(f"not ended after {timeout_s:g} s: {still}")
        yield _look_again_s(passed, math.inf if timeout_s is None else timeout_s)
    return [ended[job_id] for job_id in job_ids]


def output(ask: Callable[[], OutputAnswer], offset: int, wait_s: float) -> Steps[OutputAnswer]:
    """What ``ask`` says of an output, as soon as there is any from ``offset`` on, after ``wait_s`` at the latest."""
    began = time.monotonic()
    while True:
        answer = ask()
        passed = time.monotonic() - began
        if answer.size > offset or answer.ended or answer.text or passed >= wait_s:
            return answer
        yield _look_again_s(passed, wait_s)


def _look_again_s(passed_s: float, wait_s: float) -> float:
    """When to look again where so much time of it has passed."""
    return min(max(_LOOK_MIN_S, passed_s * _LOOK_SHARE), _LOOK_MAX_S, wait_s - passed_s)


def no_job(job_id: int) -> NoSuchJob:
    """What to raise where there is none of this number."""
    return NoSuchJob(NO_JOB, f"there is no job {job_id}{'' if job_id else ': this master has no generator'}")


def _stream(client: "Client", job_id: int, blocks: Blocks, sealed: bool, wait_s: float) -> Steps[None]:
    """Send until all is taken, and sealed where it shall be."""
    while True:
        yield wait_s
        block = blocks.take()
        last = sealed and blocks.exhausted
        if block is None and not last:
            return
        answer = client.expect(Submitted, partial(AddRequest, job_id=job_id, block=block, sealed=last))
        if answer.code == NO_JOB and last and _ended_with(client, job_id, blocks.end):
            return
        check(answer, blocks.end)
        blocks.taken(answer.count)
        if blocks.exhausted and not blocks.waiting:
            return
        wait_s = pause_s(answer, wait_s)


def _ended_with(client: "Client", job_id: int, count: int) -> bool:
    """Whether a job has ended with so many tasks: then the answer to what sealed it was lost."""
    job = client.expect(JobDetail, lambda n: DetailRequest(n, job_id)).job
    return job is not None and job.sealed and sum(job.tasks.values()) == count


def _ranges(numbers: Iterable[int]) -> IndexRanges:
    """Numbers in their order as ranges."""
    found: IndexRanges = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found
