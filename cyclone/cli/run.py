"""``cyclone run``: master, controller and workers on this machine until the generator is done.

Each run has a folder with its journal, so that it can be resumed. On resuming, the results file is written anew from
the journal: what was written to it before is not read, and each task stands in it once.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cyclone.cli import common, metering
from cyclone.cli.progress import Progress, state_counts
from cyclone.cli.run_folder import Request, RunFolder
from cyclone.config_kinds import Keep
from cyclone.errors import ConfigError, CycloneError

if TYPE_CHECKING:
    from cyclone.master.ending import Outcome
    from cyclone.master.journal import Journal
    from cyclone.master.listener import Listener
    from cyclone.master.service import MasterService
    from cyclone.protocol.job_messages import AnyToClient
    from cyclone.protocol.messages import AnyFromMaster, ErrorRecord
    from cyclone.results import RecordedBlock
    from cyclone.settings import Settings


_CAUSES_SHOWN = 5
# Blocks of former results that are written to a results file at once.
_REFILL_BLOCKS = 256


class _Recorder:
    """A listener of the master that fills a results file; flushed once per turn that brought results.

    CycloneError where the disk does not take it: the run ends, and is resumed when there is room.
    """

    def __init__(self, path: Path, anew: bool) -> None:
        from cyclone.results_file import open_results_file

        self._path = path
        self._fresh = False
        with self._naming_the_file():
            self._file = open_results_file(path, anew)

    def refill(self, journal: "Journal") -> None:
        """Write what was recorded before."""
        with self._naming_the_file():
            for count, (_, block) in enumerate(journal.results_after(0), 1):
                self._file.write(block.of_known_tasks())
                if count % _REFILL_BLOCKS == 0:
                    self._file.flush()
            self._file.flush()

    def sent(self, message: "AnyFromMaster | AnyToClient") -> None:
        """Not our concern."""

    def recorded(self, block: "RecordedBlock") -> None:
        """Write the block."""
        with self._naming_the_file():
            self._file.write(block)
        self._fresh = True

    def turn(self, service: "MasterService") -> None:
        """What is recorded can be read from now on."""
        if self._fresh:
            with self._naming_the_file():
                self._file.flush()
            self._fresh = False

    def close(self) -> None:
        """The file is complete."""
        with self._naming_the_file():
            self._file.close()

    @contextlib.contextmanager
    def _naming_the_file(self) -> Iterator[None]:
        import sqlite3

        try:
            yield
        except (OSError, sqlite3.Error) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or error
            raise CycloneError(f"results file {self._path}: {reason}") from error


class _Books(NamedTuple):
    """What a run writes to. ``folder`` is None where nothing is to be kept; ``refill``: the journal has more than the
    results file.
    """

    journal: "Journal"
    folder: RunFolder | None
    recorder: _Recorder | None
    refill: bool = False


class _Report(NamedTuple):
    """How it went."""

    outcome: "Outcome"
    progress: Progress
    folder: RunFolder | None
    results: Path | None


def _dry_run(settings: "Settings") -> int:
    from cyclone.generator import BaseTaskGenerator
    from cyclone.plugins import add_search_path, load_class

    add_search_path(*settings.search_path)
    generator_class = load_class(settings.task_generator.class_path, BaseTaskGenerator)
    path = settings.generator_options_path
    folder = path.resolve().parent if path else Path.cwd()
    for line in generator_class.dry_run(settings.generator_options, folder):
        print(line)
    return common.EXIT_OK


def run(args: argparse.Namespace) -> int:
    """The verb; returns the exit code. Raises ConfigError, PluginError, CycloneError."""
    folder, request = _asked_for(args)
    from cyclone.config import load

    settings = load(Path(request.config_file), request.overrides, "run")
    if args.check_config:
        return common.check_config(settings)
    if args.dry_run:
        return _dry_run(settings)
    from cyclone import logs

    overrides = list(request.overrides)
    # Unless asked for, the log of a run is its progress; warnings still show.
    if not any(row.section == "log" and row.origin != "default" for row in settings.rows()):
        overrides.append("log.level=warning")
        settings = replace(settings, log=replace(settings.log, level="warning"))
    logs.configure("run", settings.log.filename, settings.log.format, settings.log.level, args.debug)
    with _open_books(settings, request, folder) as books:
        if not args.quiet:
            _say_folder(books.folder)
        report = _run(args, settings, request, overrides, books)
    if not args.quiet:
        _summarise(report)
    return _exit_code(report.outcome)


def _asked_for(args: argparse.Namespace) -> tuple[RunFolder | None, Request]:
    """What the command line asks for; where a run is resumed, on top of what was asked for then."""
    config_file = str(args.config_file.absolute()) if args.config_file else ""
    results = str(Path(args.results).absolute()) if args.results else None
    overrides = [*args.overrides, *([f"processing.worker_count={args.workers}"] if args.workers else [])]
    if args.resume is None:
        return None, Request(str(Path.cwd()), config_file, overrides, results)
    folder = RunFolder(args.resume)
    before = folder.read()
    try:
        # Relative paths start there, also those that tasks have as arguments.
        os.chdir(before.directory)
    except OSError as error:
        raise ConfigError(f"{folder.path}: its run works in {before.directory}: {error.strerror}") from None
    return folder, Request(
        before.directory,
        config_file or before.config_file,
        [*before.overrides, *overrides],
        results or before.results,
    )


@contextlib.contextmanager
def _open_books(settings: "Settings", request: Request, resumed: RunFolder | None) -> Iterator[_Books]:
    """Open what the run writes to; a new folder is removed again where it is refused."""
    with contextlib.ExitStack() as stack:
        if settings.journal.durability == "off":
            from cyclone.master.journal import NoJournal

            if resumed:
                raise ConfigError(f"{resumed.path}: durability = off: a run is resumed with its journal, or not at all")
            yield _Books(NoJournal(), None, _recorder(stack, request, anew=False))
            return
        assert settings.control.state_dir
        folder = resumed or RunFolder.make(settings.control.state_dir)
        try:
            journal = common.open_journal(settings, folder.journal)
            # Only the file of the run itself is replaced, and not where it may have more than the journal.
            own = resumed is not None and folder.read().results == request.results
            recorder = _recorder(stack, request, anew=own and settings.journal.keep == Keep())
            folder.write(request)
        except CycloneError:
            if not resumed:
                folder.remove()
            raise
        yield _Books(journal, folder, recorder, refill=resumed is not None)


def _recorder(stack: contextlib.ExitStack, request: Request, anew: bool) -> _Recorder | None:
    if not request.results:
        return None
    return stack.enter_context(contextlib.closing(_Recorder(Path(request.results), anew)))


def _run(
    args: argparse.Namespace, settings: "Settings", request: Request, overrides: list[str], books: _Books
) -> _Report:
    from cyclone.cli.local import LocalController
    from cyclone.master.service import MasterService

    progress = Progress(args.quiet)
    # The same one when it is resumed: what the former controller held is free as soon as this one says hello.
    name = f"local-{books.folder.path.name if books.folder else os.getpid()}"
    controller = LocalController(name, Path(request.config_file), overrides, args.debug)
    listeners: list[Listener] = [progress, controller]
    if books.recorder:
        listeners.insert(0, books.recorder)
    try:
        # Its controller is the only one who comes: no port is open, and no other user of this host gets in.
        options = common.master_options(settings, args.debug, ("", 0))
        with metering.served(settings) as board:
            meter = metering.of_master(settings, board, books.journal)
            with MasterService(options, books.journal, listeners, meter) as service, controller.running(service):
                if books.recorder and books.refill:
                    books.recorder.refill(books.journal)
                outcome = service.run()
    finally:
        progress.close()
    # As it was written, because a relative path is easier to read.
    results = args.results or request.results
    return _Report(outcome, progress, books.folder, Path(results) if results else None)


def _say_folder(folder: RunFolder | None) -> None:
    """At the start, because whoever needs it has no summary."""
    import shlex

    if folder:
        print(f"if it is killed: cyclone run --resume {shlex.quote(str(folder.path))}", file=sys.stderr)
    else:
        print("no journal (durability = off): if it is killed, it cannot be resumed", file=sys.stderr)


def _exit_code(outcome: "Outcome") -> int:
    if outcome.signal:
        return 128 + outcome.signal
    if outcome.failure and outcome.failure.type in ("ConfigError", "PluginError"):
        return common.EXIT_CONFIG
    failed = sum(outcome.ended.values()) - outcome.ended["completed"]
    incomplete = outcome.failure or failed or outcome.unfinished or outcome.behind
    return common.EXIT_FAILED if incomplete else common.EXIT_OK


def _summarise(report: _Report) -> None:
    outcome, progress, folder, results = report
    seconds = progress.seconds()
    total = sum(outcome.ended.values())
    if outcome.failure and not total:
        # A table of zeros would only hide what matters.
        _say_failure(outcome.failure)
        return
    rows = [
        ("tasks", f"{total:,}" + (f"  ({state_counts(outcome.ended)})" if total else "")),
        ("failures", f"{total - outcome.ended['completed']:,}"),
        ("time", f"{seconds:.2f} s"),
        ("rate", f"{progress.done / seconds if seconds else 0:,.0f} tasks/s"),
    ]
    if progress.before:
        nothing_left = not progress.done and not outcome.unfinished
        rows.append(("before", f"{progress.before:,} were done before" + (", nothing was left to do" * nothing_left)))
    if outcome.unfinished:
        rows.append(("unfinished", f"{outcome.unfinished:,} tasks were produced and have no result"))
    for name, value in outcome.summary.items():
        if name == "bytes" and isinstance(value, int):
            from cyclone.units import format_size

            rows.append((name, f"{value:,}  ({format_size(int(value / seconds)) if seconds else 0}/s)"))
        else:
            rows.append((name, f"{value:,}" if isinstance(value, int) else str(value)))
    rest = "--resume sends them" if folder else "they are lost to it"
    for sink in outcome.behind:
        rows.append(("sinks", f"{sink.name} lacks {sink.lag:,} result blocks: {rest}"))
    if folder:
        rows.append(("folder", str(folder.path)))
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
