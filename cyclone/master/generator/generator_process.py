"""The generator process: runs the user's generator, and keeps it from ever holding up the master.

Owns the other end of the feed's pipe. The main thread does it all: it runs ``generate()`` and ``on_result`` in turn,
never both at once, and reads the pipe in between, without waiting while there are tasks to be had. A second one
(``watcher.py``) only helps out where the main one is inside of slow user code. What nobody has read yet waits in the
pipe and with the master. After a crash it goes on where ``GeneratorProgress`` says, and passes over the tasks that the
master has already. Must not import zmq. Dies with the master.
"""

import contextlib
import json
import math
import os
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path

from cyclone import values
from cyclone.errors import NotSerialisable, PluginError
from cyclone.failure import error_record
from cyclone.generator import BaseTaskGenerator, Config
from cyclone.master.generator import feed_pipe
from cyclone.master.generator.outgoing import END, Outgoing, Place
from cyclone.master.generator.progress import GeneratorProgress
from cyclone.master.generator.task_options import TaskDefaults
from cyclone.master.generator.watcher import Watcher
from cyclone.plugins import add_search_path, load_class
from cyclone.processes import die_with_parent, spare_the_collector
from cyclone.protocol.framing import FrameReader
from cyclone.results import OpenBlock, RecordedBlock
from cyclone.task import BaseTask

# How long wait() takes while generate() yields again what was recorded before a crash.
PASSED_S = 0.001


class Host:
    """Runs one generator."""

    def __init__(self, channel: socket.socket, outgoing: Outgoing, generator: BaseTaskGenerator) -> None:
        self._channel = channel
        self._generator = generator
        self._outgoing = outgoing
        self._watcher = Watcher(channel, outgoing)
        self._has_cursor = _has_cursor(type(generator))
        self._reader = FrameReader()
        self._poller = select.poll()
        self._poller.register(channel, select.POLLIN)
        self._inbox: deque[feed_pipe.FromMaster] = deque()
        self._recorded: GeneratorProgress | None = None
        self._granted = 0
        self._finish = False
        # How far this process has come, which after a crash is not yet as far as what was recorded.
        self._passed = self._consumed = 0
        self._pulled_before = 0.0
        self._place_before: Place = (0, 0, 0)
        self._reacting = False
        generator._wait = self._wait

    def run(self) -> None:
        """Until the master says that all is done."""
        wants_results = type(self._generator).on_result is not BaseTaskGenerator.on_result
        self._outgoing.send(feed_pipe.Started(wants_results))
        self._watcher.start()
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
            self._serve()
        self._outgoing.send(feed_pipe.Summary(values.encode(dict(self._generator.summary()))))

    @property
    def _pulled(self) -> int:
        """How many tasks ``generate()`` has yielded, in this life or before the cursor from which it goes on."""
        return self._passed if self._passed < self._pulled_before else self._outgoing.pulled

    def _begin(self) -> None:
        """Take up what the master has recorded. Results that come with it wait for the first yield."""
        while not self._inbox:
            self._poller.poll()
            self._read()
        resume = self._inbox.popleft()
        assert isinstance(resume, feed_pipe.Resume)
        self._recorded = progress = resume.progress
        self._outgoing.resume(progress)
        self._passed, self._consumed = progress.cursor_pulled, progress.cursor_consumed
        self._pulled_before = math.inf if progress.exhausted else progress.pulled
        self._place_before = (progress.consumed, progress.consumed_rows, progress.made)
        if progress.cursor:
            self._generator.resume(values.decode(progress.cursor))
        elif self._has_cursor:
            # Before anything is read that cannot be read twice, such as a pipe.
            self._mark()
            self._outgoing.report()

    def _generate(self) -> None:
        asked, outgoing = self._watcher.asked, self._outgoing
        self._watcher.arm()
        self._await_room()
        tasks = chain(self._generator.generate(), repeat(END))
        if not self._pass_over(tasks):
            return
        self._await_room()
        while outgoing.pull(tasks, self._granted, asked):
            self._watcher.arm()
            self._mark()
            outgoing.flush_full()
            self._receive()
            self._await_room()

    def _pass_over(self, tasks: Iterator[object]) -> bool:
        """Let ``generate()`` yield again what was recorded before a crash; whether there may be more."""
        while self._passed < self._pulled_before:
            if next(tasks) is END:
                return False
            self._passed += 1
            if self._watcher.asked:
                self._watcher.arm()
                self._receive()
        return True

    def _await_room(self) -> None:
        # What was recorded needs no room again.
        while self._pulled >= max(self._granted, self._pulled_before):
            self._serve()

    def _compare(self) -> None:
        """Say it where ``generate()`` did not do again what it had done before a crash."""
        before, pulled = self._recorded, self._pulled
        if before and (pulled < before.pulled or (before.exhausted and pulled > before.pulled)):
            BaseTaskGenerator.log.warning(
                "generate() has yielded %d tasks, and %d before it was started again: its input or its order has "
                "changed, so that tasks may be missing, or there twice",
                pulled,
                before.pulled,
            )
            self._passed = before.pulled

    def _wait(self, seconds: float) -> None:
        if self._reacting:
            raise RuntimeError("wait() is for generate(), not for on_result()")
        if self._pulled < self._pulled_before:
            # The time has passed already, before the crash; what it waited for comes again.
            seconds = min(seconds, PASSED_S)
        # What is yielded from here on may depend on more than the cursor before has seen.
        self._mark()
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0:
            self._serve(left_s)
        self._outgoing.reopen()

    def _serve(self, wait_s: float | None = None) -> None:
        """Send what is pending, and take in what the master says next, or nothing if it is silent for that long."""
        if self._outgoing.waiting:
            self._mark()
            self._outgoing.flush()
        if self._inbox or self._poller.poll(None if wait_s is None else wait_s * 1000):
            self._receive()

    def _mark(self) -> None:
        """Where user code is between two steps: a cursor of this moment."""
        cursor = self._generator.cursor() if self._has_cursor else None
        packed = None
        if cursor is not None:
            try:
                packed = values.encode(cursor)
            except NotSerialisable as error:
                raise type(error)(f"{type(self._generator).__qualname__}: what cursor() returned {error}") from None
        self._outgoing.mark(packed, self._pulled, self._consumed)

    def _receive(self) -> None:
        """Take in what the master has said up to now."""
        more = True
        while more:
            more = self._read()
            while self._inbox:
                self._take(self._inbox.popleft())

    def _read(self) -> bool:
        """Read what is there, without waiting; whether there may be more."""
        room = self._reader.room()
        try:
            count = self._channel.recv_into(room, 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except ConnectionError:
            count = 0
        if not count:
            # Without a master there is nothing left to do.
            os._exit(1)
        self._inbox.extend(map(feed_pipe.decode_from_master, self._reader.received(count)))
        return count == len(room)

    def _take(self, message: feed_pipe.FromMaster) -> None:
        match message:
            case feed_pipe.Deliver(number, blocks):
                self._deliver(number, blocks)
            case feed_pipe.Pull(granted):
                self._granted = granted
            case feed_pipe.Finish():
                self._finish = True

    def _deliver(self, last: int, blocks: list[RecordedBlock]) -> None:
        self._reacting = True
        for number, block in enumerate(blocks, last - len(blocks) + 1):
            self._react(number, block)
        self._reacting = False
        self._consumed = last
        self._mark()
        self._outgoing.report()

    def _react(self, number: int, block: RecordedBlock) -> None:
        outgoing, watcher, before = self._outgoing, self._watcher, self._place_before
        on_result = self._generator.on_result
        for row, result in enumerate(OpenBlock(block)):
            made = on_result(result)
            if made is None:
                continue
            for ordinal, task in enumerate((made,) if isinstance(made, BaseTask) else made, start=1):
                place = (number - 1, row, ordinal)
                if place > before:
                    if outgoing.add(task, place):
                        outgoing.flush_full()
                    if not watcher.awake:
                        watcher.rouse()


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
    """Entry point; ``argv[1]`` is a JSON object, see ``cyclone.master.generator.feed``."""
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
