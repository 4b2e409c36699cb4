"""``cyclone-database-proxy``: the daemon that stores results and records in a database."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from cyclone.cli import common, metering
from cyclone.errors import ConfigError

if TYPE_CHECKING:
    from cyclone.settings import DatabaseSettings, Settings
    from cyclone.sinks.layouts import Layout
    from cyclone.sinks.stores.base import Store


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cyclone-database-proxy",
        description="Store what tasks record, and their results, in MySQL, MariaDB, SQLite or a file of JSON lines.",
        epilog="SIGTERM: take nothing more, store what waits, exit 0; a second one: at once. What is not stored stays "
        "in the spool. Exit codes: 0 stopped, 1 the spool is in use or broken, or the database cannot be reached by "
        "--create-table, 78 bad configuration.",
    )
    common.add_version(parser)
    common.add_config_options(parser)
    verbs = parser.add_mutually_exclusive_group()
    verbs.add_argument(
        "--print-ddl", action="store_true", help="print the statements that make the layout's tables, and exit"
    )
    verbs.add_argument(
        "--create-table",
        action="store_true",
        help="make the layout's tables, or add what they lack, and exit; nothing is dropped or changed",
    )
    return parser


def _run(argv: Sequence[str] | None) -> int:
    args = _parser().parse_args(argv)
    settings = common.load_settings(args, "database_proxy")
    from cyclone.sinks.layouts import load_layout

    # A part of the configuration, so a mistake in it is one of --check-config.
    layout = load_layout(settings.db.layout, settings.db.table, settings.sink.results)
    if args.check_config:
        return common.check_config(settings)
    if args.print_ddl:
        return _print_ddl(settings.db, layout)
    if args.create_table:
        return _create_table(settings.db, layout)
    return _serve(settings, layout, args.debug)


def _serve(settings: "Settings", layout: "Layout", debug: bool) -> int:
    import os
    import random

    from cyclone import logs
    from cyclone.pidfile import PidFile
    from cyclone.sinks.database_proxy import DatabaseProxy
    from cyclone.sinks.receiver import Receiver
    from cyclone.sinks.rejects import FILE_NAME, RejectFile
    from cyclone.sinks.spool import Spool

    database, pid_file = settings.db, settings.control.pid_file
    store = _store(database, layout)
    state_dir = common.state_dir(settings)
    logs.configure("database_proxy", settings.log.filename, settings.log.format, settings.log.level, debug)
    options = common.receiver_options(settings, "database proxy")
    with PidFile(pid_file) if pid_file else nullcontext(), metering.served(settings) as board:
        spool = Spool(state_dir / "database_proxy.spool", settings.sink.spool_max_bytes)
        try:
            proxy = DatabaseProxy(
                spool,
                store,
                layout,
                RejectFile(state_dir / FILE_NAME),
                database.store_max_count,
                database.store_timeout_s,
                random.Random(os.urandom(16)),
            )
            return Receiver(options, spool, proxy, metering.of_sink(board, spool, proxy.counts)).run()
        finally:
            spool.close()


def _store(database: "DatabaseSettings", layout: "Layout") -> "Store":
    """The store of the driver; ConfigError for what would be wrong with each connection."""
    if database.driver == "mysql":
        from cyclone.sinks.stores.mysql import MysqlStore
        from cyclone.sinks.stores.mysql_connection import check

        check(database)
        return MysqlStore(database)
    if database.driver == "sqlite":
        from cyclone.sinks.stores.sqlite import SqliteStore

        return SqliteStore(_file(database), layout)
    from cyclone.sinks.stores.jsonlines import JsonLinesStore

    return JsonLinesStore(_file(database))


def _file(database: "DatabaseSettings") -> Path:
    if database.path is None:
        raise ConfigError(
            f"[db] path: is empty, and there is no state_dir: name a file for the driver {database.driver}"
        )
    return database.path


def _print_ddl(database: "DatabaseSettings", layout: "Layout") -> int:
    from cyclone.sinks.stores import mysql_schema, sqlite

    if database.driver == "jsonlines":
        print("the driver jsonlines has no tables", file=sys.stderr)
        return common.EXIT_OK
    ddl = mysql_schema.ddl(layout) if database.driver == "mysql" else sqlite.ddl(layout)
    print("\n\n".join(f"{statement};" for statement in ddl))
    return common.EXIT_OK


def _create_table(database: "DatabaseSettings", layout: "Layout") -> int:
    from cyclone.sinks.stores import mysql_schema
    from cyclone.sinks.stores.sqlite import SqliteStore

    if database.driver == "jsonlines":
        print("the driver jsonlines has no tables", file=sys.stderr)
        return common.EXIT_OK
    if database.driver == "sqlite":
        store = SqliteStore(_file(database), layout)
        store.create()
        store.close()
        print(f"{_file(database)} has all tables of layout {layout.name}")
        return common.EXIT_OK
    changes = mysql_schema.create(database, layout)
    print("\n\n".join(f"{statement};" for statement in changes.done) or "nothing is missing")
    for note in changes.notes:
        print(f"note: {note}", file=sys.stderr)
    return common.EXIT_OK


def main() -> None:
    """Entry point."""
    sys.exit(common.guarded("cyclone-database-proxy", _run))
