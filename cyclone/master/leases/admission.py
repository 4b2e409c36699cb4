"""Who takes part: controllers come, come back, are replaced, fall silent and leave; what they held follows. PURE.

Owns what a hello, a goodbye and silence mean. After a restart it also owns the wait for those who may still hold what
an earlier epoch has leased: they are asked by nobody, they say hello by themselves.
"""

from dataclasses import dataclass

from cyclone.master.events import AttemptsEnded, ControllerJoined, ControllerLeft
from cyclone.master.leases import recalls
from cyclone.master.leases.sessions import Session
from cyclone.master.turn import Turn
from cyclone.protocol import limits, messages, states
from cyclone.protocol.messages import Goodbye, Hello, Refused, Welcome

# So many heartbeats in a second, each some 80 us of processor time with its answer, are 8 % of a core. More controllers
# than that speak more seldom, as long as lost heartbeats, which are repeated sooner (Link), are not yet a time-out.
HEARTBEATS_PER_S = 1000
_HEARTBEAT_SHARE_MAX = 0.6
# How much slower than ours a controller's clock may be.
_CLOCK_DRIFT = 1.1
# What it may need to end what has lost its lease; see Link.lease_ended.
_KILL_S = 5.0


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for every controller, in seconds."""

    journal_id: str
    heartbeat_s: float
    controller_timeout_s: float

    def pace_s(self, sessions: int) -> float:
        """How often each of so many controllers is to speak; decision 16."""
        stretched_s = min(sessions / HEARTBEATS_PER_S, self.controller_timeout_s * _HEARTBEAT_SHARE_MAX)
        return max(self.heartbeat_s, stretched_s)

    @property
    def exclusive_wait_s(self) -> float:
        """After its last word, how long a controller may still run what must not run without a lease."""
        return self.controller_timeout_s * _CLOCK_DRIFT + _KILL_S


class Admission:
    """See the module. ``closed`` says that nobody is welcomed any more."""

    def __init__(self, turn: Turn, terms: Terms) -> None:
        self.closed = False
        self._turn = turn
        self._state = turn.state
        self._terms = terms

    def on_hello(self, peer: bytes, hello: Hello) -> None:
        """Welcome it, or say why not."""
        turn, sessions = self._turn, self._state.sessions
        refusal = self._refusal(hello)
        if refusal:
            turn.send(peer, Refused(refusal, hello.incarnation, messages.REFUSALS[refusal]))
            return
        before = sessions.by_peer.get(peer)
        if before and before.name != hello.name:
            # One connection, one controller: else a single peer could fill the memory with names.
            self.shut_out(peer, f"its connection said hello as {hello.name}")
        old = sessions.by_name.get(hello.name)
        if old and old.incarnation != hello.incarnation:
            text = f"a new incarnation of {hello.name} said hello from {hello.host}, pid {hello.pid}"
            turn.send(old.peer, Refused(messages.SUPERSEDED, old.incarnation, text))
            turn.say("warning", f"controller={old.name} superseded: {text}")
            self._lose(old)
            old = None
        if self._state.live.get(hello.name) != hello.incarnation:
            turn.emit(ControllerJoined(hello.name, hello.incarnation))
        session = sessions.add(peer, hello, turn.now)
        # Where its last master had another journal, its leases are of other tasks with the same numbers.
        epoch = self._state.epoch if hello.journal_id == self._terms.journal_id else 0
        held = [part for part in hello.held if part.epoch <= epoch]
        never = [part for part in hello.held if part.epoch > epoch]
        drop = never + self._state.adopt(session, old, held)
        if old:
            # This hello may be older than its last leases: of what must not overlap, only a State says that it is lost.
            lanes = self._state.lanes
            for span in list(old.spans):
                if self._state.is_exclusive(span) or lanes.lane(span.job_id).is_bounded:
                    self._state.rebind(span, session)
            lanes.move_ghosts(old, session)
            self.release(old)
        else:
            text = f"controller={session.name} joined host={hello.host} slots={hello.slots} held={session.open}"
            turn.say("info", text)
        terms = self._terms
        turn.send(
            peer,
            Welcome(
                session.session_id,
                hello.incarnation,
                self._state.epoch,
                terms.journal_id,
                terms.pace_s(len(sessions)),
                terms.controller_timeout_s,
                drop[: limits.RANGES_PER_MESSAGE_MAX],
            ),
        )
        self._state.awaited.discard(hello.name)
        if session.drained or self._has_what_must_not_begin(session):
            # Whoever asked for it back may have had no answer, or have been another master.
            recalls.recall(turn, session)

    def on_goodbye(self, session: Session, goodbye: Goodbye) -> None:
        """It holds nothing any more."""
        self._turn.say("info", f"controller={session.name} left: {goodbye.reason}")
        self._turn.emit(ControllerLeft(session.name))
        self.release(session)

    def shut_out(self, peer: bytes, reason: str) -> None:
        """What this peer says counts no more, whatever runs there: the same as its silence, at once."""
        session = self._state.sessions.by_peer.get(peer)
        if session:
            self._turn.say("warning", f"controller={session.name} shut out, {reason}: {session.open} tasks requeued")
            self._turn.emit(ControllerLeft(session.name))
            self._lose(session)

    def sweep(self, heard_until: float) -> None:
        """Requeue what silent controllers hold, and ask those again that owe an answer.

        What reached us after ``heard_until`` may not have been read yet.
        """
        turn, sessions = self._turn, self._state.sessions
        limit = heard_until - self._terms.controller_timeout_s
        for session in [s for s in sessions.by_id.values() if s.last_seen < limit]:
            silent_s = turn.now - session.last_seen
            turn.say("warning", f"controller={session.name} silent for {silent_s:.1f} s: {session.open} tasks requeued")
            turn.emit(ControllerLeft(session.name))
            self._lose(session)
        if self._state.awaited and sessions.former and sessions.former.last_seen < limit:
            missing = sorted(self._state.awaited)
            for name in missing:
                turn.emit(ControllerLeft(name))
            turn.say("warning", "did not come back after the restart:", missing)
        recalls.repeat(turn)

    def settle(self) -> None:
        """Once nobody is awaited any more, what no controller has claimed since the restart waits like all else."""
        former = self._state.sessions.former
        if former is None or self._state.awaited:
            return
        if former.open:
            self._turn.say("info", f"{former.open} tasks of an earlier epoch are held by nobody: they wait again")
        self.release(former, self._turn.now)

    def release(self, session: Session, heard_at: float | None = None) -> None:
        """Forget a session; what it holds waits again. ``heard_at`` is given where it may still run."""
        for span in list(session.spans):
            self._turn.give_back(span, heard_at)
        over_at = 0.0 if heard_at is None else heard_at + self._terms.exclusive_wait_s
        for ghost in list(session.ghosts):
            self._state.lanes.lay(session, ghost, over_at)
        self._state.sessions.remove(session)

    def _lose(self, session: Session) -> None:
        """The same for one that took its attempts with it."""
        for span in session.spans:
            for first, stop in span.open_runs():
                self._turn.emit(AttemptsEnded(first, stop - first, span.epoch, span.attempt, states.LOST, session.name))
        self.release(session, session.last_seen)

    def _has_what_must_not_begin(self, session: Session) -> bool:
        lanes = (self._state.lanes.lane(job_id) for job_id in {span.job_id for span in session.spans})
        return any(lane.held or lane.share.paused for lane in lanes)

    def _refusal(self, hello: Hello) -> str:
        if hello.protocol != limits.PROTOCOL_VERSION:
            return messages.VERSION
        if self._state.sessions.is_superseded(hello.incarnation):
            return messages.SUPERSEDED
        if len(self._state.sessions) >= limits.SESSIONS_MAX and hello.name not in self._state.sessions.by_name:
            return messages.FULL
        return messages.DRAINING if self.closed else ""
