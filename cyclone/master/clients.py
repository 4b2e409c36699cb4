"""What people ask of a master: status, cancel, drain. PURE.

Owns the answers. Each request stands for itself; whether its sender may ask is decided before it comes here.
"""

from collections.abc import Sequence
from typing import NamedTuple

from cyclone.master.cancelling import LEASED, QUEUED, Cancelling
from cyclone.master.events import ControllerMarked
from cyclone.master.turn import Turn
from cyclone.protocol import limits, messages
from cyclone.protocol.client_messages import (
    Answer,
    CancelRequest,
    ControllerStatus,
    DrainRequest,
    StatusReport,
    StatusRequest,
)
from cyclone.protocol.job_messages import AnyFromClient
from cyclone.version import __version__

# Enough to see which name was meant.
_KNOWN_MAX = 1000


class Who(NamedTuple):
    """Who asks: the name of the key, empty where nobody is asked for one, and whether that may do all."""

    name: str
    is_admin: bool


class Clients:
    """See the module. ``journal`` says in words how durable the master is."""

    def __init__(self, turn: Turn, cancelling: Cancelling, journal: str) -> None:
        self._turn = turn
        self._state = turn.state
        self._cancelling = cancelling
        self._journal = journal

    def on_request(self, peer: bytes, request: AnyFromClient, stopping: bool) -> None:
        """Answer it."""
        match request:
            case StatusRequest():
                self._turn.send(peer, self._status(request.request, stopping))
            case CancelRequest():
                self._turn.send(peer, self._cancel(request))
            case DrainRequest():
                self._turn.send(peer, self._drain(request))

    def _status(self, request: int, stopping: bool) -> StatusReport:
        state = self._state
        now = self._turn.now
        controllers = [
            ControllerStatus(
                session.name,
                session.host,
                session.slots,
                session.open,
                max(0.0, now - session.last_seen),
                "drained" if session.drained else "suspected" if session.suspected else "",
            )
            for session in state.sessions.by_id.values()
        ]
        delayed = state.sessions.delayed.open
        tasks = {
            "queued": state.queue.waiting,
            "delayed": delayed,
            "leased": state.open_tasks - state.queue.waiting - delayed,
            **state.ended,
        }
        return StatusReport(
            request,
            __version__,
            self._journal,
            state.epoch,
            tasks,
            state.progress.pulled,
            state.progress.exhausted,
            stopping,
            sorted(state.awaited),
            controllers,
        )

    def _cancel(self, request: CancelRequest) -> Answer:
        if request.state not in ("", QUEUED, LEASED):
            return _answer(request.request, 0, f"state {request.state[:32]!r}: expected {QUEUED} or {LEASED}")
        count, unseen = self._cancelling.request(request)
        if not count and not unseen:
            return _answer(request.request, 0, "no open task is meant by that: it is done, or was never added")
        tasks = "1 task is" if count == 1 else f"{count} tasks are"
        self._turn.say("info", f"{tasks} cancelled by a client, from {request.first} to {request.last}")
        more = f"; so is what is meant of {unseen} that still lie in the journal" if unseen else ""
        return _answer(request.request, count + unseen, f"{tasks} cancelled; what runs is being stopped{more}")

    def _drain(self, request: DrainRequest) -> Answer:
        name, drained = request.controller, not request.undo
        state = self._state
        known = sorted(state.live.keys() | state.sessions.by_name.keys() | state.sessions.drained)
        if name not in known:
            text = f"no controller is called {name!r}; known:{'' if known else ' none'}"
            return _answer(request.request, 0, text, known[:_KNOWN_MAX])
        if drained == (name in state.sessions.drained):
            return _answer(request.request, 1, f"{name} is {'' if drained else 'not '}drained already")
        self._turn.emit(ControllerMarked(name, drained))
        self._turn.say(
            "info", f"controller={name} is {'drained' if drained else 'not drained any more'}, says a client"
        )
        session = state.sessions.by_name.get(name)
        if drained and session and session.open:
            self._turn.send(session.peer, messages.Recall(session.session_id, session.open))
        return _answer(request.request, 1, f"{name} gets {'no new' if drained else 'new'} tasks")


def _answer(request: int, count: int, text: str, names: Sequence[str] = ()) -> Answer:
    """Granted where anything is concerned."""
    return Answer(request, count > 0, count, text[: limits.TEXT_CHARS_MAX], list(names))
