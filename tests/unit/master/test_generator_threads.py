"""The two threads of the generator's host, where they meet: real ones, and the moments between them."""

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cyclone import BaseTask, BaseTaskGenerator, TaskResult, values
from cyclone.master import feed_pipe, generator_process
from cyclone.master.generator_process import Host
from cyclone.master.outgoing import Outgoing
from cyclone.master.progress import GeneratorProgress
from cyclone.protocol.framing import FrameReader
from tasks.empty import EmptyTask
from tests.support.generator_lives import Book
from tests.support.sample_tasks import PlainTask


class Pipe:
    """What is sent into it is read as messages at once."""

    def __init__(self, read: Callable[[feed_pipe.FromGenerator], None]) -> None:
        self._read = read
        self._reader = FrameReader()

    def sendall(self, data: bytes) -> None:
        for body in self._reader.feed(data):
            self._read(feed_pipe.decode_from_generator(body))


def test_given_two_threads_that_send_then_each_block_says_exactly_what_was_sent_so_far() -> None:
    sent: list[Any] = []
    wrong: list[str] = []

    def read(message: feed_pipe.FromGenerator) -> None:
        assert isinstance(message, feed_pipe.Block | feed_pipe.Advanced)
        if isinstance(message, feed_pipe.Block):
            sent.extend(values.decode(args)[0] for args in message.args)
        told = message.progress
        made = [tuple(name) for name in sent if isinstance(name, list)]
        # Behind the last task made there may be results that made none.
        last = made[-1] if made else (0, 0, 0)
        if told.pulled != len(sent) - len(made) or (told.consumed, told.consumed_rows, told.made) not in (
            last,
            (last[0] + 1, 0, 0),
        ):
            wrong.append(f"{told} after {last} and {len(sent) - len(made)} pulled")
        if told.cursor_pulled > told.pulled or told.cursor_consumed > told.consumed:
            wrong.append(f"the cursor is ahead: {told}")

    out = Outgoing(Pipe(read))  # type: ignore[arg-type]
    out.watched = True
    stop = threading.Event()

    def other_thread() -> None:
        while not stop.is_set():
            out.flush()

    thread = threading.Thread(target=other_thread)
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        pulled = 0
        for number in range(150):
            for _ in range(5):
                pulled += 1
                out.add(PlainTask(pulled))
            for row, ordinal in [(0, 1), (0, 2), (3, 1)]:
                out.add(PlainTask([number, row, ordinal]), (number, row, ordinal))
            out.mark(b"\x01", pulled, number + 1)
            if number % 10 == 0:
                out.report()
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval_s)
    out.report()

    assert wrong == []
    assert len(sent) == 150 * 8


class Three(BaseTaskGenerator):
    def generate(self) -> Iterator[BaseTask]:
        yield from map(EmptyTask, range(3))


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Ours, and the host's."""
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_given_room_that_is_granted_just_before_the_wait_for_it_then_it_is_not_waited_for(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    out = Outgoing(ends[1])
    host = Host(ends[1], out, Three({}))
    flush = out.flush

    def flush_and_grant() -> bool:
        # The moment between looking whether there is room and waiting for some.
        flushed = flush()
        host.take(feed_pipe.Pull(4), 1)
        return flushed

    out.flush = flush_and_grant  # type: ignore[method-assign]
    host.take(feed_pipe.Pull(1), 1)
    thread = threading.Thread(target=host._generate, daemon=True)
    thread.start()
    thread.join(timeout=10)
    assert not thread.is_alive()


def test_given_a_slow_on_result_then_what_it_has_not_seen_stays_with_the_master(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generator_process, "INBOX_BYTES_MAX", 100_000)
    # The listening thread ends the process when the master is gone: here itself is enough.
    monkeypatch.setattr(os, "_exit", sys.exit)
    ours, theirs = ends
    goes_on = threading.Event()
    seen: list[int] = []

    class Slow(Three):
        def on_result(self, result: TaskResult) -> None:
            goes_on.wait()
            seen.append(result.task_id)

    host = Host(theirs, Outgoing(theirs), Slow({}))

    def listen() -> None:
        with contextlib.suppress(SystemExit):
            host._listen()

    works, listens = (threading.Thread(target=part, daemon=True) for part in (host.work, listen))
    works.start()
    listens.start()
    ours.sendall(feed_pipe.pack(feed_pipe.Resume(GeneratorProgress())))
    ours.sendall(feed_pipe.pack(feed_pipe.Pull(10)))
    book = Book(seed=1)
    book.classes, book.args = ["m:C"] * 100, [values.encode(["x" * 50_000])] * 100
    for first in range(100):
        book.end(first, first + 1)
    ours.settimeout(0.1)
    number = 0
    with pytest.raises(TimeoutError):
        for number, block in enumerate(book.blocks, start=1):
            ours.sendall(feed_pipe.pack(feed_pipe.Deliver(number, [block])))
    # What fits into the inbox, the socket and the one that is being read.
    assert number < 30

    goes_on.set()
    ours.settimeout(10)
    consumed = 0
    reader = FrameReader()
    while consumed < number - 1:
        for body in reader.feed(ours.recv(100_000)):
            message = feed_pipe.decode_from_generator(body)
            if isinstance(message, feed_pipe.Block | feed_pipe.Advanced):
                consumed = message.progress.consumed
    assert seen[: number - 1] == list(range(1, number))
    host.take(feed_pipe.Finish(), 1)
    works.join(timeout=10)
    ours.close()
    listens.join(timeout=10)
    assert not works.is_alive() and not listens.is_alive()
