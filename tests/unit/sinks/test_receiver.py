"""The receiver: what a master hears of it, when; what it logs; how it ends. The masters are a thread of the test."""

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from cyclone.errors import AlreadyRunning, CycloneError
from cyclone.protocol import wire
from cyclone.protocol.messages import FORBIDDEN, Refused
from cyclone.protocol.sink_messages import AnyFromSink, AnyToSink, Attach, Attached, Blocks, Stored
from cyclone.protocol.sockets import ClientKeys, controller_socket
from cyclone.security.gate import GateOptions
from cyclone.security.peers import client_keys
from cyclone.security.registry import Registry
from cyclone.security.roles import PeerRole
from cyclone.sinks.receiver import Receiver, ReceiverOptions
from cyclone.sinks.spool import Spool

ONE, OTHER = "1" * 32, "2" * 32
WAIT_MS = 5000


class Consumer:
    """``ended`` is why it ends, when the test wants it to; ``stops`` how long it was given each time."""

    def __init__(self) -> None:
        self.news = 0
        self.ended = ""
        self.stops: list[float] = []
        self.wake: Callable[[], None] = lambda: None
        self.on_start: Callable[[], None] = lambda: None

    def start(self, wake: Callable[[], None]) -> None:
        self.wake = wake
        self.on_start()

    def stored(self, now: float) -> None:
        self.news += 1

    def state(self) -> str:
        if self.ended:
            raise CycloneError(self.ended)
        return "well"

    def stop(self, wait_s: float) -> None:
        self.stops.append(wait_s)


class Master:
    """A connection to the sink."""

    def __init__(self, port: int, keys: ClientKeys | None = None) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket, monitor = controller_socket(self._context, "127.0.0.1", port, keys)
        monitor.poll(WAIT_MS)

    def say(self, *messages: AnyToSink) -> None:
        for message in messages:
            self.say_frames(wire.encode(message))

    def say_frames(self, frames: list[bytes]) -> None:
        # It waits for the connection, which this socket does not queue for.
        self._socket.send_multipart(frames)

    def hears(self) -> AnyFromSink | Refused:
        assert self._socket.poll(WAIT_MS), "no answer"
        return wire.decode_from_sink(self._socket.recv_multipart())

    def asks(self, message: AnyToSink) -> AnyFromSink | Refused:
        self.say(message)
        return self.hears()

    def close(self) -> None:
        self._context.destroy(linger=0)


class Sink:
    """A receiver on a spool. ``while_it_runs`` is carried out in a thread; then it gets SIGTERM."""

    def __init__(self, folder: Path) -> None:
        self.spool = Spool(folder / "spool", 100_000)
        self.consumer = Consumer()
        self.gate = GateOptions()

    def serve(self, while_it_runs: Callable[[int], None], then_stop: bool = True) -> int:
        """Its exit code; raises what the thread did."""
        options = ReceiverOptions("test sink", "127.0.0.1", 0, 1.0, 7.0, self.gate)
        receiver = Receiver(options, self.spool, self.consumer)
        self.receiver = receiver
        failures: list[BaseException] = []

        def work() -> None:
            try:
                while_it_runs(receiver.port)
            except BaseException as error:
                failures.append(error)
            finally:
                if then_stop:
                    os.kill(os.getpid(), signal.SIGTERM)

        thread = threading.Thread(target=work)
        # From when the consumer is started on a signal is taken.
        self.consumer.on_start = thread.start
        # Where it has ended before, the signal must not end us.
        former = signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            return receiver.run()
        finally:
            thread.join()
            signal.signal(signal.SIGTERM, former)
            for failure in failures:
                raise failure

    def entries(self) -> list[tuple[str, int, bytes]]:
        return [(entry.journal_id, entry.number, entry.block) for entry in self.spool.take(1000)]


@pytest.fixture
def sink(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Sink]:
    caplog.set_level(logging.INFO)
    one = Sink(tmp_path)
    with contextlib.closing(one.spool):
        yield one


def attach(journal_id: str = ONE) -> Attach:
    return Attach(journal_id, "host-1", "3.0", True)


def test_given_a_master_then_it_is_told_how_far_the_sink_is_and_what_is_on_the_disk(sink: Sink) -> None:
    def master(port: int) -> None:
        with contextlib.closing(Master(port)) as one, contextlib.closing(Master(port)) as other:
            assert one.asks(attach()) == Attached(ONE, 0)
            assert one.asks(Blocks(ONE, 1, [b"a", b"b"])) == Stored(ONE, 2, "")
            assert other.asks(attach(OTHER)) == Attached(OTHER, 0)
            assert other.asks(Blocks(OTHER, 1, [b"x"])) == Stored(OTHER, 1, "")
            # Again, because the answer was lost.
            assert one.asks(Blocks(ONE, 1, [b"a", b"b"])) == Stored(ONE, 2, "")
            assert one.asks(attach()) == Attached(ONE, 2)

    assert sink.serve(master) == 0
    assert sink.entries() == [(ONE, 1, b"a"), (ONE, 2, b"b"), (OTHER, 1, b"x")]
    assert sink.consumer.news == 2
    assert sink.receiver.status()[:5] == (2, 3, 0, "", 0)
    assert sink.consumer.stops == [7.0]


def test_given_messages_one_after_the_other_then_each_is_answered_for_or_by_a_later_one(sink: Sink) -> None:
    def master(port: int) -> None:
        with contextlib.closing(Master(port)) as one:
            one.say(*(Blocks(ONE, number, [b"%d" % number]) for number in range(1, 21)))
            numbers = [0]
            while numbers[-1] < 20:
                answer = one.hears()
                assert isinstance(answer, Stored)
                numbers.append(answer.number)
            assert numbers == sorted(set(numbers))

    assert sink.serve(master) == 0
    assert sink.entries() == [(ONE, number, b"%d" % number) for number in range(1, 21)]


def test_given_a_gap_then_it_is_refused_and_the_master_told_where_to_go_on(
    sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    def master(port: int) -> None:
        with contextlib.closing(Master(port)) as one:
            assert one.asks(Blocks(ONE, 1, [b"a"])) == Stored(ONE, 1, "")
            for _ in range(2):
                assert one.asks(Blocks(ONE, 3, [b"c"])) == Stored(ONE, 1, "")

    assert sink.serve(master) == 0
    assert len(sink.entries()) == 1
    assert caplog.text.count("blocks from 3 on of a journal of which 1 are spooled") == 1


def test_given_blocks_that_the_master_has_no_more_then_they_are_counted_and_said(
    sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    def master(port: int) -> None:
        with contextlib.closing(Master(port)) as one:
            one.asks(attach())
            assert one.asks(Blocks(ONE, 1, [b"a", b"", b"", b"d"])) == Stored(ONE, 4, "")

    assert sink.serve(master) == 0
    assert sink.receiver.status().gaps == 2
    assert f"2 result blocks of journal {ONE}, from 2 on, are lost here: the master on host-1" in caplog.text


def test_given_a_full_spool_then_masters_wait_and_it_is_said_when_it_begins_and_ends(
    sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    large = bytes(80_000)

    def master(port: int) -> None:
        with contextlib.closing(Master(port)) as one:
            assert one.asks(Blocks(ONE, 1, [large])) == Stored(ONE, 1, "")
            for first in (2, 2, 3):
                answer = one.asks(Blocks(ONE, first, [large]))
                assert isinstance(answer, Stored)
                assert (answer.number, answer.full[:22]) == (1, "1 blocks wait in it (8")
            assert sink.receiver.status().full
            sink.spool.done(1)
            assert one.asks(Blocks(ONE, 2, [large])) == Stored(ONE, 2, "")

    assert sink.serve(master) == 0
    assert caplog.text.count("nothing more is taken until there is room") == 1
    assert caplog.text.count("there is room again") == 1
    assert "refused from the master" not in caplog.text


def test_given_rubbish_then_it_is_counted_and_others_are_served(sink: Sink) -> None:
    def master(port: int) -> None:
        with contextlib.closing(Master(port)) as stranger, contextlib.closing(Master(port)) as one:
            stranger.say_frames([b"HTTP", b"GET /"])
            stranger.say_frames([b"CYC1", b"\xc1"])
            stranger.say_frames(wire.encode(Stored(ONE, 1, "")))
            assert one.asks(Blocks(ONE, 1, [b"a"])) == Stored(ONE, 1, "")
            while sink.receiver.status().bad_messages < 3:
                one.asks(attach())

    assert sink.serve(master) == 0
    assert len(sink.entries()) == 1


def test_given_keys_then_only_a_key_of_a_master_may_store(sink: Sink, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "keys")
    registry.init("tcp://127.0.0.1:5777")
    roles: tuple[PeerRole, ...] = ("master", "controller")
    keys = {role: client_keys(registry.add(f"{role}-1", role)) for role in roles}
    sink.gate = GateOptions(registry)

    def master(port: int) -> None:
        with contextlib.closing(Master(port, keys["controller"])) as wrong:
            answer = wrong.asks(attach())
            assert isinstance(answer, Refused)
            assert (answer.code, answer.text) == (
                FORBIDDEN,
                "the key of controller-1 has the role controller, which may not be a master",
            )
        with contextlib.closing(Master(port, keys["master"])) as right:
            assert right.asks(Blocks(ONE, 1, [b"a"])) == Stored(ONE, 1, "")

    assert sink.serve(master) == 0
    assert len(sink.entries()) == 1


def test_given_a_consumer_that_has_ended_then_the_sink_ends_with_its_reason(sink: Sink) -> None:
    def master(port: int) -> None:
        sink.consumer.ended = "the store is no store"
        sink.consumer.wake()

    with pytest.raises(CycloneError, match="the store is no store"):
        sink.serve(master, then_stop=False)
    assert sink.consumer.stops == [0.0]


def test_given_a_port_that_is_taken_then_it_is_said(sink: Sink) -> None:
    def master(port: int) -> None:
        options = ReceiverOptions("second", "127.0.0.1", port, 1.0, 1.0)
        with pytest.raises(AlreadyRunning, match=f"port {port} on 127.0.0.1 is taken"):
            Receiver(options, sink.spool, Consumer())

    assert sink.serve(master) == 0
