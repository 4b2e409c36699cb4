"""The input files of a migration: found, indexed slice by slice, read record by record, and renamed when they are done.

Owns the folder of the input and the folder of its state: a lock, a list of the files that were taken in, in their
order, and an index for each. What stands there follows from the input alone, so that a cursor of any age fits it, and
is on disk before anybody can know of it. A file that is done may be there under its new name already, when a crash has
taken away the memory of that. The caller owes: ``begin`` or ``resume`` once, before all else.
"""

import contextlib
import fcntl
import glob
import json
import logging
import os
import shutil
import time
from array import array
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cyclone.errors import ConfigError, CycloneError
from cyclone.folders import sync_folder
from cyclone.lustre.input_file import BAD, InputFile, Noted
from cyclone.lustre.migration_input import SNIFF_BYTES, BadRecord, Entry, Form, find_form
from cyclone.lustre.path_index import FileIndex
from cyclone.lustre.path_queues import FILES_MAX, OFFSET_MAX, PathQueues, split_place

log = logging.getLogger("cyclone.generator")

SUFFIX = ".input"
DONE = ".done"
# A file whose last change is younger may still be being written.
SETTLED_S = 2.0
# The generator of a master that was killed may hold the lock for a moment longer.
LOCK_WAIT_S = 5.0
_LOCK_LOOK_S = 0.05
_LIST = "files.jsonl"
_LOCK = "lock"
_OPEN_FILES_MAX = 64


class InputFolder:
    """See the module. What waits is in ``queues``; ``files`` are in the order in which they were taken in."""

    def __init__(self, folder: Path, state_dir: Path, fs_path: str, columns: Sequence[str] = ()) -> None:
        self._folder = folder
        self._state_dir = state_dir
        self._fs_path = fs_path
        self._columns = columns
        self._run = state_dir
        self._lock = -1
        self._open: OrderedDict[int, int] = OrderedDict()
        self._refused: set[tuple[str, int, int]] = set()
        self._to_index: deque[InputFile] = deque()
        self.files: list[InputFile] = []
        self.queues = PathQueues(self._offsets, {})

    def begin(self, run: str) -> None:
        """Start from nothing: what a former run had noted is of no use to this one."""
        self._take_lock()
        for old in self._state_dir.glob("run-*"):
            shutil.rmtree(old)
        self._run = self._state_dir / f"run-{run}"
        self._run.mkdir(mode=0o700)
        sync_folder(self._state_dir)

    def resume(self, run: str, taken: Mapping[int, int]) -> None:
        """Go on where so many paths of each source were taken. Raises ConfigError where the state is another run's."""
        self._take_lock()
        self._run = self._state_dir / f"run-{run}"
        if not self._run.is_dir():
            if taken:
                raise ConfigError(
                    f"[migration] state_dir = {self._state_dir}: holds no state of this run ({run}), which is needed "
                    "to go on with it; a later run on this input has replaced it, or it was deleted: begin a new run"
                )
            self.begin(run)
        self.queues = PathQueues(self._offsets, taken)
        for noted in self._noted():
            self._add(noted)

    def close(self, keep: bool) -> None:
        """Nothing more is read. What was noted goes, unless it is to be kept for a resumed run."""
        if self._lock < 0:
            return
        for file in self.files:
            file.index.close()
        while self._open:
            os.close(self._open.popitem()[1])
        if not keep:
            shutil.rmtree(self._run, ignore_errors=True)
        os.close(self._lock)
        self._lock = -1

    def look(self) -> int:
        """Take in the files that are new and settled; how many those were."""
        # By the clock that stamps files here.
        os.utime(self._lock)
        settled_ns = os.fstat(self._lock).st_mtime_ns - int(SETTLED_S * 1e9)
        known = {file.name for file in self.files if not file.done}
        found = 0
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                key = (path.name, status.st_ino, status.st_mtime_ns)
                is_new = path.name not in known and key not in self._refused
                # Whoever has not begun to write yet would write to a file that is called done.
                if is_new and status.st_size and status.st_mtime_ns <= settled_ns:
                    found += self._take_in(path, status, key)
        return found

    def unsettled(self) -> bool:
        """Whether there are files that may yet be taken in."""
        known = {file.name for file in self.files if not file.done} | {name for name, _, _ in self._refused}
        for path in self._folder.glob(f"*{SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):
                if path.name not in known and path.stat().st_size:
                    return True
        return False

    @property
    def indexing(self) -> bool:
        """Whether there is something to index."""
        return bool(self._to_index)

    @property
    def unindexed_bytes(self) -> int:
        """How much of the input is not indexed yet."""
        return sum(file.noted.end - file.index.input_end for file in self._to_index)

    @property
    def bad(self) -> int:
        """Bad records so far."""
        return sum(file.index.bad for file in self.files)

    @property
    def paths(self) -> int:
        """Paths so far."""
        return sum(file.index.paths for file in self.files)

    def index(self, bytes_max: int) -> list[int]:
        """Index about so much more; the sources that have got paths by that."""
        if not self._to_index:
            return []
        file = self._to_index[0]
        try:
            runs = file.grow(self._descriptor(file), bytes_max)
        except OSError as error:
            raise CycloneError(
                f"{self._folder / file.name} cannot be indexed in {self._run}: {error.strerror}; nothing is lost: "
                "start again when that is mended"
            ) from error
        file.left += self.queues.add(file.number, runs)
        if file.indexed:
            self._to_index.popleft()
            self._rename_if_done(file)
        return [run.ost for run in runs]

    def entry(self, place: int) -> Entry:
        """The file that is named at a place. Raises BadRecord where the input has changed since it was indexed."""
        number, offset = split_place(place)
        file = self.files[number]
        return file.entry(self._descriptor(file), offset)

    def settled(self, place: int) -> None:
        """The path at this place has its outcome. Its file is renamed when that was the last one."""
        file = self.files[split_place(place)[0]]
        file.left -= 1
        self._rename_if_done(file)

    def recall(self, places: Iterable[int]) -> None:
        """Paths that were taken before a crash and had no outcome. Files without any are renamed now."""
        for place in places:
            self.files[split_place(place)[0]].left += 1
        for file in self.files:
            self._rename_if_done(file)

    def _rename_if_done(self, file: InputFile) -> None:
        if file.done or file.left or not file.indexed:
            return
        file.done = True
        descriptor = self._open.pop(file.number, None)
        if descriptor is not None:
            os.close(descriptor)
        path = self._find(file.noted)
        if path is None or path.name != file.name or any(self._is_rest(other, file) for other in self.files):
            return
        more_bytes = path.stat().st_size - file.noted.end
        if more_bytes:
            file.grown = True
            log.warning("%s has grown by %d bytes: they are taken in when they have settled", path.name, more_bytes)
            return
        done = path.with_name(path.name + DONE)
        number = 1
        while done.exists():
            number += 1
            done = path.with_name(f"{path.name}{DONE}-{number}")
        path.rename(done)
        log.info("%s: all %d paths have their outcome; it is %s now", path.name, file.index.paths, done.name)

    @staticmethod
    def _is_rest(other: InputFile, file: InputFile) -> bool:
        """Whether the other one is what was added to this one, and not done yet."""
        return other.number > file.number and other.noted[:2] == file.noted[:2] and not other.done

    def _take_lock(self) -> None:
        if self._lock >= 0:
            return
        try:
            self._state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._state_dir / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            until = time.monotonic() + LOCK_WAIT_S
            while not _locked(lock, fcntl.LOCK_EX):
                if time.monotonic() > until:
                    os.close(lock)
                    raise ConfigError(
                        f"[migration] state_dir = {self._state_dir}: another migration is at work there; "
                        "each input_dir is one generator's"
                    )
                time.sleep(_LOCK_LOOK_S)
            self._lock = lock
        except OSError as error:
            raise ConfigError(
                f"[migration] state_dir = {self._state_dir}: cannot be used: {error.strerror}; "
                "name a folder that this user can write to"
            ) from None

    def _take_in(self, path: Path, status: os.stat_result, key: tuple[str, int, int]) -> bool:
        try:
            if len(self.files) >= FILES_MAX or status.st_size > OFFSET_MAX:
                raise BadRecord(f"more than {FILES_MAX} files, or one above {OFFSET_MAX} bytes")
            with path.open("rb") as opened:
                grown = next((file for file in self.files if file.grown and file.noted.inode == status.st_ino), None)
                if grown:
                    form = replace(grown.noted.form, skip_bytes=grown.rest(opened.fileno()))
                else:
                    form = find_form(opened.read(SNIFF_BYTES), self._columns)
        except (OSError, BadRecord) as error:
            self._refused.add(key)
            log.error("%s is not taken in: %s", path, error)
            return False
        if grown:
            grown.grown = False
        noted = Noted(path.name, status.st_ino, status.st_size, form)
        self._note(noted)
        self._add(noted)
        log.info("%s: taken in, %d bytes", path.name, status.st_size - form.skip_bytes)
        return True

    def _note(self, noted: Noted) -> None:
        form = [noted.form.separator.hex(), noted.form.columns, noted.form.delimiter, noted.form.skip_bytes]
        with (self._run / _LIST).open("a", encoding="ascii") as listed:
            listed.write(json.dumps([noted.name, noted.inode, noted.end, form]) + "\n")
            listed.flush()
            os.fsync(listed.fileno())
        sync_folder(self._run)

    def _noted(self) -> list[Noted]:
        """What the list holds; a last line that a crash has torn is cut off."""
        path = self._run / _LIST
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return []
        whole = text[: text.rfind(b"\n") + 1]
        if whole != text:
            os.truncate(path, len(whole))
        return [_as_noted(*json.loads(line)) for line in whole.splitlines()]

    def _add(self, noted: Noted) -> None:
        number = len(self.files)
        index = FileIndex(self._run / f"{number}.index")
        before = sum(file.name == noted.name for file in self.files)
        bad_name = f"{noted.name}{BAD}-{before + 1}" if before else f"{noted.name}{BAD}"
        file = InputFile(number, noted, index, self._fs_path, self._folder / bad_name)
        self.files.append(file)
        file.left += self.queues.add(number, file.recover())
        if not file.indexed:
            self._to_index.append(file)

    def _find(self, noted: Noted) -> Path | None:
        """The file, also where it was renamed already."""
        renamed = self._folder.glob(f"{glob.escape(noted.name)}{DONE}*")
        for candidate in (self._folder / noted.name, *sorted(renamed)):
            with contextlib.suppress(FileNotFoundError):
                status = candidate.stat()
                if status.st_ino == noted.inode and status.st_size >= noted.end:
                    return candidate
        return None

    def _descriptor(self, file: InputFile) -> int:
        found = self._open.get(file.number)
        if found is None:
            path = self._find(file.noted)
            if path is None:
                raise CycloneError(
                    f"{self._folder / file.name} is gone, or another file now, and paths of it have no outcome yet: "
                    "put it back, or begin a new run"
                )
            if len(self._open) >= _OPEN_FILES_MAX:
                os.close(self._open.popitem(last=False)[1])
            found = self._open[file.number] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._open.move_to_end(file.number)
        return found

    def _offsets(self, number: int, position: int, count: int) -> "array[int]":
        return self.files[number].index.offsets(position, count)


def is_at_work(state_dir: Path) -> bool:
    """Whether a migration has this folder for its state now."""
    try:
        lock = os.open(state_dir / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except PermissionError:
        # Nobody can tell; the status speaks for itself.
        return True
    try:
        return not _locked(lock, fcntl.LOCK_SH)
    finally:
        os.close(lock)


def _locked(lock: int, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _as_noted(name: str, inode: int, end: int, form: tuple[str, list[str], str, int]) -> Noted:
    separator, columns, delimiter, skip_bytes = form
    return Noted(name, inode, end, Form(bytes.fromhex(separator), tuple(columns), delimiter, skip_bytes))
