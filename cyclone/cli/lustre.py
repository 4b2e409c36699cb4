"""``cyclone lustre``: what a migration would do, how far it is, and a hold on it.

Everything goes by files: the configuration says where the input lies, and beside it are the pause file and the status
that the generator writes. So it works from any node that sees them, and needs no master.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cyclone.cli import common, parsing
from cyclone.errors import ConfigError, CycloneError

if TYPE_CHECKING:
    from cyclone.lustre.migration_options import MigrationOptions
    from cyclone.lustre.migration_status import MigrationStatus, OstStatus

_EXAMPLES = {
    "plan": (
        (
            "cyclone lustre plan -f lustre_ost_migration.conf --rate 500MB",
            "what each OST would give or take, and how long that lasts",
        ),
    ),
    "progress": (
        (
            "cyclone lustre progress -f lustre_ost_migration.conf",
            "what was moved, what waits, and how long it still takes",
        ),
    ),
    "pause": (
        ("cyclone lustre pause -f lustre_ost_migration.conf", "begin no more moves; what moves now is finished"),
    ),
    "resume": (("cyclone lustre resume -f lustre_ost_migration.conf", "begin moves again"),),
}


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The verb and its actions."""
    parser = verbs.add_parser(
        "lustre", help="plan, watch and pause a migration", description="Look after a migration between OSTs."
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    plan = actions.add_parser(
        "plan",
        help="say what would move where; nothing is moved",
        description="Read the input files and the fill levels, and say what each source would give and each target "
        "take. Nothing is moved, renamed or noted.",
    )
    plan.add_argument("--rate", metavar="SIZE", help="assumed bytes a second of a stream (default: 200MB)")
    plan.add_argument("--file-size", metavar="SIZE", help="assumed for files of unknown size (default: the mean)")
    progress = actions.add_parser("progress", help="say how far it is")
    actions.add_parser("pause", help="begin no more moves; those that run end")
    actions.add_parser("resume", help="go on")
    for action in (plan, progress):
        action.add_argument("--json", action="store_true", help="print a JSON object")
    for name, action in actions.choices.items():
        parsing.add_examples(action, *_EXAMPLES[name])
        action.epilog = "Exit codes: 0 done, 1 not possible, 78 bad configuration."
        action.add_argument(
            "-f",
            "--config-file",
            metavar="CONF",
            type=Path,
            required=True,
            help="the master's configuration, or the generator's own",
        )
        action.add_argument(
            "--set", metavar="SECTION.KEY=VALUE", action="append", default=[], dest="overrides", help="overrule a value"
        )


def lustre(args: argparse.Namespace) -> int:
    """Run the action. Raises ConfigError, CycloneError."""
    options = _options(args)
    if args.action == "plan":
        return _plan(args, options)
    if args.action == "progress":
        return _progress(args, options)
    return _pause(options.pause_file, args.action == "pause")


def _options(args: argparse.Namespace) -> "MigrationOptions":
    from cyclone.config import load
    from cyclone.config_text import read_ini
    from cyclone.generator import BaseTaskGenerator
    from cyclone.lustre.migration_options import read_options

    path: Path = args.config_file
    found = read_ini(path)
    if "task_generator" in found or args.overrides:
        settings = load(path, args.overrides, "run")
        sections = {name: dict(keys) for name, keys in settings.generator_options.items()}
        path = settings.generator_options_path or path
    else:
        sections = {name: {key: value.text for key, value in keys.keys.items()} for name, keys in found.items()}
    return read_options(BaseTaskGenerator(sections, path.resolve().parent))


def _size(text: str, option: str) -> int:
    from cyclone.units import parse_size

    try:
        found = parse_size(text)
    except ValueError as error:
        raise ConfigError(f"{option}: {error}") from None
    if not found:
        raise ConfigError(f"{option}: {text} is nothing: write more")
    return found


def _plan(args: argparse.Namespace, options: "MigrationOptions") -> int:
    from cyclone.lustre.migration_forecast import RATE_BYTES, look_ahead
    from cyclone.lustre.migration_forecast_text import lines

    rate_bytes = _size(args.rate, "--rate") if args.rate else RATE_BYTES
    found = look_ahead(options, rate_bytes, _size(args.file_size, "--file-size") if args.file_size else None)
    if args.json:
        _print_json(found)
    else:
        print("\n".join(lines(found)))
    return common.EXIT_OK


def _progress(args: argparse.Namespace, options: "MigrationOptions") -> int:
    from cyclone.lustre.input_folder import is_at_work
    from cyclone.lustre.migration_status import ENDED, NOBODY, read_status

    status, written = read_status(options.status_file)
    if status.state != ENDED and not is_at_work(options.state_dir):
        status.state = f"{NOBODY}; it was {status.state}"
    if args.json:
        _print_json(status)
    else:
        print("\n".join(_progress_text(status, written)))
    return common.EXIT_OK


def _progress_text(status: "MigrationStatus", written: float) -> list[str]:
    from datetime import datetime

    from cyclone.units import format_duration, format_size

    outcomes = ", ".join(f"{count:,} {name}" for name, count in status.outcomes.items() if count) or "none"
    left = "unknown" if status.left_s is None else f"about {format_duration(round(status.left_s))}"
    indexing = f"; {format_size(status.unindexed_bytes)} of input not looked at" if status.unindexed_bytes else ""
    return [
        f"state      {status.state}, at {datetime.fromtimestamp(written):%Y-%m-%d %H:%M:%S}",
        f"outcomes   {outcomes}",
        f"moved      {format_size(status.moved_bytes)}, {format_size(round(status.bytes_per_s))}/s, "
        f"{status.files_per_s:,.1f} files/s",
        f"waiting    {status.waiting:,} paths of {status.files:,} files, {status.retrying:,} to be tried again, "
        f"{status.under_way:,} under way, {status.bad_records:,} bad records{indexing}",
        f"time left  {left}",
        *_groups("sources", status.sources),
        *_groups("targets", status.targets),
    ]


def _groups(name: str, osts: "dict[int, OstStatus]") -> list[str]:
    """A line for each state and ten per cent of fill level: hundreds of OSTs on one screen."""
    from cyclone.ranges import fold_ranges

    groups: dict[tuple[str, str], list[int]] = {}
    for index, ost in osts.items():
        level = "level unknown" if ost.fill_percent is None else f"{int(ost.fill_percent) // 10 * 10} % and more"
        groups.setdefault((ost.state, level), []).append(index)
    return [f"{name}    {state} at {level}: {fold_ranges(found)}" for (state, level), found in sorted(groups.items())]


def _pause(path: Path, pause: bool) -> int:
    try:
        if pause:
            path.touch()
            print(f"paused: {path} is there; what runs ends, nothing new begins")
        else:
            path.unlink(missing_ok=True)
            print(f"resumed: {path} is gone")
    except OSError as error:
        raise CycloneError(f"{path}: {error.strerror}; the pause file is beside the input") from error
    return common.EXIT_OK


def _print_json(value: object) -> None:
    import msgspec

    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.buffer.flush()
