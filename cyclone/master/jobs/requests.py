"""What people ask of a master: its status, drain, cancel, and all that is about jobs. PURE.

Owns who answers what. Each request stands for itself; whether its sender's role may ask it at all is decided before it
comes here, whose jobs it may steer is decided here.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import TypeVar

import msgspec

from cyclone.master.actions import Consult, Follow
from cyclone.master.events import ControllerMarked
from cyclone.master.jobs.cancelling import LEASED, QUEUED, Cancelling
from cyclone.master.jobs.errands import Errand, Errands
from cyclone.master.jobs.explain import explain
from cyclone.master.jobs.job_control import JobControl
from cyclone.master.jobs.rights import Who
from cyclone.master.jobs.submissions import Submissions, goes_well
from cyclone.master.leases import recalls
from cyclone.master.leases.sessions import Session
from cyclone.master.turn import Turn
from cyclone.master.waiting.picks import Picker
from cyclone.protocol import limits, messages
from cyclone.protocol.client_messages import (
    Answer,
    CancelRequest,
    ControllerStatus,
    DrainRequest,
    StatusReport,
    StatusRequest,
)
from cyclone.protocol.figure_messages import FiguresRequest
from cyclone.protocol.job_messages import (
    NOT_ALLOWED,
    AddRequest,
    AnyFromClient,
    AnyToClient,
    CancelJobsRequest,
    ControlRequest,
    DetailRequest,
    ExplainRequest,
    Explanation,
    FollowRequest,
    JobsRequest,
    NamespaceRequest,
    NamespacesRequest,
    ProcessedRequest,
    RequeueRequest,
    SubmitRequest,
    TasksRequest,
)
from cyclone.version import __version__

# Enough to see which name was meant.
_KNOWN_MAX = 1000
# What a status tells of controllers, and of those that are awaited: with all else it fits a message.
_CONTROLLERS_BYTES_MAX = 8 * 1024 * 1024
_AWAITED_BYTES_MAX = 4 * 1024 * 1024
_encode = msgspec.msgpack.Encoder().encode
_T = TypeVar("_T")


class Requests:
    """See the module. ``journal`` says in words how durable the master is."""

    def __init__(self, turn: Turn, cancelling: Cancelling, errands: Errands, picker: Picker, journal: str) -> None:
        self._turn = turn
        self._state = turn.state
        self._cancelling = cancelling
        self._errands = errands
        self._picker = picker
        self._journal = journal
        self._submissions = Submissions(turn)
        self._control = JobControl(turn, cancelling)

    def on_request(
        self, peer: bytes, request: AnyFromClient, who: Who, known_job: int | None, stopping: bool, rests: bool
    ) -> None:
        """Answer it, or say who does. ``known_job``: see ``Scheduler.answer``; ``rests``: nothing is handed out."""
        if isinstance(request, AddRequest | FollowRequest | ProcessedRequest | RequeueRequest):
            self._heard(request.job_id, who)
        match request:
            case JobsRequest() | TasksRequest() | DetailRequest() | FiguresRequest():
                self._turn.out.append(Consult(peer, request))
            case FollowRequest():
                record = self._state.jobs.records.get(request.job_id)
                number, owner = (record.number, record.owner) if record else (0, "")
                self._turn.out.append(Follow(peer, request, number, record is not None, who, owner))
            case _ if self._errands.has(peer, request):
                # It was repeated before all of it was done: the answer follows.
                pass
            case _:
                answer = self._answer(request, who, known_job, stopping, rests)
                if isinstance(answer, Errand):
                    self._errands.begin(peer, request, answer)
                elif not (isinstance(request, AddRequest) and request.quiet and goes_well(answer)):
                    self._turn.send(peer, answer)

    def _heard(self, job_id: int, who: Who) -> None:
        """Who may steer a job says something of it: it is not abandoned."""
        record = self._state.jobs.records.get(job_id)
        if record and who.may_steer(record.owner):
            record.heard_at = self._turn.now

    def _answer(
        self, request: AnyFromClient, who: Who, known_job: int | None, stopping: bool, rests: bool
    ) -> AnyToClient | Errand:
        control, number = self._control, request.request
        match request:
            case StatusRequest():
                return self._status(number, stopping)
            case CancelRequest():
                return self._cancel(request, who)
            case DrainRequest():
                return self._drain(request, who)
            case SubmitRequest():
                return self._submissions.submit(request, who, known_job, stopping)
            case AddRequest():
                return self._submissions.add(request, who, stopping)
            case ExplainRequest():
                kept = {session_id: one.lane for session_id, one in self._picker.kept.items()}
                reasons = explain(self._state, kept, self._turn.now, rests, request.job_id, request.index)
                return Explanation(number, reasons)
            case ControlRequest():
                return control.control(request, who)
            case CancelJobsRequest():
                return control.cancel(request, who)
            case RequeueRequest():
                return control.requeue(request, who)
            case NamespaceRequest():
                return control.namespace(request, who)
            case NamespacesRequest():
                return control.namespaces(number)
            case ProcessedRequest():
                return control.processed(request, who, known_job)
        # What the body has let through although it concerns no job: no request of a peer may end the master.
        return _answer(number, 0, f"{type(request).__name__} is not answered here")

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
                _mark(session),
                session.busy,
                session.offer,
                session.version,
                session.python,
                session.resting,
            )
            for session in state.sessions.by_id.values()
        ]
        delayed = state.sessions.delayed.open
        tasks = {
            "queued": state.lanes.waiting,
            "delayed": delayed,
            "leased": state.open_tasks - state.lanes.waiting - delayed,
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
            _fitting(sorted(state.awaited), _AWAITED_BYTES_MAX),
            _told_of(controllers),
            dict(state.jobs.qos),
        )

    def _cancel(self, request: CancelRequest, who: Who) -> Answer:
        if not who.is_admin:
            return _forbidden(request.request, "tasks by their ids are for administrators: name jobs")
        if request.state not in ("", QUEUED, LEASED):
            return _answer(request.request, 0, f"state {request.state[:32]!r}: expected {QUEUED} or {LEASED}")
        count, unseen = self._cancelling.request(request)
        if not count and not unseen:
            return _answer(request.request, 0, "no open task is meant by that: it is done, or was never added")
        tasks = "1 task is" if count == 1 else f"{count} tasks are"
        self._turn.say("info", f"{tasks} cancelled by a client, from {request.first} to {request.last}")
        more = f"; so is what is meant of {unseen} that still lie in the journal" if unseen else ""
        return _answer(request.request, count + unseen, f"{tasks} cancelled; what runs is being stopped{more}")

    def _drain(self, request: DrainRequest, who: Who) -> Answer:
        if not who.is_admin:
            return _forbidden(request.request, "controllers are for administrators")
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
        if drained and session:
            recalls.recall(self._turn, session)
        return _answer(request.request, 1, f"{name} gets {'no new' if drained else 'new'} tasks")


def _mark(session: Session) -> str:
    if session.drained:
        return "drained"
    if session.is_leaving:
        return "leaving"
    return "suspected" if session.suspected else ""


def _told_of(controllers: list[ControllerStatus]) -> list[ControllerStatus]:
    """All of them, as far as they fit; of those behind not what they offer, before any is left out."""
    whole = _fitting(controllers, _CONTROLLERS_BYTES_MAX)
    if len(whole) == len(controllers):
        return controllers
    bare = [msgspec.structs.replace(one, offer=messages.Offer(), version="", python="") for one in controllers]
    room = _CONTROLLERS_BYTES_MAX - len(_encode(bare))
    whole = _fitting(controllers, room) if room > 0 else []
    return _fitting([*whole, *bare[len(whole) :]], _CONTROLLERS_BYTES_MAX)


def _fitting(rows: list[_T], bytes_max: int) -> list[_T]:
    """As many of the first as take no more."""
    if len(_encode(rows)) <= bytes_max:
        return rows
    sizes = accumulate(len(_encode(row)) for row in rows)
    return rows[: sum(1 for size in sizes if size <= bytes_max)]


def _forbidden(request: int, text: str) -> Answer:
    return Answer(request, False, 0, text, code=NOT_ALLOWED)


def _answer(request: int, count: int, text: str, names: Sequence[str] = ()) -> Answer:
    """Granted where anything is concerned."""
    return Answer(request, count > 0, count, text[: limits.TEXT_CHARS_MAX], list(names))
