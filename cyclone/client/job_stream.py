"""One job of an Executor on the wire: rows out, in blocks with offsets; results in, by position.

Owns what is sent and not acknowledged, what is to be sent again, and how far the results have come. Decides on
messages and a monotonic ``now``; knows no socket and no future, and is used by one thread. The caller owes ``advance``
in each turn, ``on_submitted`` and ``on_results`` for what the master says, and ``reconnected`` after a loss.
"""

import math
import os
from collections import deque
from collections.abc import Callable
from typing import Protocol

from cyclone.client.submitting import pause_s, refusal
from cyclone.errors import NoSuchJob
from cyclone.protocol import job_messages as codes
from cyclone.protocol.job_messages import (
    FOLLOW_S,
    AddRequest,
    AnyFromClient,
    FollowRequest,
    JobBlock,
    JobResults,
    SubmitRequest,
    Submitted,
)
from cyclone.protocol.job_spec import JobSpec, TaskBlock
from cyclone.protocol.limits import BATCH_BYTES_TARGET, TASKS_PER_BATCH_MAX

RESEND_S = 1.0
# Of a task that no controller has, and of one that none of them is known to have begun.
WAITING_STATES = ("held", "blocked", "delayed", "queued")
NOT_RUNNING_STATES = (*WAITING_STATES, "leased")
_BLOCKS_UNDER_WAY_MAX = 8
_WINDOW_BYTES = 16 << 20
# So much may have come before the master is told: without a journal it keeps in memory what it was not told of.
_ACKNOWLEDGE_BYTES = 1 << 20
_ACKNOWLEDGE_S = 0.2
# A block that is no larger, and alone under way, is cheaper sent again now and then than answered each time.
_QUIET_ROWS, _QUIET_BYTES = 16, 4096
# How often the master is told of a job that may get more that somebody is still there: see [clients] abandon.
_STAY_S = 600.0


class Send(Protocol):
    """Sends the request that is made of a number, a new one unless it is given; that number, or 0 where nothing can be
    sent at this moment.
    """

    def __call__(self, job: "JobStream", make: Callable[[int], AnyFromClient], number: int = 0, /) -> int: ...


class Tasks(Protocol):
    """Where the rows come from and the results go: called by the stream's thread alone."""

    def take(self, index: int, count_max: int, bytes_max: int) -> list[bytes]:
        """The next rows, at most so many, which get the indexes from there on; one at least where there are any."""

    def exhausted(self) -> bool:
        """Whether no more rows will come."""

    def deliver(self, block: JobBlock) -> int:
        """Results; how many of them count."""

    def refused(self, count: int, error: Exception) -> None:
        """Rows from this index on, and those not taken yet, will not be executed."""

    def lost(self, error: Exception) -> None:
        """Nothing more will come."""

    def close(self) -> None:
        """No more rows than there are."""

    def forked(self, error: Exception) -> None:
        """This is another process now: nothing will come, and no lock of ours may be trusted."""


class JobStream:
    """See the module. ``open_results``: how many rows have been taken from ``tasks`` and have no result."""

    def __init__(self, spec: JobSpec, tasks: Tasks) -> None:
        self.spec = spec
        self.tasks = tasks
        self.job_id = 0
        self.open_results = 0
        self._key = os.urandom(16)
        # Not acknowledged; the first so many of them are under way.
        self._blocks: deque[TaskBlock] = deque()
        self._under_way = 0
        # Whether what is sent has been sent before.
        self._repeats = False
        self._asked_first = self._seal_under_way = self._sealed = False
        # Whether the master has to say first that it still knows the job; whether it is asked.
        self._is_doubted = self._asked_again = False
        # The empty job that has come of asking who does not know it.
        self._made_instead = 0
        self._next = self._taken = 0
        self._answer_due = math.inf
        self._said_at = 0.0
        # 0 where there is no pause; how long the last one was.
        self._pause_until = self._pause_s = 0.0
        # The last request, and the first one whose refusal is not known yet.
        self._request = self._floor = 0
        # What is sent quietly shares a number: that of each would be kept for an answer that does not come.
        self._quiet_request = 0
        self._position = 0
        self._resume = False
        self._follow_at = 0.0
        self._follow_request = 0
        self._unacknowledged_bytes = 0
        self._over = False

    @property
    def is_over(self) -> bool:
        """Nothing is left to be sent or received."""
        if self._over:
            return True
        rest = self._blocks or self.open_results or not self.tasks.exhausted()
        return not rest and (self._sealed or not (self._asked_first or self.job_id))

    @property
    def deadline(self) -> float:
        """When ``advance`` has something to do by itself."""
        if self._over:
            return math.inf
        follow = self._follow_at if self._is_following else math.inf
        return min(self._answer_due, self._pause_until or math.inf, follow, self._stay_at)

    @property
    def standing_requests(self) -> tuple[int, int]:
        """Their numbers are used again, and answered at any time."""
        return self._quiet_request, self._follow_request

    def advance(self, now: float, send: Send) -> None:
        """Send what is due."""
        if self._over:
            return
        if now >= self._answer_due:
            self._rewind()
        if now < self._pause_until:
            self._follow(now, send)
            return
        self._pause_until = 0.0
        self._gather()
        if self._is_doubted:
            self._ask_again(now, send)
        elif self.job_id:
            self._send_blocks(now, send)
            if now >= self._stay_at:
                self._said_at = now
                self._send_one(None, False, now, send)
            self._follow(now, send)
        elif not self._asked_first and (self._blocks or (self.tasks.exhausted() and self._next)):
            self._send_first(now, send)

    def reconnected(self) -> None:
        """What was under way may be lost; and perhaps it is another master, that has other jobs by these numbers."""
        self._rewind()
        self._resume, self._follow_at = True, 0.0
        self._is_doubted = bool(self.job_id)

    def leave(self, send: Send) -> None:
        """It is over: the master may forget what was read, and that it is followed."""
        if self._made_instead:
            send(self, lambda number: AddRequest(number, self._made_instead, sealed=True))
        elif self._follow_request:
            for window in (_WINDOW_BYTES, 0) if self._unacknowledged_bytes else (0,):
                send(self, self._follow_maker(window), self._follow_request)

    def on_submitted(self, answer: Submitted, now: float) -> None:
        """The master has taken tasks, or refuses them."""
        self._said_at = now
        if self._is_doubted and not self._is_known(answer):
            return
        if not self.job_id and answer.job_id:
            self.job_id, self._position, self._follow_at = answer.job_id, answer.number, now
        self._acknowledge(answer.count)
        self._sealed |= answer.sealed
        if self._under_way or self._seal_under_way:
            self._answer_due = now + RESEND_S
        # What the job has under way makes room by itself.
        waits = answer.code == codes.BUSY or (answer.code == codes.QUOTA and self.job_id and self.open_results)
        if not answer.code or waits:
            self._pause_s = pause_s(answer, self._pause_s)
            self._pause_until = now + self._pause_s if self._pause_s else 0.0
        if answer.code == codes.GAP or waits:
            if answer.request >= self._floor:
                self._rewind()
        elif answer.code and (self._blocks or not self.job_id or not self._sealed):
            self._refuse(answer)

    def on_results(self, message: JobResults, now: float) -> None:
        """Results, some of which may be known, or missing in between."""
        if message.after > self._position:
            # What follows on the way is no news.
            self._follow_at = self._follow_at if self._resume else 0.0
            self._resume = True
            return
        if message.position < self._position or (message.after < self._position and message.blocks):
            return
        self._resume = False
        self._position = message.position
        for block in message.blocks:
            self._unacknowledged_bytes += len(block.body) + len(block.statuses)
            self.open_results -= self.tasks.deliver(block)
            # What has a result was taken.
            self._acknowledge(block.index + len(block.statuses))
        if self._unacknowledged_bytes >= _ACKNOWLEDGE_BYTES:
            self._follow_at = 0.0
        elif message.blocks:
            self._follow_at = min(self._follow_at, now + _ACKNOWLEDGE_S)
        if message.finished:
            self._finish(message.lost)

    def fail(self, error: Exception) -> None:
        """Give it up."""
        if not self._over:
            self._over = True
            self._blocks.clear()
            self.open_results = 0
            self.tasks.lost(error)

    def _is_known(self, answer: Submitted) -> bool:
        """Whether the master has the job after all; else it is given up."""
        if not self._asked_again or answer.request < self._floor:
            return False
        # Of a job that has ended it does not say how many tasks it had.
        if answer.job_id == self.job_id and (answer.sealed or answer.count >= self._taken):
            self._is_doubted = self._asked_again = False
            return True
        if answer.code != codes.BUSY:
            self._made_instead = answer.job_id
            self.fail(
                NoSuchJob(codes.NO_JOB, f"the master was started anew and does not know job {self.job_id} any more")
            )
        return False

    def _gather(self) -> None:
        # What is not taken yet can still be cancelled without asking anybody.
        while len(self._blocks) < (_BLOCKS_UNDER_WAY_MAX if self.job_id else 1):
            rows = self.tasks.take(self._next, TASKS_PER_BATCH_MAX, BATCH_BYTES_TARGET)
            if not rows:
                return
            self._blocks.append(TaskBlock(self._next, rows))
            self._next += len(rows)
            self.open_results += len(rows)

    def _send_first(self, now: float, send: Send) -> None:
        block = self._blocks[0] if self._blocks else None
        last = self._is_last(0)
        if self._sent(send, lambda number: SubmitRequest(number, self._key, self.spec, block, last)):
            self._asked_first, self._seal_under_way = True, last
            self._under_way = 1 if block else 0
            self._answer_due = now + RESEND_S

    def _ask_again(self, now: float, send: Send) -> None:
        """The same key names the same job, whatever else is said; where nobody knows it, it makes an empty one."""
        if not self._asked_again:
            self._asked_again = self._sent(send, lambda n: SubmitRequest(n, self._key, self.spec)) > 0
            self._answer_due = now + RESEND_S if self._asked_again else math.inf

    def _send_blocks(self, now: float, send: Send) -> None:
        while self._under_way < len(self._blocks):
            block, last = self._blocks[self._under_way], self._is_last(self._under_way)
            if not self._send_one(block, last, now, send):
                return
            self._under_way += 1
        if not self._blocks and not self._sealed and not self._seal_under_way and self.tasks.exhausted():
            self._send_one(None, True, now, send)

    def _send_one(self, block: TaskBlock | None, last: bool, now: float, send: Send) -> bool:
        quiet = (
            block is not None and not (last or self._under_way or self._repeats or self._pause_s) and _is_small(block)
        )
        shared = self._quiet_request if quiet else 0
        number = self._sent(send, lambda number: AddRequest(number, self.job_id, block, last, quiet), shared)
        if not number:
            return False
        if quiet:
            self._quiet_request = number
        self._seal_under_way |= last
        self._answer_due = min(self._answer_due, now + RESEND_S)
        return True

    def _sent(self, send: Send, make: Callable[[int], AnyFromClient], number: int = 0) -> int:
        number = send(self, make, number)
        self._request = max(number, self._request)
        return number

    def _is_last(self, place: int) -> bool:
        return place + 1 >= len(self._blocks) and self.tasks.exhausted()

    @property
    def _stay_at(self) -> float:
        """When the master is told that there may be more: it ends a job of which it hears nothing for too long."""
        return self._said_at + _STAY_S if self.job_id and not self._sealed else math.inf

    @property
    def _is_following(self) -> bool:
        return bool(self.job_id and (self.open_results or self._unacknowledged_bytes))

    def _follow(self, now: float, send: Send) -> None:
        if not self._is_following or now < self._follow_at:
            return
        number = send(self, self._follow_maker(_WINDOW_BYTES), self._follow_request)
        if number:
            self._follow_request = number
            self._follow_at = now + FOLLOW_S
            self._unacknowledged_bytes = 0

    def _follow_maker(self, window_bytes: int) -> Callable[[int], FollowRequest]:
        job_id, position, resume = self.job_id, self._position, self._resume
        return lambda number: FollowRequest(number, job_id, position, window_bytes, resume, consume=True)

    def _rewind(self) -> None:
        """Send again what is not acknowledged."""
        self._under_way = 0
        self._repeats = bool(self._blocks)
        self._quiet_request = 0
        self._asked_again = False
        self._seal_under_way = False
        self._asked_first = bool(self.job_id)
        self._answer_due = math.inf
        self._floor = self._request + 1

    def _acknowledge(self, count: int) -> None:
        self._taken = max(self._taken, count)
        while self._blocks and self._blocks[0].offset + len(self._blocks[0].args) <= count:
            self._blocks.popleft()
            self._under_way = max(0, self._under_way - 1)
        if self._blocks and self._blocks[0].offset < count:
            first = self._blocks[0]
            self._blocks[0] = TaskBlock(count, first.args[count - first.offset :])
        self._repeats = self._repeats and bool(self._blocks)
        if not (self._under_way or self._seal_under_way or self._asked_again):
            self._answer_due = math.inf

    def _refuse(self, answer: Submitted) -> None:
        error = refusal(answer.code, answer.text)
        self._blocks.clear()
        self._under_way = 0
        self.open_results -= self._next - self._taken
        self._next = self._taken
        self._sealed = True
        self.tasks.refused(self._taken, error)
        self._over = not self.job_id

    def _finish(self, lost: int) -> None:
        """All results are told: what is still open here has none."""
        self._over = True
        self._blocks.clear()
        if self.open_results or not self.tasks.exhausted():
            self.open_results = 0
            ended = f"job {self.job_id} was ended by somebody else"
            kept = f"the master has not kept {lost} results of job {self.job_id}: it has no journal, and no more memory"
            self.tasks.lost(NoSuchJob(codes.NO_JOB, kept if lost else ended))


def _is_small(block: TaskBlock) -> bool:
    return len(block.args) <= _QUIET_ROWS and sum(map(len, block.args)) <= _QUIET_BYTES
