"""The master's body in the virtual world: the production scheduler, with a list for a journal."""

import dataclasses
from collections import deque
from typing import TYPE_CHECKING

from cyclone.master import actions
from cyclone.master.events import Recorded, TasksAdded
from cyclone.master.scheduler import Scheduler, SchedulerOptions
from cyclone.protocol import wire
from cyclone.protocol.messages import Hello, Results, Tasks
from tests.simulation.body import Body, Line

if TYPE_CHECKING:
    from tests.simulation.world import World

JOURNAL_ID = "0" * 31 + "1"
EPOCH = 7


def stored(event: Recorded) -> Recorded:
    """The event as a journal keeps it: a copy, which nothing that happens later can change."""
    return dataclasses.replace(event, args=[*event.args]) if isinstance(event, TasksAdded) else event


class VirtualMaster(Body):
    """The scheduler with a list for a journal. Records, then delivers, then sends."""

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        settings = world.settings
        options = SchedulerOptions(
            settings.controller_timeout_s,
            settings.heartbeat_s,
            settings.task_resend_timeout_s,
            settings.crash_limit,
            settings.exit_when_done,
        )
        self.scheduler = Scheduler(options, JOURNAL_ID, EPOCH)
        self.journal: list[Recorded] = []
        self.finished_at: float | None = None
        self._inbox: Line = deque()
        self._fed: Line = deque()
        self._todo: list[actions.Action] = []
        self._acked: list[tuple[bytes, Results]] = []
        self._turns = 0

    def receive(self, peer: bytes, frames: list[bytes]) -> None:
        """Frames from a connection."""
        self.put(self._inbox, self._on_frames, peer, frames)

    def feed(self, jobs: list[tuple[str, float | None]], runs: list[tuple[int, int]], args: list[bytes]) -> None:
        """A block of tasks from the generator."""
        self.put(self._fed, self._on_block, jobs, runs, args)

    def exhaust(self) -> None:
        """The generator has yielded its last task."""
        self.put(self._fed, self.scheduler.exhaust)

    def consume(self, number: int, size: int) -> None:
        """The generator has read a delivery."""
        self.put(self._fed, self._on_consumed, number, size)

    def stop(self) -> None:
        """SIGTERM."""
        self.put(self._fed, self._on_stop)

    def turn(self) -> None:
        world, scheduler, now = self.world, self.scheduler, self.world.now
        self._todo, self._acked = [], []
        self.take_in(self._inbox)
        self.take_in(self._fed)
        self._todo += scheduler.advance(now)
        self._carry_out(self._todo, self._acked)
        world.feed.allow(scheduler.pull_limit())
        self._turns += 1
        if self._turns % world.settings.check_every == 0:
            scheduler.check()
        assert scheduler.deadline > now, f"the scheduler wants to be called at {scheduler.deadline}, it is {now}"
        self.wake(scheduler.deadline)

    def _on_frames(self, peer: bytes, frames: list[bytes]) -> None:
        message = wire.decode_from_controller(frames)
        if isinstance(message, Hello):
            self.world.ledger.greeted(message)
        elif isinstance(message, Results):
            self._acked.append((peer, message))
        self._todo += self.scheduler.handle(peer, message, self.world.now)

    def _on_block(self, jobs: list[tuple[str, float | None]], runs: list[tuple[int, int]], args: list[bytes]) -> None:
        self._todo += self.scheduler.offer(jobs, runs, args, self.world.now)

    def _on_consumed(self, number: int, size: int) -> None:
        self.scheduler.consume(number)
        self.scheduler.backlog_bytes -= size

    def _on_stop(self) -> None:
        self._todo += self.scheduler.stop(self.world.now)

    def _carry_out(self, todo: list[actions.Action], acked: list[tuple[bytes, Results]]) -> None:
        world, ledger = self.world, self.world.ledger
        for action in todo:
            if isinstance(action, actions.Record):
                self.journal.append(stored(action.event))
                ledger.journalled(action.event)
        for action in todo:
            if isinstance(action, actions.Deliver):
                ledger.delivered(action.number, action.block)
                self.scheduler.backlog_bytes += len(action.block.body)
                world.feed.deliver(action.number, action.block)
        ledger.end_of_turn(self.scheduler, [a.message for a in todo if isinstance(a, actions.Send)], acked)
        for action in todo:
            if isinstance(action, actions.Send):
                if isinstance(action.message, Tasks):
                    ledger.leased(action.message)
                if not world.network.send_down(action.peer, action.message):
                    self.scheduler.unreachable(action.peer)
        for action in todo:
            if isinstance(action, actions.Say):
                world.say("master", action.level, action.text)
            elif isinstance(action, actions.Finish):
                assert self.finished_at is None, "finished twice"
                self.finished_at = world.now
                ledger.check_finished(self.scheduler)
