"""What a controller says of itself: credit, slots, what it holds; and what follows where that is not what it should be.

PURE. Owns the heartbeat and its answer, what got lost on the way, and what takes too long.
"""

from cyclone.master.leases.admission import Terms
from cyclone.master.leases.sessions import Session
from cyclone.master.spans import Holdings
from cyclone.master.turn import Turn
from cyclone.protocol import limits
from cyclone.protocol.messages import Cancel, Pong, State, TaskRange


class Heartbeats:
    """See the module."""

    def __init__(self, turn: Turn, terms: Terms) -> None:
        self._turn = turn
        self._state = turn.state
        self._terms = terms

    def on_state(self, session: Session, report: State) -> None:
        """Answer it, and take it in where it is news."""
        turn, sessions = self._turn, self._state.sessions
        pace_s = self._terms.pace_s(len(sessions))
        turn.send(session.peer, Pong(session.session_id, report.seq, session.tasks_seq, session.sent, pace_s))
        if report.seq <= session.state_seq:
            return
        session.state_seq = report.seq
        session.slots, session.running = report.slots, report.running
        session.busy, session.resting = report.busy, report.resting
        # Its queue here may only have been full; if it is gone, the next message to it says so again.
        session.reachable = True
        self.grant(session, report.granted)
        sessions.rank(session)
        if session.spans or session.ghosts:
            self._return_missing(session, report)

    def grant(self, session: Session, granted: int) -> None:
        """It would take so many tasks in all."""
        if granted > session.granted:
            session.granted = min(granted, session.sent + limits.CREDIT_MAX)
            self._state.sessions.rank(session)

    def ask_for_overdue(self, resend_timeout_s: float) -> None:
        """A controller that is alive is asked to end what takes too long; its answer makes the tasks wait again."""
        limit = self._turn.now - resend_timeout_s
        for span in self._state.index:
            session = self._state.sessions.by_id.get(span.holder or 0)
            if session and span.leased_at < limit:
                names = f"tasks={span.first}-{span.end - 1} on controller={session.name}"
                self._turn.say("warning", f"{names} passed task_resend_timeout: asked back")
                part = TaskRange(span.first, span.count, span.epoch, span.attempt)
                self._turn.send(session.peer, Cancel(session.session_id, [part]))

    def _return_missing(self, session: Session, report: State) -> None:
        """What was leased by a message that the controller has passed, and is not among what it holds, got lost."""
        held = Holdings(report.held)
        for start, stop in [gap for span in session.spans if span.seq <= report.tasks_seq for gap in held.gaps(span)]:
            for span, low, high in self._state.index.overlapping(start, stop):
                self._turn.give_back(self._state.carve(span, low, high))
        for ghost in [ghost for ghost in session.ghosts if ghost.seq <= report.tasks_seq]:
            if not held.has(ghost.part):
                self._state.lanes.lay(session, ghost)
                self._state.sessions.rank(session)
