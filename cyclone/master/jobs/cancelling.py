"""Tasks that are to end: what waits ends at once, what a controller holds ends when it says so. PURE.

Owns the wishes until nothing is left that they are about. From the moment of a wish on, no task that it is about
completes, whatever its controller reports (``Outcomes``). What has expired is treated alike as far as it waits; what
runs of it goes on.
"""

import math
from collections.abc import Callable, Iterable, Iterator

from cyclone.master.events import CancelWanted, TasksReturned
from cyclone.master.jobs.registry import JobRecord
from cyclone.master.leases import recalls
from cyclone.master.leases.outcomes import Outcomes
from cyclone.master.leases.sessions import Session
from cyclone.master.spans import Span
from cyclone.master.turn import Turn
from cyclone.protocol import limits
from cyclone.protocol.client_messages import CancelRequest
from cyclone.protocol.job_spec import GENERATOR_JOB
from cyclone.protocol.messages import Cancel, TaskRange
from cyclone.protocol.states import EXPIRED

# How long a controller may take to hand a cancelled task back before it is asked again.
_ASK_AGAIN_S = 2.0
# How often everything is looked at where nothing has come back.
_LOOK_S = 0.25
# And where there is more to do at once, with a breath for everybody else.
_SOON_S = 0.005
# So many tasks end in one turn; the rest in the next ones, so that nobody waits for long.
_TASKS_PER_TURN = 65536
# Each result that is recorded costs so much as so many tasks in it.
_TASKS_PER_RESULT = 64
QUEUED, LEASED = "queued", "leased"

Stretch = tuple[Span, int, int]
"""Open tasks of a span, from one id up to another."""


class Cancelling:
    """See the module. ``seek`` asks for the stored blocks of a job to be loaded, so that they can be ended."""

    def __init__(self, turn: Turn, outcomes: Outcomes, seek: Callable[[int], None]) -> None:
        self._turn = turn
        self._state = turn.state
        self._outcomes = outcomes
        self._seek = seek
        self._asked_at: dict[tuple[int, int, int], float] = {}
        self._asks: dict[int, list[TaskRange]] = {}
        self._look_at = 0.0
        self._left = 0

    @property
    def deadline(self) -> float:
        """When ``carry_out`` has something to do at the latest."""
        if not self._state.cancellations.pending:
            return math.inf
        return min(self._look_at, self._turn.now + _SOON_S) if self._state.came_back else self._look_at

    def request(self, request: CancelRequest) -> tuple[int, int]:
        """Remember what is to end; how many tasks that is, and how many more may be meant of which no class is known.

        What lies in the journal only is not looked at before its turn comes.
        """
        last = min(request.last, self._state.last_id)
        self._turn.expose(request.first, last)
        wishes = [(request.first, last)] if not request.state else self._in_state(request.first, last, request.state)
        concerned = unseen = 0
        for first, end in wishes:
            wish = CancelWanted(first, end, request.task_class)
            count = sum(stop - start for _, start, stop in self._matching(wish))
            stored = sum(lane.stored_within(first, end) for lane in self._state.lanes)
            if count or stored:
                self._turn.emit(wish)
            concerned += count
            unseen += stored
        self.look()
        self.carry_out()
        return (concerned, unseen) if request.task_class else (concerned + unseen, 0)

    def wish(self, record: JobRecord, first: int, last: int, reason: str) -> None:
        """These tasks of a job are to end, from one id to another; ``carry_out`` is owed."""
        self._turn.emit(CancelWanted(first, last, "", record.job_id, reason=reason))
        self.look()

    def look(self) -> None:
        """There is a wish of somebody else; ``carry_out`` is owed."""
        self._look_at = self._turn.now

    def end_job(self, record: JobRecord, reason: str) -> None:
        """All that is open of a job is to end, and nothing is added any more; ``carry_out`` is owed."""
        self._outcomes.cancel(record, reason)
        self.look()

    def settle(self) -> None:
        """Carry out what can be, and let jobs end that have nothing left."""
        self.carry_out()
        self._outcomes.end_jobs()

    def take_back(self, ranges: Iterable[tuple[int, int]]) -> int:
        """Let open tasks with ids from where up to where wait again, whoever has them; how many somebody has.

        What waits to be tried again waits no longer; but for what is exclusive and may still run somewhere. A task that
        was given a time of its own keeps it.
        """
        state, count = self._state, 0
        for first, end in ranges:
            for span, start, stop in state.index.overlapping(first, end):
                session = state.sessions.by_id.get(span.holder or 0)
                if session:
                    count += span.open.count(1, start - span.first, stop - span.first)
                    self._ask_back(session, span, start, stop)
                elif span.holder == state.sessions.delayed.session_id and not self._has_to_wait(span, start):
                    count += span.open.count(1, start - span.first, stop - span.first)
                    self._turn.let(TasksReturned(state.carve(span, start, stop)))
        self._send_asks()
        return count

    def recall(self, job_ids: set[int]) -> None:
        """What has not started of these jobs comes back, with all else that has not started beside it."""
        for session in self._state.sessions.laden.values():
            if any(span.job_id in job_ids for span in session.spans):
                recalls.recall(self._turn, session)

    def carry_out(self) -> None:
        """Once per turn: end what can be ended, ask for the rest, and forget the wishes that are fulfilled."""
        wishes, is_due = self._state.cancellations, self._turn.now >= self._look_at
        # Only what came back, was loaded or is new can be ended; all else waits for a controller.
        came_back, self._state.came_back = self._state.came_back, set()
        if not is_due and not came_back:
            return
        self._left = _TASKS_PER_TURN
        for wish in wishes if is_due else wishes.about(came_back):
            if self._left > 0 and self._is_fulfilled(wish, is_due):
                wishes.remove(wish)
        self._send_asks()
        if is_due:
            self._look_at = self._turn.now + _LOOK_S
        if self._left <= 0:
            self._look_at = self._turn.now + _SOON_S

    def _is_fulfilled(self, wish: CancelWanted, is_due: bool) -> bool:
        """Do for a wish what can be done now; whether nothing is left of it. ``is_due``: controllers are asked, too."""
        state = self._state
        record = state.jobs.records.get(wish.job_id or GENERATOR_JOB)
        if wish.job_id and record is None:
            return True
        if record and record.stopped:
            lane = state.lanes.lane(record.job_id)
            if lane.stored_count:
                # It is all to end, whenever it would have been its turn.
                self._seek(record.job_id)
            if not (lane.in_memory or lane.delayed or (is_due and lane.out and wish.status != EXPIRED)):
                # All of it is at controllers, who were asked, or in the journal: no need to look at each of its tasks.
                return not record.open and wish.status != EXPIRED
        self._turn.expose(wish.first, wish.last, wish.job_id)
        unseen = state.lanes.unseen(wish.first, wish.last, wish.job_id)
        # As long as tasks may be added to what has expired, those are to end, too.
        left = bool(unseen) or wish.status == EXPIRED
        for span, start, stop in self._matching(wish):
            if self._left <= 0:
                return False
            if span.holder in state.sessions.by_id:
                left = True
                if wish.status != EXPIRED:
                    self._ask(state.sessions.by_id[span.holder], span, start, stop)
            elif state.sessions.former and span.holder == state.sessions.former.session_id:
                left = True
            else:
                self._left -= stop - start + _TASKS_PER_RESULT
                self._outcomes.end(span, start, stop, wish)
        return not left

    def _in_state(self, first: int, last: int, state: str) -> list[tuple[int, int]]:
        """The ids of those that are in a state now, and not of those that will be."""
        found = []
        for span, start, stop in self._state.index.overlapping(first, last + 1):
            if (span.holder in self._state.sessions.by_id) == (state == LEASED):
                found += [(low, end - 1) for low, end in _within(span.open_runs(), start, stop)]
        stored = min((start for lane in self._state.lanes for start in lane.next_stored(1)), default=last + 1)
        if state == QUEUED and stored <= last:
            found.append((max(first, stored), last))
        return found

    def _matching(self, wish: CancelWanted) -> Iterator[Stretch]:
        """The open stretches of spans that a wish is about."""
        state = self._state
        ranges = [(wish.first, wish.last + 1)]
        if wish.job_id:
            pieces = state.jobs.records[wish.job_id].extents.by_id(wish.first, wish.last + 1)
            ranges = [(first, first + count) for _, first, count in pieces]
        for first, end in ranges:
            for span, start, stop in state.index.overlapping(first, end):
                if wish.job_id == GENERATOR_JOB and span.job_id != GENERATOR_JOB:
                    continue
                for low, high in _within(span.open_runs(), start, stop):
                    for parts in self._of_class(span, low, high, wish.task_class):
                        yield span, *parts

    def _has_to_wait(self, span: Span, task_id: int) -> bool:
        """Whether a delayed span must not be leased yet: its former lease may go on, or its own time has not come."""
        now, state = self._turn.now, self._state
        if span.over_at > now and state.is_exclusive(span):
            return True
        # Those of one span were put aside until the same moment.
        return state.lanes.lane(span.job_id).not_before.get(task_id, 0.0) > now + state.jobs.wall_offset_s

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
        if self._may_ask((session.session_id, start, span.attempt)):
            self._ask_back(session, span, start, stop)

    def _may_ask(self, key: tuple[int, int, int]) -> bool:
        """Whether it was not asked for just now; it is from here on."""
        if self._turn.now < self._asked_at.get(key, -math.inf) + _ASK_AGAIN_S:
            return False
        if len(self._asked_at) > limits.RANGES_PER_MESSAGE_MAX:
            self._asked_at.clear()
        self._asked_at[key] = self._turn.now
        return True

    def _ask_back(self, session: Session, span: Span, start: int, stop: int) -> None:
        part = TaskRange(start, stop - start, span.epoch, span.attempt)
        self._asks.setdefault(session.session_id, []).append(part)

    def _send_asks(self) -> None:
        """Once to each controller, in the order that the wire wants."""
        asks, self._asks = self._asks, {}
        for session_id, asked in asks.items():
            parts = _apart(asked)
            for at in range(0, len(parts), limits.RANGES_PER_MESSAGE_MAX):
                ranges = parts[at : at + limits.RANGES_PER_MESSAGE_MAX]
                self._turn.send(self._state.sessions.by_id[session_id].peer, Cancel(session_id, ranges))


def _apart(parts: list[TaskRange]) -> list[TaskRange]:
    """The same tasks in order, each named once, whatever wishes overlap."""
    found: list[TaskRange] = []
    lease, end = (0, 0), 0
    for part in sorted(parts, key=lambda part: (part.epoch, part.attempt, part.first)):
        if lease != (part.epoch, part.attempt):
            lease, end = (part.epoch, part.attempt), 0
        first, stop = max(part.first, end), part.first + part.count
        if first < stop:
            found.append(TaskRange(first, stop - first, *lease))
            end = stop
    return found


def _within(stretches: list[tuple[int, int]], start: int, stop: int) -> list[tuple[int, int]]:
    return [(max(first, start), min(end, stop)) for first, end in stretches if max(first, start) < min(end, stop)]
