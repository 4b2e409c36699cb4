"""Who gets what next: first come, first served, to whoever has a free worker. PURE.

Plans only: ``leases`` takes spans from the queue for sessions, ``recalls`` says from whom to take work back. The
scheduler turns the plan into events and messages.
"""

from collections.abc import Iterator

from cyclone.master.queue import TaskQueue, fitting
from cyclone.master.sessions import Session, Sessions
from cyclone.master.spans import Span, SpanIndex
from cyclone.protocol import limits

# Arguments that are out at controllers beyond what their slots are free for. Credit counts tasks and not bytes.
LEASED_BYTES_MAX = 64 * 1024 * 1024
# An idle slot waits this long for new work before somebody else's is taken back for it: a recall costs a round trip.
RECALL_AFTER_S = 0.02
# How long a recall may stay unanswered before it is sent again.
RECALL_RETRY_S = 1.0


class Dispatcher:
    """Matches the queue with the sessions' credit."""

    def __init__(self, queue: TaskQueue, sessions: Sessions, index: SpanIndex) -> None:
        self._queue = queue
        self._sessions = sessions
        self._index = index
        self._idle_since: float | None = None

    def next_look(self) -> float | None:
        """When ``recalls`` wants to be asked again, None while nobody idles."""
        return None if self._idle_since is None else self._idle_since + RECALL_AFTER_S

    def leases(self, leased: int) -> Iterator[tuple[Session, list[Span]]]:
        """Pairs of a session and spans for one message to it, until the queue or the credit is used up.

        ``leased`` tasks are out already. The caller must count a pair against the session (and rank it) before it asks
        for the next.
        """
        queue, sessions = self._queue, self._sessions
        # What is leased stays in memory here, too: beyond the bound, free slots are served and nobody's prefetch.
        room = LEASED_BYTES_MAX // max(1, queue.mean_bytes) - leased
        # With less work than credit, free slots come before anybody's prefetch.
        while queue and sessions.idle and (room <= 0 or len(queue) < sessions.credit_total):
            session = next(iter(sessions.idle.values()))
            if spans := self._lease(session, min(session.free_slots, session.credit)):
                yield session, spans
        share = limits.TASKS_PER_BATCH_MAX
        if sessions.hungry and len(queue) < sessions.credit_total:
            share = min(share, -(-len(queue) // len(sessions.hungry)))
        while queue and sessions.hungry and room > 0:
            session = next(iter(sessions.hungry.values()))
            if spans := self._lease(session, min(session.credit, share, room)):
                room -= sum(span.count for span in spans)
                yield session, spans

    def _lease(self, session: Session, count: int) -> list[Span]:
        spans: list[Span] = []
        bytes_left = limits.BATCH_BYTES_TARGET
        while count > 0 and bytes_left > 0 and (taken := self._take(count, bytes_left)):
            span, args_bytes = taken
            # At once, so that the queue does not offer it again.
            span.holder = session.session_id
            spans.append(span)
            count -= span.count
            bytes_left -= args_bytes
        # Served sessions go to the end of the line.
        for line in (self._sessions.idle, self._sessions.hungry):
            if line.pop(session.session_id, None):
                line[session.session_id] = session
        return spans

    def _take(self, count: int, bytes_max: int) -> tuple[Span, int] | None:
        """A span in which every task is open, off the front of the queue, and how large its arguments are."""
        waiting = self._queue.next_returned()
        if waiting is None:
            # The queue knows without counting.
            before = self._queue.fresh_bytes
            fresh = self._queue.take_fresh(count, bytes_max)
            if fresh is None:
                return None
            self._index.add(fresh)
            return fresh, before - self._queue.fresh_bytes
        start = waiting.open.index(1)
        hole = waiting.open.find(0, start)
        stop = fitting(waiting.args, start, min(waiting.count if hole < 0 else hole, start + count), bytes_max)
        first = waiting.first
        taken = waiting
        if stop < waiting.count:
            rest = self._index.split(waiting, first + stop)
            if rest.open_count:
                self._queue.push(rest)
            else:
                self._index.remove(rest)
        if start:
            taken = self._index.split(waiting, first + start)
            self._index.remove(waiting)
        self._queue.returned_count -= taken.open_count
        return taken, sum(map(len, taken.args))

    def recalls(self, now: float) -> list[tuple[Session, int]]:
        """Whom to ask for how many unstarted tasks, when slots have been idle for a while and nothing waits."""
        if self._queue.waiting or not self._sessions.idle:
            self._idle_since = None
            return []
        if self._idle_since is None:
            self._idle_since = now
        if now < self._idle_since + RECALL_AFTER_S:
            return []
        holders = self._sessions.laden.values()
        # Where nobody has anything to spare, only a message can change that, and the turn that brings it asks again.
        self._idle_since = now if holders else None
        victims = [s for s in holders if s.recall_after <= now]
        if not victims:
            return []
        free = sum(session.free_slots for session in self._sessions.idle.values())
        busy = sum(session.slots for session in victims)
        asked = []
        for session in victims:
            spare = session.open - session.slots
            # What idle and busy slots would each hold if the unstarted were spread evenly, at least one.
            count = max(1, spare * free // (free + busy))
            session.recall_after = now + RECALL_RETRY_S
            asked.append((session, count))
        return asked
