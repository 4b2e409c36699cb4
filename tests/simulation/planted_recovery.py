"""Bugs that only show when a master or a generator dies: the second half of ``planted.py``."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch

from cyclone.master.actions import Record
from cyclone.master.events import CancelWanted, ControllerLeft, HorizonMoved, ResultsRecorded
from cyclone.master.generator.source import Source
from cyclone.master.leases import outcomes as outcomes_module
from cyclone.master.leases import verdict as verdict_module
from cyclone.master.leases.admission import Admission
from cyclone.master.scheduler import Scheduler
from cyclone.master.spans import SpanIndex
from cyclone.master.state import State
from cyclone.master.turn import Turn
from cyclone.master.waiting.queue import TaskQueue
from cyclone.protocol.messages import ResultBatch
from tests.simulation.journal import VirtualJournal
from tests.simulation.planted import Bug, replaced


@contextmanager
def acknowledged_before_the_commit() -> Iterator[None]:
    """Results are acknowledged in one turn and recorded in the next."""

    def make_emit(emit: Any) -> Any:
        def late(self: Turn, event: Any) -> None:
            emit(self, event)
            if isinstance(event, ResultsRecorded):
                LATE.setdefault(id(self), []).append(self.out.pop())

        return late

    def make_advance(advance: Any) -> Any:
        def advancing(self: Scheduler, now: float) -> Any:
            turn = id(self._turn)
            due = DUE.pop(turn, [])
            DUE[turn] = LATE.pop(turn, [])
            return due + advance(self, now)

        return advancing

    LATE: dict[int, list[Any]] = {}
    DUE: dict[int, list[Any]] = {}
    with replaced(Turn, "emit", make_emit), replaced(Scheduler, "advance", make_advance):
        yield


def _not_recorded(kind: type) -> AbstractContextManager[Any]:
    """Events of this kind happen, and the journal never hears of them."""

    def make(emit: Any) -> Any:
        def forgetful(self: Turn, event: Any) -> None:
            emit(self, event)
            if isinstance(event, kind):
                self.out.pop()

        return forgetful

    return replaced(Turn, "emit", make)


def horizon_is_not_recorded() -> AbstractContextManager[Any]:
    """Leases leave before the journal knows how far they reach."""
    return _not_recorded(HorizonMoved)


def cancel_is_not_recorded() -> AbstractContextManager[Any]:
    """A restart forgets what was to be cancelled."""
    return _not_recorded(CancelWanted)


def controller_left_is_not_recorded() -> AbstractContextManager[Any]:
    """After a restart those are awaited who said goodbye long ago."""
    return _not_recorded(ControllerLeft)


@contextmanager
def cursor_is_recorded_in_a_later_commit() -> Iterator[None]:
    """Tasks are recorded in one commit, how far the generator has come in the next."""

    def make_advanced(advanced: Any) -> Any:
        def late(self: Scheduler, progress: Any, now: float) -> Any:
            decided = advanced(self, progress, now)
            LATE.setdefault(id(self), []).extend(action for action in decided if isinstance(action, Record))
            return [action for action in decided if not isinstance(action, Record)]

        return late

    def make_advance(advance: Any) -> Any:
        def advancing(self: Scheduler, now: float) -> Any:
            due = DUE.pop(id(self), [])
            DUE[id(self)] = LATE.pop(id(self), [])
            return due + advance(self, now)

        return advancing

    LATE: dict[int, list[Any]] = {}
    DUE: dict[int, list[Any]] = {}
    with replaced(Scheduler, "generator_advanced", make_advanced), replaced(Scheduler, "advance", make_advance):
        yield


@contextmanager
def fence_ignores_the_epoch() -> Iterator[None]:
    """Only attempts are compared, although each epoch counts them anew."""
    judge = verdict_module.judge

    def careless(batch: ResultBatch, spans: SpanIndex, epoch: int, *rest: Any) -> verdict_module.Verdict:
        for span, _, _ in spans.overlapping(batch.first, batch.first + len(batch.statuses)):
            batch = ResultBatch(batch.first, max(1, span.epoch), batch.attempt, batch.statuses, batch.body)
        return judge(batch, spans, epoch + 1, *rest)

    with patch.object(outcomes_module, "judge", careless):
        yield


@contextmanager
def adoption_ignores_the_old_token() -> Iterator[None]:
    """What is adopted keeps the token that the replay gave it."""

    def make(rebind: Any) -> Any:
        def forgetful(self: State, span: Any, session: Any) -> None:
            span.epoch, span.attempt = 0, 1
            rebind(self, span, session)

        return forgetful

    with replaced(State, "rebind", make):
        yield


@contextmanager
def awaited_controllers_are_ignored() -> Iterator[None]:
    """After a restart everything is leased at once."""

    def make(begin_epoch: Any) -> Any:
        def hasty(self: State, now: float, over_at: float) -> None:
            begin_epoch(self, now, over_at)
            self.awaited.clear()

        return hasty

    with replaced(State, "_begin_epoch", make):
        yield


@contextmanager
def the_first_hello_is_enough() -> Iterator[None]:
    """After a restart the master waits for one controller, and not for each."""

    def make(settle: Any) -> Any:
        def hasty(self: Admission) -> None:
            if self._state.sessions.by_id:
                self._state.awaited.clear()
            settle(self)

        return hasty

    with replaced(Admission, "settle", make):
        yield


@contextmanager
def everything_waits_for_the_awaited() -> Iterator[None]:
    """After a restart also those tasks wait that nobody can hold."""

    def make(advance: Any) -> Any:
        def waiting(self: Scheduler, now: float) -> Any:
            before = self.stopping
            self.stopping = before or bool(self.state.awaited)
            decided = advance(self, now)
            self.stopping = before
            return decided

        return waiting

    with replaced(Scheduler, "advance", make):
        yield


def nobody_is_given_up() -> AbstractContextManager[Any]:
    """After a restart the master waits for ever for a controller that is gone."""

    def make(sweep: Any) -> Any:
        def patient(self: Admission) -> None:
            awaited, self._state.awaited = self._state.awaited, set()
            sweep(self)
            self._state.awaited = awaited

        return patient

    return replaced(Admission, "sweep", make)


@contextmanager
def redelivery_skips_one_result() -> Iterator[None]:
    """A generator that is started again misses the first block that it should be told again."""

    def make(start: Any) -> Any:
        def skipping(self: Source) -> Any:
            feed = start(self)
            if self._follower.position < self._scheduler.state.number:
                self._follower.go_to(self._follower.position + 1)
                feed._number += 1
            return feed

        return skipping

    with replaced(Source, "_start", make):
        yield


@contextmanager
def nothing_is_delivered_again() -> Iterator[None]:
    """A generator that is started again hears only of what is recorded from then on."""

    def make(start: Any) -> Any:
        def forgetful(self: Source) -> Any:
            feed = start(self)
            feed._number = self._scheduler.state.number
            self._follower.go_to(feed._number)
            return feed

        return forgetful

    with replaced(Source, "_start", make):
        yield


@contextmanager
def ended_attempts_are_not_replayed() -> Iterator[None]:
    """After a restart a crash that is reported again is charged again."""

    def make(begin_epoch: Any) -> Any:
        def forgetful(self: State, now: float, over_at: float) -> None:
            begin_epoch(self, now, over_at)
            self.attempts_ended.clear()

        return forgetful

    with replaced(State, "_begin_epoch", make):
        yield


@contextmanager
def retries_are_counted_anew() -> Iterator[None]:
    """After a restart a failing task is tried as often again."""

    def make(begin_epoch: Any) -> Any:
        def forgetful(self: State, now: float, over_at: float) -> None:
            begin_epoch(self, now, over_at)
            self.failures.clear()

        return forgetful

    with replaced(State, "_begin_epoch", make):
        yield


def exclusive_tasks_wait_for_nobody() -> AbstractContextManager[Any]:
    """A task that must not overlap with its own earlier attempt is leased again like any other."""
    return patch.object(State, "is_exclusive", lambda self, span: False)


def a_stored_block_is_loaded_twice() -> AbstractContextManager[Any]:
    """What was loaded still counts as stored."""

    def load(self: TaskQueue, first: int, runs: Any, args: Any, args_bytes: int) -> None:
        self.add_fresh(first, runs, args, args_bytes)
        if self.stored_count > len(args):
            self._stored.popleft()
            self._count_stored(-len(args))

    return patch.object(TaskQueue, "load", load)


def keys_are_claimed_before_the_commit() -> AbstractContextManager[Any]:
    """A key whose task was lost with its commit is taken for known ever after."""

    def reopen(self: VirtualJournal) -> None:
        self.epoch += 1
        self.cut = ""

    return patch.object(VirtualJournal, "open", reopen)


@contextmanager
def results_of_earlier_epochs_are_dropped() -> Iterator[None]:
    """What was leased before the restart is acknowledged and forgotten."""

    def make(begin_epoch: Any) -> Any:
        def forgetful(self: State, now: float, over_at: float) -> None:
            begin_epoch(self, now, over_at)
            self.inherited_id = 0

        return forgetful

    with replaced(State, "_begin_epoch", make):
        yield


def what_rests_is_not_recalled_in_a_new_session() -> AbstractContextManager[Any]:
    """What a controller brings along from before begins there, although its job is held or paused."""
    return patch.object(Admission, "_has_what_must_not_begin", lambda self, session: False)


RECOVERY_BUGS: dict[str, Bug] = {
    bug.__name__: bug
    for bug in (
        acknowledged_before_the_commit,
        horizon_is_not_recorded,
        controller_left_is_not_recorded,
        cursor_is_recorded_in_a_later_commit,
        fence_ignores_the_epoch,
        adoption_ignores_the_old_token,
        awaited_controllers_are_ignored,
        the_first_hello_is_enough,
        everything_waits_for_the_awaited,
        nobody_is_given_up,
        redelivery_skips_one_result,
        nothing_is_delivered_again,
        ended_attempts_are_not_replayed,
        retries_are_counted_anew,
        cancel_is_not_recorded,
        exclusive_tasks_wait_for_nobody,
        a_stored_block_is_loaded_twice,
        keys_are_claimed_before_the_commit,
        results_of_earlier_epochs_are_dropped,
        what_rests_is_not_recalled_in_a_new_session,
    )
}
