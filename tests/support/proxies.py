"""The database proxy as a process, and its tables in a real MariaDB."""

from cyclone.config import load
from cyclone.settings import DatabaseSettings
from cyclone.sinks.layouts import load_layout
from cyclone.sinks.rows import rows
from cyclone.sinks.stores import mysql_schema
from cyclone.sinks.stores.base import Batch
from cyclone.sinks.stores.mysql import MysqlStore
from cyclone.sinks.stores.mysql_schema import Changes
from tests.support.lab import Lab, Started
from tests.support.mariadb import ADMIN, DATABASE, PASSWORD, MariaDb
from tests.support.sink_sender import JOURNAL, block, probe

TABLE = "lustre_ost_io"


def start(lab: Lab, keys: dict[str, str], *options: str, **sections: dict[str, str]) -> Started:
    """The command, with these keys of [db] and other sections."""
    config = lab.config({"db": keys, **sections}, "proxy.conf")
    return lab.start("cyclone-database-proxy", "-f", config, *options)


def proxy(lab: Lab, keys: dict[str, str], **sections: dict[str, str]) -> Started:
    """The daemon, when it listens."""
    started = start(lab, keys, **sections)
    started.says("database proxy at ")
    return started


def as_admin(server: MariaDb, **keys: str) -> dict[str, str]:
    """Keys of [db] for whoever may make tables."""
    return {"socket": str(server.socket), "user": ADMIN, "password": PASSWORD, "database": DATABASE, **keys}


def create(lab: Lab, server: MariaDb, **keys: str) -> Started:
    """The command, for whoever wants to know what it says."""
    made = start(lab, as_admin(server, **keys), "--create-table")
    assert made.exits() == 0, made.stderr()
    return made


def make_tables(server: MariaDb, layout: str = "lustre", **keys: str) -> Changes:
    """What the command does, without a process."""
    return mysql_schema.create(settings_of(as_admin(server, **keys)), load_layout(layout))


def settings_of(keys: dict[str, str]) -> DatabaseSettings:
    """What the daemon makes of them."""
    return load(None, [f"db.{key}={value}" for key, value in keys.items()], "database_proxy").db


def probes(server: MariaDb) -> tuple[MysqlStore, Batch]:
    """A store, and ten rows for it."""
    [table] = load_layout("lustre").tables[:1]
    batch = Batch({table: [table.cells(row) for row in rows(JOURNAL, block(1, [probe(1)] * 10)) if row.ordinal]})
    return MysqlStore(settings_of(server.proxy_keys())), batch


def outages(started: Started) -> int:
    """How often it has noticed that it cannot store."""
    return started.stderr().count("cannot store, rows stay in the spool")
