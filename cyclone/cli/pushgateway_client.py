"""``cyclone-pushgateway-client``: the daemon that makes metrics of what tasks record."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import nullcontext

from cyclone.cli import common, metering


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cyclone-pushgateway-client",
        description="Make metrics of what tasks record, and push them to a Prometheus Pushgateway, or write them to a "
        "file for node_exporter.",
        epilog="SIGTERM: take nothing more, push for the last time (or delete, with delete_on_stop), exit 0; a second "
        "one: at once. Exit codes: 0 stopped, 1 the spool is in use or broken, 78 bad configuration.",
    )
    common.add_version(parser)
    common.add_config_options(parser)
    return parser


def _run(argv: Sequence[str] | None) -> int:
    args = _parser().parse_args(argv)
    settings = common.load_settings(args, "pushgateway_client")
    if args.check_config:
        return common.check_config(settings)
    from cyclone import logs
    from cyclone.pidfile import PidFile
    from cyclone.sinks.publisher import Publisher, push_options
    from cyclone.sinks.pushgateway_client import PushgatewayClient
    from cyclone.sinks.receiver import Receiver
    from cyclone.sinks.spool import Spool

    push = push_options(settings.push)
    logs.configure("pushgateway_client", settings.log.filename, settings.log.format, settings.log.level, args.debug)
    options = common.receiver_options(settings, "Pushgateway client")
    folder = common.state_dir(settings)
    pid_file = settings.control.pid_file
    with PidFile(pid_file) if pid_file else nullcontext(), metering.served(settings) as board:
        spool = Spool(folder / "pushgateway_client.spool", settings.sink.spool_max_bytes)
        try:
            client = PushgatewayClient(Publisher(spool, push, folder), push.interval_s, push.delete_on_stop)
            return Receiver(options, spool, client, metering.of_sink(board, spool, client.counts)).run()
        finally:
            spool.close()


def main() -> None:
    """Entry point."""
    sys.exit(common.guarded("cyclone-pushgateway-client", _run))
