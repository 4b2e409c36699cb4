"""The seeded network between controllers and master: connections, order, loss. Every message passes the codec.

A connection keeps the order of each direction unless a fault breaks it, as TCP does. Each connection has a routing id
of its own, as ROUTER gives them. What a controller sends while it is not connected waits and leaves with the next
connection, as a DEALER's pipe has it, or is lost.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cyclone.protocol import wire
from cyclone.protocol.messages import AnyFromController, AnyFromMaster

if TYPE_CHECKING:
    from tests.simulation.controller import VirtualController
    from tests.simulation.master import VirtualMaster
    from tests.simulation.world import World

WAITING_MAX = 100


def describe(frames: list[bytes], up: bool) -> str:
    """A message for a reader, cut where it is long."""
    message = wire.decode_for_master(frames) if up else wire.decode_from_master(frames)
    text = repr(message)
    return text if len(text) < 400 else text[:400] + "..."


@dataclass(slots=True, eq=False)
class Connection:
    """One connection of one controller with one life of the master."""

    peer: bytes
    controller: "VirtualController"
    master: "VirtualMaster"
    open: bool = True
    seen_closed: bool = False
    arrives: dict[bool, float] = field(default_factory=lambda: {True: 0.0, False: 0.0})


class Network:
    """``armed`` are messages to lose: (type, controller's name) -> how many of the next."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._rng = world.rng
        self._last_peer = 0
        self._by_peer: dict[bytes, Connection] = {}
        self.hostile = True
        self.armed: dict[tuple[str, str], int] = {}
        self.blocked_until: dict[tuple[str, bool], float] = {}
        self.burst_until = 0.0
        self.fail_sends: set[bytes] = set()
        self.messages = 0

    def connect(self, controller: "VirtualController") -> Connection:
        """A fresh connection, with a routing id that was never used."""
        self._last_peer += 1
        connection = Connection(b"\x00" + self._last_peer.to_bytes(4, "big"), controller, self._world.master)
        self._by_peer[connection.peer] = connection
        return connection

    def close(self, connection: Connection) -> None:
        """Break it. The master notices by itself, some time later."""
        connection.open = False
        self._world.after(self._rng.choice([0.0, 0.01, 0.5]), self._notice, connection)

    def _notice(self, connection: Connection) -> None:
        connection.seen_closed = True
        self._by_peer.pop(connection.peer, None)

    def master_died(self) -> None:
        """What it had sent may arrive or not; what comes for it does not."""
        for connection in self._by_peer.values():
            if connection.open:
                self._world.after(self._rng.choice([0.0, 0.0005, 0.02]), connection.controller.lose, connection)
        self._by_peer.clear()

    def send_up(self, controller: "VirtualController", message: AnyFromController) -> None:
        """From a controller to the master."""
        connection = controller.connection
        frames = wire.encode(message)
        # What was written for a master that has just died may still be here when the next one comes.
        left_over = connection is not None and not connection.master.alive and self._rng.random() < 0.5
        if connection is None or left_over:
            if len(controller.unsent) < WAITING_MAX:
                controller.unsent.append(frames)
            return
        self._carry(connection, True, type(message).__name__, frames)

    def send_waiting(self, controller: "VirtualController") -> None:
        """What waited for a connection leaves with it."""
        assert controller.connection
        for frames in controller.unsent:
            self._carry(controller.connection, True, "waiting", frames)
        controller.unsent.clear()

    def send_down(self, peer: bytes, message: AnyFromMaster) -> bool:
        """From the master; False where ROUTER would say that there is no such peer. Without room, it is as if lost."""
        connection = self._by_peer.get(peer)
        if connection is None:
            return False
        if peer in self.fail_sends:
            self.fail_sends.discard(peer)
            self._world.count("send queue full")
            return True
        if connection.open:
            self._carry(connection, False, type(message).__name__, wire.encode(message))
        return True

    def _carry(self, connection: Connection, up: bool, kind: str, frames: list[bytes]) -> None:
        world, rng, settings = self._world, self._rng, self._world.settings
        self.messages += 1
        world.trace(frames[1])
        name = connection.controller.name
        if world.verbose:
            world.show(name, "up" if up else "down", describe(frames, up))
        if self.armed and self._is_armed(kind, name):
            world.count(f"lost {kind}")
            return
        if self.blocked_until and self.blocked_until.get((name, up), 0.0) > world.now:
            world.count("partitioned message")
            return
        at = world.now + rng.uniform(*settings.latency_s)
        if self.hostile:
            if settings.loss and rng.random() < settings.loss:
                world.count(f"lost {kind}")
                return
            if world.now < self.burst_until or (settings.delay and rng.random() < settings.delay):
                world.count("delay")
                at += rng.expovariate(4.0)
            if settings.duplicate and rng.random() < settings.duplicate:
                world.count("duplicate")
                self._arrive(at + rng.expovariate(2.0), connection, up, frames)
            if settings.reorder and rng.random() < settings.reorder:
                world.count("reorder")
                self._arrive(at + rng.expovariate(10.0), connection, up, frames)
                return
        at = connection.arrives[up] = max(at, connection.arrives[up])
        self._arrive(at, connection, up, frames)

    def _is_armed(self, kind: str, name: str) -> bool:
        left = self.armed.get((kind, name), 0)
        if left:
            self.armed[kind, name] = left - 1
        return left > 0

    def _arrive(self, at: float, connection: Connection, up: bool, frames: list[bytes]) -> None:
        if up:
            self._world.at(at, connection.master.receive, connection.peer, frames)
        else:
            self._world.at(at, connection.controller.receive, connection, frames)
