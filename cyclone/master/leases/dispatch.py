"""Who gets what next: what a ``Picker`` says, to whoever has a free worker. PURE.

Plans only: ``leases`` takes spans from the lanes for sessions, ``recalls`` says from whom to take work back. The
scheduler turns the plan into events and messages. Tasks whose own time has not come are put aside when their turn has.
"""

from collections.abc import Iterator
from itertools import groupby

from cyclone.master.events import TasksDelayed
from cyclone.master.leases.sessions import Session
from cyclone.master.spans import Span
from cyclone.master.turn import Turn
from cyclone.master.waiting.lane import Lane
from cyclone.master.waiting.picks import Picker
from cyclone.master.waiting.queue import fitting
from cyclone.protocol import limits

# Arguments that are out at controllers beyond what their slots are free for. Credit counts tasks and not bytes.
LEASED_BYTES_MAX = 64 * 1024 * 1024
# An idle slot waits this long for new work before somebody else's is taken back for it: a recall costs a round trip.
RECALL_AFTER_S = 0.02
# How long a recall may stay unanswered before it is sent again.
RECALL_RETRY_S = 1.0
# For so many idle controllers it is looked whether somebody has anything that they could take.
_IDLE_LOOKED_AT = 16


class Dispatcher:
    """Matches the lanes with the sessions' credit."""

    def __init__(self, turn: Turn, picker: Picker) -> None:
        self._turn = turn
        self._picker = picker
        self._lanes = turn.state.lanes
        self._sessions = turn.state.sessions
        self._index = turn.state.index
        self._jobs = turn.state.jobs
        self._version = 0
        self._idle_since: float | None = None

    def next_look(self) -> float | None:
        """When ``recalls`` wants to be asked again, None while nobody idles."""
        return None if self._idle_since is None else self._idle_since + RECALL_AFTER_S

    def leases(self, leased: int) -> Iterator[tuple[Session, list[Span]]]:
        """Pairs of a session and spans for one message to it, until nothing fits anybody or the credit is used up.

        ``leased`` tasks are out already. The caller must count a pair against the session (and rank it) before it asks
        for the next.
        """
        lanes, sessions = self._lanes, self._sessions
        ready = lanes.shares.active
        if self._picker.kept:
            self._picker.tidy()
        if lanes.version != self._version:
            self._version = lanes.version
            sessions.unpark()
        # What is leased stays in memory here, too: beyond the bound, free slots are served and nobody's prefetch.
        room = LEASED_BYTES_MAX // max(1, lanes.window.mean_bytes) - leased
        # With less work than credit, free slots come before anybody's prefetch.
        while ready and sessions.idle and (room <= 0 or lanes.ready_count < sessions.credit_total):
            session = next(iter(sessions.idle.values()))
            if spans := self._lease(session, min(session.free_slots, session.credit)):
                yield session, spans
            elif not lanes.has_room:
                break
        share = limits.TASKS_PER_BATCH_MAX
        if sessions.hungry and lanes.ready_count < sessions.credit_total:
            share = max(1, min(share, -(-lanes.ready_count // len(sessions.hungry))))
        while ready and sessions.hungry and room > 0:
            session = next(iter(sessions.hungry.values()))
            if spans := self._lease(session, min(session.credit, share, room)):
                room -= sum(span.count for span in spans)
                yield session, spans
            elif not lanes.has_room:
                break

    def _lease(self, session: Session, count: int) -> list[Span]:
        spans: list[Span] = []
        bytes_left, gathered = limits.BATCH_BYTES_TARGET, 0
        while count > 0 and bytes_left > 0 and (picked := self._picker.pick(session, gathered)):
            lane, count_max = picked
            if lane.is_bounded and spans:
                # Free slots are counted anew between two messages.
                break
            span, args_bytes = self._take(lane, min(count, count_max), bytes_left)
            if span is None:
                continue
            # At once, so that the lane does not offer it again.
            span.holder = session.session_id
            taken = span.count
            self._lanes.taken(lane, taken)
            spans.append(span)
            count -= taken
            gathered += taken
            bytes_left -= args_bytes
            if lane.job_id and lane.job_id not in session.jobs:
                # It is announced beside its first tasks, and may be as large as a message of them.
                bytes_left -= self._jobs.records[lane.job_id].spec_bytes
            if lane.is_bounded:
                break
        if not spans:
            self._sessions.park(session)
            return spans
        # Served sessions go to the end of the line.
        for line in (self._sessions.idle, self._sessions.hungry):
            if line.pop(session.session_id, None):
                line[session.session_id] = session
        return spans

    def _take(self, lane: Lane, count: int, bytes_max: int) -> tuple[Span | None, int]:
        """A span in which every task is open, off the front of a lane, and how large its arguments are.

        None where what was in front of it had to be put aside.
        """
        if lane.not_before and self._put_aside(lane, count):
            return None, 0
        waiting = lane.next_returned() if lane.returned_count else None
        if waiting is None:
            # The window knows without counting.
            before = lane.window.fresh_bytes
            fresh = lane.take_fresh(count, bytes_max)
            assert fresh is not None, f"the lane of job {lane.job_id} counts tasks that it does not have"
            self._index.add(fresh)
            self._turn.offered(lane)
            return fresh, before - lane.window.fresh_bytes
        start = waiting.open.index(1)
        hole = waiting.open.find(0, start)
        stop = fitting(waiting.args, start, min(waiting.count if hole < 0 else hole, start + count), bytes_max)
        first = waiting.first
        taken = waiting
        if stop < waiting.count:
            rest = self._index.split(waiting, first + stop)
            if rest.open_count:
                lane.push(rest)
            else:
                self._index.remove(rest)
        if start:
            taken = self._index.split(waiting, first + start)
            self._index.remove(waiting)
        lane.drop_returned(taken.open_count)
        return taken, sum(map(len, taken.args))

    def _put_aside(self, lane: Lane, count: int) -> bool:
        """Those of the next so many tasks whose own time has not come wait for it; whether there were any."""
        turn, state = self._turn, self._turn.state
        if lane.next_returned() is None and (first := lane.next_fresh()):
            turn.expose(first, first + limits.TASKS_PER_BATCH_MAX - 1, lane.job_id)
        span = lane.next_returned()
        if span is None:
            return False
        due = turn.now + state.jobs.wall_offset_s
        start = span.open.index(1)
        next_ids = [span.first + row for row in range(start, min(start + count, span.count)) if span.open[row]]
        early = []
        for until, ids in groupby(next_ids, lambda task_id: lane.not_before.get(task_id, 0.0)):
            if until > due:
                early += [(first, stop, until) for first, stop in _stretches(list(ids))]
            elif until:
                for task_id in ids:
                    del lane.not_before[task_id]
        for first, stop, until in early:
            ((part, _, _),) = state.index.overlapping(first, stop)
            turn.let(TasksDelayed(state.carve(part, first, stop), until - state.jobs.wall_offset_s))
        return bool(early)

    def recalls(self, now: float) -> list[tuple[Session, int]]:
        """Whom to ask for how many unstarted tasks, when slots have been idle for a while and nothing waits."""
        sessions = self._sessions
        if not sessions.unserved and (not sessions.idle or self._lanes.has_room):
            self._idle_since = None
            return []
        if self._idle_since is None:
            self._idle_since = now
        if now < self._idle_since + RECALL_AFTER_S:
            return []
        idle = self._unserved()
        holders = sessions.laden.values() if idle else ()
        # Where nobody has anything to spare, only a message can change that, and the turn that brings it asks again.
        self._idle_since = now if holders else None
        victims = [s for s in holders if s.recall_after <= now and self._could_take(idle, s)]
        if not victims:
            return []
        free = sum(session.free_slots for session in idle)
        busy = sum(session.slots for session in victims)
        asked = []
        for session in victims:
            spare = session.open - session.slots
            # What idle and busy slots would each hold if the unstarted were spread evenly, at least one.
            count = max(1, spare * free // (free + busy))
            session.recall_after = now + RECALL_RETRY_S
            asked.append((session, count))
        return asked

    def _unserved(self) -> list[Session]:
        """Controllers with free slots for which nothing waits, and which are not to wait either."""
        idle = [session for session in self._sessions.unserved.values() if not self._picker.is_kept(session)]
        return idle if self._lanes.has_room else [*self._sessions.idle.values(), *idle]

    def _could_take(self, idle: list[Session], holder: Session) -> bool:
        """Whether one of them may execute what this one holds: else it would only come back here."""
        shelves = dict.fromkeys(self._lanes.lane(job_id).shelf for job_id in {span.job_id for span in holder.spans})
        return any(shelf.suits(session) for session in idle[:_IDLE_LOOKED_AT] for shelf in shelves)


def _stretches(ids: list[int]) -> Iterator[tuple[int, int]]:
    """The ascending ids as ``(first, stop)`` of those that follow each other."""
    start = 0
    for at in range(1, len(ids) + 1):
        if at == len(ids) or ids[at] != ids[at - 1] + 1:
            yield ids[start], ids[at - 1] + 1
            start = at
