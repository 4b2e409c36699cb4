"""The durable journal: what a master has recorded outlives it. docs/journal.md is about its file."""

from cyclone.journal.schema import Origin
from cyclone.journal.sqlite_journal import SqliteJournal, open_journal

__all__ = ["Origin", "SqliteJournal", "open_journal"]
