"""A scheduler on a clock of its own, for tests that speak to it as a controller does."""

from collections.abc import Sequence

from cyclone.master.actions import Action, Deliver, Record, Send
from cyclone.master.scheduler import Scheduler, SchedulerOptions
from cyclone.protocol import limits, states
from cyclone.protocol.messages import (
    AnyFromController,
    AnyFromMaster,
    ErrorRecord,
    Hello,
    ResultBatch,
    ResultColumns,
    Results,
    State,
    TaskRange,
)
from cyclone.results import encode_columns, error_columns, pack_seconds

JOURNAL = "f" * 32
EPOCH = 7
JOB = ("tests:Task", None)


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
        "journal_id": "",
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
    """``now`` is what the scheduler takes for the time; ``heard`` what it said in the last step, by controller."""

    def __init__(self, **options: object) -> None:
        self.scheduler = Scheduler(SchedulerOptions(**options), JOURNAL, EPOCH)  # type: ignore[arg-type]
        self.now = 100.0
        self._numbers = 0
        self._state_seqs: dict[int, int] = {}

    def offer(self, count: int, args: bytes = b"\x90", job: tuple[str, float | None] = JOB) -> list[Action]:
        """Tasks of one job."""
        return self.scheduler.offer([job], [(0, count)], [args] * count, self.now)

    def handle(self, message: AnyFromController, name: str = "c1") -> list[Action]:
        """A message of this controller."""
        return self.scheduler.handle(peer(name), message, self.now)

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
        """The end of a turn, so much later."""
        self.now += by_s
        return self.scheduler.advance(self.now)

    def lease(self, session: int, count: int) -> list[Action]:
        """Credit for so many tasks more, and a turn in which they may be sent."""
        known = self.scheduler.state.sessions.by_id[session]
        held = [tasks(span.first, span.count, span.attempt) for span in known.spans]
        self.state(session, known.sent + count, held, known.tasks_seq, known.slots)
        return self.advance()

    def name_of(self, session: int) -> str:
        """The controller of a session, also of one that the master has forgotten."""
        known = self.scheduler.state.sessions.by_id.get(session)
        return known.name if known else "c1"


def sent(actions: Sequence[Action]) -> list[AnyFromMaster]:
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
