"""Where a database may lie: which file systems are the network's.

A write-ahead log needs shared memory and locks that work, and a sync that is one: file systems of the network have none
of it dependably.
"""

from pathlib import Path

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


def network_fault(path: Path) -> str:
    """Why no database may lie there, to stand behind its name; '' where one may."""
    kind, mount = file_system(path)
    if kind not in _NETWORK and kind not in _NETWORK_FUSE:
        return ""
    return (
        f"{mount} is a network file system ({kind}), on which neither locks nor a sync can be relied upon: name a file "
        "on a local disk"
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
