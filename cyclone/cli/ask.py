"""``cyclone status``, ``cancel`` and ``drain``: what people ask of a running master.

Owns how the questions are written on a command line and how the answers are shown. Whether one is granted, the master
decides.
"""

import argparse
import json
import re
import sys

import msgspec

from cyclone.cli import common
from cyclone.client.connection import Connection, find_address
from cyclone.errors import ConfigError
from cyclone.protocol import limits
from cyclone.protocol.messages import (
    Answer,
    AnyFromClient,
    AnyToClient,
    CancelRequest,
    DrainRequest,
    StatusReport,
    StatusRequest,
)


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
        rows.append(("awaited", f"{', '.join(report.awaited)}: may still run tasks of before the restart"))
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{name:<{width}}  {text}")
    print(f"\n{'controller':<24} {'host':<20} {'slots':>6} {'tasks':>8} {'heard':>8}  mark")
    for one in sorted(report.controllers, key=lambda one: one.name):
        row = f"{one.name:<24} {one.host:<20} {one.slots:>6} {one.open:>8,} {one.silent_s:>6.1f} s  {one.mark}"
        print(row.rstrip())
    if not report.controllers:
        print("none: start cyclone-controller on a node")
    return common.EXIT_OK


def cancel(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    first, last = _ids(args.ids) if args.ids else (1, limits.ID_MAX)
    if not (args.ids or args.task_class or args.state or args.all):
        raise ConfigError("cancel what? Give an id, a range such as 17-42, --class, --state or --all")
    return _say(_ask(args, CancelRequest(1, first, last, args.task_class or "", args.state or "")))


def drain(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    return _say(_ask(args, DrainRequest(1, args.name, args.undo)))


def _ask(args: argparse.Namespace, request: AnyFromClient) -> AnyToClient:
    address = find_address(args.connect, args.config_file, args.key_file, args.insecure)
    with Connection(address, args.timeout) as connection:
        return connection.ask(request)


def _say(answer: AnyToClient) -> int:
    assert isinstance(answer, Answer)
    print(answer.text, file=sys.stdout if answer.granted else sys.stderr)
    return common.EXIT_OK if answer.granted else common.EXIT_FAILED


def _ids(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= first <= last <= limits.ID_MAX:
        raise ConfigError(f"{text!r}: expected a task id such as 17, or a range such as 17-42")
    return first, last


def _as_json(report: StatusReport) -> dict[str, object]:
    built = {name: getattr(report, name) for name in report.__struct_fields__ if name != "request"}
    return built | {"controllers": [msgspec.structs.asdict(one) for one in report.controllers]}
