"""What must hold across restarts of the master, kept in books of its own.

An epoch begins with what is durable. From there: nothing that was acknowledged is missing; what an earlier epoch may
have leased waits for those who may hold it, but not for ever; and who lives through the restart is not robbed.
"""

from typing import TYPE_CHECKING

from cyclone.master.events import ControllerJoined, ControllerLeft, HorizonMoved, Recorded
from cyclone.master.scheduler import Scheduler
from cyclone.master.state import State
from cyclone.protocol.messages import Hello
from tests.support.replay import replay

if TYPE_CHECKING:
    from tests.simulation.checks import Token
    from tests.simulation.master import VirtualMaster
    from tests.simulation.world import World

# How often the master looks for silent controllers, at the most.
SWEEP_S = 0.5


EXECUTED_AGAIN = "is executed again after a master crash while the controller lived and said hello in time"


def open_ids(state: State) -> set[int]:
    """The tasks that the state knows as open."""
    ids = {task_id for span in state.index for task_id in span.open_ids()}
    for lane in state.lanes:
        for start, stop in lane.new_within(1, state.last_id + 1):
            ids.update(range(start, stop))
    return ids


class Recovery:
    """See the module. ``live`` are the controllers in the journal, ``adopted`` counts leases that outlived a master."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.adopted = 0
        self.horizon = 0
        self.horizons: dict[int, int] = {}
        self.live: dict[str, str] = {}
        self._epoch = 0
        self._started_at = 0.0
        self._inherited: dict[int, int] = {}
        self._awaited: set[str] = set()
        self._greeted_at: dict[str, float] = {}
        self._claimed: set[int] = set()

    def journalled(self, event: Recorded) -> None:
        """An event is durable."""
        match event:
            case HorizonMoved(last_id, jobs):
                moved = [(job, last) for job, last in jobs or () if last > self.horizons.get(job, 0)]
                assert last_id >= self.horizon and moved, f"the horizon moves from {self.horizon} to {last_id}, {jobs}"
                self.horizon = last_id
                self.horizons.update(moved)
            case ControllerJoined(name, incarnation):
                self.live[name] = incarnation
            case ControllerLeft(name):
                self.live.pop(name, None)

    def master_started(self, master: "VirtualMaster") -> None:
        """A new epoch, and what it knows to begin with."""
        ledger, state = self._world.ledger, master.scheduler.state
        assert state.epoch > self._epoch, f"epoch {state.epoch} follows {self._epoch}"
        self._epoch, self._started_at, self._inherited = state.epoch, self._world.now, dict(self.horizons)
        self._awaited = set(self.live)
        self._greeted_at.clear()
        self._claimed.clear()
        master.scheduler.check()
        lost = ledger.acknowledged - ledger.recorded.keys()
        assert not lost, f"acknowledged, and not there after the restart: {sorted(lost)}"
        expected = set(range(1, ledger.outputs.produced + 1)) - ledger.recorded.keys()
        found = open_ids(state)
        assert found == expected, f"after the restart {sorted(found ^ expected)} are open or done, and should not be"

    def greeted(self, hello: Hello) -> None:
        """A hello is handled by the master of this epoch."""
        self._awaited.discard(hello.name)
        if hello.incarnation not in self._greeted_at:
            self._greeted_at[hello.incarnation] = self._world.now
            for part in hello.held:
                if part.epoch < self._epoch:
                    self.adopted += part.count
                    self._claimed.update(range(part.first, part.first + part.count))

    def leased(self, scheduler: Scheduler, task_id: int, before: "Token | None") -> None:
        """A lease leaves the master; ``before`` is the last one of the task."""
        job_id = self._world.ledger.jobs.job_of(task_id)
        horizon = self.horizons.get(job_id, 0)
        assert task_id <= horizon, f"task {task_id} of job {job_id} is leased above the recorded horizon {horizon}"
        if task_id > self._inherited.get(job_id, 0) or (before and before[0] == self._epoch):
            return
        timeout_s = self._world.settings.controller_timeout_s
        waited_s = self._world.now - self._started_at
        if task_id not in self._claimed and waited_s <= timeout_s:
            assert not self._awaited, (
                f"task {task_id} is leased {waited_s:.2f} s after the restart, without {self._awaited}"
            )
        resend_s = self._world.settings.task_resend_timeout_s
        if before is None or (resend_s and waited_s > resend_s) or self._world.ledger.has_ended(task_id, before):
            return
        for controller in self._world.controllers:
            greeted_at = self._greeted_at.get(controller.incarnation)
            if not controller.alive or greeted_at is None or greeted_at > self._started_at + timeout_s:
                continue
            if controller.incarnation in {s.incarnation for s in scheduler.state.sessions.by_id.values()}:
                held = [part for part in controller.agent.held() if (part.epoch, part.attempt) == before]
                robbed = any(part.first <= task_id < part.first + part.count for part in held)
                assert not robbed, f"task {task_id} {EXECUTED_AGAIN}: {controller.name}"

    def check_turn(self, scheduler: Scheduler) -> None:
        """Nobody waits for ever for those who do not come back."""
        timeout_s = self._world.settings.controller_timeout_s
        if self._world.now <= self._started_at + timeout_s + SWEEP_S:
            return
        state = scheduler.state
        held = state.sessions.former.open if state.sessions.former else 0
        assert not held, f"{held} tasks still wait {self._world.now - self._started_at:.2f} s after the restart"
        assert not state.awaited, f"{state.awaited} are still awaited, and nobody looks for them any more"

    def check_replay(self, master: "VirtualMaster") -> None:
        """A master that started now would know the same tasks as open, done and charged."""
        journal, live = self._world.journal, master.scheduler.state
        if not journal.replays:
            return
        again = State(live.epoch + 1, pages=True)
        for event in replay(journal.events):
            again.apply(event)
        for name in ("ended", "open_tasks", "last_id", "crashes", "failures", "number", "progress", "horizon", "live"):
            mine, theirs = getattr(live, name), getattr(again, name)
            assert mine == theirs, f"after a replay of the journal {name} is {theirs}, live it is {mine}"
        assert open_ids(live) == open_ids(again), "after a replay of the journal other tasks are open"
