"""A controller's body in the virtual world: the production agent, virtual workers, one connection at a time."""

from collections import deque
from typing import TYPE_CHECKING

from cyclone.controller import actions as wanted
from cyclone.controller.agent import Agent
from cyclone.controller.link import Identity
from cyclone.controller.options import AgentOptions
from cyclone.controller.pipe import Done
from cyclone.controller.slots import Phase
from cyclone.protocol import wire
from cyclone.protocol.messages import Tasks
from tests.simulation.body import Body, Line
from tests.simulation.network import Connection
from tests.simulation.workers import VirtualWorker

if TYPE_CHECKING:
    from tests.simulation.world import World


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
        self.exit_code: int | None = None
        self.trap = False
        self.take_back_fails = 0
        self.start_fails = 0
        self.replace_when_gone = False
        self._inbox: Line = deque()

    def start(self) -> None:
        """The process starts and connects."""
        self.wake()
        self.world.after(self.world.rng.uniform(0.0, 0.05), self.connect)

    def connect(self) -> None:
        """A connection stands, once there is a master."""
        if self.alive and self.connection is None and not self.world.master.alive:
            self.world.after(self.world.rng.uniform(0.01, 0.15), self.connect)
        elif self.alive and self.connection is None:
            self.connection = self.world.network.connect(self)
            self.world.network.send_waiting(self)
            self.put(self._inbox, self._on_connected)

    def disconnect(self) -> None:
        """The connection breaks."""
        if self.connection:
            self.world.network.close(self.connection)
            self.connection = None

    def lose(self, connection: Connection) -> None:
        """The master at the other end is dead."""
        if self.connection is connection:
            self.disconnect()
            self.connect()

    def receive(self, connection: Connection, frames: list[bytes]) -> None:
        """Frames from the master, unless the connection broke under way."""
        if connection.open:
            self.put(self._inbox, self._on_frames, frames)

    def stop(self) -> None:
        """SIGTERM."""
        self.put(self._inbox, self._on_stop)

    def worker_ready(self, worker: VirtualWorker) -> None:
        """A worker waits for rows."""
        self.put(self._inbox, self._on_ready, worker)

    def worker_done(self, worker: VirtualWorker, done: Done) -> None:
        """A worker reports."""
        self.put(self._inbox, self._on_done, worker, done)

    def worker_exited(self, worker: VirtualWorker, cause: str) -> None:
        """A worker is dead; what it had reported before comes first."""
        self.put(self._inbox, self._on_exited, worker, cause)

    def turn(self) -> None:
        agent, now = self.agent, self.world.now
        self.take_in(self._inbox)
        if not self.alive:
            return
        progress = {slot: worker.progress() for slot, worker in self.workers.items() if worker.seq or worker.executing}
        self._do(agent.advance(now, progress))
        if agent.exited:
            return
        self.world.ledger.controllers.check_agent(self)
        assert agent.deadline > now, f"agent {self.name} wants to be called at {agent.deadline}, it is {now}"
        self.wake(agent.deadline)

    def _on_frames(self, frames: list[bytes]) -> None:
        message = wire.decode_from_master(frames)
        before = len(self.agent.crew.queue)
        self._do(self.agent.handle(message, self.world.now))
        if isinstance(message, Tasks):
            self.world.ledger.controllers.accepted(self, len(self.agent.crew.queue) - before)

    def _on_connected(self) -> None:
        self._do(self.agent.connected(self.world.now))

    def _on_stop(self) -> None:
        self._do(self.agent.stop(self.world.now))

    def _on_ready(self, worker: VirtualWorker) -> None:
        self._do(self.agent.worker_ready(worker.slot, self.world.now))

    def _on_done(self, worker: VirtualWorker, done: Done) -> None:
        self._do(self.agent.worker_done(worker.slot, done, self.world.now))

    def _on_exited(self, worker: VirtualWorker, cause: str) -> None:
        assert self.workers.pop(worker.slot) is worker, "the end of a worker that is not there any more"
        self._do(self.agent.worker_exited(worker.slot, worker.seq, worker.executing, cause, self.world.now))

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
        """SIGKILL."""
        self.world.trace(b"%d crashed" % self.number)
        self._end()
        self.disconnect()

    def exit(self, code: int, reason: str) -> None:
        """The agent ends by itself."""
        self.exit_code = code
        self.world.say(self.name, "info", f"exit {code}: {reason}")
        self.world.ledger.incarnations.check_exit(self, code, reason)
        self._end()
        # The service lets what was said leave before it closes.
        self.world.after(0.05, self.disconnect)
        if self.replace_when_gone or (code and self._is_last()):
            # The operator's replacement, or systemd's restart on failure.
            self.world.after(0.1, self.world.start_controller, self.name)

    def _is_last(self) -> bool:
        return not any(c.alive and c.name == self.name for c in self.world.controllers)

    def _end(self) -> None:
        """Whatever the cause, the workers die with it."""
        self.alive = False
        self.world.living -= 1
        for worker in self.workers.values():
            worker.sync()
            if worker.alive and worker.executing:
                self.world.ledger.ran(worker.current(), worker.started_s, self.world.now)
            worker.alive = False
