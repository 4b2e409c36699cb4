"""LustreFileCreationCheckTask: whether a file can be created on one OST by each MDT.

Each check of an MDT makes one record, ``lustre_file_creation_check`` (target, mdt_index, ost_index, outcome, error):

    OK        the file was created, and lies on the OST
    FAILED    Lustre did not create it, or elsewhere
    ERROR     that could not be found out: no answer of OST or MDT, no folder, no permission, no lfs
    IGNORED   nothing was tried, because an administrator has made the OST inactive

The MDTs are checked side by side, so that one which is slow or hangs neither delays nor hides the others. The file is
``<target_base_dir>/<target_mdt_sub_dir><mdt>/<ost>_file_creation_check.tmp``. Nothing but ``lfs``, which has a limit of
time, touches it before the MDT has answered. The task's value is ``{"ok": [...], "failed": [...], "error": [...],
"ignored": [...]}``, indices of MDTs; it fails when there is one that has failed, or an error.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIG_BLOCK, SIGTERM, pthread_sigmask
from typing import NamedTuple

from cyclone import BaseTask
from cyclone.lustre.lfs import Lfs, LfsError, LfsTimeout, Reason
from cyclone.lustre.parsing import INACTIVE, ost_name
from cyclone.lustre.probe import OstProbe, ProbeFailed, is_inactive
from cyclone.ranges import range_set

RECORD = "lustre_file_creation_check"
OK, FAILED, ERROR, IGNORED = "OK", "FAILED", "ERROR", "IGNORED"
# Why a file was not created, where neither the OST nor the MDT is known to be at fault.
_UNDECIDED = (Reason.NOT_RUN, Reason.NO_SUCH_FILE, Reason.PERMISSION, Reason.TIMEOUT)


class _Check(NamedTuple):
    mdt_index: int
    outcome: str
    error: str = ""


class LustreFileCreationCheckTask(OstProbe):
    """Checks one OST with each MDT of ``mdt_index_rangeset``, such as 0-2; see the module for value and records.

    There is a folder on each MDT, ``target_base_dir/target_mdt_sub_dir`` and its index. ``sudo`` is for ``lfs check
    osts``, ``lfs_timeout_s`` the most that a call of lfs may take. With ``local_mode`` nothing is asked of Lustre: the
    folders are any, and made where they do not exist. Raises ProbeFailed; ValueError for what is no set of indices.
    """

    # Two of them at a time would delete each other's files.
    exclusive = True

    def __init__(
        self,
        ost_idx: int,
        lfs_target: str,
        target_base_dir: str,
        target_mdt_sub_dir: str,
        mdt_index_rangeset: str,
        lfs_bin: str = "lfs",
        sudo: bool = False,
        lfs_timeout_s: float = 60.0,
        local_mode: bool = False,
    ) -> None:
        range_set(mdt_index_rangeset)
        self.ost_idx = ost_idx
        self.lfs_target = lfs_target
        self.target_base_dir = target_base_dir
        self.target_mdt_sub_dir = target_mdt_sub_dir
        self.mdt_index_rangeset = mdt_index_rangeset
        self.lfs_bin = lfs_bin
        self.sudo = sudo
        self.lfs_timeout_s = lfs_timeout_s
        self.local_mode = local_mode

    def execute(self) -> dict[str, list[int]]:
        mdts = range_set(self.mdt_index_rangeset)
        try:
            checks = [_Check(mdt, IGNORED, INACTIVE) for mdt in mdts] if self._is_inactive() else self._checks(mdts)
        except (OSError, LfsError, ProbeFailed) as error:
            checks = [_Check(mdt, ERROR, str(error)) for mdt in mdts]
        for check in checks:
            _record(self, self.lfs_target, self.ost_idx, check)
        bad = [check for check in checks if check.outcome in (FAILED, ERROR)]
        if bad:
            told = "; ".join(f"MDT{check.mdt_index:04x} {check.outcome}: {check.error}" for check in bad)
            raise ProbeFailed(f"{ost_name(self.ost_idx)}: {told}")
        return {
            outcome.lower(): [check.mdt_index for check in checks if check.outcome == outcome]
            for outcome in (OK, FAILED, ERROR, IGNORED)
        }

    def lost(self, error: str, started: float | None) -> "LustreFileCreationLostTask":
        """See ``OstProbe.lost``."""
        return LustreFileCreationLostTask(self.ost_idx, self.lfs_target, self.mdt_index_rangeset, error)

    def folder(self, mdt: int) -> Path:
        """The one that is to lie on this MDT."""
        return Path(self.target_base_dir, f"{self.target_mdt_sub_dir}{mdt}")

    def _is_inactive(self) -> bool:
        checking = Lfs(self.lfs_bin, self.sudo, self.lfs_timeout_s)
        return not self.local_mode and is_inactive(checking, self.lfs_target, self.ost_idx)

    def _checks(self, mdts: list[int]) -> list[_Check]:
        # SIGTERM must meet the main thread, to end what that waits for.
        with ThreadPoolExecutor(len(mdts), initializer=pthread_sigmask, initargs=(SIG_BLOCK, {SIGTERM})) as pool:
            return list(pool.map(self._check, mdts))

    def _check(self, mdt: int) -> _Check:
        path = self.folder(mdt) / f"{self.ost_idx}_file_creation_check.tmp"
        try:
            if self.local_mode:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch(exist_ok=False)
                path.unlink()
                return _Check(mdt, OK)
            return self._check_on_lustre(mdt, path, Lfs(self.lfs_bin, timeout_s=self.lfs_timeout_s))
        except OSError as error:
            return _Check(mdt, ERROR, str(error))

    def _check_on_lustre(self, mdt: int, path: Path, lfs: Lfs) -> _Check:
        try:
            self._create(lfs, path)
        except LfsError as error:
            return _Check(mdt, ERROR if error.reason in _UNDECIDED else FAILED, str(error))
        try:
            found = lfs.layout(str(path)).ost_indices
        except LfsTimeout as error:
            # To delete the file would hang as well. The next check does it.
            return _Check(mdt, ERROR, str(error))
        except LfsError as error:
            check = _Check(mdt, ERROR, str(error))
        else:
            on = ", ".join(map(str, found)) or "none"
            check = _Check(mdt, OK) if found == (self.ost_idx,) else _Check(mdt, FAILED, f"it was created on OST {on}")
        path.unlink(missing_ok=True)
        return check

    def _create(self, lfs: Lfs, path: Path) -> None:
        """Create the file, in place of one that a killed check has left."""
        try:
            lfs.set_stripe(str(path), self.ost_idx)
        except LfsTimeout:
            raise
        except LfsError:
            # The MDT has answered, so that it may be asked.
            if not path.exists():
                raise
            path.unlink()
            lfs.set_stripe(str(path), self.ost_idx)


class LustreFileCreationLostTask(BaseTask):
    """Makes the records of a check that has made none: an error with each MDT."""

    def __init__(self, ost_idx: int, lfs_target: str, mdt_index_rangeset: str, error: str) -> None:
        self.ost_idx = ost_idx
        self.lfs_target = lfs_target
        self.mdt_index_rangeset = mdt_index_rangeset
        self.error = error

    def execute(self) -> None:
        for mdt in range_set(self.mdt_index_rangeset):
            _record(self, self.lfs_target, self.ost_idx, _Check(mdt, ERROR, self.error))


def _record(task: BaseTask, target: str, ost_index: int, check: _Check) -> None:
    task.record(RECORD, target=target, ost_index=ost_index, **check._asdict())
