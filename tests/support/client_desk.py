"""A master's brain behind the desk for its clients, without a socket: each answer is encoded as it would be."""

from cyclone.master.actions import Action, Consult, Follow, Record, Send
from cyclone.master.clients.client_desk import ClientDesk, ClientOptions
from cyclone.master.journal import NoJournal
from cyclone.master.scheduler import Scheduler, SchedulerOptions
from cyclone.protocol import limits, wire
from cyclone.protocol.job_messages import AnyFromClient, AnyToClient
from cyclone.protocol.job_spec import Namespace
from cyclone.protocol.messages import AnyFromMaster
from cyclone.security.key_files import PeerEntry

PEER = b"client"


class Desk:
    """See the module; an answer that does not fit a message fails the test."""

    def __init__(self) -> None:
        self.journal = NoJournal()
        options = SchedulerOptions(namespaces=(Namespace(name="a"), Namespace(name="0", weight=1e6)))
        self.scheduler = Scheduler(options, self.journal.journal_id, self.journal.epoch)
        self.scheduler.recover(self.journal.recover(), 0.0)
        self.desk = ClientDesk(ClientOptions(may_submit=True), self.scheduler, self.journal, self._send)
        self.said: list[AnyToClient] = []
        self.now = 1.0
        self._carry_out(self.scheduler.advance(self.now))

    def ask(self, request: AnyFromClient, entry: PeerEntry | None = None) -> list[AnyToClient]:
        """All that is said to the client in the turn of its request."""
        self.said = []
        self.now += 0.25
        self.scheduler.wall_offset_s = 1e9
        message = wire.decode_for_master(wire.encode(request))
        self._carry_out(self.desk.ask(PEER, message, entry, self.now))  # type: ignore[arg-type]
        self._carry_out(self.scheduler.advance(self.now))
        self.desk.turn(self.now, idle=True)
        return self.said

    def _carry_out(self, wanted: list[Action]) -> None:
        events = [action.event for action in wanted if isinstance(action, Record)]
        self.journal.append(events)
        self.desk.recorded(events)
        for action in wanted:
            if isinstance(action, Send):
                self._send(action.peer, action.message)
            elif isinstance(action, Consult | Follow):
                self.desk.carry_out(action, self.now)

    def _send(self, peer: bytes, message: AnyToClient | AnyFromMaster) -> bool:
        assert peer == PEER
        frames = wire.encode(message)
        assert sum(map(len, frames)) < limits.MESSAGE_BYTES_MAX
        answer = wire.decode_for_client(frames)
        self.said.append(answer)  # type: ignore[arg-type]
        return True
