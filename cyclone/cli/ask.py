"""``cyclone status``, ``cancel`` and ``drain``: what people ask of a running master.

Owns how the questions are written on a command line and how the answers are shown: names of nodes folded for people,
each by itself in JSON. Whether a question is granted, the master decides.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence

import msgspec

from cyclone.cli import common
from cyclone.client.connection import Connection, find_address
from cyclone.errors import ConfigError
from cyclone.protocol import limits
from cyclone.protocol.client_messages import (
    Answer,
    CancelRequest,
    ControllerStatus,
    DrainRequest,
    StatusReport,
    StatusRequest,
)
from cyclone.protocol.job_messages import AnyFromClient, AnyToClient
from cyclone.ranges import fold_nodes

# More than a screen is not read line by line.
_CONTROLLERS_APART_MAX = 20


def status(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    report = _ask(args, StatusRequest(1))
    assert isinstance(report, StatusReport)
    if args.json:
        print(json.dumps(_as_json(report)))
        return common.EXIT_OK
    tasks = ", ".join(f"{count:,} {name}" for name, count in report.tasks.items() if count) or "none yet"
    rows = [
        ("master", f"Cyclone {report.version}, epoch {report.epoch}{', stopping' if report.stopping else ''}"),
        ("journal", report.journal),
        ("tasks", tasks),
        ("generator", f"{report.pulled:,} tasks yielded{', no more to come' if report.exhausted else ''}"),
    ]
    if report.awaited:
        rows.append(("awaited", f"{fold_nodes(report.awaited)}: may still run tasks of before the restart"))
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{name:<{width}}  {text}")
    print()
    if args.each or len(report.controllers) <= _CONTROLLERS_APART_MAX:
        _print_controllers(report.controllers)
    else:
        _print_kinds(report.controllers)
    return common.EXIT_OK


def _print_controllers(controllers: Sequence[ControllerStatus]) -> None:
    print(f"{'controller':<24} {'host':<20} {'slots':>6} {'tasks':>8} {'heard':>8}  mark")
    for one in sorted(controllers, key=lambda one: one.name):
        row = f"{one.name:<24} {one.host:<20} {one.slots:>6} {one.open:>8,} {one.silent_s:>6.1f} s  {one.mark}"
        print(row.rstrip())
    if not controllers:
        print("none: start cyclone-controller on a node")


def _print_kinds(controllers: Sequence[ControllerStatus]) -> None:
    """A line for all that are alike: the sum of their slots and tasks, and how long the quietest is silent."""
    kinds: dict[tuple[str, int], list[ControllerStatus]] = {}
    for one in sorted(controllers, key=lambda one: (one.mark, -one.slots)):
        kinds.setdefault((one.mark, one.slots), []).append(one)
    print(f"{'number':>8} {'slots':>8} {'tasks':>10} {'heard':>8}  {'mark':<10} controllers")
    for (mark, slots), alike in kinds.items():
        tasks, silent_s = sum(one.open for one in alike), max(one.silent_s for one in alike)
        names = fold_nodes(one.name for one in alike)
        print(f"{len(alike):>8,} {slots * len(alike):>8,} {tasks:>10,} {silent_s:>6.1f} s  {mark:<10} {names}")


def cancel(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    first, last = _ids(args.ids) if args.ids else (1, limits.ID_MAX)
    if not (args.ids or args.task_class or args.state or args.all):
        raise ConfigError("cancel what? Give an id, a range such as 17-42, --class, --state or --all")
    return _say(_ask(args, CancelRequest(1, first, last, args.task_class or "", args.state or "")))


def drain(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    names = common.names(args.names)
    with _connection(args) as connection:
        answers = [connection.ask(DrainRequest(number, name, args.undo)) for number, name in enumerate(names, 1)]
    if len(names) == 1:
        return _say(answers[0])
    alike: dict[tuple[bool, str], list[str]] = {}
    for name, answer in zip(names, answers, strict=True):
        assert isinstance(answer, Answer)
        text = _text(answer).removeprefix(f"{name} ").replace(repr(name), "that")
        alike.setdefault((answer.granted, text), []).append(name)
    for (granted, text), concerned in alike.items():
        print(f"{len(concerned)}: {fold_nodes(concerned)}: {text}", file=sys.stdout if granted else sys.stderr)
    return common.EXIT_OK if all(granted for granted, _ in alike) else common.EXIT_FAILED


def _ask(args: argparse.Namespace, request: AnyFromClient) -> AnyToClient:
    with _connection(args) as connection:
        return connection.ask(request)


def _connection(args: argparse.Namespace) -> Connection:
    return Connection(find_address(args.connect, args.config_file, args.key_file, args.insecure), args.timeout)


def _say(answer: AnyToClient) -> int:
    assert isinstance(answer, Answer)
    print(_text(answer), file=sys.stdout if answer.granted else sys.stderr)
    return common.EXIT_OK if answer.granted else common.EXIT_FAILED


def _text(answer: Answer) -> str:
    return f"{answer.text} {fold_nodes(answer.names)}" if answer.names else answer.text


def _ids(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= first <= last <= limits.ID_MAX:
        raise ConfigError(f"{text!r}: expected a task id such as 17, or a range such as 17-42")
    return first, last


def _as_json(report: StatusReport) -> dict[str, object]:
    built = {name: getattr(report, name) for name in report.__struct_fields__ if name != "request"}
    return built | {"controllers": [msgspec.structs.asdict(one) for one in report.controllers]}
