"""The two threads of the generator's host, where they meet: real ones, with a master at the other end of the pipe."""

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cyclone import BaseTask, BaseTaskGenerator, TaskResult, values
from cyclone.master.generator import feed_pipe, watcher
from cyclone.master.generator.generator_process import Host
from cyclone.master.generator.outgoing import Outgoing
from cyclone.master.generator.progress import GeneratorProgress
from cyclone.master.generator.watcher import Watcher
from cyclone.protocol.framing import FrameReader
from tasks.empty import EmptyTask
from tests.support.generator_lives import Book
from tests.support.procfs import wait_until
from tests.support.sample_tasks import NothingTask, PlainTask

LIMIT_S = 10.0


class Three(BaseTaskGenerator):
    def generate(self) -> Iterator[BaseTask]:
        yield from map(EmptyTask, range(3))


class Master:
    """The other end of the pipe of a host whose two threads are real ones of this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # The process ends itself when the master is gone: here each thread does.
        monkeypatch.setattr(os, "_exit", sys.exit)
        self.ours, self.theirs = socket.socketpair()
        self.ours.settimeout(LIMIT_S)
        self._reader = FrameReader()
        self._messages: list[feed_pipe.FromGenerator] = []
        self._threads: list[threading.Thread] = []
        self._wakes: list[int] = []

    def start(self, generator: BaseTaskGenerator, granted: int = 10) -> Host:
        host = Host(self.theirs, Outgoing(self.theirs), generator)
        self._wakes.append(host._watcher._wake)
        for part in (host.work, host._watcher._watch):
            self.run(part)
        self.say(feed_pipe.Resume(GeneratorProgress()))
        self.say(feed_pipe.Pull(granted))
        return host

    def run(self, part: Callable[[], object]) -> threading.Thread:
        """A thread of the host's."""

        def until_exit() -> None:
            with contextlib.suppress(SystemExit, ConnectionError):
                part()

        thread = threading.Thread(target=until_exit, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def say(self, message: feed_pipe.FromMaster) -> None:
        self.ours.sendall(feed_pipe.pack(message))

    def hear(self) -> Any:
        """The next message; TimeoutError when none comes."""
        while not self._messages:
            self._messages += map(feed_pipe.decode_from_generator, self._reader.feed(self.ours.recv(1 << 16)))
        return self._messages.pop(0)

    def hear_summary(self) -> None:
        while not isinstance(self.hear(), feed_pipe.Summary):
            pass

    def close(self) -> None:
        self.ours.close()
        for thread in self._threads:
            thread.join(LIMIT_S)
            assert not thread.is_alive()
        self.theirs.close()
        for wake in self._wakes:
            os.close(wake)


@pytest.fixture
def master(monkeypatch: pytest.MonkeyPatch) -> Iterator[Master]:
    made = Master(monkeypatch)
    yield made
    made.close()


def result_of(book: Book, first: int) -> feed_pipe.Deliver:
    """The result of a task that was told as the first or a later one."""
    book.end(first, first + 1)
    return feed_pipe.Deliver(len(book.blocks), [book.blocks[-1]])


class Gated(BaseTaskGenerator):
    """Yields a number, and does not go on before it may, again and again."""

    def __init__(self, count: int) -> None:
        super().__init__({})
        self.gates = [threading.Event() for _ in range(count)]
        self.seen: list[list[int]] = []
        self._results: list[int] = []

    def generate(self) -> Iterator[BaseTask]:
        for number, gate in enumerate(self.gates):
            yield PlainTask(number)
            assert gate.wait(LIMIT_S)
            self.seen.append(list(self._results))

    def on_result(self, result: TaskResult) -> None:
        self._results.append(result.task_id)


def test_given_a_generate_that_takes_its_time_then_each_yield_is_sent_and_results_are_seen_in_between(
    master: Master,
) -> None:
    book = Book(seed=1)
    generator = Gated(4)
    host = master.start(generator)

    for number, gate in enumerate(generator.gates):
        block = master.hear()
        while not isinstance(block, feed_pipe.Block):
            block = master.hear()
        book.record(block)
        assert book.tasks() == list(range(number + 1))
        master.say(result_of(book, number))
        wait_until(lambda: bool(host._watcher.asked), "it is asked to come out at its next yield")
        gate.set()
    while not (message := master.hear()).progress.exhausted:
        pass
    assert message.progress.pulled == 4
    master.say(feed_pipe.Finish())
    master.hear_summary()

    # A result that came when generate() stood behind a yield is seen by its next one at the latest.
    for number, seen in enumerate(generator.seen):
        assert seen in (list(range(1, number + 1)), list(range(1, number + 2)))


def test_given_a_watcher_that_fell_asleep_then_the_next_yield_wakes_it(
    master: Master, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "AWAKE_S", 0.0)
    asleep = threading.Event()
    look = Watcher.look

    def noted(self: Watcher, now: float) -> float | None:
        wait_s = look(self, now)
        if wait_s is None:
            asleep.set()
        return wait_s

    monkeypatch.setattr(Watcher, "look", noted)
    generator = Gated(3)
    master.start(generator)

    for gate in generator.gates:
        assert isinstance(master.hear(), feed_pipe.Block)
        assert asleep.wait(LIMIT_S)
        asleep.clear()
        gate.set()
    assert master.hear().progress.exhausted
    master.say(feed_pipe.Finish())
    master.hear_summary()


def test_given_a_slow_on_result_then_what_it_makes_is_sent_meanwhile_though_the_watcher_slept(
    master: Master, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "AWAKE_S", 0.0)
    gate = threading.Event()

    class Maker(Three):
        def on_result(self, result: TaskResult) -> Iterator[BaseTask]:
            if result.task_id == 1:
                yield PlainTask("made")
                assert gate.wait(LIMIT_S)

    book = Book(seed=1)
    host = master.start(Maker({}))
    while not (message := master.hear()).progress.exhausted:
        book.record(message)
    book.record(message)
    wait_until(lambda: not host._watcher.awake, "the watcher sleeps")

    master.say(result_of(book, 0))

    block = master.hear()
    assert isinstance(block, feed_pipe.Block)
    assert (block.progress.consumed, block.progress.consumed_rows, block.progress.made) == (0, 0, 1)
    gate.set()
    assert master.hear().progress.consumed == 1
    master.say(feed_pipe.Finish())
    master.hear_summary()


def test_given_the_end_of_the_master_when_generate_is_at_work_then_the_process_ends(
    master: Master, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()

    def end(status: int) -> None:
        ended.set()
        sys.exit(status)

    monkeypatch.setattr(os, "_exit", end)
    generator = Gated(1)
    master.start(generator)
    assert isinstance(master.hear(), feed_pipe.Block)

    master.ours.close()

    assert ended.wait(LIMIT_S)
    generator.gates[0].set()


def test_given_other_tasks_from_on_result_in_a_wait_then_those_behind_it_keep_their_class(master: Master) -> None:
    class Waits(BaseTaskGenerator):
        def generate(self) -> Iterator[BaseTask]:
            yield from (PlainTask(0), PlainTask(1))
            self.made = 0
            while not self.made:
                self.wait(0.01)
            yield from (PlainTask(2), PlainTask(3))

        def on_result(self, result: TaskResult) -> BaseTask | None:
            if result.task_id > 1:
                return None
            self.made += 1
            return NothingTask()

    book = Book(seed=1)
    master.start(Waits({}))
    answered = False
    while not book.progress.exhausted:
        book.record(master.hear())
        if len(book.args) == 2 and not answered:
            answered = True
            master.say(result_of(book, 0))
    master.say(feed_pipe.Finish())
    master.hear_summary()

    assert [name.split(":")[1] for name in book.classes] == [
        "PlainTask",
        "PlainTask",
        "NothingTask",
        "PlainTask",
        "PlainTask",
    ]
    assert [values.decode(args)[:1] for args in book.args] == [[0], [1], [], [2], [3]]


def test_given_room_that_is_granted_just_before_the_wait_for_it_then_it_is_not_waited_for(master: Master) -> None:
    out = Outgoing(master.theirs)
    host = Host(master.theirs, out, Three({}))
    flush = out.flush

    def flush_and_grant() -> bool:
        # The moment between looking whether there is room and waiting for some.
        flushed = flush()
        master.say(feed_pipe.Pull(4))
        return flushed

    out.flush = flush_and_grant  # type: ignore[method-assign]
    master.say(feed_pipe.Pull(1))
    thread = master.run(host._generate)
    thread.join(LIMIT_S)
    assert not thread.is_alive()
    os.close(host._watcher._wake)


def test_given_a_slow_on_result_then_what_it_has_not_seen_stays_with_the_master(master: Master) -> None:
    goes_on = threading.Event()
    seen: list[int] = []

    class Slow(Three):
        def on_result(self, result: TaskResult) -> None:
            goes_on.wait()
            seen.append(result.task_id)

    master.start(Slow({}))
    book = Book(seed=1)
    book.classes, book.args = ["m:C"] * 100, [values.encode(["x" * 50_000])] * 100
    for first in range(100):
        book.end(first, first + 1)
    master.ours.settimeout(0.1)
    number = 0
    with pytest.raises(TimeoutError):
        for number, block in enumerate(book.blocks, start=1):
            master.say(feed_pipe.Deliver(number, [block]))
    # What fits into the socket, and the one that is being read.
    assert number < 30

    goes_on.set()
    master.ours.settimeout(LIMIT_S)
    while master.hear().progress.consumed < number - 1:
        pass
    assert seen[: number - 1] == list(range(1, number))
