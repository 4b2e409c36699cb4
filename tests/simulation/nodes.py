"""The two bodies in the virtual world: they carry out what the production brains decide, in the order that the services keep.

A body handles in one turn all that has come since the last, as the services drain their sockets: messages first, then time,
then what the brain wants done.
"""

import dataclasses
from collections import deque
from typing import TYPE_CHECKING, Any

from cyclone.controller import actions as wanted
from cyclone.controller.agent import Agent
from cyclone.controller.link import Identity
from cyclone.controller.options import AgentOptions
from cyclone.controller.slots import Phase
from cyclone.master import actions
from cyclone.master.events import Recorded, TasksAdded
from cyclone.master.scheduler import Scheduler, SchedulerOptions
from cyclone.protocol import wire
from cyclone.protocol.messages import Hello, Results, Tasks
from tests.simulation.network import Connection
from tests.simulation.workers import VirtualWorker

if TYPE_CHECKING:
    from tests.simulation.world import World

JOURNAL_ID = "0" * 31 + "1"
EPOCH = 7


def stored(event: Recorded) -> Recorded:
    """The event as a journal keeps it: a copy, which nothing that happens later can change."""
    return dataclasses.replace(event, args=[*event.args]) if isinstance(event, TasksAdded) else event


class Body:
    """Takes turns: as soon as something has come, or when the brain wants to be called."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.resting_until = 0.0
        self.slowness_s = 0.0
        self._turn_at = float("inf")

    def wake(self, at: float = 0.0) -> None:
        """Take a turn soon, or at that time."""
        at = max(at, self.resting_until, self.world.now + self.world.settings.turn_s + self.slowness_s)
        if at < self._turn_at:
            self._turn_at = at
            self.world.at(at, self._take_turn, at)

    def _take_turn(self, at: float) -> None:
        if at != self._turn_at:
            return
        self._turn_at = float("inf")
        if self.resting_until > at:
            self.wake()
        else:
            self.turn()

    def turn(self) -> None:
        """One turn of the loop."""
        raise NotImplementedError


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
        self._inbox: deque[tuple[bytes, list[bytes]]] = deque()
        self._fed: deque[tuple[str, Any]] = deque()
        self._turns = 0

    def receive(self, peer: bytes, frames: list[bytes]) -> None:
        """Frames from a connection."""
        self._inbox.append((peer, frames))
        self.wake()

    def feed(self, jobs: list[tuple[str, float | None]], runs: list[tuple[int, int]], args: list[bytes]) -> None:
        """A block of tasks from the generator."""
        self._fed.append(("offer", (jobs, runs, args)))
        self.wake()

    def exhaust(self) -> None:
        """The generator has yielded its last task."""
        self._fed.append(("exhaust", None))
        self.wake()

    def stop(self) -> None:
        """SIGTERM."""
        self._fed.append(("stop", None))
        self.wake()

    def consume(self, number: int, size: int) -> None:
        """The generator has read a delivery."""
        self._fed.append(("consume", (number, size)))
        self.wake()

    def turn(self) -> None:
        world, scheduler, now = self.world, self.scheduler, self.world.now
        todo: list[actions.Action] = []
        acked: list[tuple[bytes, Results]] = []
        while self._inbox:
            peer, frames = self._inbox.popleft()
            message = wire.decode_from_controller(frames)
            if isinstance(message, Hello):
                world.ledger.greeted(message)
            elif isinstance(message, Results):
                acked.append((peer, message))
            todo += scheduler.handle(peer, message, now)
        while self._fed:
            kind, what = self._fed.popleft()
            if kind == "offer":
                todo += scheduler.offer(*what, now)
            elif kind == "exhaust":
                scheduler.exhaust()
            elif kind == "stop":
                todo += scheduler.stop(now)
            else:
                scheduler.consume(what[0])
                scheduler.backlog_bytes -= what[1]
        todo += scheduler.advance(now)
        self._carry_out(todo, acked)
        world.feed.allow(scheduler.pull_limit())
        self._turns += 1
        if self._turns % world.settings.check_every == 0:
            scheduler.check()
        assert scheduler.deadline > now, f"the scheduler wants to be called at {scheduler.deadline}, it is {now}"
        self.wake(scheduler.deadline)

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


class VirtualController(Body):
    """An agent, its virtual workers and its connection: one incarnation."""

    def __init__(self, world: "World", name: str, worker_count: int) -> None:
        super().__init__(world)
        settings = world.settings
        self.name = name
        self.number = world.next_incarnation()
        self.incarnation = f"{world.rng.getrandbits(128):032x}"
        identity = Identity(name, self.incarnation, "host", self.number, "4", "3.11")
        options = AgentOptions(
            worker_count,
            kill_grace_s=0.2,
            worker_max_tasks=settings.worker_max_tasks,
            retry_wait_s=settings.retry_wait_s,
            # Without faults nobody is cut off in a running task.
            stop_timeout_s=world.rng.choice([0.5, 3.0, 30.0]) if world.faulty else 30.0,
        )
        self.agent = Agent(identity, options, world.rng.random)
        self.workers: dict[int, VirtualWorker] = {}
        self.connection: Connection | None = None
        self.unsent: list[list[bytes]] = []
        self.alive = True
        self.exit_code: int | None = None
        self.trap = False
        self.take_back_fails = 0
        self.start_fails = 0
        self.replace_when_gone = False
        self._inbox: deque[tuple[str, Any, Any]] = deque()

    def start(self) -> None:
        """The process starts and connects."""
        self.wake()
        self.world.after(self.world.rng.uniform(0.0, 0.05), self.connect)

    def connect(self) -> None:
        """A connection stands."""
        if self.alive and self.connection is None:
            self.connection = self.world.network.connect(self)
            self.world.network.send_waiting(self)
            self.post("connected", None, None)

    def disconnect(self) -> None:
        """The connection breaks."""
        if self.connection:
            self.world.network.close(self.connection)
            self.connection = None

    def receive(self, connection: Connection, frames: list[bytes]) -> None:
        """Frames from the master, unless the connection broke under way."""
        if self.alive and connection.open:
            self.post("message", frames, None)

    def post(self, kind: str, what: Any, detail: Any) -> None:
        """Something for the next turn."""
        if self.alive:
            self._inbox.append((kind, what, detail))
            self.wake()

    def turn(self) -> None:
        if not self.alive:
            return
        agent, now = self.agent, self.world.now
        while self._inbox and self.alive:
            self._handle(*self._inbox.popleft())
        if not self.alive:
            return
        progress = {slot: worker.progress() for slot, worker in self.workers.items() if worker.seq or worker.executing}
        self._do(agent.advance(now, progress))
        if self.alive:
            self.world.ledger.check_agent(self)
            assert agent.deadline > now, f"agent {self.name} wants to be called at {agent.deadline}, it is {now}"
            self.wake(agent.deadline)

    def _handle(self, kind: str, what: Any, detail: Any) -> None:
        agent, now = self.agent, self.world.now
        if kind == "message":
            message = wire.decode_from_master(what)
            before = len(agent.crew.queue)
            self._do(agent.handle(message, now))
            if isinstance(message, Tasks):
                self.world.ledger.accepted(self, len(agent.crew.queue) - before)
        elif kind == "connected":
            self._do(agent.connected(now))
        elif kind == "stop":
            self._do(agent.stop(now))
        elif self.workers.get(what.slot) is not what:
            raise AssertionError("a report of a worker that is not there any more")
        elif kind == "ready":
            self._do(agent.worker_ready(what.slot, now))
        elif kind == "done":
            self._do(agent.worker_done(what.slot, detail, now))
        else:
            del self.workers[what.slot]
            self._do(agent.worker_exited(what.slot, what.seq, what.executing, detail, now))

    def _do(self, decided: list[wanted.Action]) -> None:
        """Carry actions out in order; what an answer leads to comes at once, as in the service."""
        for action in decided:
            if self.alive:
                self._do(self._do_one(action))

    def _do_one(self, action: wanted.Action) -> list[wanted.Action]:
        world, now = self.world, self.world.now
        match action:
            case wanted.Send(message):
                world.network.send_up(self, message)
            case wanted.StartWorker(slot):
                self._start_worker(slot)
            case wanted.Execute(slot, base, piece, jobs):
                world.ledger.told_jobs(self.workers[slot], piece, jobs)
                self.workers[slot].execute(base, piece)
            case wanted.TakeBack(slot):
                worker = self.workers.get(slot)
                seq = worker.take_back() if worker and not self._take_back_fails() else None
                return self.agent.taken_back(slot, seq, now)
            case wanted.Flush(slot):
                self.workers[slot].flush()
            case wanted.EndTask(slot, seq):
                if self.workers[slot].end_task(seq):
                    world.ledger.ended_by_limit(self.workers[slot])
                    world.count("task over its limit")
                    return self.agent.task_ending(slot, seq, now)
            case wanted.KillWorker(slot):
                if worker := self.workers.get(slot):
                    world.after(0.001, worker.die, "SIGKILL")
            case wanted.RetireWorker(slot):
                self.workers[slot].retire()
            case wanted.Say(level, text):
                world.say(self.name, level, text)
            case wanted.Exit(code, reason):
                self.exit(code, reason)
        return []

    def _take_back_fails(self) -> bool:
        if not self.take_back_fails:
            return False
        self.take_back_fails -= 1
        self.world.count("take_back_fails")
        return True

    def _start_worker(self, slot: int) -> None:
        world = self.world
        assert slot not in self.workers, "a second process for a slot"
        worker = self.workers[slot] = VirtualWorker(self, slot, world.next_pid())
        start_s = world.rng.uniform(*world.settings.worker_start_s)
        if self.start_fails:
            self.start_fails -= 1
            world.count("worker dies starting")
            world.after(start_s, worker.die, "failed to start")
        else:
            world.after(start_s, worker.become_ready)

    def idle_slots(self) -> list[VirtualWorker]:
        """Workers that could be given a row."""
        ready = [slot.worker for slot in self.agent.crew.slots if slot.phase is Phase.READY and not slot.batches]
        return [self.workers[slot] for slot in ready if slot in self.workers and self.workers[slot].alive]

    def crash(self) -> None:
        """SIGKILL: the workers die with it."""
        self.world.trace(b"%d crashed" % self.number)
        self.alive = False
        self.disconnect()
        for worker in self.workers.values():
            worker.sync()
            worker.alive = False

    def exit(self, code: int, reason: str) -> None:
        """The agent ends by itself."""
        self.exit_code = code
        self.world.say(self.name, "info", f"exit {code}: {reason}")
        self.world.ledger.check_exit(self, code, reason)
        for worker in self.workers.values():
            worker.sync()
            worker.alive = False
        self.alive = False
        # The service lets what was said leave before it closes.
        if self.connection:
            self.world.after(0.05, self.disconnect)
        alone = not any(c.alive and c.name == self.name for c in self.world.controllers)
        if self.replace_when_gone or (code and alone):
            # The operator's replacement, or systemd's restart on failure.
            self.world.after(0.1, self.world.start_controller, self.name)
