"""The results of a job on their way to one reader, over a connection of its own.

Owns how far it has come, and that what got lost is asked for again. What a result is, ``job_results`` knows.
"""

import socket
import time
from collections.abc import Callable, Generator, Iterator
from itertools import chain
from typing import Any

from cyclone.client.checking import check
from cyclone.client.connection import Address, Connection
from cyclone.client.job_results import JobTaskResult, OpenJobBlock
from cyclone.client.pacing import Batch
from cyclone.client.patience import Patience
from cyclone.errors import NoSuchJob
from cyclone.protocol.client_messages import Answer
from cyclone.protocol.job_messages import (
    FOLLOW_S,
    NO_JOB,
    DetailRequest,
    FollowRequest,
    JobDetail,
    JobResults,
)

_WINDOW_BYTES = 8 << 20


def result_batches(
    address: Address,
    timeout_s: float,
    job_id: int,
    position: int,
    read_value: Callable[[bytes], Any],
    stop: socket.socket | None = None,
    patience: Patience | None = None,
) -> Generator[Batch[JobTaskResult], None, None]:
    """See ``Client.results``: what came together. ``stop`` and ``patience`` are as with ``Connection``."""
    check(FollowRequest(1, job_id, position, _WINDOW_BYTES))
    with Connection(address, timeout_s, stop, patience) as connection:
        detail = connection.ask(DetailRequest(1, job_id))
        if not isinstance(detail, JobDetail) or detail.job is None:
            raise NoSuchJob(NO_JOB, f"there is no job {job_id}")
        task_class = detail.job.task_class
        for report in follow(connection, job_id, position):
            blocks = [OpenJobBlock(job_id, task_class, block, read_value) for block in report.blocks]
            yield Batch(chain.from_iterable(blocks))


def follow(connection: Connection, job_id: int, position: int) -> Iterator[JobResults]:
    """What is recorded of a job behind a position, in order and without gaps, until all is told.

    Raises NoSuchJob, and Unreachable where nothing is heard for the connection's time.
    """
    resume, said, ask_at, heard_at = False, False, 0.0, time.monotonic()
    while True:
        now = time.monotonic()
        if now >= ask_at or not (said or connection.is_blocked):
            ask_at = now + FOLLOW_S
            said = connection.say(FollowRequest(1, job_id, position, _WINDOW_BYTES, resume))
        answer = connection.hear(max(0.0, ask_at - now))
        now = time.monotonic()
        if answer is None:
            if now - heard_at > connection.timeout_s:
                raise connection.unreachable()
            connection.silence.lasts(now - heard_at)
            continue
        heard_at = now
        if isinstance(answer, Answer):
            raise NoSuchJob(NO_JOB, answer.text)
        if not isinstance(answer, JobResults) or answer.job_id != job_id:
            continue
        if answer.after > position:
            # Something got lost; what follows it on the way is no news.
            ask_at = ask_at if resume else now
            resume = True
            continue
        if answer.position < position or (answer.after < position and answer.blocks):
            # It was under way already when we asked for something else.
            continue
        resume = False
        if answer.position > position:
            position, ask_at = answer.position, now
        yield answer
        # Who reads may have taken his time.
        heard_at = time.monotonic()
        if answer.finished:
            connection.say(FollowRequest(1, job_id, position, 0))
            return
