"""Read-only access to a journal, also to one that a master is writing at this moment.

Owns a connection that can neither write nor checkpoint, and therefore never disturbs a master: the worst that a long
read transaction does is that the write-ahead log is cut later. Whoever reads much does it in steps.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import apsw

from cyclone.errors import ConfigError
from cyclone.journal import blocks, failures, schema
from cyclone.journal.blocks import Progress
from cyclone.journal.job_queries import JobQueries
from cyclone.journal.lookup import Lookup

_BUSY_MS = 10_000


def connect(path: Path) -> apsw.Connection:
    """A connection that only reads. Raises ConfigError where there is no file, apsw.Error where SQLite refuses it."""
    if not path.is_file():
        raise ConfigError(f"journal {path}: there is no such file")
    try:
        return _connect(path, "mode=ro")
    except apsw.CantOpenError:
        # In a folder where we may make no file, and nobody else has made the log's: then nobody writes either.
        if path.with_name(path.name + "-wal").exists():
            raise
        return _connect(path, "immutable=1")


def _connect(path: Path, how: str) -> apsw.Connection:
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    db = apsw.Connection(f"{path.absolute().as_uri()}?{how}", flags=flags)
    try:
        db.set_busy_timeout(_BUSY_MS)
        schema.harden(db)
        # The first look is what opens the log.
        db.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    except BaseException:
        db.close()
        raise
    return db


class Reader:
    """Context manager: a journal that is open for reading, with what it says of itself.

    What goes wrong with the file, then or later, is raised as JournalBroken with the advice what to do.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._explaining():
            self.db = connect(path)
            schema.check_version(self.db, path)
            schema.imitate(self.db)
            self.meta = schema.read_meta(self.db)
        self.classes: dict[int, str] = {}
        self.lookup = Lookup(self.db, self.classes)
        self.queries = JobQueries(self.db, self.lookup)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.db.close()
        if isinstance(error, failures.ERRORS):
            raise failures.failure(error, self.path) from error

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Progress]:
        """All that is read within is of one moment: the master's progress, and what else is asked."""
        self.db.execute("BEGIN")
        try:
            row = self.db.execute(f"SELECT {blocks.PROGRESS} FROM progress").get
            for job in map(blocks.job_of, self.db.execute(f"SELECT {blocks.JOBS} FROM jobs")):
                self.classes[job.job_id] = job.task_class
            yield Progress() if row is None else blocks.progress_of(row)
        finally:
            self.db.execute("COMMIT")

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except failures.ERRORS as error:
            raise failures.failure(error, self.path) from error
