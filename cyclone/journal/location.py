"""Where a journal may lie, and who has it: file systems, folders, modes and the lock.

Owns everything about the files that SQLite does not. A write-ahead log needs shared memory and locks that work, and a
sync that is one: file systems of the network have none of it dependably, so they are refused. The caller owes ``close``
of the lock when the database is closed, not before.
"""

import fcntl
import os
from pathlib import Path

from cyclone.errors import AlreadyRunning, ConfigError

_NETWORK = frozenset(
    ("9p", "afs", "beegfs", "ceph", "cephfs", "cifs", "coda", "fhgfs", "gfs", "gfs2", "glusterfs", "gpfs", "lustre")
    + ("mfs", "moosefs", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "pvfs2", "smb", "smb2", "smb3", "smbfs")
    + ("virtiofs", "wekafs")
)
# Behind FUSE these are of the network too; a plain "fuse" or "fuseblk" may be a local disk.
_NETWORK_FUSE = frozenset(
    f"fuse.{name}"
    for name in ("ceph", "ceph-fuse", "cephfs", "gcsfuse", "glusterfs", "goofys", "juicefs", "mfs", "rclone", "s3fs")
    + ("sshfs",)
)


class FileLock:
    """The lock on ``<file>.lock``: one master at a time. It goes with the process, however that ends."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + ".lock")
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise ConfigError(f"journal {path}: {self.path} cannot be opened: {error.strerror}") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise AlreadyRunning(
                f"journal {path}: another master has it (process {holder or 'unknown'}): stop that one first"
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)

    def close(self) -> None:
        """Unlock. The file stays: removed, two processes could hold a lock on two files of one name."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def prepare(path: Path, create: bool) -> None:
    """See to it that the file is there, empty if it was not, in a folder where a journal may lie; or ConfigError."""
    refuse_network(path)
    if path.is_dir():
        raise ConfigError(f"journal {path}: is a folder: name a file in it")
    if path.exists():
        return
    if not create:
        raise ConfigError(f"journal {path}: there is no such file")
    try:
        for folder in reversed([parent for parent in path.parents if not parent.exists()]):
            folder.mkdir(mode=0o700, exist_ok=True)
            sync_folder(folder)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    except OSError as error:
        raise ConfigError(f"journal {path}: cannot be made: {error.strerror}") from None


def sync_folder(path: Path) -> None:
    """Make the name of a new file or folder last."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refuse_network(path: Path) -> None:
    """ConfigError where the file would lie on a file system of the network."""
    kind, mount = file_system(path)
    if kind in _NETWORK or kind in _NETWORK_FUSE:
        raise ConfigError(
            f"journal {path}: {mount} is a network file system ({kind}), on which neither locks nor a sync can be "
            "relied upon: name a file on a local disk, by [journal] path or [control] state_dir"
        )


def file_system(path: Path) -> tuple[str, str]:
    """Type and mount point of the file system of a path, which need not exist."""
    import psutil

    full = path.absolute()
    while not full.exists() and full != full.parent:
        full = full.parent
    full = full.resolve()
    best, kind = "", ""
    for partition in psutil.disk_partitions(all=True):
        # Of two that are mounted at one place, the later one is on top.
        if len(partition.mountpoint) >= len(best) and full.is_relative_to(partition.mountpoint):
            best, kind = partition.mountpoint, partition.fstype
    return kind, best
