"""The tables of the journal, its pragmas and its versions.

Owns what the file looks like; docs/journal.md describes the tables. Must not know what is in their bodies. A new file
is made as one of version 1 and brought up to date, in one transaction, so that old and new files are alike.
"""

import contextlib
import json
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from cyclone.errors import ConfigError, CycloneError
from cyclone.protocol.states import CANCELLED
from cyclone.version import __version__

SCHEMA_VERSION = 2
# "Cycl" in the header of the file, where file(1) and SQLite's tools find what program a database belongs to.
APPLICATION_ID = 0x4379636C

# Enough for the blocks that are open. More of it is never read again, and would only let memory grow for the first
# millions of tasks: with 32 MiB the master went from 46 to 76 MiB, at the same cost per task.
_CACHE_KIB = 8 * 1024
_BUSY_MS = 1000
# A log that a long reader has let grow is cut back to this.
_WAL_BYTES_KEPT = 128 * 1024 * 1024

_VERSION_1 = (
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE fence(id INTEGER PRIMARY KEY CHECK(id = 1), epoch INTEGER NOT NULL, seq INTEGER NOT NULL) STRICT",
    "CREATE TABLE progress(id INTEGER PRIMARY KEY CHECK(id = 1), crc INTEGER NOT NULL, body BLOB NOT NULL) STRICT",
    "CREATE TABLE jobs(job_id INTEGER PRIMARY KEY, crc INTEGER NOT NULL, body BLOB NOT NULL) STRICT",
    "CREATE TABLE tasks(first INTEGER PRIMARY KEY, count INTEGER NOT NULL, crc INTEGER NOT NULL,"
    " body BLOB NOT NULL) STRICT",
    "CREATE TABLE results(number INTEGER PRIMARY KEY, first INTEGER NOT NULL, count INTEGER NOT NULL,"
    " epoch INTEGER NOT NULL, attempt INTEGER NOT NULL, statuses BLOB NOT NULL, accepted BLOB,"
    " controller TEXT NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL) STRICT",
    "CREATE TABLE attempts(id INTEGER PRIMARY KEY, first INTEGER NOT NULL, count INTEGER NOT NULL,"
    " epoch INTEGER NOT NULL, attempt INTEGER NOT NULL, status INTEGER NOT NULL, controller TEXT NOT NULL,"
    " crc INTEGER NOT NULL, body BLOB NOT NULL) STRICT",
    "CREATE TABLE done(first INTEGER PRIMARY KEY, count INTEGER NOT NULL, last_number INTEGER NOT NULL,"
    " finished INTEGER NOT NULL, ended TEXT NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL) STRICT",
    "CREATE TABLE parts(number INTEGER PRIMARY KEY, first INTEGER NOT NULL) STRICT",
    "CREATE TABLE controllers(name TEXT PRIMARY KEY, incarnation TEXT NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE drained(name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID",
    "CREATE TABLE cancellations(id INTEGER PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL,"
    " task_class TEXT NOT NULL) STRICT",
    "CREATE TABLE keys(hash BLOB PRIMARY KEY) STRICT, WITHOUT ROWID",
    "CREATE INDEX results_first ON results(first)",
    "CREATE INDEX attempts_first ON attempts(first)",
    "CREATE INDEX done_last_number ON done(last_number)",
)
# The tables of all versions have to fit the first page together, without the indexes: see ``first_page``.
_VERSION_2 = (
    "CREATE TABLE submitted(job_id INTEGER PRIMARY KEY, class TEXT NOT NULL, crc INTEGER NOT NULL,"
    " body BLOB NOT NULL) STRICT",
    "CREATE TABLE open_jobs(job_id INTEGER PRIMARY KEY, crc INTEGER NOT NULL, body BLOB NOT NULL) STRICT",
    "CREATE TABLE ended_jobs(job_id INTEGER PRIMARY KEY, namespace TEXT NOT NULL, owner TEXT NOT NULL,"
    " name TEXT NOT NULL, session TEXT NOT NULL, state TEXT NOT NULL, until INTEGER, crc INTEGER NOT NULL,"
    " body BLOB NOT NULL) STRICT",
    "CREATE TABLE job_keys(key BLOB PRIMARY KEY, job_id INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE job_blocks(first INTEGER PRIMARY KEY, job_id INTEGER NOT NULL, offset INTEGER NOT NULL,"
    " count INTEGER NOT NULL, apart INTEGER NOT NULL) STRICT",
    "CREATE TABLE job_results(job_id INTEGER, number INTEGER, PRIMARY KEY(job_id, number)) STRICT, WITHOUT ROWID",
    "CREATE TABLE processed(job_id INTEGER, first INTEGER, last INTEGER NOT NULL, PRIMARY KEY(job_id, first)) STRICT,"
    " WITHOUT ROWID",
    "CREATE TABLE namespaces(name TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID",
    "ALTER TABLE done ADD COLUMN apart INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE cancellations ADD COLUMN job_id INTEGER",
    f"ALTER TABLE cancellations ADD COLUMN status INTEGER NOT NULL DEFAULT {CANCELLED}",
    "ALTER TABLE cancellations ADD COLUMN reason TEXT NOT NULL DEFAULT ''",
    "DROP INDEX done_last_number",
    "CREATE INDEX done_last_number ON done(last_number) WHERE NOT apart",
    "CREATE UNIQUE INDEX job_blocks_offset ON job_blocks(job_id, offset, count)",
    "CREATE INDEX ended_jobs_until ON ended_jobs(until) WHERE until > 0",
    "CREATE INDEX cancellations_job ON cancellations(job_id) WHERE job_id > 0",
)
_MIGRATIONS = {1: _VERSION_2}


@dataclass(frozen=True)
class Origin:
    """What a journal belongs to: the generator's class path and its options, as ``{section: {key: value}}``."""

    generator_class: str
    options: dict[str, dict[str, str]] = field(default_factory=dict)


def configure(db: apsw.Connection) -> None:
    """Before anything else on the connection that writes and checkpoints."""
    db.set_busy_timeout(_BUSY_MS)
    mode = db.pragma("journal_mode", "wal")
    if mode != "wal":
        raise CycloneError(f"the file system allows no write-ahead log: SQLite stays in the mode {mode!r}")
    db.pragma("synchronous", "FULL")
    db.pragma("wal_autocheckpoint", 0)
    db.pragma("journal_size_limit", _WAL_BYTES_KEPT)
    db.pragma("mmap_size", 0)
    db.pragma("cache_size", -_CACHE_KIB)
    harden(db)
    # A checkpoint can fail, and that has to be seen; the one that SQLite makes at its end cannot.
    db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)


def harden(db: apsw.Connection) -> None:
    """What makes SQLite distrust the file, for whoever opens it."""
    db.pragma("trusted_schema", "OFF")
    db.pragma("cell_size_check", "ON")


def is_new(db: apsw.Connection) -> bool:
    """Whether nothing was ever created here, or the creation was cut short."""
    empty = db.execute("SELECT count(*) FROM sqlite_schema").get == 0
    return bool(empty and db.pragma("application_id") == 0)


def create(db: apsw.Connection, origin: Origin) -> None:
    """All tables, in one transaction."""
    meta = {
        "journal_id": uuid.uuid4().hex,
        "generator_class": origin.generator_class,
        "options": json.dumps(origin.options, sort_keys=True),
        "created_by": f"cyclone {__version__}",
    }
    db.execute("BEGIN IMMEDIATE")
    create_version_1(db)
    db.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
    db.execute("INSERT INTO fence VALUES (1, 0, 0)")
    _bring_up_to_date(db, 1)
    db.execute("COMMIT")


def create_version_1(db: apsw.Connection) -> None:
    """The tables that every journal began with, empty."""
    for statement in _VERSION_1:
        db.execute(statement)
    db.pragma("application_id", APPLICATION_ID)
    db.pragma("user_version", 1)


def migrate(db: apsw.Connection) -> int:
    """Bring an older file up to date, in one transaction; returns the version that it had."""
    version = int(db.pragma("user_version"))
    if version < SCHEMA_VERSION:
        db.execute("BEGIN IMMEDIATE")
        _bring_up_to_date(db, version)
        db.execute("COMMIT")
    return version


def _bring_up_to_date(db: apsw.Connection, version: int) -> None:
    for older in range(version, SCHEMA_VERSION):
        for statement in _MIGRATIONS[older]:
            db.execute(statement)
    # Where each table begins says the first page, and this too, so that it can be made anew.
    roots = {name: page for name, page in db.execute("SELECT name, rootpage FROM sqlite_schema")}
    db.execute("INSERT OR REPLACE INTO meta VALUES ('roots', ?)", (json.dumps(roots),))
    db.pragma("user_version", SCHEMA_VERSION)


def first_page(roots: dict[str, int]) -> bytes:
    """What the first page of a file says that has these tables and no index; with no roots, of one of version 1."""
    with contextlib.closing(apsw.Connection(":memory:")) as db:
        for statement in (*_VERSION_1, *(_VERSION_2 if roots else ())):
            if "TABLE" in statement:
                db.execute(statement)
        db.pragma("application_id", APPLICATION_ID)
        db.pragma("user_version", SCHEMA_VERSION if roots else 1)
        db.pragma("writable_schema", "ON")
        db.executemany(
            "UPDATE sqlite_schema SET rootpage = ? WHERE name = ?", [(at, name) for name, at in roots.items()]
        )
        return db.serialize("main")[: int(db.pragma("page_size"))]


def imitate(db: apsw.Connection) -> None:
    """Let a connection that only reads see an older file as if it were up to date."""
    if db.pragma("user_version") >= SCHEMA_VERSION:
        return
    for statement in _VERSION_2:
        if statement.startswith("CREATE TABLE"):
            db.execute(statement.replace("CREATE TABLE", "CREATE TEMP TABLE", 1))
    db.execute("CREATE TEMP VIEW done AS SELECT *, 0 AS apart FROM main.done")
    db.execute(
        f"CREATE TEMP VIEW cancellations AS SELECT *, NULL AS job_id, {CANCELLED} AS status, '' AS reason"
        " FROM main.cancellations"
    )


def check_version(db: apsw.Connection, path: Path) -> None:
    """ConfigError for a database of somebody else's, or of a Cyclone to come."""
    if db.pragma("application_id") != APPLICATION_ID:
        raise ConfigError(f"journal {path}: is a database, but no journal of Cyclone: name another file")
    version = db.pragma("user_version")
    if not 1 <= version <= SCHEMA_VERSION:
        raise ConfigError(
            f"journal {path}: was written by a newer Cyclone (format {version}, this one knows {SCHEMA_VERSION}): "
            "use that version, or start another journal"
        )


def read_meta(db: apsw.Connection) -> dict[str, str]:
    """The table ``meta``."""
    return dict(db.execute("SELECT key, value FROM meta"))


def read_origin(meta: dict[str, str]) -> Origin:
    """What the journal was created for."""
    return Origin(meta["generator_class"], json.loads(meta["options"]))


def check_origin(path: Path, was: Origin, now: Origin) -> None:
    """ConfigError where the journal belongs to another generator, or to other options of it."""
    if was == now:
        return
    if was.generator_class != now.generator_class:
        differs = [f"the generator was {was.generator_class}, now it is {now.generator_class}"]
    else:
        differs = _differences(was.options, now.options)
    raise ConfigError(
        f"journal {path}: belongs to a run that was configured otherwise: {'; '.join(differs)}. "
        "Configure it as it was, or start another journal"
    )


def _differences(was: dict[str, dict[str, str]], now: dict[str, dict[str, str]]) -> list[str]:
    def show(value: str | None) -> str:
        return "not set" if value is None else repr(value)

    return [
        f"[{section}] {key} was {show(old)}, now it is {show(new)}"
        for section in sorted(was.keys() | now.keys())
        for key in sorted(was.get(section, {}).keys() | now.get(section, {}).keys())
        if (old := was.get(section, {}).get(key)) != (new := now.get(section, {}).get(key))
    ]
