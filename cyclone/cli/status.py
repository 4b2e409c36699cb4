"""``cyclone status``: what a running master is doing, with which controllers.

Owns how that is shown: names of nodes folded for people, each by itself in JSON.
"""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cyclone.cli import columns, common, connecting, output, parsing

if TYPE_CHECKING:
    from cyclone.protocol.client_messages import ControllerStatus, StatusReport

# More than a screen is not read line by line.
APART_MAX = 20

_EXAMPLES = (
    ("cyclone status", "the master on this host, or that of your profile"),
    ("cyclone status --connect tcp://head:5678 --each", "another one, with a line for each of its controllers"),
)


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Its command line."""
    parser = verbs.add_parser(
        "status",
        help="what a running master is doing",
        description="Print what a running master is doing.",
        epilog=f"Exit codes: 0 done, {connecting.EXIT_CODES}.",
    )
    output.add_json_option(parser, "one JSON object, cyclone.status/1")
    parser.add_argument("--each", action="store_true", help="a line for each controller, also where there are many")
    connecting.add_options(parser)
    parsing.add_examples(parser, *_EXAMPLES)


def status(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    from cyclone.ranges import fold_nodes

    with connecting.client(args) as client:
        report = client.status()
    if args.json:
        output.print_json("cyclone.status/1", _as_json(report))
        return common.EXIT_OK
    tasks = columns.TALLY.for_people(report.tasks) or "none yet"
    awaited = f"{fold_nodes(report.awaited)}: may still run tasks of before the restart" if report.awaited else ""
    output.print_pairs(
        [
            ("master", f"Cyclone {report.version}, epoch {report.epoch}{', stopping' if report.stopping else ''}"),
            ("journal", columns.safe(report.journal)),
            ("tasks", tasks),
            ("generator", f"{report.pulled:,} tasks yielded{', no more to come' if report.exhausted else ''}"),
            ("awaited", columns.safe(awaited)),
        ]
    )
    output.write("")
    if args.each or len(report.controllers) <= APART_MAX:
        _print_controllers(report.controllers)
    else:
        _print_kinds(report.controllers)
    return common.EXIT_OK


def _print_controllers(controllers: "Sequence[ControllerStatus]") -> None:
    output.write(f"{'controller':<24} {'host':<20} {'slots':>6} {'tasks':>8} {'heard':>8}  mark")
    for one in sorted(controllers, key=lambda one: one.name):
        row = f"{one.name:<24} {one.host:<20} {one.slots:>6} {one.open:>8,} {one.silent_s:>6.1f} s  {one.mark}"
        output.write(columns.safe(row.rstrip()))
    if not controllers:
        output.write("none: start cyclone-controller on a node")


def _print_kinds(controllers: "Sequence[ControllerStatus]") -> None:
    """A line for all that are alike: the sum of their slots and tasks, and how long the quietest is silent."""
    from cyclone.ranges import fold_nodes

    kinds: dict[tuple[str, int], list[ControllerStatus]] = {}
    for one in sorted(controllers, key=lambda one: (one.mark, -one.slots)):
        kinds.setdefault((one.mark, one.slots), []).append(one)
    output.write(f"{'number':>8} {'slots':>8} {'tasks':>10} {'heard':>8}  {'mark':<10} controllers")
    for (mark, slots), alike in kinds.items():
        tasks, silent_s = sum(one.open for one in alike), max(one.silent_s for one in alike)
        names = fold_nodes(one.name for one in alike)
        row = f"{len(alike):>8,} {slots * len(alike):>8,} {tasks:>10,} {silent_s:>6.1f} s  {mark:<10} {names}"
        output.write(columns.safe(row))


def _as_json(report: "StatusReport") -> dict[str, object]:
    import msgspec

    built = {name: getattr(report, name) for name in report.__struct_fields__ if name != "request"}
    qos = {name: {"priority": priority, "weight": weight} for name, (priority, weight) in report.qos.items()}
    controllers = [msgspec.to_builtins(_fields(one)) for one in report.controllers]
    return built | {"controllers": controllers, "qos": qos}


def _fields(one: "ControllerStatus") -> dict[str, object]:
    import msgspec

    # No clock has more digits.
    offer, silent_s = msgspec.structs.asdict(one.offer), round(one.silent_s, 6)
    return {**msgspec.structs.asdict(one), "offer": offer, "silent_s": silent_s}
