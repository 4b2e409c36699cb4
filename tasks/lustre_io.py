"""LustreIOTask: writes a file to one OST and reads it back, and says how fast that was.

Each probe makes one record, ``lustre_ost_io``, which is its value too:

    fs                  the file system
    ost                 the OST, as OST000a
    write_timestamp     Unix time at which writing began; None where it did not
    read_timestamp      the same for reading
    size_bytes          how much was to be written and read; 0 where nothing was
    write_bytes_per_s   a float; None where that failed
    read_bytes_per_s    the same for reading
    write_s, read_s     what the two took
    error               what went wrong, "" if nothing did

An OST that an administrator has made inactive is no failure: its record has zeros, and the error ``inactive``. After
any other error the task fails, also where the OST does not answer ``lfs check osts``. A worker that is killed, because
the OST hangs until the time limit, makes no record: then ``LustreIOLostTask`` makes it, which a monitoring generator
sends behind.

The file is ``<target_dir>/<index>_perf_test.<random>.tmp``. It is deleted whatever happens, and where the worker was
killed by the next probe of this OST: two monitors must not share a folder.
"""

import contextlib
import os
import re
import time
import uuid
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from cyclone import BaseTask
from cyclone.lustre.lfs import Lfs, LfsError
from cyclone.lustre.parsing import INACTIVE, ost_name
from cyclone.lustre.probe import OstProbe, ProbeFailed, is_inactive
from cyclone.lustre.probe_file import DIRECT_IO_BYTES, ProbeFile

RECORD = "lustre_ost_io"
_MEASURED = (
    "write_timestamp",
    "read_timestamp",
    "size_bytes",
    "write_bytes_per_s",
    "read_bytes_per_s",
    "write_s",
    "read_s",
)


class LustreIOTask(OstProbe):
    """Measures one OST; see the module for its value.

    The file has ``total_size_bytes`` and is written and read in blocks of ``block_size_bytes``. With
    ``write_file_sync`` the time of writing is that until the OST has it all, without until the page cache has.
    ``direct_io`` goes past the page cache, and wants sizes in whole pages. ``sudo`` is for ``lfs check osts``.
    ``lfs_timeout_s`` is the most that a call of lfs may take. With ``local_mode`` nothing is asked of Lustre:
    ``target_dir`` may be any folder. Raises ProbeFailed; ValueError for impossible sizes.
    """

    def __init__(
        self,
        ost_idx: int,
        block_size_bytes: int,
        total_size_bytes: int,
        write_file_sync: bool,
        target_dir: str,
        lfs_bin: str,
        lfs_target: str,
        sudo: bool = False,
        direct_io: bool = False,
        lfs_timeout_s: float = 60.0,
        local_mode: bool = False,
    ) -> None:
        for name, size in (("block_size_bytes", block_size_bytes), ("total_size_bytes", total_size_bytes)):
            if size < 1 or (direct_io and size % DIRECT_IO_BYTES):
                unit = f"a multiple of {DIRECT_IO_BYTES}, for direct_io" if direct_io else "at least 1"
                raise ValueError(f"{name} is {size}: expected {unit}")
        self.ost_idx = ost_idx
        self.block_size_bytes = block_size_bytes
        self.total_size_bytes = total_size_bytes
        self.write_file_sync = write_file_sync
        self.target_dir = target_dir
        self.lfs_bin = lfs_bin
        self.lfs_target = lfs_target
        self.sudo = sudo
        self.direct_io = direct_io
        self.lfs_timeout_s = lfs_timeout_s
        self.local_mode = local_mode

    def execute(self) -> dict[str, Any]:
        found = _new_record(self.lfs_target, self.ost_idx)
        inactive = False
        try:
            inactive = self._is_inactive()
            if inactive:
                found.update(dict.fromkeys(_MEASURED, 0.0), size_bytes=0, error=INACTIVE)
                found["write_timestamp"] = found["read_timestamp"] = time.time()
            else:
                self._measure(found)
        except (OSError, LfsError, ProbeFailed) as error:
            found["error"] = str(error)
        self.record(RECORD, **found)
        if found["error"] and not inactive:
            raise ProbeFailed(f"{found['ost']}: {found['error']}")
        return found

    def lost(self, error: str, started: float | None) -> "LustreIOLostTask":
        """See ``OstProbe.lost``."""
        return LustreIOLostTask(self.ost_idx, self.lfs_target, self.total_size_bytes, error, started)

    def watched(self, what: str, path: Path) -> AbstractContextManager[object]:
        """Around writing ("Write") and reading ("Read") the file, for who wants to know how long that takes."""
        return contextlib.nullcontext()

    def _is_inactive(self) -> bool:
        checking = Lfs(self.lfs_bin, self.sudo, self.lfs_timeout_s)
        return not self.local_mode and is_inactive(checking, self.lfs_target, self.ost_idx)

    def _measure(self, found: dict[str, Any]) -> None:
        """Fill in the record as far as it comes; its error says where that ended."""
        path = Path(self.target_dir, f"{self.ost_idx}_perf_test.{uuid.uuid4().hex}.tmp")
        found["size_bytes"] = self.total_size_bytes
        step = "write"
        try:
            self._delete_former()
            file = ProbeFile(path, self.block_size_bytes, self.total_size_bytes, self.direct_io)
            with self.watched("Write", path):
                self._create(path)
                found["write_timestamp"] = time.time()
                seconds = file.write(self.write_file_sync)
            found.update(self._measured("write", seconds))
            step = "read"
            with self.watched("Read", path):
                found["read_timestamp"] = time.time()
                seconds = file.read()
            found.update(self._measured("read", seconds))
        except (OSError, LfsError) as error:
            found["error"] = f"{step}: {error}"
        finally:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                found["error"] = found["error"] or f"delete: {error}"

    def _measured(self, what: str, seconds: float) -> dict[str, float]:
        return {f"{what}_s": seconds, f"{what}_bytes_per_s": self.total_size_bytes / seconds}

    def _create(self, path: Path) -> None:
        if self.local_mode:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        else:
            Lfs(self.lfs_bin, timeout_s=self.lfs_timeout_s).set_stripe(str(path), self.ost_idx)

    def _delete_former(self) -> None:
        """Whoever still has one of them open, because this OST hangs, does not notice."""
        former = re.compile(rf"{self.ost_idx}_perf_test(\.[0-9a-f]{{32}})?\.tmp")
        for path in Path(self.target_dir).iterdir():
            if former.fullmatch(path.name):
                path.unlink(missing_ok=True)


class LustreIOLostTask(BaseTask):
    """Makes the record of a probe that has made none; ``started`` is when that began, None where nobody knows."""

    def __init__(self, ost_idx: int, lfs_target: str, total_size_bytes: int, error: str, started: float | None) -> None:
        self.ost_idx = ost_idx
        self.lfs_target = lfs_target
        self.total_size_bytes = total_size_bytes
        self.error = error
        self.started = started

    def execute(self) -> None:
        known = {"size_bytes": self.total_size_bytes, "write_timestamp": self.started, "error": self.error}
        self.record(RECORD, **_new_record(self.lfs_target, self.ost_idx) | known)


def _new_record(target: str, ost_idx: int) -> dict[str, Any]:
    return {"fs": target, "ost": ost_name(ost_idx), **dict.fromkeys(_MEASURED), "error": ""}
