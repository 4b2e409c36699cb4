"""The command line of ``cyclone bench``; ``cyclone.cli.bench`` has what it does."""

import argparse
from pathlib import Path
from typing import get_args

from cyclone.bench.plan import Mode
from cyclone.cli import common, parsing

_SECONDS_MIN, _SECONDS_MAX = 0.1, 86400
_DESCRIPTION = """\
Measure this installation, by the very path that real tasks take. Modes: throughput of tasks that do nothing; latency
of one task at a time; busy workers, over the ideal; mixed durations, over the best schedule, and what one long task
does to the short ones behind it; payload, large arguments and results.
"""
_EPILOG = """\
What was found is kept in [control] state_dir, and compared the next time. Exit codes: 0 measured, 1 not, 69 no master
answers to --connect, 78 bad arguments.
"""

_EXAMPLES = (
    ("cyclone bench", "tasks that do nothing, as fast as they go"),
    ("cyclone bench --mode busy --task-ms 1 --tasks 2000", "how near tasks of a millisecond come to the ideal"),
    (
        "cyclone bench --durability full --journal-dir /var/lib/cyclone-master",
        "with a journal on the disk that the master uses",
    ),
    ("cyclone bench --connect tcp://head:5678 --seconds 60", "what a running master gets done in a minute"),
)


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Its command line."""
    bench = verbs.add_parser("bench", help="measure this installation", description=_DESCRIPTION, epilog=_EPILOG)
    bench.add_argument("--mode", choices=get_args(Mode), default="throughput", help="default: throughput")
    bench.add_argument("--tasks", type=common.positive, metavar="N", help="number of tasks (default: by the mode)")
    bench.add_argument(
        "--workers", type=common.positive, metavar="N", help="of each controller (default: the usable cores)"
    )
    bench.add_argument(
        "--controllers",
        type=common.positive,
        default=1,
        metavar="N",
        help="how many there are, or are waited for (default: 1)",
    )
    bench.add_argument(
        "--repeat",
        type=common.positive,
        metavar="N",
        help="how often (default: 3, with --json 1); the middle run is shown",
    )
    bench.add_argument("--limit", action="store_true", help="measure the bare pipeline beside it, run by run")
    bench.add_argument("--curve", action="store_true", help="with temporary keys, and the same without beside it")
    bench.add_argument(
        "--task-ms", type=float, default=1.0, metavar="T", help="milliseconds of a busy task (default: 1)"
    )
    bench.add_argument(
        "--payload-bytes",
        type=common.positive,
        default=100_000,
        metavar="N",
        help="size of the arguments and of the result of a payload task (default: 100000)",
    )
    bench.add_argument(
        "--durability", choices=("full", "off"), default="off", help="with a journal or without (default: off)"
    )
    bench.add_argument(
        "--journal-dir",
        metavar="DIR",
        type=Path,
        help="where that journal stands meanwhile (default: [control] state_dir)",
    )
    bench.add_argument(
        "--set",
        metavar="SECTION.KEY=VALUE",
        action="append",
        default=[],
        dest="overrides",
        help="overrule one value of the configuration; may be repeated",
    )
    far = bench.add_argument_group("across nodes")
    far.add_argument(
        "--listen",
        metavar="tcp://ADDRESS[:PORT]",
        help="start no controller: wait here for --controllers N that are started elsewhere",
    )
    far.add_argument("--keys", metavar="DIR", type=Path, help="the master's keys, as 'cyclone keys init' makes them")
    far.add_argument(
        "--connect",
        metavar="tcp://HOST[:PORT]",
        help="run nothing: watch what a running master gets done",
    )
    far.add_argument("--seconds", type=_seconds, default=10.0, metavar="S", help="with --connect: for how long (10)")
    far.add_argument(
        "--key-file", metavar="FILE", type=Path, help="with --connect: our key, where the master wants one"
    )
    far.add_argument("--insecure", action="store_true", help="do either with other hosts without keys")
    bench.add_argument("--json", action="store_true", help="print one JSON object")
    bench.add_argument("-D", "--debug", action="store_true", help="log everything")
    parsing.add_examples(bench, *_EXAMPLES)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not _SECONDS_MIN <= seconds <= _SECONDS_MAX:
        raise argparse.ArgumentTypeError(f"{text}: expected seconds, from {_SECONDS_MIN:g} to {_SECONDS_MAX}")
    return seconds
