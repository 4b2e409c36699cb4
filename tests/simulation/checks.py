"""What must hold, kept in books of its own: the brains' own counts are not believed.

Every lease that leaves the master, every start and end of a row in a worker, every recorded event and every delivered
result passes here.
"""

from collections import Counter
from typing import TYPE_CHECKING

from cyclone.controller.work import Piece
from cyclone.master.events import CrashCharged, Recorded, ResultsRecorded
from cyclone.master.scheduler import Scheduler
from cyclone.master.state import State
from cyclone.protocol import messages, states
from cyclone.protocol.messages import AnyFromMaster, Hello, Job, Results, Tasks
from cyclone.results import RecordedBlock
from tests.simulation.generators import FAILS, HANGS, KILLS, OK, outcomes

if TYPE_CHECKING:
    from tests.simulation.controller import VirtualController
    from tests.simulation.master import VirtualMaster
    from tests.simulation.workers import VirtualWorker
    from tests.simulation.world import World

# Without faults, a worker may be idle that long although a task is waiting somewhere: a recall that meets a worker just
# between two rows is repeated after a second.
IDLE_S = 1.6
ATTEMPTS_MAX = 200

ENDS_AS = {
    OK: {states.COMPLETED},
    FAILS: {states.FAILED},
    KILLS: {states.QUARANTINED},
    HANGS: {states.TIMED_OUT, states.COMPLETED},
}


def open_ids(state: State) -> set[int]:
    """The tasks that the state knows as open."""
    ids = {task_id for span in state.index for task_id in span.open_ids()}
    return ids | set(range(state.last_id - state.queue.fresh_count + 1, state.last_id + 1))


class Ledger:
    """The books. ``doubles`` counts the tasks that started more than once, which only faults may cause."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.attempts: dict[int, int] = {}
        self.charges: dict[int, list[int]] = {}
        self.recorded: dict[int, tuple[int, int]] = {}
        self.started_tasks: set[int] = set()
        self.doubles = 0
        self._next_fresh = 1
        self._started: set[tuple[int, int]] = set()
        self._computed: dict[tuple[int, int], tuple[int, bytes]] = {}
        self._deaths: set[tuple[int, int]] = set()
        self._timed_out: set[tuple[int, int]] = set()
        self._greeted: dict[str, tuple[int, str]] = {}
        self._deliveries = 0
        self.accepted_by: Counter[tuple[int, int]] = Counter()
        self._agent_turns = 0
        self._all_started_at = 0.0

    # Leases.

    def leased(self, tasks: Tasks) -> None:
        """A message with leases leaves the master."""
        self._world.progressed_at = self._world.now
        for batch in tasks.batches:
            for task_id in range(batch.first, batch.first + len(batch.args)):
                before = self.attempts.get(task_id, 0)
                assert batch.attempt == before + 1, f"task {task_id}: attempt {batch.attempt} leased after {before}"
                assert task_id not in self.recorded, f"task {task_id} leased although it is done"
                assert batch.attempt < ATTEMPTS_MAX, f"task {task_id} goes round and round: attempt {batch.attempt}"
                self.attempts[task_id] = batch.attempt
                if batch.attempt == 1:
                    assert task_id == self._next_fresh, f"task {task_id} left before task {self._next_fresh}"
                    self._next_fresh += 1

    def accepted(self, controller: "VirtualController", tasks: int) -> None:
        """A controller queued this many tasks of a message."""
        link = controller.agent.link
        if link.session and tasks > 0:
            key = (controller.number, link.session.session)
            self.accepted_by[key] += tasks
            assert self.accepted_by[key] <= link.granted, f"{controller.name} took more than it granted"

    # Rows in workers.

    def told_jobs(self, worker: "VirtualWorker", piece: Piece, jobs: list[Job]) -> None:
        """A worker gets rows, and the jobs that are new to it."""
        worker.jobs.update(job.job_id for job in jobs)
        missing = {job for job, _ in piece.runs} - worker.jobs
        assert not missing, f"worker {worker.pid} got rows of jobs {missing} that it was never told of"

    def started(self, task_id: int, attempt: int) -> None:
        """A worker starts a row."""
        key = (task_id, attempt)
        assert attempt <= self.attempts.get(task_id, 0), f"task {task_id} started with attempt {attempt}, never leased"
        assert key not in self._started, f"task {task_id} attempt {attempt} started twice"
        self._started.add(key)
        if task_id in self.started_tasks:
            assert self._world.faulty, f"task {task_id} started twice without a fault, now as attempt {attempt}"
            self.doubles += 1
        self.started_tasks.add(task_id)
        if len(self.started_tasks) == self._world.feed.produced:
            self._all_started_at = self._world.now

    def computed(self, task_id: int, attempt: int, status: int, value: bytes) -> None:
        """A worker finished a row, whether or not anybody will hear of it."""
        self._computed[task_id, attempt] = (status, value)

    def died_in(self, task_id: int, attempt: int) -> None:
        """A worker died in this row."""
        self._deaths.add((task_id, attempt))

    def ended_by_limit(self, worker: "VirtualWorker") -> None:
        """A worker was told to end because of the row that it executes."""
        self._timed_out.add(worker.current())

    # What the master records, delivers and acknowledges.

    def journalled(self, event: Recorded) -> None:
        """An event is in the journal."""
        if isinstance(event, CrashCharged):
            key = (event.task_id, event.attempt)
            assert key in self._deaths, f"task {key} charged, but no worker died in it"
            charges = self.charges.setdefault(event.task_id, [])
            assert event.attempt not in charges, f"task {event.task_id} charged twice for attempt {event.attempt}"
            charges.append(event.attempt)
        elif isinstance(event, ResultsRecorded):
            self._world.progressed_at = self._world.now
            batch = event.batch
            for row, status in enumerate(batch.statuses):
                if event.accepted is None or event.accepted[row]:
                    self._record(batch.first + row, batch.attempt, status)

    def _record(self, task_id: int, attempt: int, status: int) -> None:
        assert task_id not in self.recorded, f"task {task_id} recorded twice"
        assert 1 <= attempt <= self.attempts.get(task_id, 0), f"task {task_id} attempt {attempt} was never leased"
        if status in (states.FAILED, states.TIMED_OUT):
            assert attempt == self.attempts[task_id], f"task {task_id}: a failure of an old attempt was recorded"
        behaviour = self._world.feed.behaviours[task_id]
        if status == states.QUARANTINED:
            charged = len(self.charges.get(task_id, ()))
            limit = self._world.settings.crash_limit
            assert charged == limit, f"task {task_id} quarantined after {charged} crashes, the limit is {limit}"
        else:
            assert status in ENDS_AS[behaviour], f"task {task_id} of behaviour {behaviour} ended with status {status}"
        self.recorded[task_id] = (attempt, status)

    def delivered(self, number: int, block: RecordedBlock) -> None:
        """Results go to the generator."""
        self._deliveries += 1
        assert number == self._deliveries, f"delivery {number} where {self._deliveries} belongs"
        for task_id, status, value in outcomes(block):
            key = (task_id, block.attempt)
            assert self.recorded.get(task_id) == (block.attempt, status), f"task {key} delivered, but not as recorded"
            if status in (states.COMPLETED, states.FAILED):
                assert self._computed.get(key) == (status, value), f"task {key}: this is not what the attempt computed"
            elif status == states.TIMED_OUT:
                assert key in self._timed_out and key in self._deaths, f"task {key} did not exceed its limit"

    def end_of_turn(
        self, scheduler: Scheduler, said: list[AnyFromMaster], results: list[tuple[bytes, Results]]
    ) -> None:
        """The master has recorded what this turn brought, and is about to say this."""
        fresh = any(batch.attempt == 1 for message in said if isinstance(message, Tasks) for batch in message.batches)
        waiting = scheduler.state.queue.returned_count
        assert not (fresh and waiting), f"fresh tasks leave while {waiting} that were given back wait"
        told = {(m.session, number) for m in said if isinstance(m, messages.Recorded) for number in m.numbers}
        for _, message in results:
            if (message.session, message.number) in told:
                self._check_acknowledged(scheduler, message)

    def _check_acknowledged(self, scheduler: Scheduler, message: Results) -> None:
        for batch in message.batches:
            for row, status in enumerate(batch.statuses):
                task_id = batch.first + row
                if batch.epoch != scheduler.epoch or task_id in self.recorded:
                    continue
                late = batch.attempt < self.attempts[task_id]
                # A crash counts only while its lease does, which may have ended in this very turn.
                assert status == states.CRASHED or (late and status != states.COMPLETED), (
                    f"task {task_id} attempt {batch.attempt} status {status} acknowledged, but nothing is recorded"
                )

    # Controllers.

    def check_agent(self, controller: "VirtualController") -> None:
        """Every n-th turn: nothing is in two places, and the counts are right."""
        self._agent_turns += 1
        if self._agent_turns % self._world.settings.check_every:
            return
        agent = controller.agent
        assert len(agent.crew.queue) == sum(map(len, agent.crew.queue)), "the agent's queue miscounts"
        ranges = [piece.range(0, len(piece)) for piece in agent.crew.queue] + agent.outbox.held()
        for slot in agent.crew.slots:
            ranges += slot.held()
        held = sorted((part.attempt, part.first, part.first + part.count) for part in ranges)
        for (attempt, _, end), (next_attempt, first, _) in zip(held, held[1:], strict=False):
            assert attempt != next_attempt or end <= first, f"{controller.name} holds task {first} twice"

    def greeted(self, hello: Hello) -> None:
        """A hello reaches the master: which incarnation is the newer one is known to it only from the first of each."""
        self._greeted.setdefault(hello.incarnation, (len(self._greeted) + 1, hello.name))

    def check_exit(self, controller: "VirtualController", code: int, reason: str) -> None:
        """A controller ends by itself: drained, or superseded by one that started after it."""
        if code == 0:
            assert controller.agent.draining, f"{controller.name} exits with 0, and nobody asked: {reason}"
            return
        mine = self._greeted.get(controller.incarnation, (0, ""))[0]
        newer = [number for number, name in self._greeted.values() if name == controller.name and number > mine]
        assert code == 1 and reason.startswith(messages.SUPERSEDED), f"{controller.name} exits with {code}: {reason}"
        assert newer, f"{controller.name} is superseded by an older incarnation: {reason}"

    def check_idle(self) -> None:
        """Without faults: nobody idles while a task waits anywhere."""
        world = self._world
        controllers = [c for c in world.controllers if c.alive and not c.agent.draining]
        for controller in controllers:
            for worker in controller.workers.values():
                worker.sync()
        waiting = world.feed.produced - len(self.started_tasks)
        if not waiting:
            return
        for controller in controllers:
            for worker in controller.idle_slots():
                idle_s = world.now - max(worker.idle_since, self._all_started_at, world.feed.last_block_at)
                assert idle_s < IDLE_S, f"a worker of {controller.name} idles for {idle_s:.2f} s, {waiting} tasks wait"

    def check_settled(self, scheduler: Scheduler) -> None:
        """Everything has been well for long: every controller has its session, live workers and credit."""
        sessions = scheduler.state.sessions
        for controller in self._world.controllers:
            agent = controller.agent
            if not controller.alive or agent.draining:
                continue
            opened = agent.link.session
            assert opened is not None, f"{controller.name} has no session although nothing has been wrong for long"
            session = sessions.by_id.get(opened.session)
            assert session is not None and session.incarnation == controller.incarnation, (
                f"{controller.name} is unknown"
            )
            assert not agent.outbox, f"{controller.name} repeats results for ever: {agent.outbox.held()}"
            busy = session.open
            assert session.credit or busy, f"{controller.name} gets no work: reachable={session.reachable}"
            whole = self._world.settings.worker_max_tasks or session.slots == len(agent.crew.slots)
            assert whole, f"{controller.name} has dead workers"

    def check_finished(self, scheduler: Scheduler) -> None:
        """The master says that everything is done: it is, and nothing is left of it in memory."""
        scheduler.check()
        state, produced = scheduler.state, self._world.feed.produced
        assert len(self.recorded) == produced == self._deliverable(), "finished, but not every task has its result"
        assert not len(state.index) and not state.crashes and not len(state.queue), "the master keeps what is done"
        assert not any(session.spans or session.open for session in state.sessions.by_id.values()), "spans left behind"
        assert scheduler.backlog_bytes == 0, "the backlog is miscounted"

    def check_left(self, master: "VirtualMaster") -> None:
        """At the very end: the controllers have gone, and whoever stopped by himself was asked to."""
        state = master.scheduler.state
        assert not len(state.index) and not state.open_tasks, "tasks came back after the end"
        self.check_replay(master)

    def check_replay(self, master: "VirtualMaster") -> None:
        """A fresh state that is given the journal knows the same tasks as open, done and charged."""
        live, again = master.scheduler.state, State()
        for event in master.journal:
            again.apply(event)
        for name in ("ended", "open_tasks", "last_id", "crashes"):
            mine, theirs = getattr(live, name), getattr(again, name)
            assert mine == theirs, f"after a replay of the journal {name} is {theirs}, live it is {mine}"
        assert open_ids(live) == open_ids(again), "after a replay of the journal other tasks are open"

    def _deliverable(self) -> int:
        return sum(self._world.master.scheduler.state.ended.values())
