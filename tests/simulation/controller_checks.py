"""What must hold of controllers: nothing is in two places, nobody idles while a task waits, all come back to work."""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from cyclone.controller.outbox import RESEND_S
from cyclone.master.leases.dispatch import RECALL_RETRY_S
from cyclone.master.scheduler import Scheduler
from tests.simulation.rests import Rests

if TYPE_CHECKING:
    from tests.simulation.controller import VirtualController
    from tests.simulation.world import World

# Without faults, a worker may be idle that long although a task is waiting somewhere: a recall that meets a worker just
# between two rows is repeated after a second. One that gets lost is repeated, too.
IDLE_S = 1.6


class ControllerLedger:
    """``accepted_by`` is how many tasks a controller took, by its incarnation and session."""

    def __init__(self, world: "World", rests: Rests) -> None:
        self._world = world
        self._rests = rests
        self._waiting: set[int] = set()
        self._all_started_at = 0.0
        self._turns = 0
        self.accepted_by: Counter[tuple[int, int, int]] = Counter()

    def added(self, task_ids: Iterable[int]) -> None:
        """There is more to do."""
        self._waiting.update(task_ids)

    def started(self, task_id: int) -> None:
        """A task waits no longer, or has waited once before."""
        self.ended(task_id)
        if not self._waiting:
            self._all_started_at = self._world.now

    def ended(self, task_id: int) -> None:
        """A task has its result, perhaps without ever having started."""
        self._waiting.discard(task_id)

    def accepted(self, controller: "VirtualController", tasks: int) -> None:
        """A controller queued this many tasks of a message."""
        link = controller.agent.link
        if link.session and tasks > 0:
            key = (controller.number, link.session.epoch, link.session.session)
            self.accepted_by[key] += tasks
            assert self.accepted_by[key] <= link.granted, f"{controller.name} took more than it granted"

    def check_agent(self, controller: "VirtualController") -> None:
        """Every n-th turn: nothing is in two places, and the counts are right."""
        self._turns += 1
        if self._turns % self._world.settings.check_every:
            return
        agent = controller.agent
        assert len(agent.crew.queue) == sum(map(len, agent.crew.queue)), "the agent's queue miscounts"
        ranges = [piece.range(0, len(piece)) for piece in agent.crew.queue] + agent.outbox.held()
        for slot in agent.crew.slots:
            ranges += slot.held()
        held = sorted((part.epoch, part.attempt, part.first, part.first + part.count) for part in ranges)
        for (*token, _, end), (*next_token, first, _) in zip(held, held[1:], strict=False):
            assert token != next_token or end <= first, f"{controller.name} holds task {first} twice"

    def check_idle(self) -> None:
        """Without faults: nobody idles while a task waits anywhere."""
        world = self._world
        controllers = [c for c in world.controllers if c.alive and not c.agent.draining]
        for controller in controllers:
            for worker in controller.workers.values():
                worker.sync()
        waiting = self._rests.wanted(self._waiting)
        if not waiting or world.master.scheduler.state.awaited:
            return
        added_at = world.ledger.outputs.added_at
        idle_max_s = IDLE_S + (RECALL_RETRY_S if world.counts["lost Recall"] else 0.0)
        wanted_since = max(self._all_started_at, added_at, world.restarted_at, self._rests.ended_at)
        for controller in controllers:
            for worker in controller.idle_slots():
                idle_s = world.now - max(worker.idle_since, wanted_since)
                assert idle_s < idle_max_s, (
                    f"a worker of {controller.name} idles for {idle_s:.2f} s, {waiting} tasks wait"
                )

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
            at_work = self._world.now - self._world.progressed_at < RESEND_S
            assert at_work or not agent.outbox, f"{controller.name} repeats results for ever: {agent.outbox.held()}"
            # What tasks do to their workers they do at any time, and without one there is no credit.
            rested = self._world.now - RESEND_S
            lately = [slot for slot in agent.crew.slots if slot.start_at > rested or slot.rest_until_s]
            busy = session.open or lately
            assert session.credit or busy, f"{controller.name} gets no work: reachable={session.reachable}"
            whole = self._world.settings.worker_max_tasks or session.slots + len(lately) >= len(agent.crew.slots)
            assert whole, f"{controller.name} has dead workers"
