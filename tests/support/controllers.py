"""An agent on a clock of its own, for tests that speak to it as its master and its workers do."""

from collections.abc import Sequence

import msgspec

from cyclone.controller.actions import Action, Execute, Send
from cyclone.controller.agent import Agent
from cyclone.controller.link import Identity
from cyclone.controller.options import AgentOptions
from cyclone.controller.pipe import Done
from cyclone.controller.watch import Progress
from cyclone.protocol.messages import (
    AnyFromController,
    AnyFromMaster,
    Job,
    Pong,
    Recorded,
    TaskBatch,
    TaskRange,
    Tasks,
    Welcome,
)

EPOCH = 7
JOURNAL = "f" * 32
IDENTITY = Identity("c1", "1" * 32, "node", 11, "1.0", "3.11.2")
BODY = b"\x97"


def tasks(first: int, count: int = 1, attempt: int = 1, epoch: int = EPOCH) -> TaskRange:
    """A range of one lease."""
    return TaskRange(first, count, epoch, attempt)


def welcome(session: int = 5, **other: object) -> Welcome:
    """An open door."""
    known = Welcome(session, IDENTITY.incarnation, EPOCH, JOURNAL, 1.0, 15.0, [])
    return msgspec.structs.replace(known, **other)


class Node:
    """Two workers without jitter; ``now`` is what the agent takes for the time."""

    def __init__(self, **options: object) -> None:
        settings: dict[str, object] = {"worker_count": 2, "kill_grace_s": 5.0, "stop_timeout_s": 30.0}
        self.agent = Agent(IDENTITY, AgentOptions(**(settings | options)), lambda: 0.0)  # type: ignore[arg-type]
        self.now = 100.0
        self.progress: dict[int, Progress] = {}
        self._seq = 0
        self._sent = 0

    def advance(self, by_s: float = 0.0) -> list[Action]:
        """The end of a turn, so much later."""
        self.now += by_s
        return self.agent.advance(self.now, self.progress)

    def handle(self, message: AnyFromMaster) -> list[Action]:
        """A message of the master."""
        return self.agent.handle(message, self.now)

    def open(self) -> None:
        """Connected, greeted, welcomed, all workers ready, credit granted."""
        self.agent.connected(self.now)
        self.advance()
        for slot in self.agent.crew.slots:
            self.agent.worker_ready(slot.worker, self.now)
        self.handle(welcome())
        self.advance()

    def lease(self, first: int, count: int, time_limit_s: float | None = None) -> list[Action]:
        """Tasks of job 1, within a credit that the agent is made to have granted."""
        return self.lease_of(Job(1, "tests:Task", time_limit_s), first, count)

    def lease_of(
        self, job: Job, first: int, count: int = 1, announced: bool = True, limits_s: Sequence[tuple[int, float]] = ()
    ) -> list[Action]:
        """Tasks of a job, announced with them or earlier; ``limits_s`` are those of single rows."""
        self._seq += 1
        self._sent += count
        self.agent.link.granted = max(self.agent.link.granted, self._sent)
        batch = TaskBatch(first, 1, [(job.job_id, count)], [b"\x90"] * count, list(limits_s))
        return self.handle(Tasks(5, self._seq, self._sent, [job] if announced else [], [batch]))

    def warm_up(self, mean_s: float) -> None:
        """As if tasks of job 1 had taken so long for a while."""
        self.agent.crew.pace.learn([(1, 1)], 1, mean_s)

    def executing(self, worker: int, seq: int, for_s: float = 0.0, preparing: bool = False) -> None:
        """The worker is in this row, or still prepares it, and has done so for so long."""
        self.progress[worker] = Progress(seq, self.now - for_s, executing=True, preparing=preparing)

    def done(self, worker: int, base: int, *statuses: int, ended: bool = True) -> list[Action]:
        """A worker's report of rows that took 1 ms each."""
        report = Done(base, bytes(statuses), BODY, 0.001 * len(statuses), ended)
        return self.agent.worker_done(worker, report, self.now)

    def recorded(self, *numbers: int) -> list[Action]:
        """The master has these results."""
        return self.handle(Recorded(5, list(numbers)))

    def pong(self) -> list[Action]:
        """A sign of life."""
        return self.handle(Pong(5, 1, self._seq, self._sent))


def sent(actions: Sequence[Action]) -> list[AnyFromController]:
    """The messages among the actions."""
    return [action.message for action in actions if isinstance(action, Send)]


def executed(actions: Sequence[Action]) -> list[tuple[int, int, int, int]]:
    """``(worker, base, first, count)`` of the batches that went to workers."""
    return [
        (action.worker, action.base, action.piece.first, len(action.piece))
        for action in actions
        if isinstance(action, Execute)
    ]


def check(agent: Agent, honest_master: bool = True) -> None:
    """The agent's invariants, from scratch: nothing is miscounted, nothing held twice but what was leased twice."""
    assert len(agent.crew.queue) == sum(map(len, agent.crew.queue))
    ranges = [piece.range(0, len(piece)) for piece in agent.crew.queue]
    for slot in agent.crew.slots:
        assert slot.next_seq >= 1
        assert slot.unreported == sum(batch.unreported for batch in slot.batches)
        for batch in slot.batches:
            assert 0 <= batch.reported <= len(batch.piece)
            assert sum(count for _, count in batch.piece.runs) == len(batch.piece)
            assert all(job in agent.crew.jobs for job, _ in batch.piece.runs)
        ranges += slot.held()
    places = [slot.place for slot in agent.crew.slots if slot.batches or slot.rest_until_s]
    assert len(set(places)) == len(places), f"two tasks have the same of the places {places}"
    assert all(0 <= place < agent.options.worker_count for place in places), f"there are no such places: {places}"
    ranges += agent.outbox.held()
    told, counted = sum(part.count for part in agent.held()), sum(part.count for part in ranges)
    assert told == counted if honest_master else told <= counted
    ranges.sort(key=lambda part: (part.epoch, part.attempt, part.first))
    for one, two in zip(ranges, ranges[1:], strict=False):
        if honest_master and (one.epoch, one.attempt) == (two.epoch, two.attempt):
            assert one.first + one.count <= two.first, f"{one} and {two} overlap"
    assert agent.deadline < float("inf")
