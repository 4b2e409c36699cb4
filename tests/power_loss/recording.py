"""Records what SQLite does to the files of a journal: a layer of SQLite's own interface to the file system.

Owns the trace. The operations are carried out as well, so that the journal runs as it always does.
"""

from pathlib import Path

import apsw

from tests.power_loss.disk import Delete, Op, Sync, Truncate, Write


class RecordingVfs(apsw.VFS):
    """Under the name ``name`` for as long as the object lives; ``ops`` grows."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ops: list[Op] = []
        super().__init__(name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 -- SQLite's
        """Files without a name are temporary: nobody looks for them after a power loss."""
        if name is None:
            return apsw.VFSFile("", None, flags)
        return _RecordingFile(self.ops, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        super().xDelete(filename, syncdir)
        self.ops.append(Delete(Path(filename).name))


class _RecordingFile(apsw.VFSFile):
    def __init__(self, ops: list[Op], name: str | apsw.URIFilename, flags: list[int]) -> None:
        self._ops = ops
        # Of these SQLite syncs the folder too, once, with the first sync after it has made them.
        kinds = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL
        self._syncs_folder = bool(flags[0] & kinds and not Path(str(name)).exists())
        self._name = Path(name.filename() if isinstance(name, apsw.URIFilename) else name).name
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        super().xWrite(data, offset)
        self._ops.append(Write(self._name, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        super().xTruncate(newsize)
        self._ops.append(Truncate(self._name, newsize))

    def xSync(self, flags: int) -> None:  # noqa: N802
        super().xSync(flags)
        self._ops.append(Sync(self._name, self._syncs_folder))
        self._syncs_folder = False
