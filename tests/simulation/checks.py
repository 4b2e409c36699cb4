"""What must hold, kept in books of its own: the brains' own counts are not believed.

Every lease that leaves the master, every start and end of a row in a worker, every recorded event and every delivered
result passes here. The books go on over all epochs; ``recovery.py`` judges the restarts, ``outputs.py`` the generator,
``controller_checks.py`` the controllers, ``job_checks.py`` and ``rests.py`` what clients want.
"""

import bisect
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from cyclone.controller.work import Piece
from cyclone.master.events import AttemptsEnded, CancelWanted, Recorded, ResultsRecorded, TasksAdded
from cyclone.master.scheduler import Scheduler
from cyclone.protocol import messages, states
from cyclone.protocol.messages import AnyFromMaster, Cancel, Hello, Job, Results, Tasks
from cyclone.results import RecordedBlock
from tests.simulation.controller_checks import ControllerLedger
from tests.simulation.generators import FAILS, FLAKY, HANGS, KILLS, OK, RETRY_DELAY_S, outcomes
from tests.simulation.incarnations import Incarnations
from tests.simulation.job_checks import JobLedger
from tests.simulation.outputs import Outputs
from tests.simulation.recovery import Recovery
from tests.simulation.settings import ALONE

if TYPE_CHECKING:
    from tests.simulation.master import VirtualMaster
    from tests.simulation.workers import VirtualWorker
    from tests.simulation.world import World

LEASES_MAX = 200

FIRST_EPOCH = 7

ENDS_AS = {
    OK: {states.COMPLETED},
    FAILS: {states.FAILED},
    KILLS: {states.QUARANTINED},
    HANGS: {states.TIMED_OUT, states.COMPLETED},
    FLAKY: {states.FAILED, states.COMPLETED},
}


Token = tuple[int, int]
"""Epoch and attempt of a lease."""
Attempt = tuple[int, int, int]
"""Task, epoch and attempt."""


class Ledger:
    """The books. ``doubles`` counts the starts of tasks that had started before, which only faults may cause.

    ``leases`` is the last lease of each task, ``recorded`` its one result, ``acknowledged`` are those of which a
    controller may know that they are recorded.
    """

    def __init__(self, world: "World") -> None:
        self._world = world
        self.outputs = Outputs(world)
        self.recovery = Recovery(world)
        self.incarnations = Incarnations()
        self.jobs = JobLedger(world)
        self.controllers = ControllerLedger(world, self.jobs.rests)
        self.leases: dict[int, Token] = {}
        self.charges: dict[int, list[Token]] = {}
        self.failures: dict[int, list[Token]] = {}
        self.recorded: dict[int, tuple[Token, int]] = {}
        self.wishes: list[CancelWanted] = []
        self.acknowledged: set[int] = set()
        self.started_tasks: set[int] = set()
        self.doubles = 0
        self._results: list[ResultsRecorded] = []
        # Of each job, and how many of them have left, or may have left in an earlier epoch.
        self._ids: dict[int, list[int]] = defaultdict(list)
        self._fresh_at: Counter[int] = Counter()
        self._not_before: dict[int, tuple[int, float]] = {}
        self._lease_count: Counter[int] = Counter()
        self._leased_at: dict[Attempt, float] = {}
        self._started: set[Attempt] = set()
        self._computed: dict[Attempt, tuple[int, bytes]] = {}
        self._deaths: set[Attempt] = set()
        self._ran: dict[int, list[tuple[Attempt, float, float]]] = defaultdict(list)
        self._timed_out: set[Attempt] = set()
        self._announced = 0

    # Leases.

    def asked_back(self, cancel: Cancel) -> None:
        """The master asks a controller to stop something: because somebody wants that, or it takes too long."""
        resend_s = self._world.settings.task_resend_timeout_s
        for part in cancel.ranges:
            for task_id in range(part.first, part.first + part.count):
                if self.is_cancelled(task_id) or self.jobs.was_requeued(task_id):
                    continue
                leased_at = self._leased_at.get((task_id, part.epoch, part.attempt), self._world.now)
                held_s = self._world.now - leased_at
                assert held_s >= resend_s > 0, f"task {task_id} is asked back {held_s:.2f} s after its lease"

    def leased(self, scheduler: Scheduler, tasks: Tasks) -> None:
        """A message with leases leaves the master."""
        self._world.progressed_at = self._world.now
        epoch = scheduler.state.epoch
        for batch in tasks.batches:
            for task_id in range(batch.first, batch.first + len(batch.args)):
                before = self.leases.get(task_id)
                if before and before[0] == epoch:
                    assert batch.attempt == before[1] + 1, f"task {task_id}: {batch.attempt} leased after {before}"
                assert task_id not in self.recorded, f"task {task_id} leased although it is done"
                assert not self.is_cancelled(task_id), f"task {task_id} leased although it is cancelled"
                self.jobs.leased(task_id)
                not_before = self._not_before.get(task_id)
                if not_before and not_before[0] == epoch and not self.jobs.was_requeued(task_id):
                    assert self._world.now >= not_before[1], f"task {task_id} is tried again at once"
                self.recovery.leased(scheduler, task_id, before)
                self.leases[task_id] = (epoch, batch.attempt)
                self._leased_at[task_id, epoch, batch.attempt] = self._world.now
                self._lease_count[task_id] += 1
                assert self._lease_count[task_id] < LEASES_MAX, f"task {task_id} goes round and round"
                if batch.attempt == 1:
                    assert before is None, f"task {task_id} is leased as if for the first time, after {before}"
                    job_id = self.jobs.job_of(task_id)
                    if self.jobs.moment_of(task_id) is not None:
                        continue
                    ids, at = self._ids[job_id], self._fresh_at[job_id]
                    while ids[at] in self.recorded or self.jobs.moment_of(ids[at]) is not None:
                        # Cancelled before it ever left, or it waits for its own time.
                        at += 1
                    assert task_id == ids[at], f"task {task_id} of job {job_id} left before task {ids[at]}"
                    self._fresh_at[job_id] = at + 1

    # Rows in workers.

    def told_jobs(self, worker: "VirtualWorker", piece: Piece, jobs: list[Job]) -> None:
        """A worker gets rows, and the jobs that are new to it."""
        worker.jobs.update(job.job_id for job in jobs)
        missing = {job for job, _ in piece.runs} - worker.jobs
        assert not missing, f"worker {worker.pid} got rows of jobs {missing} that it was never told of"

    def started(self, key: Attempt, at: float) -> None:
        """A worker starts a row."""
        task_id = key[0]
        self.jobs.rests.began(task_id, at)
        assert key in self._leased_at, f"task {key} started, and was never leased"
        assert key not in self._started, f"task {key} started twice"
        self._started.add(key)
        if task_id in self.started_tasks and task_id not in self.failures:
            assert self._world.faulty, f"task {key} started although it had before, without a fault"
            self.doubles += 1
        self.started_tasks.add(task_id)
        self.controllers.started(task_id)

    def computed(self, key: Attempt, status: int, value: bytes) -> None:
        """A worker finished a row, whether or not anybody will hear of it."""
        self._computed[key] = (status, value)

    def ran(self, key: Attempt, started: float, ended: float) -> None:
        """A row occupied a worker from then to then, however it ended."""
        self.jobs.ran(key[0], started, ended)
        if self._world.journal.task_class(key[0]) == ALONE:
            for other, start, end in self._ran[key[0]]:
                apart = ended <= start or end <= started
                assert apart, f"attempts {other[1:]} and {key[1:]} of task {key[0]} overlap, which must run alone"
            self._ran[key[0]].append((key, started, ended))

    def died_in(self, key: Attempt) -> None:
        """A worker died in this row."""
        self._deaths.add(key)

    def has_ended(self, task_id: int, token: Token) -> bool:
        """Whether this attempt is over, although its controller may still hold the news."""
        return (task_id, *token) in self._deaths or token in self.failures.get(task_id, ())

    def is_cancelled(self, task_id: int) -> bool:
        """Whether the journal has a wish to end this task."""
        return any(
            wish.first <= task_id <= wish.last and wish.job_id in (None, self.jobs.job_of(task_id))
            for wish in self.wishes
            # What has expired may go on where it runs.
            if wish.status == states.CANCELLED
        )

    def ended_by_limit(self, worker: "VirtualWorker") -> None:
        """A worker was told to end because of the row that it executes."""
        self._timed_out.add(worker.current())

    # What the master records, delivers and acknowledges.

    def master_started(self, master: "VirtualMaster") -> None:
        """Another epoch begins."""
        self.incarnations.epoch_begins(self.recovery.live)
        for job_id, ids in self._ids.items():
            self._fresh_at[job_id] = bisect.bisect_right(ids, self.recovery.horizons.get(job_id, 0))
        self._announced = len(self._results)
        self.recovery.master_started(master)
        if master.scheduler.state.epoch > FIRST_EPOCH:
            self.recovery.check_replay(master)

    def journalled(self, events: list[Recorded]) -> None:
        """A commit is durable."""
        for event in events:
            self.recovery.journalled(event)
            self.jobs.journalled(event)
            if isinstance(event, TasksAdded):
                self.outputs.added(event)
                added = range(event.first, event.first + len(event.args))
                self._ids[event.job_id] += added
                self.controllers.added(added)
            elif isinstance(event, AttemptsEnded):
                self._attempts_ended(event)
            elif isinstance(event, CancelWanted):
                self.wishes.append(event)
            elif isinstance(event, ResultsRecorded):
                self._results_recorded(event)

    def _attempts_ended(self, event: AttemptsEnded) -> None:
        token = (event.epoch, event.attempt)
        for task_id in range(event.first, event.first + event.count):
            assert task_id not in self.recorded, f"an attempt at task {task_id} ends after its result"
            if event.status == states.LOST:
                continue
            if event.status == states.CRASHED:
                assert (task_id, *token) in self._deaths, f"task {task_id} {token} charged, but no worker died in it"
            ended = self.charges if event.status == states.CRASHED else self.failures
            assert token not in ended.setdefault(task_id, []), f"task {task_id} charged twice for {token}"
            ended[task_id].append(token)
            if event.status != states.CRASHED:
                self._not_before[task_id] = (self._world.journal.epoch, self._world.now + RETRY_DELAY_S / 2)
            self._check_latest(task_id, token, "failure")
            assert len(self.failures.get(task_id, ())) <= self.jobs.retries(task_id), f"task {task_id} retried"

    def _results_recorded(self, event: ResultsRecorded) -> None:
        self._world.progressed_at = self._world.now
        self._results.append(event)
        assert event.number == len(self._results), f"results {event.number} follow {len(self._results) - 1}"
        batch = event.batch
        for row, status in enumerate(batch.statuses):
            if event.accepted is None or event.accepted[row]:
                self._record(batch.first + row, (batch.epoch, batch.attempt), status)
        self.outputs.recorded(event)

    def _record(self, task_id: int, token: Token, status: int) -> None:
        assert task_id not in self.recorded, f"task {task_id} recorded twice"
        self.recorded[task_id] = (token, status)
        self.controllers.ended(task_id)
        self.jobs.recorded(task_id, status)
        if status in (states.CANCELLED, states.EXPIRED):
            wanted = self.is_cancelled(task_id) or status == states.EXPIRED
            assert wanted, f"task {task_id} is cancelled, and nobody asked for it"
            return
        assert not self.is_cancelled(task_id), f"task {task_id} ends with {status} though it is cancelled"
        assert (task_id, *token) in self._leased_at, f"task {task_id} {token} was never leased"
        if status in (states.FAILED, states.TIMED_OUT):
            self._check_latest(task_id, token, "failure")
            failures, retries = len(self.failures.get(task_id, ())), self.jobs.retries(task_id)
            assert failures == retries, f"task {task_id} failed for good after {failures} retries of {retries}"
        behaviour = self.outputs.behaviours[task_id]
        if status == states.QUARANTINED:
            charged = len(self.charges.get(task_id, ()))
            limit = self.jobs.crash_limit(task_id)
            assert charged == limit, f"task {task_id} quarantined after {charged} crashes, the limit is {limit}"
        else:
            assert status in ENDS_AS[behaviour], f"task {task_id} of behaviour {behaviour} ended with status {status}"

    def _check_latest(self, task_id: int, token: Token, what: str) -> None:
        """Which lease of earlier epochs was the latest, a master knows only from who tells of them."""
        latest, present = self.leases[task_id], self._world.journal.epoch
        assert token == latest or max(token[0], latest[0]) < present, f"task {task_id}: a {what} of {token} counts"

    def announced(self, number: int, block: RecordedBlock) -> None:
        """What is recorded is told to all readers."""
        self._announced += 1
        assert number == self._announced, f"results {number} announced where {self._announced} belongs"
        self.delivered(number, block, everything=True)
        token = (self._results[number - 1].batch.epoch, block.attempt)
        for task_id, status, value in outcomes(block):
            key = (task_id, *token)
            assert self.recorded.get(task_id) == (token, status), f"task {key} announced, but not as recorded"
            if status in (states.COMPLETED, states.FAILED):
                assert self._computed.get(key) == (status, value), f"task {key}: this is not what the attempt computed"
            elif status == states.TIMED_OUT:
                assert key in self._timed_out and key in self._deaths, f"task {key} did not exceed its limit"

    def delivered(self, number: int, block: RecordedBlock, everything: bool = False) -> None:
        """Results go to the generator, for the first time or again: those of its own tasks; or to all readers."""
        assert number <= len(self._results), f"results {number} delivered, and not recorded"
        event = self._results[number - 1]
        wanted = [
            (event.batch.first + row, status)
            for row, status in enumerate(event.batch.statuses)
            if event.accepted is None or event.accepted[row]
        ]
        if everything:
            assert block.body == event.batch.body, f"results {number} are announced otherwise than they are recorded"
        else:
            wanted = [(task_id, status) for task_id, status in wanted if not self.jobs.job_of(task_id)]
        told = [(task_id, status) for task_id, status, _ in outcomes(block)]
        assert told == wanted, f"results {number} are delivered otherwise than they are recorded"

    def check_dispatched(self, scheduler: Scheduler) -> None:
        """Nothing waits that somebody would take, also while those are awaited who may hold other tasks."""
        state = scheduler.state
        rests = scheduler.stopping or scheduler.backlog_bytes > self._world.settings.backlog_bytes_max
        assert rests or not (state.lanes.has_room and state.sessions.hungry), (
            f"{state.lanes.window.in_memory} tasks wait, and are wanted"
        )

    def end_of_turn(
        self, scheduler: Scheduler, said: list[tuple[bytes, AnyFromMaster]], results: list[tuple[bytes, Results]]
    ) -> None:
        """The master has recorded what this turn brought, and is about to say this."""
        batches = [batch for _, message in said if isinstance(message, Tasks) for batch in message.batches]
        for batch in batches:
            if batch.attempt == 1 and scheduler.state.lanes.window.returned_count:
                job_id = self.jobs.job_of(batch.first)
                waiting = [s.first for s in scheduler.state.index if s.holder is None and s.job_id == job_id]
                assert batch.first < min(waiting, default=batch.first + 1), (
                    f"task {batch.first} leaves for the first time while {min(waiting)} waits again"
                )
        # By connection too: the next epoch's sessions are numbered like those of this one.
        told = {(peer, number) for peer, m in said if isinstance(m, messages.Recorded) for number in m.numbers}
        for peer, message in results:
            if (peer, message.number) in told:
                self._check_acknowledged(message)

    def _check_acknowledged(self, message: Results) -> None:
        for batch in message.batches:
            token = (batch.epoch, batch.attempt)
            for row, status in enumerate(batch.statuses):
                task_id = batch.first + row
                if task_id in self.recorded:
                    self.acknowledged.add(task_id)
                    continue
                late = token < self.leases[task_id] or token in self.failures.get(task_id, ())
                # A crash counts only while its lease does, which may have ended in this very turn.
                assert status == states.CRASHED or (late and status != states.COMPLETED), (
                    f"task {task_id} {token} status {status} acknowledged, but nothing is recorded"
                )

    # Who comes, and how all ends.

    def greeted(self, hello: Hello) -> None:
        """A hello is handled by the master."""
        self.incarnations.greeted(hello)
        self.recovery.greeted(hello)

    def check_finished(self, master: "VirtualMaster") -> None:
        """The master says that everything is done: it is, and nothing is left of it in memory."""
        scheduler = master.scheduler
        scheduler.check()
        self.jobs.check_finished()
        state, produced = scheduler.state, self.outputs.produced
        self.outputs.check_complete()
        assert len(self.recorded) == produced == sum(state.ended.values()), "finished, but not every task has a result"
        assert not len(state.index) and not state.crashes and not state.lanes.window.in_memory, (
            "the master keeps what is done"
        )
        assert not any(session.spans or session.open for session in state.sessions.by_id.values()), "spans left behind"

    def check_left(self, master: "VirtualMaster") -> None:
        """At the very end: the controllers have gone, and whoever stopped by himself was asked to."""
        state = master.scheduler.state
        assert not len(state.index) and not state.open_tasks, "tasks came back after the end"
        self.recovery.check_replay(master)
        if master.feed:
            self.outputs.check_summary(master.feed.summary)
