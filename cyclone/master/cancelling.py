"""Cancelled tasks: what waits ends at once, what a controller holds ends when it says so. PURE.

Owns the wishes until nothing is left that they are about. A task that completes before its controller hears of it is
completed: the first result of a task is its only one.
"""

from cyclone.master.events import CancelWanted, HorizonMoved
from cyclone.master.outcomes import Outcomes
from cyclone.master.sessions import Session
from cyclone.master.spans import Span
from cyclone.master.turn import Turn
from cyclone.protocol import limits, states
from cyclone.protocol.client_messages import CancelRequest
from cyclone.protocol.messages import Cancel, ErrorRecord, TaskRange
from cyclone.results import error_columns

# How long a controller may take to hand a cancelled task back before it is asked again.
_ASK_AGAIN_S = 2.0
QUEUED, LEASED = "queued", "leased"


class Cancelling:
    """See the module."""

    def __init__(self, turn: Turn, outcomes: Outcomes) -> None:
        self._turn = turn
        self._state = turn.state
        self._outcomes = outcomes
        self._asked_at: dict[tuple[int, int, int], float] = {}

    def request(self, request: CancelRequest) -> tuple[int, int]:
        """Remember what is to end; how many tasks that is, and how many more may be meant of which no class is known.

        What lies in the journal only is not looked at before its turn comes.
        """
        last = min(request.last, self._state.last_id)
        self._expose(last)
        wishes = [(request.first, last)] if not request.state else self._in_state(request.first, last, request.state)
        concerned = unseen = 0
        for first, end in wishes:
            wish = CancelWanted(first, end, request.task_class)
            count = sum(stop - start for _, start, stop in self._matching(wish))
            stored = self._state.queue.stored_within(first, end)
            if count or stored:
                self._turn.emit(wish)
            concerned += count
            unseen += stored
        self.carry_out()
        return (concerned, unseen) if request.task_class else (concerned + unseen, 0)

    def carry_out(self) -> None:
        """Once per turn: end what can be ended, ask for the rest, and forget the wishes that are fulfilled."""
        sessions = self._state.sessions
        for wish in list(self._state.cancellations):
            self._expose(wish.last)
            left = self._state.queue.holds_up_to(wish.last)
            for span, start, stop in self._matching(wish):
                if span.holder in sessions.by_id:
                    left = True
                    self._ask(sessions.by_id[span.holder], span, start, stop)
                elif sessions.former and span.holder == sessions.former.session_id:
                    left = True
                else:
                    self._end(span, start, stop)
            if not left:
                self._state.cancellations.remove(wish)

    def _in_state(self, first: int, last: int, state: str) -> list[tuple[int, int]]:
        """The ids of those that are in a state now, and not of those that will be."""
        found = []
        for span, start, stop in self._state.index.overlapping(first, last + 1):
            if (span.holder in self._state.sessions.by_id) == (state == LEASED):
                found += [(low, end - 1) for low, end in _within(span.open_runs(), start, stop)]
        stored = self._state.queue.next_stored(1)
        if state == QUEUED and stored and stored[0] <= last:
            found.append((max(first, stored[0]), last))
        return found

    def _expose(self, last: int) -> None:
        """Fresh tasks have no span yet; those up to the last of a wish get one, and keep their place."""
        state = self._state
        while (first := state.queue.next_fresh()) is not None and first <= last:
            span = state.queue.take_fresh(last - first + 1, limits.ID_MAX)
            assert span is not None
            state.index.add(span)
            state.queue.add_returned(span)
            if state.queue.offered_to > state.horizon:
                self._turn.emit(HorizonMoved(state.queue.offered_to))

    def _matching(self, wish: CancelWanted) -> list[tuple[Span, int, int]]:
        """The open stretches of spans that a wish is about."""
        found = []
        for span, start, stop in self._state.index.overlapping(wish.first, wish.last + 1):
            for first, end in _within(span.open_runs(), start, stop):
                found += [(span, low, high) for low, high in self._of_class(span, first, end, wish.task_class)]
        return found

    def _of_class(self, span: Span, start: int, stop: int, task_class: str) -> list[tuple[int, int]]:
        if not task_class:
            return [(start, stop)]
        parts = []
        at = span.first
        for job, count in span.runs:
            if self._state.jobs[job].task_class == task_class:
                parts += _within([(at, at + count)], start, stop)
            at += count
        return parts

    def _ask(self, session: Session, span: Span, start: int, stop: int) -> None:
        key = (session.session_id, start, span.attempt)
        if self._turn.now < self._asked_at.get(key, float("-inf")) + _ASK_AGAIN_S:
            return
        if len(self._asked_at) > limits.RANGES_PER_MESSAGE_MAX:
            self._asked_at.clear()
        self._asked_at[key] = self._turn.now
        part = TaskRange(start, stop - start, span.epoch, span.attempt)
        self._turn.send(session.peer, Cancel(session.session_id, [part]))

    def _end(self, span: Span, start: int, stop: int) -> None:
        error = ErrorRecord("Cancelled", "cancelled before it had a result")
        self._outcomes.end(span, start, stop, states.CANCELLED, error_columns(error, rows=stop - start))


def _within(stretches: list[tuple[int, int]], start: int, stop: int) -> list[tuple[int, int]]:
    return [(max(first, start), min(end, stop)) for first, end in stretches if max(first, start) < min(end, stop)]
