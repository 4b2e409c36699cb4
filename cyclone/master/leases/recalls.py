"""What is not to begin any more comes back from its controller, which is asked for it until it has answered. PURE.

Owns how often. Whoever decides that tasks are not to begin calls ``recall``: a job is held or has expired, a namespace
is paused, a controller drained, the master stops. For who has nothing to do the ``Dispatcher`` asks for less.
"""

import math

from cyclone.master.leases.sessions import Session
from cyclone.master.turn import Turn
from cyclone.protocol import limits
from cyclone.protocol.messages import Recall

# How long a controller may take to answer before it is asked again.
ASK_AGAIN_S = 2.0
# Not as many as it has by our count: what is under way to it would come back in the place of what is not to begin.
EVERYTHING = limits.ID_MAX


def recall(turn: Turn, session: Session) -> None:
    """Ask for everything that has not started, whosever it is; nobody who has nothing is asked."""
    if session.open:
        turn.send(session.peer, Recall(session.session_id, EVERYTHING))
    session.recall_again_at = turn.now + ASK_AGAIN_S if session.open else math.inf


def answered(session: Session, has_returned: bool) -> None:
    """Owed for each answer, once what it hands back waits again."""
    # It may answer an earlier question, for less: then more may be left.
    if not has_returned or session.taken <= session.slots:
        session.recall_again_at = math.inf


def repeat(turn: Turn) -> None:
    """Owed about twice a second: those that have not answered for long are asked again."""
    for session in turn.state.sessions.by_id.values():
        if session.recall_again_at <= turn.now:
            recall(turn, session)
