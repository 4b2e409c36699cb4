"""What goes wrong, and that it ends: a fault is drawn from the seed, counted when it takes effect, healed later."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cyclone.controller.slots import Phase
from cyclone.master.events import Recorded, ResultsRecorded, TasksAdded
from cyclone.protocol.client_messages import CancelRequest, DrainRequest
from tests.simulation.journal import KEPT, LOST
from tests.simulation.process import MADE, YIELDED
from tests.simulation.rests import begins_a_rest
from tests.simulation.settings import FAULT_PHASE_S, FAULT_WEIGHTS

if TYPE_CHECKING:
    from tests.simulation.controller import VirtualController
    from tests.simulation.workers import VirtualWorker
    from tests.simulation.world import World

FROM_CONTROLLER = ["Hello", "State", "Results", "Returned"]
FROM_MASTER = ["Welcome", "Tasks", "Recorded", "Recall", "Cancel", "Pong", "Refused"]
LEAVING = ["Stop", "Goodbye"]
CONSEQUENCES = {
    "master restarted",
    "task_resend_timeout",
    "generator goes on",
    "generator goes on in the middle of a result",
}
# What tasks do by themselves, and what is only the consequence of another fault, is shown but not counted as injected.
NOT_INJECTED = {"task failed", "task killed its worker", "task over its limit", "partitioned message", *CONSEQUENCES}

# Of what comes in masses, no more than so many count.
MASSES = {"delay": 5, "duplicate": 5, "reorder": 5}


class Faults:
    """``enough``: as many took effect as the seed asked for."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._rng = world.rng
        self.healed = False
        self._late: list[str] = []
        self.enough = not world.settings.faults_min

    def start(self) -> None:
        """Begin to do damage, or without faults only what any cluster does all day."""
        if self._world.faulty:
            self._world.after(self._rng.uniform(0.05, 0.4), self._inject)
        else:
            self.healed = True
            self._world.network.hostile = False
            for _ in range(self._rng.randint(0, 3)):
                self._world.after(self._rng.uniform(0.5, 3.0), self._drain)
            if self._world.has_clients and self._world.seed % 2 == 0:
                # Whoever idles then has to wait until the master asks again.
                self._lose_recalls()

    def committed(self, events: Sequence[Recorded]) -> None:
        """What is to rest is asked back in this very turn. Without faults, that alone gets lost."""
        if not self._world.faulty and any(map(begins_a_rest, events)):
            self._lose_recalls()
            self._world.after(0.0, self._world.network.armed.clear)

    def _lose_recalls(self) -> None:
        """The next one to each controller."""
        self._world.network.armed.update({("Recall", name): 1 for name in self._world.names})

    @property
    def injected(self) -> int:
        """How many faults took effect so far."""
        counts = self._world.counts.items()
        return sum(min(count, MASSES.get(kind, count)) for kind, count in counts if kind not in NOT_INJECTED)

    def _inject(self) -> None:
        if self.healed:
            return
        world, rng = self._world, self._rng
        settings = world.settings
        self.enough = self.injected >= settings.faults_min
        if self.enough and world.now > FAULT_PHASE_S:
            self.heal()
            return
        weights = settings.fault_weights if rng.random() < 0.9 else FAULT_WEIGHTS
        kind = rng.choices(list(weights), list(weights.values()))[0]
        if getattr(self, f"_{kind}")():
            world.say("faults", "info", kind)
        world.after(rng.expovariate(settings.faults_min / FAULT_PHASE_S), self._inject)

    def heal(self) -> None:
        """Everything works again, for good; only the last words may still get lost."""
        if self.healed:
            return
        world, network = self._world, self._world.network
        self.healed = self.enough = True
        self._late.clear()
        network.hostile = False
        network.armed.clear()
        network.blocked_until.clear()
        network.fail_sends.clear()
        world.say("faults", "info", "healed")
        world.start_master()
        world.journal.cut, world.master.dies_sending = "", None
        world.master.resting_until = 0.0
        world.master.wake()
        for controller in world.controllers:
            if controller.alive:
                controller.resting_until = controller.slowness_s = 0.0
                controller.take_back_fails = controller.start_fails = 0
                controller.connect()
                controller.wake()
        for name in world.names:
            self._undo_drain(name)
            for kind in LEAVING:
                if self._rng.random() < 0.3:
                    network.armed[kind, name] = 1
            if not any(c.alive and c.name == name for c in world.controllers):
                world.start_controller(name)
        world.healed_at = world.now

    # One method per kind; True when it took effect, or will be counted when it does.

    def _controller(self) -> "VirtualController | None":
        alive = [controller for controller in self._world.controllers if controller.alive]
        return self._rng.choice(alive) if alive else None

    def _lose_message(self) -> bool:
        kind = self._rng.choice(FROM_CONTROLLER + FROM_MASTER)
        key = (kind, self._rng.choice(self._world.names))
        self._world.network.armed[key] = self._world.network.armed.get(key, 0) + self._rng.choice([1, 1, 3])
        return True

    def _partition(self, kind: str, *directions: bool) -> bool:
        name = self._rng.choice(self._world.names)
        seconds = self._rng.choice([0.3, 1.0, 2.0]) * self._world.settings.controller_timeout_s
        for up in directions:
            self._world.network.blocked_until[name, up] = self._world.now + seconds
        self._world.count(f"partition {kind}")
        if self._rng.random() < 0.5:
            self._world.after(seconds, self._reconnect, name)
        return True

    def _partition_up(self) -> bool:
        return self._partition("one way, up", True)

    def _partition_down(self) -> bool:
        return self._partition("one way, down", False)

    def _partition_both(self) -> bool:
        return self._partition("two ways", True, False)

    def _reconnect(self, name: str) -> None:
        for controller in self._world.controllers:
            if controller.alive and controller.name == name:
                controller.disconnect()
                controller.connect()

    def _disconnect(self) -> bool:
        controller = self._controller()
        if controller is None or controller.connection is None:
            return False
        controller.disconnect()
        if self._rng.random() < 0.5:
            controller.unsent.clear()
        self._world.count("disconnect")
        self._world.after(self._rng.choice([0.0, 0.05, 1.0]), controller.connect)
        return True

    def _controller_crash(self) -> bool:
        controller = self._controller()
        if controller is None:
            return False
        controller.crash()
        self._world.count("controller crash")
        if len(self._world.names) > 1 and self._rng.random() < 0.2:
            self._gone_for_good(controller.name)
            return True
        self._world.after(self._rng.choice([0.01, 0.3, 2.0]), self._world.start_controller, controller.name)
        return True

    def _gone_for_good(self, name: str) -> None:
        self._world.names.remove(name)
        for twin in self._world.controllers:
            if twin.alive and twin.name == name:
                twin.crash()

    def _twin(self) -> bool:
        controller = self._controller()
        if controller is None:
            return False
        self._world.start_controller(controller.name)
        self._world.count("twin controller")
        return True

    def _workers(self) -> list["VirtualWorker"]:
        workers = [worker for c in self._world.controllers if c.alive for worker in c.workers.values() if worker.alive]
        for worker in workers:
            worker.sync()
        return workers

    def _kill_one(self, kind: str, victims: list["VirtualWorker"]) -> bool:
        if not victims:
            return False
        self._world.count(f"worker dies {kind}")
        self._rng.choice(victims).die("SIGKILL")
        return True

    def _worker_dies_idle(self) -> bool:
        return self._kill_one("idle", [w for w in self._workers() if w.ready and not w.executing])

    def _worker_dies_executing(self) -> bool:
        return self._kill_one("executing", [w for w in self._workers() if w.executing])

    def _worker_dies_unreported(self) -> bool:
        victims = [w for w in self._workers() if w.unreported]
        if victims:
            return self._kill_one("unreported", victims)
        controller = self._controller()
        if controller is not None:
            controller.trap = True
        return controller is not None

    def _worker_dies_starting(self) -> bool:
        controller = self._controller()
        if controller is None:
            return False
        controller.start_fails += self._rng.randint(1, 3)
        slots = [slot.worker for slot in controller.agent.crew.slots if slot.phase is Phase.STARTING]
        return self._kill_one("starting", [controller.workers[s] for s in slots if controller.workers[s].alive]) or True

    def _freeze(self) -> bool:
        controller = self._controller()
        # Who stops a controller and lets its workers run takes the enforcement of its leases away.
        if controller is None or self._world.settings.work.exclusive:
            return False
        seconds = self._world.settings.controller_timeout_s * self._rng.uniform(0.5, 2.5)
        controller.resting_until = self._world.now + seconds
        self._world.count("controller frozen")
        return True

    def _slow_controller(self) -> bool:
        controller = self._controller()
        if controller is None:
            return False
        controller.slowness_s = self._rng.choice([0.02, 0.1, 0.4])
        self._world.count("controller slow")
        self._world.after(self._rng.uniform(0.5, 2.0), setattr, controller, "slowness_s", 0.0)
        return True

    def _drain(self) -> bool:
        controller = self._controller()
        if controller is None or controller.replace_when_gone:
            return False
        controller.replace_when_gone = True
        controller.stop()
        if self._world.faulty:
            self._world.count("drain")
        return True

    def _master_pause(self) -> bool:
        self._world.master.resting_until = self._world.now + self._rng.choice([0.1, 0.5, 2.0, 4.0])
        self._world.count("master paused")
        return True

    def _master_kill(self) -> bool:
        world, rng = self._world, self._rng
        if not world.may_kill_master():
            return False
        how = rng.choice(["between two turns", KEPT, LOST, "sending"])
        if how == "sending":
            world.master.dies_sending = rng.random()
        elif how != "between two turns":
            kind = rng.choice([object, TasksAdded, TasksAdded, ResultsRecorded])
            world.journal.cut, world.journal.cut_kinds = how, (kind,)
        else:
            world.count("master killed between two turns")
            world.master_dies()
        if rng.random() < 0.8:
            self._spoil_the_return()
        return True

    def _spoil_the_return(self) -> None:
        """A controller comes back to the next master late, as another incarnation, or never."""
        controller = self._controller()
        how = self._rng.choice(["late", "late", "anew", "never"])
        if controller is None:
            return
        if how == "late":
            self._late.append(controller.name)
        else:
            controller.crash()
            self._world.count(f"controller comes back {how}")
            if how == "anew" or len(self._world.names) == 1:
                self._world.after(self._rng.choice([0.01, 0.3, 2.0]), self._world.start_controller, controller.name)
            else:
                self._gone_for_good(controller.name)

    def master_restarted(self) -> None:
        """Who is late is so by about as much as a master waits."""
        for name in self._late:
            seconds = self._world.settings.controller_timeout_s * self._rng.uniform(0.9, 1.6)
            self._world.network.blocked_until[name, True] = self._world.now + seconds
            self._world.after(seconds, self._reconnect, name)
            self._world.count("controller comes back late")
        self._late.clear()

    def _generator_kill(self) -> bool:
        feed = self._world.master.feed
        if not self._world.may_kill_generator() or feed is None:
            return False
        if self._rng.random() < 0.5:
            feed.process.trap = MADE if self._world.settings.work.children else YIELDED
        else:
            self._world.count("generator killed")
            feed.process.die()
        return True

    def _cancel(self) -> bool:
        world, rng = self._world, self._rng
        last_id = world.ledger.outputs.produced
        if not world.may_ask() or not last_id:
            return False
        first = rng.randint(1, last_id)
        state = rng.choice(["", "", "leased"])
        world.master.ask(CancelRequest(1, first, first + rng.choice([0, 5, 20]), "", state))
        world.count("cancelled by a client")
        return True

    def _drain_by_client(self) -> bool:
        if not self._world.may_ask():
            return False
        name = self._rng.choice(self._world.names)
        self._world.master.ask(DrainRequest(1, name, False))
        self._world.count("drained by a client")
        self._world.after(self._rng.uniform(0.1, 3.0), self._undo_drain, name)
        return True

    def _undo_drain(self, name: str) -> None:
        if self._world.may_ask():
            self._world.master.ask(DrainRequest(1, name, True))

    def _take_back_fails(self) -> bool:
        controller = self._controller()
        if controller is not None:
            controller.take_back_fails += self._rng.randint(1, 4)
        return controller is not None

    def _send_fails(self) -> bool:
        controller = self._controller()
        if controller is None or controller.connection is None:
            return False
        self._world.network.fail_sends.add(controller.connection.peer)
        return True

    def _delay_burst(self) -> bool:
        self._world.network.burst_until = self._world.now + self._rng.uniform(0.05, 0.5)
        return True
