"""What clients ask about what tasks have printed: passed on to the controllers that have it, and the answers back.

Owns the questions under way. What a task prints never stays here: it lies with whoever executed it. The caller owes
``ask`` for each request, ``told`` for each ``Output``, ``gone`` for a client that cannot be reached, ``left`` for a
controller that is gone, and ``turn`` once per turn, when all that it has brought is recorded.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from cyclone.lifecycle import OPEN_STATES
from cyclone.master.journal import Journal
from cyclone.master.leases.sessions import Session
from cyclone.master.scheduler import Scheduler
from cyclone.moments import rfc3339_second
from cyclone.protocol import limits
from cyclone.protocol.client_messages import Answer
from cyclone.protocol.job_messages import AnyToClient, OutputAnswer, OutputRequest
from cyclone.protocol.messages import FetchOutput, Output

# Of one client and of all.
_PENDING_PER_PEER_MAX = 64
_PENDING_MAX = 2048
# A former attempt may have run anywhere: up to so many controllers are all asked.
_ASKED_MAX = 64
_LOOK_S = 0.01
_NAMED_MAX = 3
# Of so many controllers it is known since when they are away.
_LEFT_MAX = limits.SESSIONS_MAX
_BUSY = "the master has as many questions about what tasks print under way as it can: ask again"


class _Task(NamedTuple):
    """Where a task is now. ``controller`` is who has it or had it last; ``attempt`` 0 where nobody has had it."""

    task_id: int
    state: str
    attempt: int
    controller: str

    @property
    def is_open(self) -> bool:
        """Whether it may be tried again, or still runs."""
        return self.state in OPEN_STATES


@dataclass(slots=True)
class _Pending:
    """A question under way, to sessions that have not answered yet; ``best`` is the best answer so far, and whose."""

    peer: bytes
    request: OutputRequest
    task: _Task
    until: float
    sessions: dict[int, str]
    best: tuple[Output, str] | None = None


class OutputRelay:
    """See the module. ``to_client`` and ``to_controller`` give a message to a peer; ``clock`` is Unix time."""

    def __init__(
        self,
        scheduler: Scheduler,
        journal: Journal,
        to_client: Callable[[bytes, AnyToClient], bool],
        to_controller: Callable[[bytes, FetchOutput], bool],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._scheduler = scheduler
        self._journal = journal
        self._to_client = to_client
        self._to_controller = to_controller
        self._pending: dict[int, _Pending] = {}
        self._numbers: dict[tuple[bytes, int], int] = {}
        self._under_way: Counter[bytes] = Counter()
        self._heard: list[tuple[bytes, OutputRequest | Output]] = []
        # Those whose task nobody has had yet.
        self._to_begin: dict[int, None] = {}
        self._left: dict[str, float] = {}
        self._number = 0
        self._look_at = 0.0

    def ask(self, peer: bytes, request: OutputRequest) -> None:
        """Answer it with this turn, or find out who can. One that is repeated while it is under way is the same."""
        self._heard.append((peer, request))

    def told(self, peer: bytes, output: Output) -> None:
        """A controller answers."""
        self._heard.append((peer, output))

    def turn(self, now: float) -> None:
        """What was heard has its consequences, now that all that this turn has brought is recorded.

        Who has waited too long hears so; what has begun is asked for.
        """
        heard, self._heard = self._heard, []
        for peer, message in heard:
            if isinstance(message, Output):
                self._on_output(peer, message)
            else:
                self._on_request(peer, message, now)
        if self._pending and now >= self._look_at:
            self._look_at = now + _LOOK_S
            self._look(now)

    def gone(self, peer: bytes) -> None:
        """This client cannot be reached."""
        if self._under_way[peer]:
            for number in [number for number, pending in self._pending.items() if pending.peer == peer]:
                self._forget(number)

    def left(self, name: str) -> None:
        """This controller has no session any more: who waits for its answer hears so with this turn."""
        self._left.pop(name, None)
        self._left[name] = self._clock()
        if len(self._left) > _LEFT_MAX:
            del self._left[next(iter(self._left))]
        self._look_at = 0.0

    def _on_request(self, peer: bytes, request: OutputRequest, now: float) -> None:
        if (peer, request.request) in self._numbers:
            return
        if self._under_way[peer] >= _PENDING_PER_PEER_MAX or len(self._pending) >= _PENDING_MAX:
            self._to_client(peer, Answer(request.request, False, 0, _BUSY))
            return
        task = self._task(request)
        if task is None:
            text = f"there is no task {request.job_id}.{request.index}, or it is not kept any more"
            self._to_client(peer, Answer(request.request, False, 0, text))
            return
        asked = self._whom_to_ask(request, task)
        is_to_begin = task.is_open and not task.attempt and request.wait_s > 0
        if not (asked or is_to_begin):
            text, is_away = self._why_nobody(request, task), self._is_away(request, task)
            self._to_client(peer, _nothing(request, task, text, is_away))
            return
        self._number += 1
        until = now + request.wait_s + (limits.OUTPUT_ANSWER_MAX_S if asked else 0.0)
        self._pending[self._number] = _Pending(peer, request, task, until, {})
        self._numbers[peer, request.request] = self._number
        self._under_way[peer] += 1
        if asked:
            self._pass_on(self._number, asked)
        else:
            self._to_begin[self._number] = None

    def _pass_on(self, number: int, asked: list[Session]) -> None:
        pending = self._pending[number]
        request = pending.request
        pending.sessions = {session.session_id: session.name for session in asked}
        # Where several are asked, nobody knows which of them will ever have it.
        wait_s = request.wait_s if len(asked) == 1 else 0.0
        wanted = pending.task.task_id, request.attempt, request.offset, request.bytes_max, wait_s
        for session in asked:
            self._to_controller(session.peer, FetchOutput(session.session_id, number, *wanted))

    def _on_output(self, peer: bytes, output: Output) -> None:
        """What a controller was not asked is passed over."""
        session = self._scheduler.state.sessions.by_id.get(output.session)
        pending = self._pending.get(output.request)
        if session is None or session.peer != peer or pending is None or output.session not in pending.sessions:
            return
        name, request = pending.sessions.pop(output.session), pending.request
        asked_for = output.task_id == pending.task.task_id and request.attempt in (0, output.attempt)
        if asked_for and (pending.best is None or _rank(output) > _rank(pending.best[0])):
            pending.best = output, name
        if not pending.sessions:
            self._finish(output.request)

    def _look(self, now: float) -> None:
        for number in list(self._to_begin):
            pending = self._pending[number]
            task = self._task(pending.request)
            if task and task.attempt:
                pending.task, pending.until = task, max(pending.until, now + limits.OUTPUT_ANSWER_MAX_S)
                del self._to_begin[number]
                self._pass_on(number, self._whom_to_ask(pending.request, task))
            elif not (task and task.is_open):
                self._finish(number)
        for number in [number for number, pending in self._pending.items() if now >= pending.until]:
            self._finish(number)
        for number in list(self._pending):
            self._pass_over_who_left(number)

    def _pass_over_who_left(self, number: int) -> None:
        """Who has no session any more does not answer; whoever has come since may."""
        pending = self._pending[number]
        gone = pending.sessions.keys() - self._scheduler.state.sessions.by_id.keys()
        for session_id in gone:
            del pending.sessions[session_id]
        if not gone or pending.sessions:
            return
        asked = [] if pending.best else self._whom_to_ask(pending.request, pending.task)
        if asked:
            self._pass_on(number, asked)
        else:
            self._finish(number)

    def _finish(self, number: int) -> None:
        pending = self._forget(number)
        # It may have ended meanwhile.
        task, request = self._task(pending.request) or pending.task, pending.request
        if pending.best is None:
            silent = ", ".join(sorted(pending.sessions.values())[:_NAMED_MAX])
            text = self._why_nobody(request, task) or (f"{silent} did not answer in time" if silent else "")
            is_away = bool(silent) or self._is_away(request, task)
            self._to_client(pending.peer, _nothing(request, task, text, is_away))
            return
        output, name = pending.best
        if not output.attempt:
            is_away = not output.text and self._is_away(request, task)
            text = output.text or self._why_nobody(request, task)
            self._to_client(pending.peer, _nothing(request, task, text, is_away))
            return
        answer = OutputAnswer(
            request.request,
            output.attempt,
            output.offset,
            output.pieces,
            output.size,
            output.ended,
            task.state,
            name,
            output.text,
        )
        self._to_client(pending.peer, answer)

    def _forget(self, number: int) -> _Pending:
        pending = self._pending.pop(number)
        self._to_begin.pop(number, None)
        del self._numbers[pending.peer, pending.request.request]
        self._under_way[pending.peer] -= 1
        if not self._under_way[pending.peer]:
            del self._under_way[pending.peer]
        return pending

    def _task(self, request: OutputRequest) -> _Task | None:
        for run in self._scheduler.live_tasks(request.job_id, request.index, request.index + 1):
            return _Task(run.task_id, run.state, run.attempt, run.controller)
        rows, _ = self._journal.task_rows(request.job_id, request.index, 1, (), with_args=False, with_values=False)
        if rows and rows[0].index == request.index:
            row = rows[0]
            return _Task(row.task_id, row.state, row.attempt, row.controller)
        return None

    def _whom_to_ask(self, request: OutputRequest, task: _Task) -> list[Session]:
        """The one that has it; where that is not known, or is another one by now, all, if they are few."""
        if not task.attempt or request.attempt > task.attempt:
            return []
        sessions = self._scheduler.state.sessions
        holder = sessions.by_name.get(task.controller)
        if holder and request.attempt in (0, task.attempt):
            return [holder]
        return list(sessions.by_id.values()) if len(sessions.by_id) <= _ASKED_MAX else []

    def _why_nobody(self, request: OutputRequest, task: _Task) -> str:
        """Why there is nothing to be shown, '' where there is nothing wrong with that."""
        if not task.attempt:
            return ""
        if request.attempt > task.attempt:
            return f"there has been no attempt {request.attempt}, the last one is {task.attempt}"
        sessions = self._scheduler.state.sessions
        if self._is_away(request, task):
            return self._away(task.controller)
        if task.controller and request.attempt in (0, task.attempt):
            return ""
        return "it is not known any more who had this attempt" if len(sessions.by_id) > _ASKED_MAX else ""

    def _is_away(self, request: OutputRequest, task: _Task) -> bool:
        """Whether it is known who has it, and that they cannot be asked now."""
        is_known = bool(task.controller) and request.attempt in (0, task.attempt)
        return is_known and task.controller not in self._scheduler.state.sessions.by_name

    def _away(self, name: str) -> str:
        since = f" since {rfc3339_second(self._left[name])}" if name in self._left else ""
        return (
            f"{name} is not connected{since}: what its tasks have printed is kept there, in output/ of its [control] "
            "state_dir, and can be fetched when it is back"
        )


def _rank(output: Output) -> tuple[bool, int, int]:
    return bool(output.size), output.attempt, output.size


def _nothing(request: OutputRequest, task: _Task, text: str, is_away: bool) -> OutputAnswer:
    attempt = request.attempt or task.attempt
    # A former attempt prints nothing more, wherever it was.
    ended = not task.is_open or attempt < task.attempt
    return OutputAnswer(request.request, attempt, 0, [], 0, ended, task.state, task.controller, text, is_away)
