"""The generator process's second thread: nothing that was yielded waits for company longer than ``GATHER_S``.

The main thread runs user code. This one sends what it has yielded but cannot send while it is inside a slow
``generate()`` or ``on_result``, asks it now and then to come out at its next yield, so that results are looked at and
the cursor keeps up, and ends the process when the master is gone. It never reads, and never runs user code. Must not
import zmq.

The main thread owes ``arm`` before ``generate()`` runs and each time it has come out of it, a look at ``asked`` behind
each task that it adds there, and ``rouse`` behind those of ``on_result`` where this thread is not ``awake``. While
nothing comes this thread sleeps, and then ``asked`` is never empty.
"""

import os
import select
import socket
import threading
import time

from cyclone.master.generator.outgoing import Outgoing

# Tasks never wait longer than this for company.
GATHER_S = 0.005
# How long the thread looks on after the main one has come out, or had to be helped, for the last time.
AWAKE_S = 0.1


class Watcher:
    """``asked`` is not empty while the main thread is to come out; a list, which costs a loop 10 ns to look at."""

    def __init__(self, channel: socket.socket, outgoing: Outgoing) -> None:
        self._channel = channel
        self._outgoing = outgoing
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._roused_at = self._sleep_at = 0.0
        self.asked: list[None] = []
        self.awake = False

    def start(self) -> None:
        """Begin to watch."""
        threading.Thread(target=self._watch, daemon=True).start()

    def arm(self) -> None:
        """The main thread has come out of ``generate()``, and may go on with it."""
        # In this order, and the other one in look(): one of both threads sees what the other has done.
        self.asked.clear()
        if not self.awake:
            self.rouse()

    def rouse(self) -> None:
        """Wake the thread. That costs more than a task does, so it stays awake while tasks keep coming."""
        self.awake = True
        self._roused_at = time.monotonic()
        os.eventfd_write(self._wake, 1)

    def look(self, now: float) -> float | None:
        """Do what is due; the seconds until the next look, None where the main thread will say when."""
        came_out = not self.asked
        if came_out:
            self.asked.append(None)
        # Nothing had waited when it was roused: what came then has time to gather, too.
        left_s = max(self._outgoing.empty_at, self._roused_at) + GATHER_S - now
        helped = left_s <= 0 and self._outgoing.flush()
        if came_out or helped:
            self._sleep_at = now + AWAKE_S
        elif now >= self._sleep_at:
            self.awake = False
            if self.asked and not self._outgoing.waiting:
                return None
            self.awake = True
        return left_s if left_s > 0 else GATHER_S

    def _watch(self) -> None:
        poller = select.poll()
        # Of no event but its end, which without a master is ours.
        poller.register(self._channel, 0)
        poller.register(self._wake, select.POLLIN)
        wait_s: float | None = None
        while True:
            ready = dict(poller.poll(None if wait_s is None else wait_s * 1000))
            if self._wake in ready:
                os.eventfd_read(self._wake)
            if self._channel.fileno() in ready:
                os._exit(1)
            wait_s = self.look(time.monotonic())
