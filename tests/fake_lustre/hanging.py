"""A file on an OST that hangs: a FIFO, and a process that ends the hanging when its time is over.

The process outlives the call of lfs that made the file, and ends by itself: when it has let somebody go, when the file
was removed, or a minute after its time.
"""

import os
import select
import time
from collections.abc import Callable
from contextlib import suppress

_LATE_S = 60.0
_LOOK_S = 0.005


def hang_writers(path: str, duration_s: float | None) -> None:
    """Who writes hangs, from the creation of the file for so long, and is told EPIPE then, also if he comes later.

    Without a duration he hangs in open(2) until somebody reads, for ever if nobody does.
    """
    os.mkfifo(path, 0o644)
    if duration_s is None:
        return
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    # Full before anybody can write: so he hangs in write(2), as on an OST, and not in open(2).
    filling = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        while True:
            os.write(filling, bytes(65536))
    os.close(filling)
    if _is_parent():
        os.close(reading)
        return
    time.sleep(duration_s)
    poll = select.poll()
    poll.register(reading, 0)
    # POLLHUP: nobody has it open to write.
    _wait(reading, lambda: not any(event & select.POLLHUP for _, event in poll.poll(0)))
    os._exit(0)


def hang_readers(path: str, duration_s: float | None) -> None:
    """What one writes is taken; who opens the file to read then hangs until so long after its creation, and finds
    nothing.
    """
    os.mkfifo(path, 0o644)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if _is_parent():
        os.close(reading)
        return
    end_s = time.monotonic() + (_LATE_S if duration_s is None else duration_s)
    held = f"/proc/self/fd/{os.open(path, os.O_PATH)}"
    _drain(reading, end_s)
    time.sleep(max(0.0, end_s - time.monotonic()))

    def let_go() -> bool:
        try:
            os.close(os.open(held, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            return False  # nobody reads yet
        return True

    os.close(reading)
    _wait(os.open(held, os.O_PATH), let_go)
    os._exit(0)


def _is_parent() -> bool:
    if os.fork():
        return True
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    return False


def _wait(descriptor: int, condition: Callable[[], bool]) -> None:
    """Until the condition holds, the file of the descriptor was removed, or it is late."""
    late_s = time.monotonic() + _LATE_S
    while not condition() and os.fstat(descriptor).st_nlink and time.monotonic() < late_s:
        time.sleep(_LOOK_S)


def _drain(reading: int, end_s: float) -> None:
    """Take what one writer writes, from its first byte until it has closed the FIFO."""
    written = 0
    while time.monotonic() < end_s:
        try:
            block = os.read(reading, 65536)
        except BlockingIOError:
            time.sleep(_LOOK_S)  # it is open, and nothing is in it
            continue
        written += len(block)
        if not block:
            if written:
                return
            time.sleep(_LOOK_S)
