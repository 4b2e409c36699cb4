"""``cyclone-master``: the daemon that hands out tasks."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import nullcontext

from cyclone.cli import common


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cyclone-master",
        description="Hand out the tasks of a generator to controllers, and record one result for each.",
        epilog="SIGTERM: no more dispatch, wait for what runs, exit 0; a second one: at once. "
        "Exit codes: 0 done or stopped, 1 the generator failed, 78 bad configuration.",
    )
    common.add_version(parser)
    common.add_config_options(parser)
    return parser


def _run(argv: Sequence[str] | None) -> int:
    args = _parser().parse_args(argv)
    settings = common.load_settings(args, "master")
    if args.check_config:
        return common.check_config(settings)
    from cyclone import logs
    from cyclone.master.journal import NoJournal
    from cyclone.master.service import MasterService
    from cyclone.pidfile import PidFile

    logs.configure("master", settings.log.filename, settings.log.format, settings.log.level, args.debug)
    pid_file = settings.control.pid_file
    options = common.master_options(settings, args.debug)
    with PidFile(pid_file) if pid_file else nullcontext(), MasterService(options, NoJournal()) as service:
        outcome = service.run()
    return common.EXIT_FAILED if outcome.failure else common.EXIT_OK


def main() -> None:
    """Entry point."""
    sys.exit(common.guarded("cyclone-master", _run))
