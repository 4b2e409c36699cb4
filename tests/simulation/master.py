"""The master's body in the virtual world: the production scheduler and source, with a virtual generator and journal.

One object is one life of a master. It does in a turn what ``cyclone/master/service.py`` does, in the same order, and
dies where a fault says: between two turns, in a commit, or while it sends.
"""

from collections import deque
from typing import TYPE_CHECKING, Any, cast

from cyclone.master import actions
from cyclone.master.clients.client_desk import ClientDesk, ClientOptions
from cyclone.master.generator.feed import FeedOptions
from cyclone.master.generator.source import Source
from cyclone.master.scheduler import Scheduler, SchedulerOptions
from cyclone.protocol import wire
from cyclone.protocol.client_messages import FromClient, ToClient
from cyclone.protocol.job_messages import AnyFromClient
from cyclone.protocol.messages import Cancel, Hello, Results, Tasks
from tests.simulation.body import Body, Line
from tests.simulation.job_plans import NAMESPACES, namespace_of
from tests.simulation.journal import Killed
from tests.simulation.process import VirtualFeed

if TYPE_CHECKING:
    from tests.simulation.world import World


CLIENT = b"client"


class _Poller:
    """Readiness is asked of the feed itself."""

    def register(self, *_: object) -> None:
        """Nothing to do."""

    def unregister(self, *_: object) -> None:
        """Nothing to do."""


class VirtualMaster(Body):
    """See the module. ``dies_sending`` is the share of a turn's messages that it still sends, once."""

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        settings = world.settings
        options = SchedulerOptions(
            settings.controller_timeout_s,
            settings.heartbeat_s,
            settings.task_resend_timeout_s,
            settings.crash_limit,
            settings.exit_when_done,
            namespaces=tuple(map(namespace_of, NAMESPACES)),
        )
        journal = world.journal
        journal.open()
        self.scheduler = Scheduler(options, journal.journal_id, journal.epoch, journal.replays)
        self.scheduler.recover(journal.recover(), world.now)
        self._desk = ClientDesk(ClientOptions(may_submit=True), self.scheduler, journal, world.clients.down)
        self.source: Source | None = None
        self.finished_at: float | None = None
        self.dies_sending: float | None = None
        self._inbox: Line = deque()
        self._out: list[actions.Action] = []
        self._acked: list[tuple[bytes, Results]] = []
        self._turns = 0

    def start(self) -> None:
        """The loop begins."""
        self.world.ledger.master_started(self)
        self.world.transitions.watch(self.scheduler.state)
        if not self.scheduler.all_done:
            poller, guard = cast(Any, _Poller()), cast(Any, None)
            self.source = Source(self.scheduler, self.world.journal, guard, FeedOptions({}), poller)
        self.wake()

    @property
    def feed(self) -> VirtualFeed | None:
        """The generator process that is of now."""
        return cast(VirtualFeed, self.source.feed) if self.source else None

    def receive(self, peer: bytes, frames: list[bytes]) -> None:
        """Frames from a connection."""
        self.put(self._inbox, self._on_frames, peer, frames)

    def ask(self, request: AnyFromClient, peer: bytes = CLIENT) -> None:
        """A client asks for something."""
        self.put(self._inbox, self._on_request, peer, request)

    def stop(self) -> None:
        """SIGTERM."""
        self.put(self._inbox, self._on_stop)

    def end(self) -> None:
        """SIGKILL: what it knew, and its generator, are gone."""
        self.alive = False
        if self.source:
            self.source.close()

    def turn(self) -> None:
        try:
            self._turn()
        except Killed:
            self.world.master_dies()

    def _turn(self) -> None:
        world, scheduler, now = self.world, self.scheduler, self.world.now
        self._acked = []
        self.take_in(self._inbox)
        if self.source and self.feed:
            self._out += self.source.take_in(self.feed.ready(), now)
            assert self.source.failure is None, f"the generator was given up: {self.source.failure}"
        self._out += scheduler.advance(now)
        world.ledger.check_dispatched(scheduler)
        self._carry_out()
        assert scheduler.deadline > now, f"the scheduler wants to be called at {scheduler.deadline}, it is {now}"
        if self.source:
            self.source.turn()
        self._desk.turn(now, idle=False)
        consumed = self.source.consumed if self.source else scheduler.state.progress.cursor_consumed
        world.journal.tend(consumed, idle=False)
        self._turns += 1
        if self._turns % world.settings.check_every == 0:
            scheduler.check()
        world.ledger.recovery.check_turn(scheduler)
        self.wake(scheduler.deadline)

    def _on_frames(self, peer: bytes, frames: list[bytes]) -> None:
        message = wire.decode_for_master(frames)
        assert not isinstance(message, FromClient), "a request where a controller speaks"
        if isinstance(message, Hello):
            self.world.ledger.greeted(message)
        elif isinstance(message, Results):
            self._acked.append((peer, message))
        self._out += self.scheduler.handle(peer, message, self.world.now)

    def _on_request(self, peer: bytes, request: AnyFromClient) -> None:
        self._out += self._desk.ask(peer, request, None, self.world.now)

    def _on_stop(self) -> None:
        self._out += self.scheduler.stop(self.world.now)

    def _carry_out(self) -> None:
        """The order is the promise: record, make it durable, and only then let anybody know."""
        world, ledger = self.world, self.world.ledger
        wanted, self._out = self._out, []
        if events := [action.event for action in wanted if isinstance(action, actions.Record)]:
            world.journal.append(events)
            self._desk.recorded(events)
        said = [action.message for action in wanted if isinstance(action, actions.Send)]
        sends = [
            (action.peer, action.message)
            for action in wanted
            if isinstance(action, actions.Send) and not isinstance(action.message, ToClient)
        ]
        ledger.end_of_turn(self.scheduler, sends, self._acked)
        left = len(said) if self.dies_sending is None else int(len(said) * self.dies_sending)
        for action in wanted:
            match action:
                case actions.Send():
                    if not left and self.dies_sending is not None:
                        world.count("master killed while it sends")
                        raise Killed
                    left -= 1
                    self._send(action)
                case actions.Deliver():
                    self._deliver(action)
                case actions.Consult() | actions.Follow():
                    self._desk.carry_out(action, world.now)
                case actions.Say(level, text):
                    world.say("master", level, text)
                case actions.Load(firsts):
                    self._out += self.scheduler.loaded(map(world.journal.load, firsts), world.now)
                case actions.Finish():
                    assert self.finished_at is None, "finished twice"
                    self.finished_at = world.now
                    ledger.check_finished(self)
                    if self.source:
                        self.source.finish()

    def _send(self, action: actions.Send) -> None:
        message = action.message
        if isinstance(message, ToClient):
            self.world.say("client", "info", str(message))
            self.world.clients.down(action.peer, message)
            return
        if isinstance(message, Tasks):
            self.world.ledger.leased(self.scheduler, message)
        elif isinstance(message, Cancel):
            self.world.ledger.asked_back(message)
        if not self.world.network.send_down(action.peer, message):
            self.scheduler.unreachable(action.peer)

    def _deliver(self, results: actions.Deliver) -> None:
        self.world.ledger.announced(results.number, results.block)
        self._desk.deliver(results.number, results.block, results.parts)
        if self.source:
            self.source.deliver(results.number, results.block, results.parts)
