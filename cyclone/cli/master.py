"""``cyclone-master``: the daemon that hands out tasks."""

import argparse
import logging
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

from cyclone.cli import common, metering

if TYPE_CHECKING:
    from cyclone.master.journal import Journal
    from cyclone.settings import Settings

log = logging.getLogger("cyclone.master")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cyclone-master",
        description="Hand out the tasks of a generator to controllers, and record one result for each.",
        epilog="SIGTERM: no more dispatch, wait for what runs, exit 0; a second one: at once. "
        "Exit codes: 0 done or stopped, 1 the generator failed, or another master runs, 78 bad configuration, or a "
        "journal of another one.",
    )
    common.add_version(parser)
    common.add_config_options(parser, required=False)
    return parser


def _run(argv: Sequence[str] | None) -> int:
    parser = _parser()
    args = parser.parse_args(argv)
    if not args.config_file:
        parser.error(common.NO_CONFIG_FILE)
    settings = common.load_settings(args, "master")
    if args.check_config:
        return common.check_config(settings)
    from cyclone import logs
    from cyclone.master.service import MasterService
    from cyclone.pidfile import PidFile

    logs.configure("master", settings.log.filename, settings.log.format, settings.log.level, args.debug)
    pid_file = settings.control.pid_file
    options = common.master_options(settings, args.debug)
    with PidFile(pid_file) if pid_file else nullcontext(), metering.served(settings) as board:
        journal = _journal(settings)
        meter = metering.of_master(settings, board, journal)
        with MasterService(options, journal, meter=meter) as service:
            if service.scheduler.all_done:
                log.warning(
                    "nothing is left to do: journal %s is finished; to begin anew, name another", settings.journal.path
                )
            outcome = service.run()
    return common.EXIT_FAILED if outcome.failure else common.EXIT_OK


def _journal(settings: "Settings") -> "Journal":
    from cyclone.master.journal import NoJournal

    if settings.journal.durability == "off":
        journal = NoJournal(settings.clients.memory_max_bytes)
        log.warning("[journal] durability = %s", journal.description)
        return journal
    assert settings.journal.path
    return common.open_journal(settings, settings.journal.path)


def main() -> None:
    """Entry point."""
    sys.exit(common.guarded("cyclone-master", _run))
