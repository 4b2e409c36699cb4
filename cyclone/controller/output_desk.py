"""What a master asks about what tasks have printed: looked up at once, or when there is something.

Owns the questions that wait, and what is kept of all that goes through here. The caller owes ``begin`` with each
session, ``changed`` when a task has ended, and ``turn`` once per turn, not later than ``deadline``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cyclone.controller.output_store import OutputStore
from cyclone.controller.printed import LOG
from cyclone.protocol.messages import STDERR, FetchOutput, Output, TaskRange

Held = Callable[[], list[TaskRange]]

# Of more than so many that wait, the oldest is answered at once.
_WAITING_MAX = 256
# How often those that wait are looked at while tasks end: some thousand may, every second.
_LOOK_S = 0.02
_NOT_KEPT = "its controller does not keep what tasks print: [processing] output = log or inherit"


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """``is_kept``: in ``folder``, which is None for one that ends with the controller, up to ``bytes_max``."""

    is_kept: bool = True
    folder: Path | None = None
    bytes_max: int = 1 << 30


class OutputDesk:
    """See the module. ``store`` is None where nothing is kept. ``held`` are the tasks that may still print."""

    def __init__(self, store: OutputStore | None, held: Held) -> None:
        self._store = store
        self._held = held
        self._waiting: dict[int, tuple[FetchOutput, float]] = {}
        self._news: set[int] = set()
        self._wanted: set[int] = set()
        self._has_changed = False
        self._look_at = 0.0
        self._session = 0

    @property
    def deadline(self) -> float:
        """When ``turn`` must be called at the latest."""
        if not self._waiting:
            return math.inf
        give_up_at = min(until for _, until in self._waiting.values())
        return min(give_up_at, self._look_at) if self._has_changed else give_up_at

    def begin(self, session: int, journal_id: str) -> None:
        """A session with a master that has this journal: of questions of an earlier one nobody knows any more."""
        self._session = session
        self._waiting.clear()
        self._wanted.clear()
        if self._store:
            self._store.begin(journal_id)

    def keep(self, lease: TaskRange, offset: int, stream: int, data: bytes) -> None:
        """A task has printed this; ``output.Keep``."""
        assert self._store
        stream = STDERR if stream == LOG else stream
        self._store.append(lease.first, (lease.epoch, lease.attempt), offset, stream, data)
        if lease.first in self._wanted:
            self._news.add(lease.first)

    def changed(self) -> None:
        """Some task may have ended."""
        self._has_changed = True

    def ask(self, question: FetchOutput, now: float) -> list[Output]:
        """The answers that are due by now."""
        answer = self._answer(question)
        if question.wait_s and not (answer.pieces or answer.ended or answer.text):
            self._waiting[question.request] = question, now + question.wait_s
            self._wanted.add(question.task_id)
            return self._pop(next(iter(self._waiting))) if len(self._waiting) > _WAITING_MAX else []
        return [answer]

    def turn(self, now: float) -> list[Output]:
        """The answers that are due; what was printed is on its way to the disk."""
        if self._store:
            self._store.write()
        if not self._waiting:
            self._has_changed = False
            return []
        look = self._has_changed and now >= self._look_at
        if look:
            self._has_changed, self._look_at = False, now + _LOOK_S
        found: list[Output] = []
        for number, (question, until) in list(self._waiting.items()):
            if now >= until or question.task_id in self._news or (look and self._answer(question).ended):
                found += self._pop(number)
        self._news.clear()
        return found

    def close(self) -> None:
        """The controller ends."""
        if self._store:
            self._store.close()

    @property
    def kept_bytes(self) -> int:
        """On the disk."""
        return self._store.kept_bytes if self._store else 0

    @property
    def dropped_bytes(self) -> int:
        """That should be there and are not."""
        return self._store.dropped_bytes if self._store else 0

    def _pop(self, number: int) -> list[Output]:
        question, _ = self._waiting.pop(number)
        self._wanted = {each.task_id for each, _ in self._waiting.values()}
        return [self._answer(question)]

    def _answer(self, question: FetchOutput) -> Output:
        task_id, attempt, offset = question.task_id, question.attempt, question.offset
        leases = {
            (part.epoch, part.attempt)
            for part in self._held()
            if part.first <= task_id < part.first + part.count and attempt in (0, part.attempt)
        }
        lease = max(leases, default=None)
        found = self._store.find(task_id, attempt, offset, question.bytes_max) if self._store else None
        if found and (lease is None or found.lease >= lease):
            begin = min(found.offset, found.size)
            number, ended = found.lease[1], found.lease not in leases
            return Output(self._session, question.request, task_id, number, begin, found.pieces, found.size, ended)
        number, text = lease[1] if lease else 0, "" if self._store else _NOT_KEPT
        return Output(self._session, question.request, task_id, number, 0, [], 0, lease is None, text)
