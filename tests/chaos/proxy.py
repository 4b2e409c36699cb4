"""A TCP proxy between a controller and its master that does to the stream what networks do, and some things more.

Owns the connections of one controller. What both ends send is always read at once, so that the tap's times are those of
the sender; all harm is done behind it. ``loop`` must be running when a method is called.
"""

import asyncio
import random
from collections import deque
from dataclasses import dataclass, field

from cyclone.errors import ProtocolError
from cyclone.protocol import messages, wire
from cyclone.protocol.job_messages import ControlRequest
from tests.chaos.tap import Tap
from tests.chaos.zmtp import Splitter, Unit

READ_BYTES = 1 << 16
_REMEMBERED_UNITS = 64
_CHUNK_S = 0.05


@dataclass(slots=True)
class Direction:
    """The harm that is being done to one direction of a link, whatever connection carries it."""

    delay_s: float = 0.0
    held: bool = False
    bytes_per_s: float = 0.0
    lose: int = 0
    corrupt: int = 0
    remembered: deque[Unit] = field(default_factory=lambda: deque(maxlen=_REMEMBERED_UNITS))
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class Connection:
    """One TCP connection through the proxy."""

    def __init__(self, link: "Link", number: int, ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter]) -> None:
        self.link = link
        self.number = number
        self._master, self._controller = ends
        # By direction: upwards is towards the master.
        self.queues: dict[bool, asyncio.Queue[tuple[float, bytes]]] = {True: asyncio.Queue(), False: asyncio.Queue()}

    async def run(self, from_controller: asyncio.StreamReader, from_master: asyncio.StreamReader) -> None:
        """Until either end is gone."""
        work = [
            asyncio.create_task(self._read(True, from_controller)),
            asyncio.create_task(self._read(False, from_master)),
            asyncio.create_task(self._write(True, self._master)),
            asyncio.create_task(self._write(False, self._controller)),
        ]
        try:
            await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            self.cut()

    def cut(self) -> None:
        """Both ends get a reset."""
        for writer in (self._master, self._controller):
            writer.transport.abort()

    def half_close(self, upwards: bool) -> None:
        """One end is told that nothing more will come; the other direction stays open."""
        writer = self._master if upwards else self._controller
        if writer.can_write_eof() and not writer.is_closing():
            writer.write_eof()

    async def _read(self, upwards: bool, reader: asyncio.StreamReader) -> None:
        splitter = Splitter()
        while data := await reader.read(READ_BYTES):
            for unit in splitter.feed(data):
                if unit.frames and not splitter.sealed:
                    note = self.link.tap.from_controller if upwards else self.link.tap.from_master
                    note(self.link.name, self.number, unit)
                self.link.forward(self, upwards, unit, splitter.sealed)

    async def _write(self, upwards: bool, writer: asyncio.StreamWriter) -> None:
        loop, harm, queue = asyncio.get_running_loop(), self.link.harm[upwards], self.queues[upwards]
        while True:
            due, data = await queue.get()
            while harm.held or due > loop.time():
                harm.wake.clear()
                wait_s = None if harm.held else due - loop.time()
                try:
                    await asyncio.wait_for(harm.wake.wait(), wait_s)
                except TimeoutError:
                    break
            while harm.bytes_per_s and len(data) > (size := max(1, int(harm.bytes_per_s * _CHUNK_S))):
                writer.write(data[:size])
                data = data[size:]
                await asyncio.sleep(_CHUNK_S)
            writer.write(data)
            await writer.drain()


class Link:
    """One controller's way to the master; see the module."""

    def __init__(self, name: str, master_port: int, tap: Tap, rng: random.Random) -> None:
        self.name = name
        self.tap = tap
        self.port = 0
        self.refusing = False
        self.harm = {True: Direction(), False: Direction()}
        self._master_port = master_port
        self._rng = rng
        self._numbers = 0
        self._open: list[Connection] = []

    async def listen(self) -> None:
        """``port`` is known from now on."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """No more."""
        self._server.close()
        self.cut()

    @property
    def connected(self) -> bool:
        return bool(self._open)

    def cut(self) -> None:
        """Reset what is open."""
        for connection in list(self._open):
            connection.cut()

    def half_close(self, upwards: bool) -> None:
        for connection in self._open:
            connection.half_close(upwards)

    def hold(self, upwards: bool, held: bool) -> None:
        """A partition of one direction: what is sent waits, as TCP would have it wait, until it is healed."""
        self.harm[upwards].held = held
        self.harm[upwards].wake.set()

    def replay(self, upwards: bool) -> bool:
        """Send an old message again, also one of an earlier connection. False where there is none."""
        old = [unit for unit in self.harm[upwards].remembered if _repeatable(upwards, unit)]
        if not old or not self._open:
            return False
        self._open[-1].queues[upwards].put_nowait((0.0, self._rng.choice(old).raw))
        return True

    def forward(self, connection: Connection, upwards: bool, unit: Unit, sealed: bool) -> None:
        """A unit on its way, as whole, late, damaged or lost as the harm has it."""
        harm, raw = self.harm[upwards], unit.raw
        if unit.frames:
            harm.remembered.append(unit)
            if harm.lose:
                harm.lose -= 1
                return
            if harm.corrupt:
                harm.corrupt -= 1
                raw = _damaged(unit, sealed, self._rng)
        due = asyncio.get_running_loop().time() + harm.delay_s if harm.delay_s else 0.0
        connection.queues[upwards].put_nowait((due, raw))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        try:
            from_master, to_master = await asyncio.open_connection("127.0.0.1", self._master_port)
        except OSError:
            writer.transport.abort()
            return
        self._numbers += 1
        connection = Connection(self, self._numbers, (to_master, writer))
        self._open.append(connection)
        try:
            await connection.run(reader, from_master)
        finally:
            self._open.remove(connection)


def _repeatable(upwards: bool, unit: Unit) -> bool:
    """All but greetings: in clear text, a dead controller's can end the living one, which is what keys are for.

    And all but who is to be held, which would be so again when nobody releases it any more.
    """
    if not upwards:
        return True
    try:
        return not isinstance(wire.decode_for_master(unit.frames), messages.Hello | ControlRequest)
    except ProtocolError:
        return True


def _damaged(unit: Unit, sealed: bool, rng: random.Random) -> bytes:
    """One bit is wrong: anywhere, where keys protect all of it, else in what makes a message a message."""
    raw = bytearray(unit.raw)
    # Behind the flags: the length of the first frame, then its content, the magic.
    at = rng.randrange(len(raw)) if sealed else rng.randrange(1, min(6, len(raw)))
    raw[at] ^= 1 << rng.randrange(8)
    return bytes(raw)
