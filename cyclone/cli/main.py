"""``cyclone``: one program, a verb for each thing that people do. Imports a verb's code only when it is called."""

import argparse
import sys
from collections.abc import Sequence

from cyclone.cli import common


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cyclone", description="Run very many tasks and lose none of them.")
    common.add_version(parser)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    run = verbs.add_parser(
        "run",
        help="run a generator's tasks on this machine, to the end",
        description="Start a master, a controller and workers on this machine, and run until the generator is done. "
        "[comm] and pid_file of the configuration are ignored: a free loopback port is taken.",
        epilog="Exit codes: 0 every task succeeded, 1 one failed, 78 bad configuration, 130 Ctrl-C, 143 SIGTERM.",
    )
    common.add_config_options(run)
    run.add_argument("--workers", type=_positive, metavar="N", help="worker processes (default: the usable cores)")
    run.add_argument("--results", metavar="FILE", help="write a record per task to FILE (.jsonl, .csv or .sqlite)")
    run.add_argument("-q", "--quiet", action="store_true", help="no progress and no summary")
    bench = verbs.add_parser(
        "bench",
        help="measure this installation",
        description="Measure this installation on this machine, by the very path that real tasks take.",
    )
    bench.add_argument("--mode", choices=("throughput", "latency", "busy"), default="throughput")
    bench.add_argument("--tasks", type=_positive, metavar="N", help="number of tasks (default: by the mode)")
    bench.add_argument("--workers", type=_positive, metavar="N", help="worker processes (default: the usable cores)")
    bench.add_argument(
        "--task-ms", type=float, default=1.0, metavar="T", help="with --mode busy: milliseconds per task"
    )
    bench.add_argument("--json", action="store_true", help="print one JSON object")
    bench.add_argument("-D", "--debug", action="store_true", help="log everything")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def _run(argv: Sequence[str] | None) -> int:
    args = _parser().parse_args(argv)
    if args.verb == "run":
        from cyclone.cli.run import run

        return run(args)
    from cyclone.cli.bench import bench

    return bench(args)


def main() -> None:
    """Entry point."""
    sys.exit(common.guarded("cyclone", _run))
