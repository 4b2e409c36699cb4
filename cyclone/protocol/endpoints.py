"""Where a socket of the protocol is: at a host and a port, or a socket file, written ``ipc:///path``.

Owns how either is written, for ZeroMQ and for people, and who may reach a file: whoever may enter its folder. A
*target* is a host, by name or address, or such a file, for which a port means nothing. Looks at the file system only
when it is asked.
"""

import os
import socket
import stat
from pathlib import Path

FILE_FORM = "ipc:///PATH"
_FILE = "ipc://"
# unix(7): sun_path has 108, one of them for the NUL at its end.
_PATH_BYTES_MAX = 107


def is_file(target: str) -> bool:
    """Whether it is a socket file."""
    return target.startswith(_FILE)


def check_file(target: str) -> str:
    """The target of a socket file as it is. Raises ValueError where there cannot be such a file."""
    path = target.removeprefix(_FILE)
    if not path.startswith("/") or path.endswith("/") or not path.isprintable():
        raise ValueError(f"{target!r} is no socket file: write ipc:// and an absolute path")
    size = len(path.encode())
    if size > _PATH_BYTES_MAX:
        raise ValueError(
            f"{target!r} has a path of {size} bytes, that of a socket file has {_PATH_BYTES_MAX} at most: name a "
            "shorter one"
        )
    return target


def in_folder(folder: Path, name: str) -> str:
    """The target of a socket file in an existing folder, for as long as this process lives. Raises OSError."""
    path = folder / name
    if len(os.fsencode(path)) <= _PATH_BYTES_MAX:
        return f"{_FILE}{path}"
    # Where $TMPDIR is long, as on many clusters, /proc has a short way to the same folder (proc_pid_fd(5)), which the
    # kernel opens to this user's processes alone. The descriptor has to stay: it is a part of the path.
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return f"{_FILE}/proc/{os.getpid()}/fd/{descriptor}/{name}"


def endpoint(target: str, port: int) -> str:
    """As ZeroMQ takes it; port 0 is any that is free."""
    if is_file(target):
        return target
    return f"tcp://{f'[{target}]' if ':' in target else target}:{port or '*'}"


def shown(target: str, port: int) -> str:
    """For people."""
    return target if is_file(target) else f"{target} port {port}"


def opening(target: str) -> str:
    """Why others may reach a socket file, or put theirs in its place; '' where only this user and root can."""
    folder = _path(target).parent
    try:
        found = folder.stat()
    except OSError as error:
        return f"is in {folder}, which cannot be looked at ({error.strerror})"
    if found.st_uid not in (0, os.geteuid()):
        return f"is in {folder}, which belongs to user {found.st_uid}"
    if found.st_mode & 0o077:
        return f"is in {folder}, which others may enter (mode {stat.S_IMODE(found.st_mode):03o}; chmod 700 closes it)"
    return ""


def lock_file(target: str) -> Path:
    """Beside a socket file: who listens there holds it locked."""
    return _path(f"{target}.lock")


def is_listening(target: str) -> bool:
    """Whether somebody listens at a socket file: ZeroMQ would take it away from him without a word."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        try:
            caller.connect(os.fspath(_path(target)))
        except OSError:
            return False
    return True


def _path(target: str) -> Path:
    return Path(target.removeprefix(_FILE))
