"""``cyclone-controller``: the daemon that runs tasks on a node."""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext

from cyclone.cli import common, metering


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cyclone-controller",
        description="Run the tasks of a master in worker processes on this node.",
        epilog="SIGTERM: hand back what has not started, finish what runs, exit 0; a second one: at once. "
        "Exit codes: 0 stopped, 1 superseded or refused, 69 no master, 78 bad configuration.",
    )
    common.add_version(parser)
    common.add_config_options(parser, required=False)
    # For `cyclone run` and `bench`: a controller of one run must not outlive it, and may do without a file.
    parser.add_argument("--parent-pid", type=int, help=argparse.SUPPRESS)
    return parser


def _run(argv: Sequence[str] | None) -> int:
    parser = _parser()
    args = parser.parse_args(argv)
    if not (args.config_file or args.parent_pid):
        parser.error(common.NO_CONFIG_FILE)
    settings = common.load_settings(args, "controller")
    if args.check_config:
        return common.check_config(settings)
    import random

    from cyclone import logs
    from cyclone.controller.service import ControllerService
    from cyclone.pidfile import PidFile
    from cyclone.processes import die_with_parent

    if args.parent_pid:
        die_with_parent(args.parent_pid)
    logs.configure("controller", settings.log.filename, settings.log.format, settings.log.level, args.debug)
    identity, agent, options = common.controller_parts(settings, args.debug, bool(args.parent_pid))
    pid_file = settings.control.pid_file
    with PidFile(pid_file) if pid_file else nullcontext(), metering.served(settings) as board:
        meter = metering.of_controller(board, identity.name)
        return ControllerService(identity, agent, options, random.Random(os.urandom(16)), meter).run()


def main() -> None:
    """Entry point."""
    sys.exit(common.guarded("cyclone-controller", _run))
