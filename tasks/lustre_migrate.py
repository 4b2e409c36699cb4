"""LustreOstMigrateTask: moves the data of one file from an OST to another, by ``lfs migrate``.

What became of the file is the task's *value*, never an exception, so that a migration of millions of files is judged by
its outcomes. A task that *fails* tells of its node, where ``lfs`` cannot be started. The value is a dict:

    path      the file
    outcome   SUCCESS, DISPLACED, FAILED, IGNORED or SKIPPED
    source    index of the OST on which the file was to be found
    target    index of the OST to which it was to go
    landed    indices of the OSTs on which its data is now, a list; empty where nobody has looked
    bytes     what its blocks took before; 0 where nothing was moved
    seconds   how long it all took, a float
    error     why it is not SUCCESS; "" where it is
    busy      whether it was only in use, or changed meanwhile, so that a later try may succeed

    SUCCESS    it lies on the target, and not on the source any more
    DISPLACED  it was moved, and lies elsewhere than on the target, or in part still on the source
    FAILED     lfs said no, or took too long
    IGNORED    there was nothing to do: it is gone, has no data, is not on the source, or the source is the target
    SKIPPED    it is not to be moved: striped while ``skip`` is set, mirrored, in part on an MDT, or released by HSM

While ``pause_file`` exists no move begins: the outcome is PAUSED, which is none, and neither recorded nor logged.

The same is a record ``lustre_migration`` (path, source_ost, target_ost, outcome, bytes, seconds, error) and a line of
the log as the original Cyclone wrote it: ``SUCCESS|<path>|<time>|<source>|<target>``.
"""

import datetime
import os
import re
import stat
import time
from typing import Any, NamedTuple

from cyclone import BaseTask
from cyclone.lustre.lfs import Layout, Lfs, LfsError, Reason

SUCCESS, DISPLACED, FAILED, IGNORED, SKIPPED = "SUCCESS", "DISPLACED", "FAILED", "IGNORED", "SKIPPED"
# Not an outcome: the file waits as before.
PAUSED = "PAUSED"
# What a caller may try again later: somebody holds the file open, or wrote to it while it was copied.
_BUSY = (Reason.BUSY, Reason.CHANGED)
# What would end a line of the log, or one of its fields.
_CONFUSING = re.compile(r"[\x00-\x1f\x7f|\ud800-\udfff]")


class _Verdict(NamedTuple):
    outcome: str
    error: str = ""
    landed: tuple[int, ...] = ()
    bytes: int = 0
    busy: bool = False


class LustreOstMigrateTask(BaseTask):
    """Moves a file's data from ``source_ost`` to ``target_ost``, both indices; see the module for its value.

    ``direct_io`` has lfs copy past the page cache. ``block`` has others who open the file wait meanwhile; without it a
    file in use is not moved. ``skip`` leaves files alone that are striped over several OSTs; without it they keep their
    stripe count, the target has the first stripe, and a file of several components becomes one of one.
    ``bandwidth_bytes`` is the most per second, 0 for no limit; ``timeout_s`` how long lfs may take, 0 for its default;
    ``pause_file`` what holds up all moves while it is there; ``fs_path`` the mount point of a file system, where
    ``filename`` is a FID of it.
    """

    exclusive = True
    # Whether it is tried again, and when, is for whoever hands out files to say.
    retries = 0

    def __init__(
        self,
        filename: str,
        source_ost: int,
        target_ost: int,
        direct_io: bool = True,
        block: bool = False,
        skip: bool = True,
        bandwidth_bytes: int = 0,
        lfs_bin: str = "lfs",
        sudo: bool = False,
        timeout_s: float = 0.0,
        pause_file: str = "",
        fs_path: str = "",
    ) -> None:
        self.filename = filename
        self.source_ost = source_ost
        self.target_ost = target_ost
        self.direct_io = direct_io
        self.block = block
        self.skip = skip
        self.bandwidth_bytes = bandwidth_bytes
        self.lfs_bin = lfs_bin
        self.sudo = sudo
        self.timeout_s = timeout_s
        self.pause_file = pause_file
        self.fs_path = fs_path

    def execute(self) -> dict[str, Any]:
        began_s = time.monotonic()
        # A path and not a Path: its cost is paid for each file.
        if self.pause_file and os.path.exists(self.pause_file):  # noqa: PTH110
            return self._value(_Verdict(PAUSED, f"{self.pause_file} is there", busy=True), 0.0)
        verdict = self._migrate(self._lfs())
        seconds = time.monotonic() - began_s
        self.record(
            "lustre_migration",
            path=self.filename,
            source_ost=self.source_ost,
            target_ost=self.target_ost,
            outcome=verdict.outcome,
            bytes=verdict.bytes,
            seconds=seconds,
            error=verdict.error,
        )
        self.log.info("%s", self._line(verdict, seconds))
        return self._value(verdict, seconds)

    def _value(self, verdict: _Verdict, seconds: float) -> dict[str, Any]:
        return {
            "path": self.filename,
            "outcome": verdict.outcome,
            "source": self.source_ost,
            "target": self.target_ost,
            "landed": list(verdict.landed),
            "bytes": verdict.bytes,
            "seconds": seconds,
            "error": verdict.error,
            "busy": verdict.busy,
        }

    def _lfs(self) -> Lfs:
        return Lfs(self.lfs_bin, self.sudo)

    def _migrate(self, lfs: Lfs) -> _Verdict:
        """Look, move, look again. Raises LfsError only where lfs cannot be started."""
        if self.source_ost == self.target_ost:
            return _Verdict(IGNORED, f"the source OST {self.source_ost} is the target")
        try:
            if self.fs_path:
                self.filename = lfs.fid_to_path(self.fs_path, self.filename)
            size_bytes = self._size_bytes()
            layout = lfs.layout(self.filename)
        except LfsError as error:
            return self._refused(error)
        except FileNotFoundError:
            return _Verdict(IGNORED, "it is gone")
        except (OSError, ValueError) as error:
            return _Verdict(FAILED, str(error))
        if size_bytes is None:
            return _Verdict(IGNORED, "it is no regular file")
        return self._objection(layout) or self._move(lfs, layout, size_bytes)

    def _move(self, lfs: Lfs, layout: Layout, size_bytes: int) -> _Verdict:
        try:
            lfs.migrate(
                self.filename,
                self.target_ost,
                stripe_count=layout.stripe_count if layout.component_count == 1 else len(layout.ost_indices),
                block=self.block,
                direct_io=self.direct_io,
                bandwidth_bytes=self.bandwidth_bytes,
                timeout_s=self.timeout_s or None,
            )
        except LfsError as error:
            return self._refused(error)
        try:
            landed = lfs.layout(self.filename).ost_indices
        except LfsError as error:
            verdict = self._refused(error)
            return verdict._replace(error=f"it was moved, and nobody knows where to: {verdict.error}", busy=False)
        if self.target_ost in landed and self.source_ost not in landed:
            return _Verdict(SUCCESS, landed=landed, bytes=size_bytes)
        on = ", ".join(map(str, landed)) or "none"
        return _Verdict(DISPLACED, f"it lies on OST {on}", landed, size_bytes)

    def _size_bytes(self) -> int | None:
        """What its blocks take, None for what is no regular file; 0 where only root may look, who is asked by sudo."""
        try:
            found = os.lstat(self.filename)
        except PermissionError:
            return 0
        except NotADirectoryError as error:
            raise FileNotFoundError(*error.args) from None
        return found.st_blocks * 512 if stat.S_ISREG(found.st_mode) else None

    def _objection(self, layout: Layout) -> _Verdict | None:
        """Why the file stays where it is, if it does."""
        where = layout.ost_indices
        if layout.released:
            return _Verdict(SKIPPED, "it is released by HSM")
        if not where:
            return _Verdict(IGNORED, "it has no data on an OST")
        if self.source_ost not in where:
            return _Verdict(IGNORED, f"it is not on OST {self.source_ost}", where)
        if layout.mirror_count > 1:
            return _Verdict(
                SKIPPED, f"it has {layout.mirror_count} mirrors, of which lfs migrate would leave one", where
            )
        if layout.has_mdt_component:
            return _Verdict(SKIPPED, "it is in part on an MDT", where)
        if self.skip and len(where) > 1:
            return _Verdict(SKIPPED, f"it is striped over {len(where)} OSTs", where)
        return None

    def _refused(self, error: LfsError) -> _Verdict:
        if error.reason == Reason.NOT_RUN:
            raise error
        if error.reason == Reason.NO_SUCH_FILE:
            return _Verdict(IGNORED, "it is gone")
        return _Verdict(FAILED, str(error), busy=error.reason in _BUSY)

    def _line(self, verdict: _Verdict, seconds: float) -> str:
        """As the original wrote it, with the reason where there is one."""
        name = _CONFUSING.sub(lambda found: f"\\u{ord(found[0]):04x}", self.filename)
        if verdict.outcome in (IGNORED, SKIPPED):
            return f"{verdict.outcome}|{name}|{verdict.error}"
        fields = [verdict.outcome, name, datetime.timedelta(seconds=seconds), self.source_ost, self.target_ost]
        if verdict.error:
            fields.append(" ".join(verdict.error.split()))
        return "|".join(map(str, fields))
