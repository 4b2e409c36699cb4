"""A scheduler on a clock of its own, for tests that speak to it as a controller does, and that start it again."""

from collections.abc import Sequence
from typing import Any

import msgspec

from cyclone.master import events
from cyclone.master.actions import Action, Deliver, Load, Record, Send
from cyclone.master.scheduler import Scheduler, SchedulerOptions
from cyclone.protocol import limits, states
from cyclone.protocol.client_messages import DrainRequest
from cyclone.protocol.job_messages import AnyToClient
from cyclone.protocol.messages import (
    AnyFromController,
    AnyFromMaster,
    ErrorRecord,
    Hello,
    JobOptions,
    ResultBatch,
    ResultColumns,
    Results,
    State,
    TaskRange,
    Tasks,
    Welcome,
)
from cyclone.results import encode_columns, error_columns, pack_seconds
from tests.support.replay import as_recorded, replay, stored_block

JOURNAL = "f" * 32
EPOCH = 7
# The first session of this epoch is behind it.
FORMER_SESSIONS = (EPOCH - 1) * 1_000_000
NEXT = EPOCH + 1
# More credit than any test has tasks for.
MANY = 99
# What tasks take where a test does not care.
SHORT_S = 0.001
JOB = JobOptions("tests:Task")


def peer(name: str) -> bytes:
    """The routing id of the connection of the controller with this name."""
    return name.encode()


def hello(
    name: str = "c1", incarnation: str = "1", slots: int = 2, held: Sequence[TaskRange] = (), **other: object
) -> Hello:
    """A greeting; ``incarnation`` is repeated until it is long enough."""
    fields: dict[str, object] = {
        "protocol": limits.PROTOCOL_VERSION,
        "name": name,
        "incarnation": incarnation * (32 // len(incarnation)),
        "journal_id": JOURNAL,
        "epoch": 1,
        "host": "node",
        "pid": 11,
        "version": "1.0",
        "python": "3.11.2",
        "slots": slots,
        "held": list(held),
    }
    return Hello(**(fields | other))  # type: ignore[arg-type]


def tasks(first: int, count: int = 1, attempt: int = 1, epoch: int = EPOCH) -> TaskRange:
    """A range of one lease."""
    return TaskRange(first, count, epoch, attempt)


def batch(first: int, *statuses: int, attempt: int = 1, epoch: int = EPOCH, cause: str = "signal 11") -> ResultBatch:
    """Results with a body that fits them."""
    error = encode_columns(ErrorRecord("WorkerDied", cause))
    values = [b"\xc0" if status == states.COMPLETED else error for status in statuses]
    body = ResultColumns(values, pack_seconds([0.5] * len(statuses)), 100.0, 42)
    return ResultBatch(first, epoch, attempt, bytes(statuses), encode_columns(body))


def quarantine_body(crashes: int, cause: str = "signal 11") -> bytes:
    """The body of the result that follows from ``batch`` with one crash too many."""
    text = f"killed {crashes} worker{'s' * (crashes != 1)}, the last one: {cause}"
    return error_columns(ErrorRecord("Quarantined", text), 42, 100.0, 0.5)


class Master:
    """``now`` is what the scheduler takes for the time, ``recorded`` all that it has recorded, in every epoch."""

    def __init__(self, pages: bool = True, **options: Any) -> None:
        self._options = SchedulerOptions(**options)
        self.scheduler = Scheduler(self._options, JOURNAL, EPOCH, pages)
        self.now = 100.0
        self.recorded: list[events.Recorded] = []
        self._numbers = 0
        self._state_seqs: dict[int, int] = {}

    def restart(self) -> None:
        """The master is killed, and started again on its journal."""
        self.scheduler = Scheduler(self._options, JOURNAL, self.scheduler.state.epoch + 1, pages=True)
        self.scheduler.recover(replay(self.recorded), self.now)
        self._state_seqs.clear()

    def offer(
        self, count: int, args: bytes = b"\x90", job: JobOptions = JOB, keys: list[bytes] | None = None
    ) -> list[Action]:
        """Tasks of one job, from the generator."""
        offered = self.carry_out(self.scheduler.offer([job], [(0, count)], [args] * count, self.now, keys))
        return offered + self.advanced(pulled=self.scheduler.state.progress.pulled + count)

    def advanced(self, **changes: object) -> list[Action]:
        """The generator has come further."""
        progress = msgspec.structs.replace(self.scheduler.state.progress, **changes)
        return self.carry_out(self.scheduler.generator_advanced(progress, self.now))

    def exhaust(self) -> list[Action]:
        """The generator has yielded its last task, and what it made of its results is known."""
        return self.advanced(exhausted=True)

    def consume(self, number: int) -> list[Action]:
        """The generator has taken in the results up to this number."""
        return self.advanced(consumed=number)

    def handle(self, message: AnyFromController, name: str = "c1") -> list[Action]:
        """A message of this controller."""
        return self.carry_out(self.scheduler.handle(peer(name), message, self.now))

    def drain(self, name: str, undo: bool = False) -> list[Action]:
        """Somebody asks for no more tasks for this controller."""
        return self.carry_out(self.scheduler.answer(peer("client"), DrainRequest(1, name, undo), self.now))

    def join(self, name: str = "c1", incarnation: str = "1", slots: int = 2, held: Sequence[TaskRange] = ()) -> int:
        """A greeting that is welcomed; the session."""
        self.handle(hello(name, incarnation, slots, held), name)
        return self.scheduler.state.sessions.by_name[name].session_id

    def state(
        self, session: int, granted: int = 0, held: Sequence[TaskRange] = (), tasks_seq: int = 0, slots: int = 2
    ) -> list[Action]:
        """A heartbeat, newer than those before."""
        seq = self._state_seqs[session] = self._state_seqs.get(session, 0) + 1
        return self.handle(State(session, seq, tasks_seq, granted, slots, 0, list(held)), self.name_of(session))

    def results(self, session: int, *batches: ResultBatch) -> list[Action]:
        """Results of a controller, numbered from 1."""
        self._numbers += 1
        return self.handle(Results(session, self._numbers, 0, list(batches)), self.name_of(session))

    def advance(self, by_s: float = 0.0) -> list[Action]:
        """The end of a turn, so much later. What is to be loaded is there in the next."""
        self.now += by_s
        return self.carry_out(self.scheduler.advance(self.now))

    def lease(self, session: int, count: int) -> list[Action]:
        """Credit for so many tasks more, and a turn in which they may be sent, free slots or not: all are short."""
        known = self.scheduler.state.sessions.by_id[session]
        for lane in self.scheduler.state.lanes:
            lane.mean_s = lane.mean_s or SHORT_S
        held = [tasks(span.first, span.count, span.attempt, span.epoch) for span in known.spans]
        self.state(session, known.sent + count, held, known.tasks_seq, known.slots)
        return self.advance()

    def name_of(self, session: int) -> str:
        """The controller of a session, also of one that the master has forgotten."""
        known = self.scheduler.state.sessions.by_id.get(session)
        return known.name if known else "c1"

    def carry_out(self, actions: list[Action]) -> list[Action]:
        """What the master's body does before it sends anything."""
        for action in actions:
            if isinstance(action, Record):
                self.recorded.append(as_recorded(action.event))
            elif isinstance(action, Load):
                blocks = [stored_block(self.recorded, first) for first in action.firsts]
                assert self.scheduler.loaded(blocks, self.now) == []
        return actions


def sent(actions: Sequence[Action]) -> list[AnyFromMaster | AnyToClient]:
    """The messages among the actions."""
    return [action.message for action in actions if isinstance(action, Send)]


def kinds(actions: Sequence[Action]) -> list[str]:
    """The actions by their names, messages and events by theirs."""
    names = []
    for action in actions:
        if isinstance(action, Send):
            names.append(f"Send {type(action.message).__name__}")
        elif isinstance(action, Record):
            names.append(f"Record {type(action.event).__name__}")
        else:
            names.append(type(action).__name__)
    return names


def final_states(actions: Sequence[Action]) -> dict[int, str]:
    """What was delivered, by task."""
    found = {}
    for action in actions:
        if isinstance(action, Deliver):
            for row, status in enumerate(action.block.statuses):
                if action.block.accepted is None or action.block.accepted[row]:
                    found[action.block.first + row] = states.STATE_NAMES[status]
    return found


def leases(actions: list[Action]) -> list[tuple[str, int, int, int]]:
    """``(controller, first, count, attempt)`` of what is leased by these actions."""
    return [
        (action.peer.decode(), part.first, len(part.args), part.attempt)
        for action in actions
        if isinstance(action, Send) and isinstance(action.message, Tasks)
        for part in action.message.batches
    ]


def holders(master: Master) -> dict[int, tuple[str, tuple[int, int]]]:
    """Who holds each leased task under which token; "?" for whoever an earlier epoch has leased it to."""
    state = master.scheduler.state
    return {
        task_id: (state.sessions.holder(span.holder).name or "?", span.token)
        for span in state.index
        if span.holder is not None
        for task_id in span.open_ids()
    }


def dropped(actions: list[Action]) -> list[TaskRange]:
    """What a greeting is told to drop."""
    (welcome,) = [message for message in sent(actions) if isinstance(message, Welcome)]
    return welcome.drop


def ready(master: Master, name: str, incarnation: str, credit: int = MANY, slots: int = 2) -> int:
    """A controller that comes without anything and wants work; the session."""
    session = master.join(name, incarnation, slots)
    master.state(session, credit, slots=slots)
    return session
