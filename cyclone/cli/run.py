"""``cyclone run``: master, controller and workers on this machine until the generator is done."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cyclone.cli import common
from cyclone.cli.progress import Progress, state_counts

if TYPE_CHECKING:
    from cyclone.master.service import MasterService, Outcome
    from cyclone.protocol.messages import AnyFromMaster, ErrorRecord
    from cyclone.results import RecordedBlock
    from cyclone.results_file import ResultsFile
    from cyclone.settings import Settings


_CAUSES_SHOWN = 5


class _Recorder:
    """A listener of the master that fills a results file; flushed once per turn that brought results."""

    def __init__(self, file: "ResultsFile") -> None:
        self._file = file
        self._fresh = False

    def sent(self, message: "AnyFromMaster") -> None:
        """Not our concern."""

    def recorded(self, block: "RecordedBlock") -> None:
        """Write the block."""
        self._file.write(block)
        self._fresh = True

    def turn(self, service: "MasterService") -> None:
        """What is recorded can be read from now on."""
        if self._fresh:
            self._file.flush()
            self._fresh = False


def run(args: argparse.Namespace) -> int:
    """The verb; returns the exit code. Raises ConfigError, PluginError, CycloneError."""
    overrides = [f"processing.worker_count={args.workers}"] if args.workers else []
    settings = common.load_settings(args, "run", overrides)
    if args.check_config:
        return common.check_config(settings)
    from cyclone import logs

    # Unless asked for, the log of a run is its progress; warnings still show.
    if not any(row.section == "log" and row.origin != "default" for row in settings.rows()):
        overrides.append("log.level=warning")
        settings = replace(settings, log=replace(settings.log, level="warning"))
    logs.configure("run", settings.log.filename, settings.log.format, settings.log.level, args.debug)
    results = Path(args.results) if args.results else None
    outcome, progress = _run(args, settings, results, [*args.overrides, *overrides])
    if not args.quiet:
        _summarise(outcome, progress, results)
    return _exit_code(outcome)


def _run(
    args: argparse.Namespace, settings: "Settings", results: Path | None, overrides: list[str]
) -> tuple["Outcome", Progress]:
    from cyclone.cli.local import LocalController
    from cyclone.master.journal import NoJournal
    from cyclone.master.service import Listener, MasterService
    from cyclone.results_file import open_results_file

    file = open_results_file(results) if results else None
    progress = Progress(args.quiet)
    controller = LocalController(args.config_file, overrides, args.debug)
    listeners: list[Listener] = [progress, controller]
    if file:
        listeners.insert(0, _Recorder(file))
    try:
        options = common.master_options(settings, args.debug, port=0)
        with MasterService(options, NoJournal(), listeners) as service, controller.running(service):
            outcome = service.run()
    finally:
        if file:
            file.close()
        progress.close()
    return outcome, progress


def _exit_code(outcome: "Outcome") -> int:
    if outcome.signal:
        return 128 + outcome.signal
    if outcome.failure and outcome.failure.type in ("ConfigError", "PluginError"):
        return common.EXIT_CONFIG
    failed = sum(outcome.ended.values()) - outcome.ended["completed"]
    return common.EXIT_FAILED if outcome.failure or failed or outcome.unfinished else common.EXIT_OK


def _summarise(outcome: "Outcome", progress: Progress, results: Path | None) -> None:
    seconds = progress.seconds()
    if outcome.failure and not progress.done:
        # A table of zeros would only hide what matters.
        _say_failure(outcome.failure)
        return
    rows = [
        ("tasks", f"{progress.done:,}" + (f"  ({state_counts(outcome.ended)})" if progress.done else "")),
        ("failures", f"{progress.failed:,}"),
        ("time", f"{seconds:.2f} s"),
        ("rate", f"{progress.done / seconds if seconds else 0:,.0f} tasks/s"),
    ]
    if outcome.unfinished:
        rows.append(("unfinished", f"{outcome.unfinished:,} tasks were produced and have no result"))
    for name, value in outcome.summary.items():
        if name == "bytes" and isinstance(value, int):
            from cyclone.units import format_size

            rows.append((name, f"{value:,}  ({format_size(int(value / seconds)) if seconds else 0}/s)"))
        else:
            rows.append((name, f"{value:,}" if isinstance(value, int) else str(value)))
    if results:
        rows += [("results", str(results)), ("look", _look_command(results))]
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{name:<{width}}  {text}")
    for cause, count in progress.causes.most_common(_CAUSES_SHOWN):
        print(f"{count:>{width},}  {cause}", file=sys.stderr)
    if len(progress.causes) > _CAUSES_SHOWN:
        print(f"{'':>{width}}  and {len(progress.causes) - _CAUSES_SHOWN} other causes", file=sys.stderr)
    if outcome.failure:
        _say_failure(outcome.failure)


def _say_failure(failure: "ErrorRecord") -> None:
    # Its traceback stands in the log, which is just above this unless it goes to a file.
    print(f"the generator failed: {failure.type}: {failure.message}", file=sys.stderr)


def _look_command(results: Path) -> str:
    import shlex

    name = shlex.quote(str(results))
    return {
        ".jsonl": f"python3 -m json.tool --json-lines {name} | less",
        ".csv": 'python3 -c \'import csv, sys; [print(row["task_id"], row["state"], row["value"]) '
        f"for row in csv.DictReader(open(sys.argv[1]))]' {name} | less",
        ".sqlite": f"python3 -c 'import sqlite3, sys; [print(*row) for row in sqlite3.connect(sys.argv[1]).execute("
        f'"select task_id, state, value from results limit 20")]\' {name}',
    }[results.suffix.lower()]
