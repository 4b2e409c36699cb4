"""What the fake file system is, in one SQLite file that any number of processes use at once.

Owns the tables, and the rule that a change of several rows is one transaction. Files themselves are ordinary ones below
the mount point; here stands what Lustre would know of them besides. Imports little: every call of ``lfs`` starts anew.
"""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

# As typing has it for type checkers; importing typing takes a fifth of a call.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STRIPE_BYTES = 1024 * 1024
EOF = -1
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE targets (kind TEXT, number INTEGER, size_bytes INTEGER, used_bytes INTEGER, PRIMARY KEY (kind, number));
CREATE TABLE faults (subject BLOB, name TEXT, value TEXT, PRIMARY KEY (subject, name));
CREATE TABLE files (
    path BLOB UNIQUE, inode INTEGER, oid INTEGER PRIMARY KEY, mdt INTEGER, composite INTEGER, components TEXT,
    bytes INTEGER, tries INTEGER
);
CREATE TABLE folders (path BLOB PRIMARY KEY, mdt INTEGER);
CREATE TABLE streams (pid INTEGER, role TEXT, ost INTEGER);
"""


class Component:
    """A component of a layout; a plain layout has one, which begins at 0 and ends with the file.

    ``osts`` is empty until something was written into it, and for one on the MDT.
    """

    def __init__(
        self,
        osts: tuple[int, ...],
        stripe_count: int,
        stripe_size_bytes: int = STRIPE_BYTES,
        pattern: str = "raid0",
        start: int = 0,
        end: int = EOF,
        mirror: int = 0,
        pool: str = "",
    ) -> None:
        self.osts = osts
        self.stripe_count = stripe_count
        self.stripe_size_bytes = stripe_size_bytes
        self.pattern = pattern
        self.start = start
        self.end = end
        self.mirror = mirror
        self.pool = pool

    @property
    def text(self) -> str:
        """As ``_component`` reads it."""
        numbers = (self.stripe_count, self.stripe_size_bytes, self.start, self.end, self.mirror)
        return "|".join((",".join(map(str, self.osts)), self.pattern, self.pool, *map(str, numbers)))


class File:
    """``path`` is below the mount point, ``size_bytes`` what it counts for on its OSTs; ``tries`` counts the calls that
    were to migrate it.
    """

    def __init__(
        self,
        path: bytes,
        inode: int,
        oid: int,
        mdt: int,
        composite: bool,
        components: tuple[Component, ...],
        size_bytes: int,
        tries: int = 0,
    ) -> None:
        self.path = path
        self.inode = inode
        self.oid = oid
        self.mdt = mdt
        self.composite = composite
        self.components = components
        self.size_bytes = size_bytes
        self.tries = tries

    @property
    def osts(self) -> list[int]:
        return list(dict.fromkeys(ost for component in self.components for ost in component.osts))

    @property
    def fid(self) -> str:
        return f"[{0x200000400 + self.mdt * 0x40000000:#x}:{self.oid:#x}:0x0]"


class Target:
    """An MDT or OST."""

    def __init__(self, kind: str, number: int, size_bytes: int, used_bytes: int) -> None:
        self.kind = kind
        self.number = number
        self.size_bytes = size_bytes
        self.used_bytes = used_bytes

    @property
    def free_bytes(self) -> int:
        return max(0, self.size_bytes - self.used_bytes)


class State:
    """The file system in a folder that ``create`` has made."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        path = os.path.join(folder, "state.db")
        if not os.path.exists(path):
            raise SystemExit(f"fake-lfs: {folder} holds no fake Lustre; make one: fake-lfs init --mount DIR")
        self.db = sqlite3.connect(path, timeout=60, isolation_level=None)
        self.db.execute("PRAGMA synchronous=OFF")
        self.meta: dict[str, str] = dict(self.db.execute("SELECT key, value FROM meta"))
        self.fs = self.meta["fs"]
        self.mount = self.meta["mount"]
        self.faults: dict[tuple[bytes, str], str] = {
            (subject, name): value for subject, name, value in self.db.execute("SELECT * FROM faults")
        }

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    # Faults

    def fault(self, subject: str, name: str) -> str | None:
        """The value of a fault, "" for one without, None where it is not set. ``subject``: "ost 5", "verb df"..."""
        return self.faults.get((os.fsencode(subject), name))

    def set_fault(self, subject: str, name: str, value: str) -> None:
        self.faults[os.fsencode(subject), name] = value
        self.db.execute("INSERT OR REPLACE INTO faults VALUES (?, ?, ?)", (os.fsencode(subject), name, value))

    def clear_faults(self, subject: str) -> None:
        self.faults = {key: value for key, value in self.faults.items() if key[0] != os.fsencode(subject)}
        self.db.execute("DELETE FROM faults WHERE subject = ?", (os.fsencode(subject),))

    # Targets

    def targets(self, kind: str) -> list[Target]:
        """All of a kind that are not missing."""
        rows = self.db.execute("SELECT * FROM targets WHERE kind = ? ORDER BY number", (kind,))
        return [
            row
            for row in (Target(*each) for each in rows)
            if self.fault(f"{kind.lower()} {row.number}", "missing") is None
        ]

    def ost(self, number: int) -> Target | None:
        row = self.db.execute("SELECT * FROM targets WHERE kind = 'OST' AND number = ?", (number,)).fetchone()
        return None if row is None or self.fault(f"ost {number}", "missing") is not None else Target(*row)

    def use(self, osts: list[int], size_bytes: int) -> None:
        """Add to, or with a negative size take from, what is used of these OSTs together."""
        for at, ost in enumerate(osts):
            share_bytes = size_bytes // len(osts) + (at < size_bytes % len(osts))
            self.db.execute(
                "UPDATE targets SET used_bytes = MAX(0, used_bytes + ?) WHERE kind = 'OST' AND number = ?",
                (share_bytes, ost),
            )

    def fill(self, ost: int, percent: float) -> None:
        [size_bytes] = self.db.execute(
            "SELECT size_bytes FROM targets WHERE kind = 'OST' AND number = ?", (ost,)
        ).fetchone()
        self.db.execute(
            "UPDATE targets SET used_bytes = ? WHERE kind = 'OST' AND number = ?", (used(size_bytes, percent), ost)
        )

    def available_osts(self, first: int, count: int) -> list[int]:
        """So many OSTs from this one on, that a file can be created on; fewer where there are not as many."""
        numbers = [target.number for target in self.targets("OST")]
        numbers = [number for number in numbers if self.fault(f"ost {number}", "inactive") is None]
        at = numbers.index(first) if first in numbers else 0
        return (numbers[at:] + numbers[:at])[: count if count > 0 else None]

    # Files

    def relative(self, path: str) -> bytes:
        """The key of a path. OSError ENOTTY where it lies outside of the mount point, as the ioctl says it."""
        folder, name = os.path.split(os.path.abspath(path))
        absolute = os.path.join(os.path.realpath(folder), name) if name else os.path.realpath(folder)
        if absolute != self.mount and not absolute.startswith(self.mount + os.sep):
            raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY), path)
        return os.fsencode(absolute[len(self.mount) + 1 :])

    def absolute(self, path: bytes) -> str:
        return os.path.join(self.mount, os.fsdecode(path)) if path else self.mount

    def file(self, path: str) -> File:
        """What is known of a file; what was created without lfs gets the default layout now. OSError where it is not.

        A row stands for the file that it was made for: one that was removed and made again is another.
        """
        inode = os.lstat(path).st_ino
        key = self.relative(path)
        row = self.db.execute("SELECT * FROM files WHERE path = ? AND inode = ?", (key, inode)).fetchone()
        return _file(row) if row else self.add(path, False, None)

    def add(self, path: str, composite: bool, components: tuple[Component, ...] | None) -> File:
        """Put down an existing file, in place of what was known under its name. Without components: the default."""
        found = os.lstat(path)
        key = self.relative(path)
        nested = self.db.in_transaction
        if not nested:
            self.db.execute("BEGIN IMMEDIATE")
        self.forget(key)
        (oid,) = self.db.execute("SELECT COALESCE(MAX(oid), 0) + 1 FROM files").fetchone()
        if components is None:
            osts = self.available_osts(-1, 0)
            components = (Component((osts[oid % len(osts)],), 1),)
        size_bytes = found.st_size if os.path.isfile(path) and not os.path.islink(path) else 0
        file = File(key, found.st_ino, oid, self.mdt_of(key), composite, components, size_bytes)
        self._write(file)
        self.use(file.osts, size_bytes)
        if not nested:
            self.db.execute("COMMIT")
        return file

    def forget(self, key: bytes) -> None:
        row = self.db.execute("SELECT * FROM files WHERE path = ?", (key,)).fetchone()
        if row:
            file = _file(row)
            self.use(file.osts, -file.size_bytes)
            self.db.execute("DELETE FROM files WHERE path = ?", (key,))

    def update(self, file: File) -> None:
        """Within a transaction: put down what has become of a file."""
        self.db.execute("DELETE FROM files WHERE oid = ?", (file.oid,))
        self._write(file)

    def _write(self, file: File) -> None:
        components = "\n".join(component.text for component in file.components)
        row = (file.path, file.inode, file.oid, file.mdt, file.composite, components, file.size_bytes, file.tries)
        self.db.execute("INSERT INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def files(self) -> Iterator[File]:
        return map(_file, self.db.execute("SELECT * FROM files"))

    def file_of_fid(self, fid: str) -> File | None:
        try:
            _, oid, _ = (int(part, 16) for part in fid.strip("[]").split(":"))
        except ValueError:
            return None
        row = self.db.execute("SELECT * FROM files WHERE oid = ?", (oid,)).fetchone()
        return _file(row) if row else None

    def mdt_of(self, key: bytes) -> int:
        """The MDT of the nearest folder that was made on one, or whose name says so: mdt2, mdt_2, MDT0002."""
        numbers = {target.number for target in self.targets("MDT")}
        parts = key.split(b"/")
        for end in range(len(parts), 0, -1):
            row = self.db.execute("SELECT mdt FROM folders WHERE path = ?", (b"/".join(parts[:end]),)).fetchone()
            if row:
                return int(row[0])
            name = parts[end - 1].lower()
            digits = name[3:].strip(b"_-")
            if name.startswith(b"mdt") and digits.isdigit() and int(digits) in numbers:
                return int(digits)
        return 0


def _file(row: "tuple[Any, ...]") -> File:
    path, inode, oid, mdt, composite, components, size_bytes, tries = row
    parsed = tuple(_component(text) for text in components.split("\n"))
    return File(path, inode, oid, mdt, bool(composite), parsed, size_bytes, tries)


def _component(text: str) -> Component:
    osts, pattern, pool, *numbers = text.split("|")
    count, stripe_bytes, start, end, mirror = map(int, numbers)
    indices = tuple(map(int, osts.split(","))) if osts else ()
    return Component(indices, count, stripe_bytes, pattern, start, end, mirror, pool)


def used(size_bytes: int, percent: float) -> int:
    """Rounded down to blocks, so that lfs, which rounds up, shows the same percentage."""
    return int(size_bytes // 1024 * percent // 100) * 1024


def create(folder: str, meta: dict[str, str], targets: list[Target]) -> None:
    """Make the state of a new file system; SystemExit where there is one."""
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "state.db")
    if os.path.exists(path):
        raise SystemExit(f"fake-lfs: there is a fake Lustre in {folder} already")
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=OFF")
    db.executescript(_SCHEMA)
    db.execute("BEGIN")
    db.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
    rows = [(target.kind, target.number, target.size_bytes, target.used_bytes) for target in targets]
    db.executemany("INSERT INTO targets VALUES (?, ?, ?, ?)", rows)
    db.execute("COMMIT")
    db.close()
