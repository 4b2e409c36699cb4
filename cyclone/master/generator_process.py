"""The generator process: runs the user's generator, and keeps it from ever holding up the master.

Owns the other end of the feed's pipe. Two threads: the main one runs user code only, ``generate()`` and ``on_result``
in turn, never both at once; the other one reads the pipe, and sends tasks that the main one has yielded but cannot send
by itself while it is inside ``generate()``. Must not import zmq. Dies with the master.
"""

import json
import os
import select
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from cyclone import values
from cyclone.errors import PluginError
from cyclone.failure import error_record
from cyclone.generator import BaseTaskGenerator, Config
from cyclone.master import feed_pipe
from cyclone.plugins import add_search_path, load_class
from cyclone.processes import die_with_parent, spare_the_collector
from cyclone.protocol import limits
from cyclone.protocol.framing import RECEIVE_BYTES, FrameReader
from cyclone.results import OpenBlock, RecordedBlock
from cyclone.task import BaseTask, TaskSerialiser

# Tasks go out in blocks of at most so many, and never wait longer than this for company.
BLOCK_TASKS = 4096
GATHER_S = 0.005
# How long the thread that sees to this looks on after the last task that it had to send.
AWAKE_S = 0.1


class Outgoing:
    """Tasks on their way to the master. Any thread may flush; only the main one adds."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._pending: list[tuple[int, bytes]] = []
        self._pending_bytes = 0
        self._jobs: list[tuple[str, float | None]] = []
        self._serialisers: dict[tuple[type, float | None], tuple[int, Callable[[BaseTask], bytes]]] = {}
        self._lock = threading.Lock()
        self.wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.watched = False

    def add(self, task: BaseTask) -> None:
        """Serialise a task now, by value, and send it soon. Raises PluginError, NotSerialisable."""
        try:
            job, arguments = self._serialisers[type(task), task.time_limit_s]
        except (KeyError, AttributeError, TypeError):
            job, arguments = self._new_job(task)
        packed = arguments(task)
        pending = self._pending
        pending.append((job, packed))
        self._pending_bytes += len(packed)
        if not self.watched:
            # Waking the other thread costs more than a task does, so that it stays awake while tasks keep coming.
            self.watched = True
            os.eventfd_write(self.wake, 1)
        if len(pending) >= BLOCK_TASKS or self._pending_bytes >= limits.BATCH_BYTES_TARGET:
            self.flush()

    def flush(self) -> bool:
        """Send what is there; whether there was anything."""
        with self._lock:
            # The main thread may append meanwhile: it only ever does so at the end of this very list.
            count = len(self._pending)
            if not count:
                return False
            rows = self._pending[:count]
            del self._pending[:count]
            self._pending_bytes = 0
            runs = [(job, len(list(group))) for job, group in groupby(map(itemgetter(0), rows))]
            used = sorted({job for job, _ in runs})
            place = {job: index for index, job in enumerate(used)}
            jobs = [self._jobs[job] for job in used]
            self._channel.sendall(
                feed_pipe.pack(feed_pipe.Block(jobs, [(place[job], n) for job, n in runs], [row[1] for row in rows]))
            )
            return True

    def send(self, message: feed_pipe.FromGenerator) -> None:
        """Send a message behind all tasks that were added before it."""
        self.flush()
        with self._lock:
            self._channel.sendall(feed_pipe.pack(message))

    def _new_job(self, task: BaseTask) -> tuple[int, Callable[[BaseTask], bytes]]:
        if not isinstance(task, BaseTask):
            raise PluginError(f"the generator yielded a {type(task).__qualname__}; it must yield instances of BaseTask")
        limit_s = task.time_limit_s
        if limit_s is not None and not (isinstance(limit_s, int | float) and limit_s >= 0):
            raise PluginError(f"{type(task).__qualname__}.time_limit_s is {limit_s!r}; it must be None or seconds")
        serialiser = TaskSerialiser(type(task))
        if len(serialiser.path) > limits.NAME_CHARS_MAX:
            raise PluginError(f"{serialiser.path}: its name is longer than {limits.NAME_CHARS_MAX} characters")
        self._jobs.append((serialiser.path, None if limit_s is None else float(limit_s)))
        found = (len(self._jobs) - 1, serialiser.arguments)
        self._serialisers[type(task), limit_s] = found
        return found


class Host:
    """Runs one generator."""

    def __init__(self, channel: socket.socket, generator: BaseTaskGenerator) -> None:
        self._channel = channel
        self._generator = generator
        self._outgoing = Outgoing(channel)
        self._inbox: deque[feed_pipe.Deliver] = deque()
        self._news = threading.Condition()
        self._granted = 0
        self._finish = False
        generator._wait = self._wait

    def run(self) -> None:
        """Until the master says that all is done."""
        wants_results = type(self._generator).on_result is not BaseTaskGenerator.on_result
        self._outgoing.send(feed_pipe.Started(wants_results))
        threading.Thread(target=self._listen, daemon=True).start()
        spare_the_collector()
        self._generate()
        self._outgoing.send(feed_pipe.Exhausted())
        while not self._finish:
            self._serve(lambda: self._finish)
        self._outgoing.send(feed_pipe.Summary(values.encode(dict(self._generator.summary()))))

    def _generate(self) -> None:
        add, inbox = self._outgoing.add, self._inbox
        for pulled, task in enumerate(self._generator.generate(), start=1):
            add(task)
            if inbox:
                self._take_in()
            while pulled >= self._granted:
                self._serve(partial(self._may_pull, pulled))

    def _may_pull(self, pulled: int) -> bool:
        return pulled < self._granted

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0:
            self._serve(lambda: False, left_s)

    def _serve(self, enough: Callable[[], bool], wait_s: float | None = None) -> None:
        """Send what is pending, and wait until there are results, which are taken in, or it is enough, or that long."""
        self._outgoing.flush()
        with self._news:
            # Under the lock of who brings the news: what came a moment before the wait must not be waited for.
            self._news.wait_for(lambda: bool(self._inbox) or enough(), wait_s)
        self._take_in()

    def _take_in(self) -> None:
        while self._inbox:
            delivery = self._inbox.popleft()
            for block in delivery.blocks:
                self._react(block)
            self._outgoing.send(feed_pipe.Consumed(delivery.number))

    def _react(self, block: RecordedBlock) -> None:
        for result in OpenBlock(block):
            made = self._generator.on_result(result)
            if made is not None:
                for task in (made,) if isinstance(made, BaseTask) else made:
                    self._outgoing.add(task)

    def _listen(self) -> None:
        """The other thread: takes messages in, and sends tasks that are stuck behind a slow ``generate()``."""
        reader, outgoing = FrameReader(), self._outgoing
        poller = select.poll()
        poller.register(self._channel, select.POLLIN)
        poller.register(outgoing.wake, select.POLLIN)
        look_at = sleep_at = 0.0
        while True:
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
                data = self._channel.recv(RECEIVE_BYTES)
                if not data:
                    os._exit(1)
                for body in reader.feed(data):
                    self._take(feed_pipe.decode_from_master(body))

    def _take(self, message: feed_pipe.FromMaster) -> None:
        with self._news:
            match message:
                case feed_pipe.Pull(granted):
                    self._granted = granted
                case feed_pipe.Deliver():
                    self._inbox.append(message)
                case feed_pipe.Finish():
                    self._finish = True
            self._news.notify()


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
    try:
        generator_class = load_class(options["class"], BaseTaskGenerator)
        Host(channel, _make(generator_class, options["sections"], Path(options["folder"]))).run()
    except ConnectionError:
        os._exit(1)
    except BaseException as error:  # whatever user code raises is told before this process ends
        channel.sendall(feed_pipe.pack(feed_pipe.Failed(error_record(error))))
        os._exit(1)
    os._exit(0)
