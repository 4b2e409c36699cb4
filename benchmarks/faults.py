"""Figures about faults, each measured on real processes that are killed, cut off or flooded. Prints one JSON object.

    python -m benchmarks.faults redispatch-controller [--kills 10]
    python -m benchmarks.faults restarts [--times 20] [--seed 1]
    python -m benchmarks.faults slow-link [--link slow|cut|stopped] [--milliseconds 1] [--pairs 5]
    python -m benchmarks.faults generator-flood [--tasks 10000000] [--seconds 15] [--durability full|off] [--on-result]

To be run in the sources' folder. ``met`` says whether the target holds; it is not the exit code. Two more figures have
a program of their own: ``benchmarks/redispatch.py``, from the kill of a worker to the next attempt, and
``benchmarks/restart.py``, from the start of a master with a million tasks to its first dispatch.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import faults_kills, faults_load
from tests.support.lab import Lab, new_lab

Measure = Callable[[Lab, argparse.Namespace], dict[str, Any]]


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], prog="python -m benchmarks.faults")
    verbs = parser.add_subparsers(dest="figure", required=True)

    def figure(name: str, measure: Measure) -> argparse.ArgumentParser:
        verb = verbs.add_parser(name)
        verb.set_defaults(measure=measure)
        return verb

    verb = figure("redispatch-controller", lambda lab, args: faults_kills.redispatch_controller(lab, args.kills))
    verb.add_argument("--kills", type=int, default=10, help="for each of the two ways to go on (default: 10)")
    verb = figure("restarts", lambda lab, args: faults_kills.restarts(lab, args.times, args.seed))
    verb.add_argument("--times", type=int, default=20, help="kills of the master (default: 20)")
    verb.add_argument("--seed", type=int, default=1, help="of the moments of the kills")
    verb = figure("slow-link", _slow_link)
    verb.add_argument("--link", choices=faults_load.LINKS, default="slow", help="all but stopped need root")
    verb.add_argument("--milliseconds", type=float, default=1.0, help="of each task; with 0 all compete for the cores")
    verb.add_argument("--pairs", type=int, default=5)
    verb.add_argument("--window", type=float, default=2.0, help="seconds of each half of a pair")
    verb = figure("generator-flood", _flood)
    verb.add_argument("--tasks", type=int, default=10_000_000)
    verb.add_argument("--seconds", type=float, default=15.0)
    verb.add_argument("--durability", choices=("full", "off"), default="full")
    verb.add_argument("--on-result", action="store_true", help="all of them are made of one result")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cyclone-faults-") as folder, new_lab(Path(folder)) as lab:
        print(json.dumps({"figure": args.figure, **args.measure(lab, args)}))


def _slow_link(lab: Lab, args: argparse.Namespace) -> dict[str, Any]:
    return faults_load.slow_link(lab, args.link, args.milliseconds, args.pairs, args.window)


def _flood(lab: Lab, args: argparse.Namespace) -> dict[str, Any]:
    return faults_load.generator_flood(lab, args.tasks, args.seconds, args.durability, args.on_result)


if __name__ == "__main__":
    main()
