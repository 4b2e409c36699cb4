"""``cyclone bench``: measure this installation by the very path that real tasks take.

It is ``cyclone run`` of the benchmark generator with a stop-watch as listener: real processes, TCP, the ordinary
scheduler and the ordinary ``EmptyTask``. Time runs from the first dispatch to the last recorded result; the number and
the sum of the results are checked; a latency is from the dispatch of a task to its recorded result, in the master, one
task at a time. Owns the order of the runs, and what they run on; ``cyclone.bench`` has what is made of them.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cyclone.bench import report as reports
from cyclone.bench.history import History
from cyclone.bench.plan import MIXED_WORKERS, TASKS, Plan
from cyclone.bench.report import Report
from cyclone.bench.stopwatch import Measured, Stopwatch
from cyclone.bench.table import lines
from cyclone.cli import common, metering
from cyclone.errors import ConfigError, CycloneError
from cyclone.protocol import limits

if TYPE_CHECKING:
    from cyclone.master.ending import Outcome
    from cyclone.master.journal import Journal
    from cyclone.master.service import MasterOptions
    from cyclone.settings import Settings

_REPEAT = 3
# What surrounds the bytes in the column of arguments is far less than the difference.
_PAYLOAD_BYTES_MAX = limits.VALUE_BYTES_MAX - 1024


class _Setting(NamedTuple):
    """What is the same for each run of this command. ``folder`` is where journals stand, ``far`` are the settings of
    the socket for other nodes.
    """

    folder: Path | None
    debug: bool
    far: list[str]


def bench(args: argparse.Namespace) -> int:
    """The verb; returns the exit code. Raises ConfigError, CycloneError."""
    if args.connect and args.listen:
        raise ConfigError("--connect watches a master that is running, --listen is one: either, not both")
    from cyclone import logs
    from cyclone.config import load

    if args.connect:
        from cyclone.cli.bench_watch import watch

        return watch(args)
    plan = _plan(args)
    shared = [*plan.generator_options(), f"journal.durability={plan.durability}", *plan.overrides]
    state_dir = load(None, shared, "run").control.state_dir
    logs.configure("bench", None, "text", _log_level(args.debug), args.debug)
    setting = _Setting(args.journal_dir or state_dir, args.debug, _far(args))
    if setting.far:
        _say_how_to_come(args, *setting.far[:2])
    report = _measure(plan, setting, args)
    # Where nothing says where state belongs there is nothing to compare with.
    history = History(state_dir / "bench") if state_dir else None
    last = history.last(plan.name()) if history else None
    report["last"] = {"when": last.when, **last.figures} if last else None
    report["change"] = reports.change(report, last.figures) if last else {}
    if args.json:
        print(json.dumps(report))
    else:
        print(*lines(report), sep="\n")
    try:
        if history:
            history.keep(plan.name(), reports.figures(report), report)
    except CycloneError as error:
        print(f"cyclone: warning: {error}", file=sys.stderr)
    return common.EXIT_OK


def _plan(args: argparse.Namespace) -> Plan:
    if args.limit and args.mode in ("busy", "mixed"):
        raise ConfigError(f"--limit: --mode {args.mode} is measured against the ideal, not against the bare pipeline")
    if args.listen and (args.curve or args.limit):
        raise ConfigError(
            "--listen measures across nodes; --curve (there it is --keys) and --limit are about this host"
        )
    if args.listen and args.mode == "mixed":
        raise ConfigError(
            "--listen: --mode mixed compares times of all workers, which are of one clock on one host alone"
        )
    if args.payload_bytes > _PAYLOAD_BYTES_MAX:
        raise ConfigError(f"--payload-bytes {args.payload_bytes}: a value has at most {_PAYLOAD_BYTES_MAX}")
    if not args.listen and (args.keys or args.key_file or args.insecure):
        raise ConfigError(
            "--keys belongs to --listen, --key-file to --connect, --insecure to either; --curve makes keys of its own"
        )
    return Plan(
        mode=args.mode,
        tasks=args.tasks or TASKS[args.mode],
        workers=args.workers or (MIXED_WORKERS if args.mode == "mixed" else len(os.sched_getaffinity(0))),
        controllers=args.controllers,
        durability=args.durability,
        curve=args.curve or bool(args.keys),
        task_ms=args.task_ms,
        payload_bytes=args.payload_bytes,
        listen=args.listen or "",
        durations="mixed" if args.mode == "mixed" else "equal",
        overrides=tuple(args.overrides),
    )


def _far(args: argparse.Namespace) -> list[str]:
    """Where other nodes find us, as ``--set`` takes it; nothing where they do not."""
    if not args.listen:
        return []
    from cyclone.client.connection import parse_address

    address = parse_address(args.listen)
    keys = [f"comm.keys={args.keys}"] if args.keys else []
    insecure = ["comm.insecure=yes"] if args.insecure else []
    return [f"comm.target={address.target}", f"comm.port={address.port}", *keys, *insecure]


def _say_how_to_come(args: argparse.Namespace, target: str, port: str) -> None:
    """For whoever starts the controllers."""
    words = [
        "cyclone-controller -f ITS.conf",
        f"--set {'comm.target=THIS_HOST' if target.endswith(('=*', '=0.0.0.0', '=::')) else target} --set {port}",
        "--set comm.key_file=ITS.key" if args.keys else "--set comm.insecure=yes" if args.insecure else "",
        "--set processing.task_modules=tasks",
    ]
    print(f"waiting for controllers, {args.controllers} in all: {' '.join(filter(None, words))}", file=sys.stderr)


def _measure(plan: Plan, setting: _Setting, args: argparse.Namespace) -> Report:
    """All runs; what stands beside each is measured right after it."""
    runs, limits, plain = [], [], []
    for _ in range(args.repeat or (1 if args.json else _REPEAT)):
        runs.append(_run(plan, setting))
        if args.limit:
            limits.append(_limit(plan, setting))
        if args.curve:
            plain.append(_run(replace(plan, curve=False), setting))
    report = reports.of_runs(runs)
    if limits:
        report["limit"] = reports.beside_limit(runs, limits)
    if plain:
        report["plain"] = reports.beside_plain(runs, plain)
    return report


def _run(plan: Plan, setting: _Setting) -> Report:
    report = reports.of_run(plan, _once(plan, setting), len(os.sched_getaffinity(0)))
    if plan.mode != "mixed":
        return report
    return reports.of_mixed(report, plan.one_long(), _once(plan.one_long(), setting))


def _once(plan: Plan, setting: _Setting) -> Measured:
    """One run of a whole cluster."""
    from cyclone.cli.local import LocalController
    from cyclone.config import load
    from cyclone.journal import SqliteJournal
    from cyclone.master.service import MasterService

    shared = [f"log.level={_log_level(setting.debug)}", f"journal.durability={plan.durability}"]
    own = [*plan.generator_options(), *shared, f"control.exit_when_done={'no' if plan.listen else 'yes'}"]
    settings = load(None, [*own, *setting.far, *plan.overrides], "master" if plan.listen else "run")
    with contextlib.ExitStack() as stack:
        options, key_file = _master(plan, settings, setting, stack)
        workers = [*shared[:1], f"processing.worker_count={plan.workers}", *key_file, *plan.overrides]
        controllers = [
            LocalController(f"bench/{number}", None, workers, setting.debug)
            for number in range(1, 1 if plan.listen else plan.controllers + 1)
        ]
        journal = stack.enter_context(_journal(settings, setting.folder))
        watch = Stopwatch(
            plan,
            lambda: [controller.pid for controller in controllers],
            lambda: journal.syncs if isinstance(journal, SqliteJournal) else 0,
        )
        board = stack.enter_context(metering.served(settings))
        meter = metering.of_master(settings, board, journal)
        service = stack.enter_context(MasterService(options, journal, [watch, *controllers], meter))
        for controller in controllers:
            stack.enter_context(controller.running(service))
        outcome = service.run(generator_at_once=False)
    _check(plan, outcome)
    return watch.measured()


def _master(
    plan: Plan, settings: "Settings", setting: _Setting, stack: contextlib.ExitStack
) -> tuple["MasterOptions", list[str]]:
    """What the master runs with, and what its own controllers need to be let in."""
    if plan.listen:
        return common.master_options(settings, setting.debug), []
    options = common.master_options(settings, setting.debug, ("127.0.0.1", 0))
    if not plan.curve:
        return options, []
    from cyclone.security.gate import GateOptions
    from cyclone.security.registry import Registry

    registry = Registry(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cyclone-bench-")), "keys"))
    registry.init("tcp://127.0.0.1")
    key_file = registry.add("bench", "controller")
    gate = GateOptions(registry, options.gate.strike_limit)
    return replace(options, gate=gate), [f"comm.key_file={key_file}"]


@contextlib.contextmanager
def _journal(settings: "Settings", folder: Path | None) -> "Iterator[Journal]":
    """A journal for the time of the measurement, on a disk that a real one would stand on, which $TMPDIR may not be."""
    if settings.journal.durability == "off":
        from cyclone.master.journal import NoJournal

        yield NoJournal()
        return
    with tempfile.TemporaryDirectory(prefix="bench-", dir=_private(folder)) as own:
        yield common.open_journal(settings, Path(own, "journal.sqlite"))


def _private(folder: Path | None) -> Path:
    # Settings with a journal are refused where there is none.
    assert folder
    return common.make_private_folder(folder)


def _limit(plan: Plan, setting: _Setting) -> Report:
    """The bare pipeline, in processes of its own."""
    from cyclone.processes import Guard, end_text, python_command

    arguments = ["--tasks", str(plan.tasks), "--workers", str(plan.slots)]
    if plan.mode == "latency":
        arguments.append("--latency")
    if plan.mode == "payload":
        arguments += ["--payload-bytes", str(plan.payload_bytes)]
    if plan.durability == "full":
        arguments += ["--journal", str(_private(setting.folder))]
    guard = Guard()
    try:
        command = python_command("cyclone.bench.limit:main", *arguments)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True, env=guard.environment())
        guard.add(process.pid)
        printed, _ = process.communicate()
        if process.returncode:
            raise CycloneError(f"the bare pipeline ended with {end_text(process.returncode)}: nothing was measured")
        guard.remove(process.pid)
    finally:
        guard.close()
    report: Report = json.loads(printed)
    return report


def _check(plan: Plan, outcome: "Outcome") -> None:
    """A figure for work that was not done is worth nothing."""
    if outcome.signal:
        raise CycloneError("stopped by a signal: nothing was measured")
    if failure := outcome.failure:
        raise (ConfigError if failure.type == "ConfigError" else CycloneError)(failure.message)
    expected = plan.summary()
    if outcome.summary != expected or outcome.ended["completed"] != plan.tasks:
        raise CycloneError(f"the results are wrong: {outcome.summary} where {expected} was expected")


def _log_level(debug: bool) -> str:
    return "debug" if debug else "warning"
