"""Requests about very many jobs: some of these jobs in each turn, and the answer when all of it is recorded. PURE.

Else one request would keep everybody waiting, and heartbeats with them. Owns how many jobs one turn may change. What
is to be done of a job must do no harm when it is done again: a master that is killed in between has answered nobody,
and the next one hears the same request. The caller owes ``advance`` once per turn, and not later than ``deadline``.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cyclone.master.jobs.registry import JobRecord
from cyclone.master.turn import Turn
from cyclone.protocol.client_messages import Answer
from cyclone.protocol.job_messages import AnyFromClient

# A job that is held or cancelled costs some 25 us, and as much again in the journal.
JOBS_PER_TURN = 1024
# So many requests may be under way: each of them knows its jobs.
ERRANDS_MAX = 64
# How soon the next turn goes on: with a breath for everybody else.
_SOON_S = 0.002


@dataclass(slots=True)
class Errand:
    """What is to be done of each of these jobs, as far as they are open by then. In the end comes ``finish``, and then
    ``answer`` is said. ``done`` of them are through.
    """

    answer: Answer
    jobs: Sequence[JobRecord]
    step: Callable[[JobRecord], None]
    finish: Callable[[], None]
    done: int = 0

    @property
    def is_over(self) -> bool:
        """Whether all of them are."""
        return self.done == len(self.jobs)


class Errands:
    """See the module."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._pending: deque[tuple[bytes, AnyFromClient, Errand]] = deque()

    @property
    def deadline(self) -> float:
        """When ``advance`` has something to do."""
        return self._turn.now + _SOON_S if self._pending else math.inf

    def has(self, peer: bytes, request: AnyFromClient) -> bool:
        """Whether this one is under way already."""
        return any(peer == other and request == asked for other, asked, _ in self._pending)

    def begin(self, peer: bytes, request: AnyFromClient, errand: Errand) -> None:
        """Do what can be done at once; the answer is said now or in a later turn."""
        if not self._pending:
            self._go_on(peer, errand)
        elif len(self._pending) >= ERRANDS_MAX:
            text = "the master is busy with other requests about many jobs: try again later"
            self._turn.send(peer, Answer(request.request, False, 0, text))
            return
        if not errand.is_over:
            self._pending.append((peer, request, errand))

    def advance(self) -> None:
        """The one that came first goes on."""
        if not self._pending:
            return
        peer, _, errand = self._pending[0]
        self._go_on(peer, errand)
        if errand.is_over:
            self._pending.popleft()

    def _go_on(self, peer: bytes, errand: Errand) -> None:
        records = self._turn.state.jobs.records
        part = errand.jobs[errand.done : errand.done + JOBS_PER_TURN]
        for record in part:
            if record.job_id in records:
                errand.step(record)
        errand.done += len(part)
        if errand.is_over:
            errand.finish()
            self._turn.send(peer, errand.answer)
