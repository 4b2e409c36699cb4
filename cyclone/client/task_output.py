"""What a task prints, as a client reads it: page by page, or live until the task has ended.

Owns how attempts follow each other, and what is not there any more. Knows no terminal.
"""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from cyclone.lifecycle import OPEN_STATES
from cyclone.protocol.job_messages import OutputAnswer
from cyclone.protocol.messages import CUT, STDERR, STDOUT

# While nobody can answer at once: a task that waits, or a node that is away.
_PAUSE_MIN_S, _PAUSE_MAX_S = 0.01, 1.0

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
        self.lost_bytes = 0
        self._cut = b""
        self.last: OutputAnswer | None = None

    @property
    def cut(self) -> str:
        """How much of what was printed was not even kept, and why; empty where all was, or it is not reached yet."""
        return "; ".join(self._cut.decode("utf-8", "replace").splitlines())

    def read(self) -> Iterator[TaskOutput]:
        """What there is by now."""
        while True:
            answer = self._asked(0.0)
            yield from self._pieces(answer)
            if not answer.pieces:
                return

    def follow(self, wait_s: float) -> Iterator[TaskOutput | None]:
        """What there is and what comes, to the end; None where nothing has come for a while, ``wait_s`` at most."""
        while True:
            asked_at = time.monotonic()
            answer = self._asked(wait_s)
            if answer.pieces:
                self._pause_s = _PAUSE_MIN_S
                yield from self._pieces(answer)
                continue
            if answer.ended and self._attempt and not self._is_one:
                # Another one may have followed, or will.
                self._attempt = 0
                continue
            if answer.ended and (self._is_one or answer.state not in OPEN_STATES):
                return
            yield None
            if time.monotonic() - asked_at < wait_s / 2:
                time.sleep(min(self._pause_s, wait_s))
                self._pause_s = min(2 * self._pause_s, _PAUSE_MAX_S)

    def _asked(self, wait_s: float) -> OutputAnswer:
        answer = self._ask(self._attempt, self._offset, wait_s)
        former, self.last = self.last, answer
        is_other = former is not None and former.attempt and answer.attempt not in (0, former.attempt)
        if is_other or (answer.size < self._offset and not answer.text):
            # Another attempt, or the same number handed out by another master: it has a beginning of its own.
            self._offset = 0
            if answer.offset:
                answer = self.last = self._ask(answer.attempt, 0, 0.0)
        return answer

    def _pieces(self, answer: OutputAnswer) -> Iterator[TaskOutput]:
        # From here on it is this one, to its end, whatever is tried meanwhile.
        self._attempt = answer.attempt
        self.lost_bytes += answer.offset - self._offset
        self._offset = answer.offset
        for stream, data in answer.pieces:
            offset = self._offset
            self._offset += len(data)
            if stream == CUT:
                self._cut += data
            else:
                yield TaskOutput(answer.attempt, answer.controller, offset, _NAMES[stream], data)
