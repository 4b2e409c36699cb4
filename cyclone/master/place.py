"""The place of a master that listens at a socket file: one at a time.

Owns the lock beside that file. The caller enters it before it binds, and leaves it when the socket is closed.
"""

from contextlib import AbstractContextManager, nullcontext

from cyclone.pidfile import PidFile
from cyclone.protocol import endpoints


def alone_at(target: str) -> AbstractContextManager[object]:
    """Nobody else listens at this target meanwhile; does nothing for a host, whose port the kernel gives away once.

    Entering raises AlreadyRunning, which names who does, or ConfigError where no file can be made beside the socket's.
    ZeroMQ replaces a socket file without asking, so of two that begin in the same instant the second would get the
    peers of both.
    """
    if not endpoints.is_file(target):
        return nullcontext()
    instead = "is that another master? Stop it, or name another target"
    return PidFile(endpoints.lock_file(target), "[comm] target: the lock file", target, instead, mode=0o600)
