"""Bugs to plant into the real processes of a chaos run, one at a time: the checker must find each of them.

A bug is a function of a module of the product, called as soon as that module has been imported in any process of the
run, which changes a class in it. ``sitecustomize`` of ``tests/chaos/site`` plants the one that the environment names.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

# How long a bug of the kind "later" waits: long enough for a kill to come in between.
LATER_S = 0.5


@dataclass(frozen=True)
class Bug:
    """``spoil`` changes ``module``; ``faults`` are the kinds that bring it to light, ``invariants`` what may break.

    ``tasks`` is for one that needs more work in the run than others do, 0 for what its pace has.
    """

    module: str
    spoil: Callable[[Any], None]
    faults: tuple[str, ...]
    invariants: tuple[str, ...]
    pace: str = "mixed"
    tasks: int = 0


BUGS: dict[str, Bug] = {}


def _bug(
    module: str, *faults: str, breaks: tuple[str, ...], pace: str = "mixed", tasks: int = 0
) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    def add(spoil: Callable[[Any], None]) -> Callable[[Any], None]:
        BUGS[spoil.__name__] = Bug(module, spoil, faults, breaks, pace, tasks)
        return spoil

    return add


def _around(owner: type, name: str, make: Callable[[Any], Any]) -> None:
    """A method replaced by what ``make`` gives for the original."""
    setattr(owner, name, make(getattr(owner, name)))


# The master: what is recorded when.


@_bug("cyclone.journal.sqlite_journal", "master_kill", breaks=("I11", "I2", "I12"))
def acknowledged_before_commit(module: Any) -> None:
    """Events reach the disk half a second after everybody was told that they are there."""
    late: list[Any] = []

    def make(append: Any) -> Any:
        def lazy(self: Any, events: Sequence[Any]) -> None:
            late.extend((time.monotonic() + LATER_S, event) for event in events)
            due = [event for at, event in late if at <= time.monotonic()]
            if due:
                del late[: len(due)]
                append(self, due)

        return lazy

    _around(module.SqliteJournal, "append", make)


@_bug("cyclone.journal.sqlite_journal", "master_kill", breaks=("I12", "I2"))
def cursor_in_its_own_transaction(module: Any) -> None:
    """The generator's progress is recorded at once, its tasks a moment later."""
    from cyclone.master.events import GeneratorAdvanced

    def make(append: Any) -> Any:
        def split(self: Any, events: Sequence[Any]) -> None:
            advanced = [event for event in events if isinstance(event, GeneratorAdvanced)]
            if advanced:
                append(self, advanced)
                time.sleep(LATER_S)
            append(self, [event for event in events if not isinstance(event, GeneratorAdvanced)])

        return split

    _around(module.SqliteJournal, "append", make)


@_bug("cyclone.journal.sqlite_journal", "master_kill", breaks=("I12", "I2"))
def cursor_is_not_recorded(module: Any) -> None:
    """After a restart the generator begins anew."""
    _without(module, "GeneratorAdvanced")


@_bug("cyclone.journal.sqlite_journal", "master_kill", breaks=("I3", "I11"))
def horizon_is_not_recorded(module: Any) -> None:
    """After a restart nobody knows what had been offered."""
    _without(module, "HorizonMoved")


@_bug("cyclone.journal.sqlite_journal", "master_kill", breaks=("I3",))
def live_controllers_are_not_recorded(module: Any) -> None:
    """After a restart nobody waits for those who still hold something."""
    _without(module, "ControllerJoined")


def _without(module: Any, kind: str) -> None:
    def make(append: Any) -> Any:
        return lambda self, events: append(self, [event for event in events if type(event).__name__ != kind])

    _around(module.SqliteJournal, "append", make)


@_bug("cyclone.master.service", "master_kill", breaks=("I5",))
def epoch_does_not_rise(module: Any) -> None:
    """Every master says that it is of epoch 1."""

    def make(scheduler: Any) -> Any:
        return lambda options, journal_id, epoch, *rest: scheduler(options, journal_id, 1, *rest)

    module.Scheduler = make(module.Scheduler)


# The master: what a report means.


@_bug("cyclone.master.leases.outcomes", "link_cut", breaks=("I11", "I1", "I3", "I14"))
def results_are_acknowledged_and_dropped(module: Any) -> None:
    """Each seventh message with results is answered and forgotten."""

    def make(on_results: Any) -> Any:
        def forgetful(self: Any, session: Any, results: Any) -> None:
            if results.number % 7 == 0:
                del results.batches[:]
            on_results(self, session, results)

        return forgetful

    _around(module.Outcomes, "on_results", make)


@_bug("cyclone.master.leases.outcomes", "link_replay", "link_lose", "master_kill", breaks=("I2", "I10"))
def done_tasks_are_recorded_again(module: Any) -> None:
    """No fence: a result counts whether its task has one or not."""

    def make(on_batch: Any) -> Any:
        def eager(self: Any, session: Any, batch: Any) -> None:
            before = self._state.number
            on_batch(self, session, batch)
            if self._state.number == before and not any(batch.statuses):
                event = module.ResultsRecorded(before + 1, batch, None, session.name)
                self._turn.emit(event)

        return eager

    _around(module.Outcomes, "_on_batch", make)


@_bug("cyclone.master.leases.outcomes", "worker_kill", breaks=("I1", "I2"), pace="dense")
def values_are_mixed_up(module: Any) -> None:
    """Within a batch each task gets the value of the next one."""
    import msgspec

    from cyclone.protocol.messages import ResultColumns

    def make(on_batch: Any) -> Any:
        def mixing(self: Any, session: Any, batch: Any) -> None:
            columns = msgspec.msgpack.decode(batch.body, type=ResultColumns)
            values = [*columns.values[1:], columns.values[0]]
            body = msgspec.msgpack.encode(msgspec.structs.replace(columns, values=values))
            on_batch(self, session, msgspec.structs.replace(batch, body=body))

        return mixing

    _around(module.Outcomes, "_on_batch", make)


# The master: who gets what.


@_bug("cyclone.master.state", "worker_kill", "controller_kill", breaks=("I4",))
def attempts_do_not_rise(module: Any) -> None:
    """Each lease of a task has the same attempt."""

    def make(apply_leased: Any) -> Any:
        def same(self: Any, session: Any, seq: int, spans: list[Any], leased_at: float) -> None:
            apply_leased(self, session, seq, spans, leased_at)
            for span in spans:
                span.attempt = 1

        return same

    _around(module.State, "_apply_leased", make)


# Of fewer tasks none is fresh any more by the time it would have to show.
@_bug("cyclone.master.waiting.queue", "worker_kill", breaks=("I8", "I14"), tasks=2500)
def returned_tasks_go_to_the_back(module: Any) -> None:
    """What was given back waits until no fresh task is left."""

    def make(next_returned: Any) -> Any:
        return lambda self: None if self.fresh_count else next_returned(self)

    _around(module.TaskQueue, "next_returned", make)


@_bug("cyclone.master.waiting.queue", "worker_kill", breaks=("I9",))
def fresh_tasks_leave_in_any_order(module: Any) -> None:
    """The youngest block goes first."""

    def make(take_fresh: Any) -> Any:
        def youngest(self: Any, *bounds: int) -> Any:
            self._fresh.rotate(1)
            return take_fresh(self, *bounds)

        return youngest

    _around(module.TaskQueue, "take_fresh", make)


@_bug("cyclone.master.leases.admission", "controller_kill", breaks=("I1", "I10", "I14"))
def lost_tasks_are_not_requeued(module: Any) -> None:
    """What a controller took with it stays leased to it for ever."""

    def make(release: Any) -> Any:
        def forgetful(self: Any, session: Any) -> None:
            session.spans = {}
            release(self, session)

        return forgetful

    _around(module.Admission, "release", make)


@_bug("cyclone.master.state", "master_kill", breaks=("I3",))
def nothing_is_adopted(module: Any) -> None:
    """After a restart what controllers hold is not theirs any more."""
    module.State.adopt = lambda self, session, old, held: held


@_bug("cyclone.master.leases.admission", "controller_pause", breaks=("I3",))
def patience_is_short(module: Any) -> None:
    """A controller that is silent for a tenth of its time-out is taken for dead."""

    def make(sweep: Any) -> Any:
        def impatient(self: Any) -> None:
            from dataclasses import replace

            terms = self._terms
            self._terms = replace(terms, controller_timeout_s=terms.controller_timeout_s / 10)
            sweep(self)
            self._terms = terms

        return impatient

    _around(module.Admission, "sweep", make)


@_bug("cyclone.master.service", "worker_kill", breaks=("I7",))
def memory_is_never_given_back(module: Any) -> None:
    """Each turn leaves something."""
    kept: list[bytearray] = []

    def make(turn: Any) -> Any:
        def hoarding(self: Any) -> None:
            kept.append(bytearray(os.urandom(4096) * 1024))
            turn(self)

        return hoarding

    _around(module.MasterService, "_turn", make)


# The controller and its processes.


@_bug("cyclone.controller.crew", "worker_kill", breaks=("I4",), pace="dense")
def whole_batch_is_charged(module: Any) -> None:
    """A worker's death is charged to the last task of its batch."""

    def make(exited: Any) -> Any:
        def harsh(self: Any, worker: int, seq: int, *rest: Any) -> None:
            slot = self.slots[worker]
            if slot.batches and seq:
                seq = slot.batches[-1].base + len(slot.batches[-1].piece) - 1
            exited(self, worker, seq, *rest)

        return harsh

    _around(module.Crew, "exited", make)


@_bug("cyclone.controller.outbox", "link_lose", "link_cut", breaks=("I1", "I14"))
def results_are_sent_once(module: Any) -> None:
    """What was not acknowledged is not sent again."""
    module.Outbox.overdue = lambda self, now, after_s=0.0: []


@_bug("cyclone.processes", "controller_kill", breaks=("I6",))
def nobody_cleans_up(module: Any) -> None:
    """No guardian, no PR_SET_PDEATHSIG."""
    module.die_with_parent = lambda parent_pid: None

    def make(start: Any) -> Any:
        def blind(self: Any) -> None:
            mark, folder, leaders = self.mark, self.folder, self._leaders
            self.mark, self.folder, self._leaders = "nobody", "", set()
            start(self)
            self.mark, self.folder, self._leaders = mark, folder, leaders

        return blind

    _around(module.Guard, "_start", make)
    module.Guard.add = module.Guard.remove = lambda self, pid: None


# How they get in.


class _Planter(importlib.abc.MetaPathFinder):
    """Spoils a module at its first import, whoever imports it."""

    def __init__(self, bug: Bug) -> None:
        self._bug = bug

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._bug.module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        assert spec and spec.loader
        spec.loader = _SpoilingLoader(spec.loader, self._bug)
        return spec


class _SpoilingLoader(importlib.abc.Loader):
    def __init__(self, loader: Any, bug: Bug) -> None:
        self._loader = loader
        self._bug = bug

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._bug.spoil(module)


def plant(name: str) -> None:
    """Have this bug in every process that starts like this one."""
    sys.meta_path.insert(0, _Planter(BUGS[name]))
