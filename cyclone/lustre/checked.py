"""``lfs check osts`` at most once per node and some seconds, whoever asks.

The call asks every OST of the file system, 784 of them perhaps; a task for each OST must not make it anew. Processes
of one user on a node share what the last of them was told, also that it failed, by a file in a private folder: it is
replaced at once and so read without a lock, and a lock that the kernel frees with its holder sees to it that one asks
while the others wait.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import IO

from cyclone.folders import private_folder
from cyclone.lustre.command import GRACE_S
from cyclone.lustre.lfs import Lfs, LfsError, LfsTimeout, Reason

_LOOK_S = 0.02
_FILE_BYTES_MAX = 4 * 1024 * 1024
# Not $TMPDIR: each worker has one of its own, where it would meet nobody.
_TMP = Path("/tmp")


class CheckedOsts:
    """The states of the OSTs of the file system ``target``, not older than ``max_age_s``."""

    def __init__(self, lfs: Lfs, target: str, max_age_s: float = 10.0, folder: Path | None = None) -> None:
        """``folder`` is private to this user, and made where it does not exist; see ``runtime_folder``."""
        self._lfs = lfs
        self._target = target
        self._max_age_s = max_age_s
        self._folder = folder or runtime_folder()
        # Not only by its name: what two PATHs find are two programs, which may tell of two file systems.
        program = shutil.which(lfs.lfs_bin) or lfs.lfs_bin
        told = "\0".join((target, program, str(lfs.sudo)))
        self._name = hashlib.sha256(os.fsencode(told)).hexdigest()[:16]

    def states(self) -> dict[int, str]:
        """As ``Lfs.check_osts``. Raises LfsError, also for a call of another process that failed just now.

        While another process asks, this one waits for it, as long as that call may take.
        """
        try:
            private_folder(self._folder)  # in another one anybody could feign the states
        except OSError as error:
            text = f"the folder {self._folder} cannot be used: {error.strerror}"
            raise LfsError(text, reason=Reason.NOT_RUN) from error
        deadline_s = time.monotonic() + self._lfs.timeout_s + 3 * GRACE_S
        with self._lock() as lock:
            while True:
                answer = self._answer()
                if answer is not None:
                    return answer
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    pass
                if time.monotonic() >= deadline_s:
                    waited = f"{self._lfs.timeout_s + 3 * GRACE_S:g} s"
                    raise LfsTimeout(f"another process has been calling lfs check osts for more than {waited}")
                time.sleep(_LOOK_S)
            # Somebody may have asked between the look and the lock.
            answer = self._answer()
            return self._ask() if answer is None else answer

    def _lock(self) -> IO[bytes]:
        path = self._folder / f"{self._name}.lock"
        try:
            return open(path, "ab")
        except OSError as error:
            raise LfsError(f"cannot open {path}: {error.strerror}", reason=Reason.NOT_RUN) from error

    def _answer(self) -> dict[int, str] | None:
        """What the last call told, None where that is too old, of an earlier boot, or not there."""
        try:
            with open(self._folder / f"{self._name}.json", "rb") as file:
                told = json.loads(file.read(_FILE_BYTES_MAX))
            age_s = time.monotonic() - told["monotonic_s"]
            if told["boot"] != _boot() or not 0 <= age_s < self._max_age_s:
                return None
            if told["error"] is None:
                return {int(index): str(state) for index, state in told["states"].items()}
            error, reason = str(told["error"]), Reason(told["reason"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None  # what cannot be read is asked for again
        raise LfsTimeout(error) if reason is Reason.TIMEOUT else LfsError(error, reason=reason)

    def _ask(self) -> dict[int, str]:
        try:
            states = self._lfs.check_osts(self._target)
        except LfsError as error:
            self._tell(error=str(error), reason=error.reason)
            raise
        self._tell(states=states)
        return states

    def _tell(
        self, states: dict[int, str] | None = None, error: str | None = None, reason: str = Reason.UNKNOWN
    ) -> None:
        # The age counts from the end of a call that may take long: it answers those who have waited for it.
        told = {"boot": _boot(), "monotonic_s": time.monotonic(), "states": states, "error": error, "reason": reason}
        new = self._folder / f"{self._name}.new"
        # Where the folder is full, the answer counts all the same, and the next process asks for itself.
        with contextlib.suppress(OSError):
            new.write_text(json.dumps(told), encoding="ascii")
            new.replace(self._folder / f"{self._name}.json")


def runtime_folder() -> Path:
    """Where processes of this user on this node meet; ``states`` makes it, and sees that it is private.

    Below $RUNTIME_DIRECTORY of systemd, $XDG_RUNTIME_DIR, or /tmp.
    """
    given = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0] or os.environ.get("XDG_RUNTIME_DIR")
    if given and Path(given).is_dir():
        return Path(given) / "cyclone-lustre"
    return _TMP / f"cyclone-lustre-{os.geteuid()}"


def _boot() -> str:
    """Which boot the monotonic clock counts from: a folder below /tmp may outlive it."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
