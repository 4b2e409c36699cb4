"""Controllers whose tasks fail far more often than those of all others: a broken node must not eat the work. PURE.

Owns the rate by controller. A suspected controller gets a task at a time until most succeed there again; where the
options say so it is drained.
"""

from cyclone.master.events import ControllerMarked
from cyclone.master.leases.sessions import Session
from cyclone.master.turn import Turn

# So many results of a controller before its rate means anything, and so much of the past counts.
RESULTS_MIN = 20
MEMORY = 200
# It fails this often, and the others that much more seldom.
FAILING = 0.5
TIMES_OTHERS = 5.0


class Suspicion:
    """See the module. ``drain`` says that whoever is suspected gets nothing at all until somebody looks."""

    def __init__(self, turn: Turn, drain: bool) -> None:
        self._turn = turn
        self._drain = drain

    def learn(self, session: Session, ended: int, failed: int) -> None:
        """So many attempts ended on this controller, so many of them badly."""
        sessions = self._turn.state.sessions
        sessions.learn(session, ended, failed)
        if session.ended > MEMORY:
            kept = session.failed * MEMORY // session.ended
            sessions.learn(session, MEMORY - session.ended, kept - session.failed)
        if not failed and not session.suspected:
            return
        suspected = self._is_worse(session)
        if suspected == session.suspected:
            return
        session.suspected = suspected
        sessions.rank(session)
        if not suspected:
            self._turn.say("info", f"controller={session.name} is not suspected any more")
            return
        self._turn.say(
            "warning",
            f"controller={session.name} host={session.host} suspected: {session.failed} of its last {session.ended} "
            "attempts failed, far more than elsewhere; it gets one task at a time",
        )
        if self._drain and not session.drained:
            self._turn.emit(ControllerMarked(session.name, True))
            self._turn.say("warning", f"controller={session.name} is drained until `cyclone drain --undo`")

    def _is_worse(self, session: Session) -> bool:
        if session.ended < RESULTS_MIN or session.failed < FAILING * session.ended:
            return False
        sessions = self._turn.state.sessions
        ended, failed = sessions.ended - session.ended, sessions.failed - session.failed
        # Alone, or where it is no better anywhere else, the tasks are to blame and not the node.
        return ended >= RESULTS_MIN and failed / ended * TIMES_OTHERS < session.failed / session.ended
