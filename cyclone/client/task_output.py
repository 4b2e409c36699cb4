"""What a task prints, as a client reads it: page by page, or live until the task has ended.

Owns how attempts follow each other, and what is not there any more. Knows no terminal.
"""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from cyclone.client import pacing
from cyclone.client.pacing import Batch
from cyclone.lifecycle import OPEN_STATES
from cyclone.protocol.job_messages import OutputAnswer
from cyclone.protocol.messages import CUT, STDERR, STDOUT

# While nobody can answer at once: a task that waits, or a node that is away.
_PAUSE_MIN_S, _PAUSE_MAX_S = 0.01, 1.0
# So long the rest of what was begun may be away: after a restart of the master, nodes come back one by one.
_BACK_S = 30.0
# By so much an output is known again.
_TAIL_BYTES = 1024

Ask = Callable[[int, int, float], OutputAnswer]
"""Asks for an attempt (0: the last) from an offset on, and lets the answer wait for so long."""


class TaskOutput(NamedTuple):
    """A piece of what a task has printed in an attempt, from ``offset`` on: ``stream`` is ``stdout`` or ``stderr``."""

    attempt: int
    controller: str
    offset: int
    stream: str
    data: bytes


_NAMES = {STDOUT: "stdout", STDERR: "stderr"}


class OutputReader:
    """Reads one attempt from ``offset`` to its end, and with ``follow`` goes on to the next until the task has ended.

    ``lost_bytes`` counts what was passed over because it is not kept any more. ``last`` is what was answered last.
    """

    def __init__(self, ask: Ask, attempt: int = 0, offset: int = 0) -> None:
        self._ask = ask
        self._is_one = bool(attempt)
        self._attempt = attempt
        self._offset = offset
        self._pause_s = _PAUSE_MIN_S
        # The last of what was read; whether it has to be compared before more is read.
        self._tail = b""
        self._is_in_doubt = False
        self.lost_bytes = 0
        self._cut = b""
        self.last: OutputAnswer | None = None

    @property
    def cut(self) -> str:
        """How much of what was printed was not even kept, and why; empty where all was, or it is not reached yet."""
        return "; ".join(self._cut.decode("utf-8", "replace").splitlines())

    def read(self) -> Iterator[TaskOutput]:
        """What there is by now."""
        return pacing.rows(self.pages())

    def follow(self, wait_s: float = 2.0) -> Iterator[TaskOutput | None]:
        """What there is and what comes, to the end; None where nothing has come for a while, ``wait_s`` at most."""
        for batch in self.followed(wait_s, wait_s):
            yield from batch.rows or (None,)
            time.sleep(batch.pause_s)

    def pages(self) -> Iterator[Batch[TaskOutput]]:
        """What there is by now, a page in each batch."""
        while True:
            answer = self._asked(0.0)
            yield Batch(self._pieces(answer))
            if not answer.pieces:
                return

    def followed(self, wait_s: float = 0.0, pause_max_s: float = _PAUSE_MAX_S) -> Iterator[Batch[TaskOutput]]:
        """What there is and what comes, to the end; an empty batch where nothing has come.

        An answer may wait for so long, ``wait_s``; and where it does not, there is a pause of up to ``pause_max_s``.
        """
        there_at = time.monotonic()
        while True:
            asked_at = time.monotonic()
            answer = self._asked(wait_s)
            if not answer.text:
                there_at = asked_at
            if answer.pieces:
                self._pause_s = _PAUSE_MIN_S
                yield Batch(self._pieces(answer))
                continue
            if answer.ended and self._attempt and not self._is_one:
                # Another one may have followed, or will.
                self._attempt = 0
                continue
            is_away = answer.text and self._tail and asked_at - there_at < _BACK_S
            if answer.ended and not is_away and (self._is_one or answer.state not in OPEN_STATES):
                return
            has_waited = wait_s > 0 and time.monotonic() - asked_at >= wait_s / 2
            yield Batch((), 0.0 if has_waited else min(self._pause_s, pause_max_s))
            if not has_waited:
                self._pause_s = min(2 * self._pause_s, _PAUSE_MAX_S)

    def _asked(self, wait_s: float) -> OutputAnswer:
        answer = self._ask(self._attempt, self._offset, wait_s)
        former, self.last = self.last, answer
        is_other = former is not None and former.attempt and answer.attempt not in (0, former.attempt)
        if self._offset and not answer.size:
            # Nobody has it at this moment, or it is begun anew: a master that was started again has to be told first.
            self._is_in_doubt = True
        if is_other or (answer.size and not self._goes_on(answer)):
            # Another attempt, or the same number handed out by another master: it has a beginning of its own.
            self._offset, self._tail = 0, b""
            if answer.offset:
                answer = self.last = self._ask(answer.attempt, 0, 0.0)
        return answer

    def _goes_on(self, answer: OutputAnswer) -> bool:
        """Whether this is the output whose beginning was read: after a doubt it has to have the same there."""
        if answer.size < self._offset:
            return False
        if self._is_in_doubt:
            begin = self._offset - len(self._tail)
            known = self._ask(answer.attempt, begin, 0.0)
            self._is_in_doubt = not known.size
            found = b"".join(data for _, data in known.pieces)[: len(self._tail)]
            return known.offset != begin or self._tail.startswith(found)
        return True

    def _pieces(self, answer: OutputAnswer) -> Iterator[TaskOutput]:
        # From here on it is this one, to its end, whatever is tried meanwhile.
        self._attempt = answer.attempt
        self.lost_bytes += answer.offset - self._offset
        self._offset = answer.offset
        for stream, data in answer.pieces:
            offset = self._offset
            self._offset += len(data)
            self._tail = (self._tail + data)[-_TAIL_BYTES:]
            if stream == CUT:
                self._cut += data
            else:
                yield TaskOutput(answer.attempt, answer.controller, offset, _NAMES[stream], data)
