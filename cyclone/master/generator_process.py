"""The generator process: runs the user's generator, and keeps it from ever holding up the master.

Owns the other end of the feed's pipe. Two threads: the main one runs user code only, ``generate()`` and ``on_result``
in turn, never both at once; the other one reads the pipe, and sends tasks that the main one has yielded but cannot send
by itself while it is inside ``generate()``. After a crash it goes on where ``GeneratorProgress`` says, and passes over
the tasks that the master has already. Must not import zmq. Dies with the master.
"""

import contextlib
import json
import math
import os
import select
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from cyclone import values
from cyclone.errors import NotSerialisable, PluginError
from cyclone.failure import error_record
from cyclone.generator import BaseTaskGenerator, Config
from cyclone.master import feed_pipe
from cyclone.master.outgoing import Outgoing, Place
from cyclone.master.progress import GeneratorProgress
from cyclone.master.task_options import TaskDefaults
from cyclone.plugins import add_search_path, load_class
from cyclone.processes import die_with_parent, spare_the_collector
from cyclone.protocol.framing import RECEIVE_BYTES, FrameReader
from cyclone.results import OpenBlock, RecordedBlock
from cyclone.task import BaseTask

# Tasks never wait longer than this for company.
GATHER_S = 0.005
# How long the thread that sees to this looks on after the last task that it had to send.
AWAKE_S = 0.1
# How long wait() takes while generate() yields again what was recorded before a crash.
PASSED_S = 0.001
# Results that wait for on_result in this process; more wait with the master, which rests when they are many.
INBOX_BYTES_MAX = 32 * 1024 * 1024


class Host:
    """Runs one generator."""

    def __init__(self, channel: socket.socket, outgoing: Outgoing, generator: BaseTaskGenerator) -> None:
        self._channel = channel
        self._generator = generator
        self._outgoing = outgoing
        self._has_cursor = _has_cursor(type(generator))
        self._news = threading.Condition()
        self._recorded: GeneratorProgress | None = None
        self._inbox: deque[tuple[int, feed_pipe.Deliver]] = deque()
        self._inbox_bytes = 0
        self._granted = 0.0
        self._finish = False
        # How far this process has come, which after a crash is not yet as far as what was recorded.
        self._pulled = self._consumed = 0
        self._pulled_before = 0.0
        self._place_before: Place = (0, 0, 0)
        self._reacting = False
        generator._wait = self._wait

    def run(self) -> None:
        """Until the master says that all is done: both threads."""
        wants_results = type(self._generator).on_result is not BaseTaskGenerator.on_result
        self._outgoing.send(feed_pipe.Started(wants_results))
        threading.Thread(target=self._listen, daemon=True).start()
        spare_the_collector()
        self.work()

    def work(self) -> None:
        """The main thread's part."""
        self._begin()
        self._generate()
        self._compare()
        # In this order: whoever finds it exhausted finds the cursor of this moment too.
        self._mark()
        self._outgoing.exhaust()
        self._outgoing.report()
        while not self._finish:
            self._serve(lambda: self._finish)
        # What came together with the last word.
        self._take_in()
        self._outgoing.send(feed_pipe.Summary(values.encode(dict(self._generator.summary()))))

    def _begin(self) -> None:
        """Take up what the master has recorded."""
        with self._news:
            self._news.wait_for(lambda: self._recorded is not None)
        progress = self._recorded
        assert progress is not None
        self._outgoing.resume(progress)
        self._pulled, self._consumed = progress.cursor_pulled, progress.cursor_consumed
        self._pulled_before = math.inf if progress.exhausted else progress.pulled
        self._place_before = (progress.consumed, progress.consumed_rows, progress.made)
        if progress.cursor:
            self._generator.resume(values.decode(progress.cursor))
        elif self._has_cursor:
            # Before anything is read that cannot be read twice, such as a pipe.
            self._mark()
            self._outgoing.report()

    def _generate(self) -> None:
        add, inbox, before = self._outgoing.add, self._inbox, self._pulled_before
        self._await_room()
        for pulled, task in enumerate(self._generator.generate(), start=self._pulled + 1):
            self._pulled = pulled
            if pulled > before and add(task):
                self._mark()
                self._outgoing.flush_full()
            if inbox:
                self._take_in()
            if pulled >= self._granted:
                self._await_room()

    def _compare(self) -> None:
        """Say it where ``generate()`` did not do again what it had done before a crash."""
        before = self._recorded
        if before and (self._pulled < before.pulled or (before.exhausted and self._pulled > before.pulled)):
            BaseTaskGenerator.log.warning(
                "generate() has yielded %d tasks, and %d before it was started again: its input or its order has "
                "changed, so that tasks may be missing, or there twice",
                self._pulled,
                before.pulled,
            )
            self._pulled = before.pulled

    def _await_room(self) -> None:
        # What was recorded needs no room again.
        while self._pulled >= max(self._granted, self._pulled_before):
            self._serve(lambda: self._pulled < self._granted)

    def _wait(self, seconds: float) -> None:
        if self._reacting:
            raise RuntimeError("wait() is for generate(), not for on_result()")
        if self._pulled < self._pulled_before:
            # The time has passed already, before the crash; what it waited for comes again.
            seconds = min(seconds, PASSED_S)
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0:
            self._serve(lambda: False, left_s)

    def _serve(self, enough: Callable[[], bool], wait_s: float | None = None) -> None:
        """Send what is pending, and wait until there are results, which are taken in, or it is enough, or that long."""
        if self._outgoing.waiting:
            self._mark()
            self._outgoing.flush()
        with self._news:
            # Under the lock of who brings the news: what came a moment before the wait must not be waited for.
            self._news.wait_for(lambda: bool(self._inbox) or enough(), wait_s)
        self._take_in()

    def _mark(self) -> None:
        """Where user code is between two steps: a cursor of this moment."""
        cursor = self._generator.cursor() if self._has_cursor else None
        packed = None
        if cursor is not None:
            try:
                packed = values.encode(cursor)
            except NotSerialisable as error:
                raise NotSerialisable(f"{type(self._generator).__qualname__}: what cursor() returned {error}") from None
        self._outgoing.mark(packed, self._pulled, self._consumed)

    def _take_in(self) -> None:
        while self._inbox:
            delivery = self._next_delivery()
            self._reacting = True
            for number, block in enumerate(delivery.blocks, delivery.number - len(delivery.blocks) + 1):
                self._react(number, block)
            self._reacting = False
            self._consumed = delivery.number
            self._mark()
            self._outgoing.report()

    def _next_delivery(self) -> feed_pipe.Deliver:
        with self._news:
            size, delivery = self._inbox.popleft()
            was_full = self._inbox_bytes > INBOX_BYTES_MAX
            self._inbox_bytes -= size
            if was_full and self._inbox_bytes <= INBOX_BYTES_MAX:
                os.eventfd_write(self._outgoing.wake, 1)
        return delivery

    def _react(self, number: int, block: RecordedBlock) -> None:
        add, before = self._outgoing.add, self._place_before
        for row, result in enumerate(OpenBlock(block)):
            made = self._generator.on_result(result)
            if made is not None:
                for ordinal, task in enumerate((made,) if isinstance(made, BaseTask) else made, start=1):
                    place = (number - 1, row, ordinal)
                    if place > before and add(task, place):
                        self._outgoing.flush_full()

    def _listen(self) -> None:
        """The other thread: takes messages in, and sends tasks that are stuck behind a slow ``generate()``."""
        reader, outgoing = FrameReader(), self._outgoing
        poller = select.poll()
        poller.register(self._channel, select.POLLIN)
        poller.register(outgoing.wake, select.POLLIN)
        look_at = sleep_at = 0.0
        while True:
            with self._news:
                # What a slow on_result leaves unread is back-pressure for the master.
                full = self._inbox_bytes > INBOX_BYTES_MAX
            poller.modify(self._channel, 0 if full else select.POLLIN)
            wait_ms = max(0.0, look_at - time.monotonic()) * 1000 if outgoing.watched else None
            ready = dict(poller.poll(wait_ms))
            now = time.monotonic()
            if outgoing.wake in ready:
                os.eventfd_read(outgoing.wake)
                look_at, sleep_at = now + GATHER_S, now + AWAKE_S
            elif outgoing.watched and now >= look_at:
                look_at = now + GATHER_S
                if outgoing.flush():
                    sleep_at = now + AWAKE_S
                elif now >= sleep_at:
                    # In this order: what is added in between is flushed here, or wakes us.
                    outgoing.watched = False
                    outgoing.flush()
            if self._channel.fileno() in ready:
                for body in reader.feed(_received(self._channel)):
                    self.take(feed_pipe.decode_from_master(body), len(body))

    def take(self, message: feed_pipe.FromMaster, size: int) -> None:
        """A message from the master, of so many bytes; in the other thread."""
        with self._news:
            match message:
                case feed_pipe.Resume(progress):
                    self._recorded = progress
                case feed_pipe.Pull(granted):
                    self._granted = granted
                case feed_pipe.Deliver():
                    self._inbox.append((size, message))
                    self._inbox_bytes += size
                case feed_pipe.Finish():
                    self._finish = True
            self._news.notify()


def _received(channel: socket.socket) -> bytes:
    """What is there to be read; without a master there is nothing left to do."""
    data = b""
    with contextlib.suppress(ConnectionError):
        data = channel.recv(RECEIVE_BYTES)
    if not data:
        os._exit(1)
    return data


def _has_cursor(generator_class: type[BaseTaskGenerator]) -> bool:
    """Whether it defines ``cursor``; PluginError where it could then not resume."""
    if generator_class.cursor is BaseTaskGenerator.cursor:
        return False
    if generator_class.resume is BaseTaskGenerator.resume:
        raise PluginError(f"{generator_class.__qualname__} defines cursor() but not resume(): define both or neither")
    return True


def _make(generator_class: type[BaseTaskGenerator], sections: Config, folder: Path) -> BaseTaskGenerator:
    """The generator, also where the user's constructor takes nothing but the configuration."""
    import inspect

    if len(inspect.signature(generator_class).parameters) > 1:
        return generator_class(sections, folder)
    generator = generator_class(sections)
    generator.folder = folder
    return generator


def main() -> None:
    """Entry point; ``argv[1]`` is a JSON object, see ``cyclone.master.feed``."""
    options = json.loads(sys.argv[1])
    die_with_parent(options["parent_pid"])
    from cyclone import logs

    logs.configure_child("generator", options["log"])
    add_search_path(*options["search_path"])
    channel = socket.socket(fileno=options["channel_fd"])
    os.set_inheritable(options["channel_fd"], False)
    retries, retry_delay_s, retry_on = options["task_defaults"]
    outgoing = Outgoing(channel, TaskDefaults(retries, retry_delay_s, tuple(retry_on)))
    try:
        generator_class = load_class(options["class"], BaseTaskGenerator)
        Host(channel, outgoing, _make(generator_class, options["sections"], Path(options["folder"]))).run()
    except BaseException as error:  # whatever user code raises is told before this process ends
        # Nobody listens any more where the master itself is gone.
        with contextlib.suppress(ConnectionError):
            outgoing.send(feed_pipe.Failed(error_record(error)))
        os._exit(1)
    os._exit(0)
