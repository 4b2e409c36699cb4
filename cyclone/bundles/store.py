"""The bundles of a host: each is fetched and unpacked once, by whichever worker needs it first, and lent to all.

Owns a folder that all workers and controllers of a user on this host share, and the locks in it, which the kernel frees
with their holders: a bundle's own is held alone by who brings or removes it, and together by who uses it. A bundle is
there when its folder has its name, which it gets at once and complete. What nobody uses goes, the longest unused first,
where all together would take too much.

    <sha256>/files      what was in the archive, read-only      <sha256>/about.json  what it is, and how much
    <sha256>.lock       locked as above; its time is the last use of the bundle
    <sha256>.failed     the last failure to bring it            <sha256>.new, .old   on its way in or out
    room                locked by who makes room
"""

import contextlib
import fcntl
import json
import os
import shutil
import stat
import uuid
from pathlib import Path
from typing import Any

from cyclone.bundles import BundleError
from cyclone.bundles.fetching import checksum, fetch, local_path, shown
from cyclone.bundles.unpacking import unpack
from cyclone.folders import private_folder
from cyclone.units import parse_size

FOLDER_VARIABLE = "CYCLONE_BUNDLES"
"""The environment variable that names the folder."""

BYTES_VARIABLE = "CYCLONE_BUNDLES_MAX"
"""The environment variable that says how much all bundles may take, such as 4GiB."""

BYTES_MAX = 10 * 1024**3
"""What they may take where nobody says otherwise."""

# Not /tmp, which often is memory; not below /run, where nothing may be executed.
_SHARED = Path("/var/tmp")
_SHA256_CHARS = 64
_ROOM = "room"


def meant(url: str, sha256: str) -> tuple[Path | None, str]:
    """Which bundle that is: the file on this host, if it is one, and its checksum, '' for what the file has.

    Looks at the words alone, and at nothing that they name. BundleError where they can mean no bundle.
    """
    path = local_path(url)
    digest = sha256.strip().lower().removeprefix("sha256:") if isinstance(sha256, str) else None
    if digest is None or (digest and not _is_digest(digest)):
        raise BundleError(f"{sha256!r:.200} is no SHA-256: expected {_SHA256_CHARS} hexadecimal digits")
    if not digest and path is None:
        raise BundleError(f"{shown(url)} comes over a network: its sha256 must be given, too")
    return path, digest


class Lease:
    """A bundle that stays as it is until ``release``. ``folder`` has what was in the archive."""

    def __init__(self, folder: Path, lock: "_Lock") -> None:
        self.folder = folder
        self._lock = lock

    def release(self) -> None:
        """It may go, as far as we are concerned."""
        self._lock.close()


class BundleStore:
    """See the module. Remembers of each bundle that it was found whole, and the checksums of local files."""

    def __init__(self, folder: Path | None = None, bytes_max: int | None = None) -> None:
        self._folder = folder or _folder()
        self._bytes_max = bytes_max if bytes_max is not None else _bytes_max()
        self._whole: set[str] = set()
        self._checksums: dict[Path, tuple[tuple[int, ...], str]] = {}

    def lend(self, url: str, sha256: str) -> Lease:
        """The bundle, brought here where it is not yet. Without ``sha256`` a local file is what it is now.

        Raises BundleError.
        """
        path, digest = meant(url, sha256)
        try:
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            private_folder(self._folder)
            return self._lease(url, digest or self._checksum(path or Path()))
        except OSError as error:
            where, why = error.filename or self._folder, error.strerror or error
            raise BundleError(f"the folder of bundles cannot be used: {where}: {why}") from error

    def _lease(self, url: str, digest: str) -> Lease:
        told = self._failure(digest)
        lock = _Lock(self._lock_path(digest))
        try:
            while True:
                lock.take(fcntl.LOCK_SH)
                if self._is_whole(digest):
                    lock.touch()
                    return Lease(self._folder / digest / "files", lock)
                lock.take(fcntl.LOCK_EX)
                # Somebody may have brought it, or tried to, while we were waiting for him.
                if not self._is_whole(digest):
                    failure = self._failure(digest)
                    if failure and failure != told:
                        raise BundleError(json.loads(failure)["error"])
                    self._bring(url, digest)
                    self._make_room()
        except BaseException:
            lock.close()
            raise

    def _bring(self, url: str, digest: str) -> None:
        new, target = self._folder / f"{digest}.new", self._folder / digest
        _remove(new)
        _remove(target)
        try:
            new.mkdir(mode=0o700)
            found = fetch(url, new / "archive", self._bytes_max)
            if found != digest:
                raise BundleError(f"{shown(url)} has the SHA-256 {found}, where {digest} was expected")
            (new / "files").mkdir(mode=0o700)
            try:
                unpack(new / "archive", new / "files", self._bytes_max)
            except BundleError as error:
                raise BundleError(f"{shown(url)}: {error}") from error
            (new / "archive").unlink()
            about = {"url": shown(url), **_measured(new / "files")}
            (new / "about.json").write_text(json.dumps(about), encoding="utf-8")
            new.rename(target)
            self._whole.add(digest)
            self._failure_path(digest).unlink(missing_ok=True)
        except BundleError as error:
            self._tell_failure(digest, str(error))
            raise
        finally:
            _remove(new)

    def _is_whole(self, digest: str) -> bool:
        """Whether it is there, with all that belongs to it: others clean up in /var/tmp, too."""
        folder = self._folder / digest
        if digest not in self._whole or not folder.exists():
            about = _about(folder)
            if about is None or not _measured(folder / "files").items() <= about.items():
                self._whole.discard(digest)
                return False
            self._whole.add(digest)
        return True

    def _make_room(self) -> None:
        """Remove what is used by nobody and too much, and what is left of failures and of those who were killed."""
        with contextlib.closing(_Lock(self._folder / _ROOM)) as alone:
            alone.take(fcntl.LOCK_EX)
            bundles = []
            # Somebody may have named a folder in which there is more than ours.
            for digest in filter(_is_digest, {place.name.partition(".")[0] for place in self._folder.iterdir()}):
                about = _about(self._folder / digest)
                if about is None:
                    self._remove_unused(digest)
                else:
                    bundles.append((self._last_use_s(digest), digest, about["bytes"]))
            all_bytes = sum(size for *_, size in bundles)
            for _, digest, size in sorted(bundles):
                if all_bytes > self._bytes_max and self._remove_unused(digest):
                    all_bytes -= size

    def _last_use_s(self, digest: str) -> float:
        try:
            return self._lock_path(digest).stat().st_mtime
        except FileNotFoundError:
            return 0.0  # somebody cleans up who takes old files for unused ones

    def _remove_unused(self, digest: str) -> bool:
        """False where somebody uses the bundle, or brings it."""
        with contextlib.closing(_Lock(self._lock_path(digest))) as lock:
            if not lock.take(fcntl.LOCK_EX | fcntl.LOCK_NB):
                return False
            old, new = self._folder / f"{digest}.old", self._folder / f"{digest}.new"
            _remove(old)
            with contextlib.suppress(FileNotFoundError):
                (self._folder / digest).rename(old)  # it must never be there in part
            _remove(old)
            _remove(new)
            for path in (self._failure_path(digest), self._telling_path(digest), lock.path):
                path.unlink(missing_ok=True)
            return True

    def _checksum(self, path: Path) -> str:
        """Of a file here; read again when it has changed. Raises BundleError."""
        try:
            found = path.stat()
        except OSError as error:
            raise BundleError(f"{path} cannot be read: {error.strerror}") from error
        stamp = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        known = self._checksums.get(path)
        if known is None or known[0] != stamp:
            known = self._checksums[path] = (stamp, checksum(path))
        return known[1]

    def _failure(self, digest: str) -> str:
        """The last one, or ''. No two are the same."""
        try:
            return self._failure_path(digest).read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    def _tell_failure(self, digest: str, error: str) -> None:
        new = self._telling_path(digest)
        new.write_text(json.dumps({"error": error, "id": uuid.uuid4().hex}), encoding="utf-8")
        new.replace(self._failure_path(digest))

    def _failure_path(self, digest: str) -> Path:
        return self._folder / f"{digest}.failed"

    def _telling_path(self, digest: str) -> Path:
        return self._folder / f"{digest}.telling"

    def _lock_path(self, digest: str) -> Path:
        return self._folder / f"{digest}.lock"


class _Lock:
    """A file that is locked, by flock(2), as long as it is the one that has its name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1

    def take(self, how: int) -> bool:
        """Have it that way and no other; False where it would have to wait and must not."""
        while True:
            if self._descriptor < 0:
                self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._descriptor, how)
            except BlockingIOError:
                return False
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(self._descriptor), self.path.stat()):
                    return True
            # Who held it has removed the file.
            self.close()

    def touch(self) -> None:
        """This is the time of its last use. It is held, but others clean up, and its name may be gone."""
        os.utime(self._descriptor)

    def close(self) -> None:
        """Let it go."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _is_digest(text: str) -> bool:
    return len(text) == _SHA256_CHARS and not set(text) - set("0123456789abcdef")


def _about(folder: Path) -> dict[str, Any] | None:
    try:
        about: dict[str, Any] = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return about


def _measured(folder: Path) -> dict[str, int]:
    """How many there are that are no folders, and their bytes."""
    found = [place.lstat() for place in folder.rglob("*")]
    others = [one for one in found if not stat.S_ISDIR(one.st_mode)]
    return {"count": len(others), "bytes": sum(one.st_size for one in others)}


def _remove(folder: Path) -> None:
    """With all that is in it, also what may not be written to."""
    for place, _, _ in os.walk(folder):
        with contextlib.suppress(FileNotFoundError):  # others clean up, too
            Path(place).chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _folder() -> Path:
    given = os.environ.get(FOLDER_VARIABLE)
    if not given:
        return _SHARED / f"cyclone-bundles-{os.geteuid()}"
    if not Path(given).is_absolute():
        # A task is in the folder of its job by now: each would have bundles of its own.
        raise BundleError(f"the environment variable {FOLDER_VARIABLE} = {given}: write an absolute path")
    return Path(given)


def _bytes_max() -> int:
    given = os.environ.get(BYTES_VARIABLE)
    try:
        return parse_size(given) if given else BYTES_MAX
    except ValueError as error:
        raise BundleError(f"the environment variable {BYTES_VARIABLE}: {error}") from error
