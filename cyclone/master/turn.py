"""One turn of the master's brain: the state, the moment, and the actions that gather. PURE.

The parts of the scheduler share it. Owns the rule that an event is applied in the moment in which it is put down to be
recorded, so that nobody decides on a state that the journal does not have.
"""

from collections.abc import Iterable

from cyclone.master.actions import Action, Record, Say, Send
from cyclone.master.events import HorizonMoved, Recorded, TasksDelayed, TasksReturned, Volatile
from cyclone.master.spans import Span
from cyclone.master.state import State
from cyclone.master.waiting.lanes import Lane
from cyclone.protocol import limits
from cyclone.protocol.job_messages import AnyToClient
from cyclone.protocol.messages import AnyFromMaster


class Turn:
    """See the module. ``now`` is monotonic, in seconds.

    ``exclusive_wait_s`` after its last word, a controller has certainly ended what must not run without a lease.
    """

    def __init__(self, state: State, exclusive_wait_s: float) -> None:
        self.state = state
        self.exclusive_wait_s = exclusive_wait_s
        self.now = 0.0
        self.out: list[Action] = []

    def begin(self, now: float) -> None:
        """Whoever began before has taken ``out``."""
        self.now = now
        self.out = []

    def emit(self, event: Recorded) -> None:
        """Let this happen, and have it recorded."""
        self.out.append(Record(event))
        self.state.apply(event)

    def let(self, event: Volatile) -> None:
        """Let this happen; the next epoch will not know of it."""
        self.state.apply(event)

    def give_back(self, span: Span, heard_at: float | None = None, delay_s: float = 0.0) -> None:
        """Let the tasks of a span wait again, for ``delay_s`` at least; one that was handed back before waits already.

        ``heard_at`` is given where they may still run: what is exclusive waits until its lease is over there too, and
        what a limit counts is counted until then.
        """
        if heard_at is None and span.epoch < self.state.epoch:
            # A lease of an earlier epoch is over, but a later one of that epoch may not have been told of yet.
            heard_at = self.now
        until = self.now + delay_s
        over_at = 0.0 if heard_at is None else heard_at + self.exclusive_wait_s
        if over_at and self.state.is_exclusive(span):
            until = max(until, over_at)
        if until > self.now:
            self.let(TasksDelayed(span, until, over_at))
        elif span.holder is not None:
            self.let(TasksReturned(span, over_at))

    def offered(self, lane: Lane) -> None:
        """Owed after each take from the fresh tasks of a lane, before anybody hears of them."""
        last_id = lane.offered_to
        if last_id > lane.horizon:
            self.emit(HorizonMoved(max(last_id, self.state.horizon), ((lane.job_id, last_id),)))

    def expose(self, first: int, last: int, job_id: int | None = None) -> None:
        """What was never leased and is meant gets a span, so that it can be ended; it keeps its place.

        So does what comes before it in its lane. What is only stored stays so until it is loaded, see ``Paging.seek``.
        """
        state = self.state
        for lane in state.lanes.unseen(first, last, job_id):
            while (start := lane.next_fresh()) is not None and start <= last:
                span = lane.take_fresh(last - start + 1, limits.ID_MAX)
                assert span is not None
                state.index.add(span)
                lane.add_returned(span)
                self.offered(lane)
            state.lanes.rank(lane)

    def send(self, peer: bytes, message: AnyFromMaster | AnyToClient) -> None:
        """Tell a controller, or a client."""
        self.out.append(Send(peer, message))

    def say(self, level: str, text: str, nodes: Iterable[str] = ()) -> None:
        """Tell the log."""
        self.out.append(Say(level, text, tuple(nodes)))
