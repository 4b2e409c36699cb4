"""Bugs to plant into the production brains, one at a time: whoever simulates must find each of them.

Each is a context manager that patches a class for as long as it is open. ``planted_recovery.py`` has those that take a
restart.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch

from cyclone.controller.agent import Agent
from cyclone.controller.crew import Crew
from cyclone.controller.link import Link
from cyclone.controller.outbox import Outbox
from cyclone.controller.slots import Slot
from cyclone.master.events import ResultsRecorded, TasksReturned
from cyclone.master.leases import dispatch as dispatch_module
from cyclone.master.leases import outcomes as outcomes_module
from cyclone.master.leases import recalls as recalls_module
from cyclone.master.leases import verdict as verdict_module
from cyclone.master.leases.admission import Admission
from cyclone.master.leases.dispatch import Dispatcher
from cyclone.master.leases.heartbeats import Heartbeats
from cyclone.master.leases.outcomes import Outcomes
from cyclone.master.leases.sessions import Sessions
from cyclone.master.scheduler import Scheduler
from cyclone.master.spans import Span, SpanIndex
from cyclone.master.state import State
from cyclone.master.waiting.queue import TaskQueue
from cyclone.protocol import states
from cyclone.protocol.messages import Recall, Recorded, ResultBatch, Results, Welcome

Bug = Callable[[], AbstractContextManager[Any]]


@contextmanager
def replaced(owner: type, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """A method replaced by what ``make`` gives for the original."""
    with patch.object(owner, name, make(getattr(owner, name))):
        yield


@contextmanager
def attempts_do_not_rise() -> Iterator[None]:
    """The fence is gone: each lease of a task has the same attempt."""

    def make(apply_leased: Any) -> Any:
        def same_attempt(self: State, session: Any, seq: int, spans: list[Span], leased_at: float) -> None:
            apply_leased(self, session, seq, spans, leased_at)
            for span in spans:
                span.attempt = 1

        return same_attempt

    with replaced(State, "_apply_leased", make):
        yield


@contextmanager
def any_attempt_may_fail() -> Iterator[None]:
    """The attempt of a failure is not looked at."""
    judge = verdict_module.judge

    def careless(batch: ResultBatch, spans: SpanIndex, *rest: Any) -> verdict_module.Verdict:
        latest = [span.token for span, _, _ in spans.overlapping(batch.first, batch.first + len(batch.statuses))]
        if latest and states.FAILED in batch.statuses:
            batch = ResultBatch(batch.first, *latest[0], batch.statuses, batch.body)
        return judge(batch, spans, *rest)

    with patch.object(outcomes_module, "judge", careless):
        yield


@contextmanager
def acknowledged_before_recorded() -> Iterator[None]:
    """Each seventh Results is acknowledged, and then the master loses it."""

    def make(on_results: Any) -> Any:
        def forgetful(self: Outcomes, session: Any, results: Results) -> None:
            if results.number % 7:
                on_results(self, session, results)
            else:
                self._turn.send(session.peer, Recorded(session.session_id, [results.number]))

        return forgetful

    with replaced(Outcomes, "on_results", make):
        yield


@contextmanager
def stale_results_are_not_acknowledged() -> Iterator[None]:
    """A result that changes nothing gets no answer, so that it is sent for ever."""

    def make(on_results: Any) -> Any:
        def silent(self: Outcomes, session: Any, results: Results) -> None:
            before = self._state.number, dict(self._state.attempts_ended)
            on_results(self, session, results)
            if before == (self._state.number, self._state.attempts_ended):
                self._turn.out.pop()

        return silent

    with replaced(Outcomes, "on_results", make):
        yield


def answer_to_a_recall_is_ignored() -> AbstractContextManager[Any]:
    """What a controller hands back stays leased to it."""
    return patch.object(Outcomes, "on_returned", lambda self, session, returned: None)


@contextmanager
def recall_is_forgotten() -> Iterator[None]:
    """A controller does not answer a recall."""

    def make(handle: Any) -> Any:
        return lambda self, message, now: [] if isinstance(message, Recall) else handle(self, message, now)

    with replaced(Agent, "handle", make):
        yield


def lost_recall_is_not_repeated() -> AbstractContextManager[Any]:
    """A master asks for what is not to begin any more only once."""
    return patch.object(recalls_module, "repeat", lambda turn: None)


def lost_recall_for_idle_slots_is_not_repeated() -> AbstractContextManager[Any]:
    """A controller that did not answer is never asked again to share what it holds."""
    return patch.object(dispatch_module, "RECALL_RETRY_S", math.inf)


@contextmanager
def recalled_tasks_are_leased_at_once() -> Iterator[None]:
    """The master does not wait until the controller has confirmed that it gave the tasks back."""

    def make(recalls: Any) -> Any:
        def hasty(self: Dispatcher, now: float) -> Any:
            asked = recalls(self, now)
            for session, count in asked:
                for span in list(session.spans)[-count:]:
                    HASTY[0].state.apply(TasksReturned(span))
            return asked

        return hasty

    HASTY: list[Scheduler] = []

    def remember(advance: Any) -> Any:
        def advancing(self: Scheduler, now: float) -> Any:
            HASTY[:] = [self]
            return advance(self, now)

        return advancing

    with replaced(Dispatcher, "recalls", make), replaced(Scheduler, "advance", remember):
        yield


@contextmanager
def rows_taken_back_are_kept_too() -> Iterator[None]:
    """What is taken back from a worker stays on the worker's list as well."""

    def make(cut_behind: Any) -> Any:
        def kept(self: Slot, seq: int) -> Any:
            before = [batch.piece for batch in self.batches]
            cut = cut_behind(self, seq)
            for batch, piece in zip(self.batches, before, strict=True):
                batch.piece = piece
            return cut

        return kept

    with replaced(Slot, "cut_behind", make):
        yield


@contextmanager
def hand_back_is_lost_at_drain() -> Iterator[None]:
    """A draining controller drops its queue without a word, and goes on saying that it holds it."""

    def make(return_queue: Any) -> Any:
        def lost(self: Agent, count: int) -> int:
            if not self.draining:
                return int(return_queue(self, count))
            pieces = self.crew.queue.take_back(count)
            LOST.setdefault(id(self), []).extend(piece.range(0, len(piece)) for piece in pieces)
            return sum(map(len, pieces))

        return lost

    LOST: dict[int, list[Any]] = {}

    def remember(held: Any) -> Any:
        return lambda self: held(self) + LOST.get(id(self), [])

    with replaced(Agent, "_return_queue", make), replaced(Agent, "held", remember):
        yield


@contextmanager
def whole_batch_is_charged() -> Iterator[None]:
    """A worker's death is charged to the last row of each of its batches."""

    def make(exited: Any) -> Any:
        def harsh(self: Crew, worker: int, seq: int, *rest: Any) -> None:
            slot = self.slots[worker]
            if slot.batches and seq:
                seq = slot.batches[-1].base + len(slot.batches[-1].piece) - 1
            exited(self, worker, seq, *rest)

        return harsh

    with replaced(Crew, "exited", make):
        yield


@contextmanager
def superseded_may_come_back() -> Iterator[None]:
    """The master forgets which incarnations were superseded."""
    with patch.object(Sessions, "is_superseded", lambda self, incarnation: False):
        yield


def credit_is_ignored_by_the_master() -> AbstractContextManager[Any]:
    """The master sends one task more than it was granted."""
    from cyclone.master.leases.sessions import Session

    one_more = property(lambda self: max(0, self.granted + 1 - self.sent) if self.reachable and self.slots else 0)
    return patch.object(Session, "credit", one_more)


def old_messages_are_taken_again() -> AbstractContextManager[Any]:
    """A controller does not look at the number of a message with leases."""

    def careless(self: Link, tasks: Any) -> bool:
        self._tasks_seq, self._received = max(tasks.seq, self._tasks_seq), max(tasks.sent, self._received)
        return True

    return patch.object(Link, "take_tasks", careless)


def missing_tasks_are_not_returned() -> AbstractContextManager[Any]:
    """What a State does not name although it was leased before it is taken to be on its way."""
    return patch.object(Heartbeats, "_return_missing", lambda self, session, report: None)


@contextmanager
def results_are_forgotten_on_reconnect() -> Iterator[None]:
    """A controller drops its unacknowledged results with the session, and goes on saying that it holds them."""

    def make(on_welcome: Any) -> Any:
        def forgetful(self: Agent, welcome: Welcome) -> None:
            if not self.link.session:
                LOST.setdefault(id(self), []).extend(self.outbox.held())
                self.outbox.clear()
            on_welcome(self, welcome)

        return forgetful

    LOST: dict[int, list[Any]] = {}

    def remember(held: Any) -> Any:
        return lambda self: held(self) + LOST.get(id(self), [])

    with replaced(Agent, "_on_welcome", make), replaced(Agent, "held", remember):
        yield


@contextmanager
def done_tasks_are_recorded_again() -> Iterator[None]:
    """Every result is recorded, also of a task that has one."""

    def make(on_batch: Any) -> Any:
        def eager(self: Outcomes, session: Any, batch: ResultBatch) -> None:
            before = self._state.number
            on_batch(self, session, batch)
            if self._state.number == before and states.CRASHED not in batch.statuses:
                self._turn.emit(ResultsRecorded(before + 1, batch, None, session.name))

        return eager

    with replaced(Outcomes, "_on_batch", make):
        yield


@contextmanager
def returned_tasks_go_to_the_back() -> Iterator[None]:
    """Tasks that were given back wait until no fresh task is left."""

    def make(next_returned: Any) -> Any:
        return lambda self: None if self.fresh_count else next_returned(self)

    with replaced(TaskQueue, "next_returned", make):
        yield


def results_are_sent_once() -> AbstractContextManager[Any]:
    """A controller does not repeat what was not acknowledged."""
    return patch.object(Outbox, "overdue", lambda self, now, after_s=0.0: [])


def silence_is_not_noticed() -> AbstractContextManager[Any]:
    """A master waits for ever for a controller that is gone."""
    return patch.object(Admission, "sweep", lambda self: None)


BUGS: dict[str, Bug] = {
    bug.__name__: bug
    for bug in (
        attempts_do_not_rise,
        any_attempt_may_fail,
        acknowledged_before_recorded,
        stale_results_are_not_acknowledged,
        answer_to_a_recall_is_ignored,
        recall_is_forgotten,
        lost_recall_is_not_repeated,
        lost_recall_for_idle_slots_is_not_repeated,
        recalled_tasks_are_leased_at_once,
        rows_taken_back_are_kept_too,
        hand_back_is_lost_at_drain,
        whole_batch_is_charged,
        superseded_may_come_back,
        credit_is_ignored_by_the_master,
        old_messages_are_taken_again,
        missing_tasks_are_not_returned,
        results_are_forgotten_on_reconnect,
        done_tasks_are_recorded_again,
        returned_tasks_go_to_the_back,
        results_are_sent_once,
        silence_is_not_noticed,
    )
}
