"""The pid file: one instance at a time, whoever was killed before. The lock of a socket file is one, too.

Owns the file and the lock on it. The lock decides, never the number in the file, so a stale file is harmless, and a pid
that was given to another process is too. The lock goes with the process, however it ends; its descriptor is not
inherited.
"""

import errno
import fcntl
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

from cyclone.errors import AlreadyRunning, ConfigError
from cyclone.logs import escape

_PID_BYTES_MAX = 32


class PidFile:
    """Context manager: holds ``path`` locked, with this process's id in it, and removes it at the end.

    Entering raises AlreadyRunning, which says of its holder ``what`` it holds and ``instead`` what may be done, or
    ConfigError where the file cannot be made, which names the ``key``.
    """

    def __init__(
        self,
        path: Path,
        key: str = "[control] pid_file",
        what: str = "",
        instead: str = "stop that, or give this instance a pid_file of its own",
        mode: int = 0o644,
    ) -> None:
        self._path = path.absolute()
        self._key = key
        self._what = what or f"pid file {self._path}"
        self._instead = instead
        self._mode = mode
        self._descriptor = -1

    def __enter__(self) -> Self:
        while self._descriptor < 0:
            self._descriptor = self._lock()
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Removed before it is unlocked: the other way round it could be the next instance's. And not if somebody has
        # removed it already, for then the name may be another's.
        if _is_same_file(self._descriptor, self._path):
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1

    def _lock(self) -> int:
        """A descriptor that holds the lock on the file of this name, or -1 when the file went away meanwhile."""
        try:
            # A symbolic link is not followed: in a folder that others may write it could name any file.
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, self._mode)
        except OSError as error:
            raise self._unusable(error) from None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ConfigError(f"{self._key}: {str(self._path)!r} is not a regular file: name another")
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _describe_holder(os.pread(descriptor, _PID_BYTES_MAX, 0))
            os.close(descriptor)
            raise AlreadyRunning(f"{self._what} is held by {holder}: {self._instead}") from None
        except BaseException as error:
            os.close(descriptor)
            if isinstance(error, OSError):
                raise self._unusable(error) from None
            raise
        if _is_same_file(descriptor, self._path):
            return descriptor
        # The former holder ended between our open and our lock, and took the name with it.
        os.close(descriptor)
        return -1

    def _unusable(self, error: OSError) -> ConfigError:
        where = f"{self._key}: {str(self._path)!r}"
        match error.errno:
            case errno.ENOENT | errno.ENOTDIR:
                return ConfigError(
                    f"{where}: the folder {self._path.parent} does not exist: create it, or name another"
                )
            case errno.ELOOP:
                return ConfigError(f"{where} is a symbolic link: name the file itself")
            case errno.EISDIR:
                return ConfigError(f"{where} is a folder: name a file in it")
            case _:
                return ConfigError(
                    f"{where} cannot be created and locked: {error.strerror}; name one in a local folder"
                )


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _describe_holder(content: bytes) -> str:
    text = content.strip()
    if not text.isdigit():
        # It has the lock and has not written yet.
        return "a process that is just starting"
    pid = int(text)
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return f"pid {pid}"
    return f"pid {pid} ({escape(b' '.join(words).decode('utf-8', 'replace'))})"
