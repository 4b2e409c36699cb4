"""``cyclone journal``: look into a journal's file, take its records out, save what can be saved of a damaged one."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cyclone.cli import common, output, parsing, selectors

if TYPE_CHECKING:
    from cyclone.journal.stats import Stats

_EXAMPLES = {
    "verify": (
        (
            "cyclone journal verify /var/lib/cyclone-master/master.journal",
            "whether every row is sound; its master may run meanwhile",
        ),
    ),
    "stats": (("cyclone journal stats master.journal", "how many jobs and tasks it holds, and how large it is"),),
    "export": (
        ("cyclone journal export master.journal --state failed", "an object for each task that failed"),
        ("cyclone journal export master.journal --job 5 --format csv > 5.csv", "the tasks of job 5 for a spreadsheet"),
    ),
    "salvage": (
        ("cyclone journal salvage master.journal saved.journal", "what is sound of a damaged one, as a new one"),
    ),
}


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The verb and its actions."""
    parser = verbs.add_parser(
        "journal",
        help="verify, measure, export or salvage a journal",
        description="Read the journal of a run or of a master. No action writes to FILE; all but salvage may be used "
        "while a master runs on it.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    verify = actions.add_parser(
        "verify",
        help="check every row and re-derive that each task has at most one result",
        epilog="Exit codes: 0 the journal is sound, 1 it is not, 78 it is no journal.",
    )
    stats = actions.add_parser("stats", help="print what it holds, in figures")
    stats.add_argument("--json", action="store_true", help="print one JSON object")
    export = actions.add_parser("export", help="print a record for each task, in the order of ids")
    export.add_argument("--format", choices=("jsonl", "csv"), default="jsonl", help="(default: jsonl)")
    export.add_argument(
        "--state",
        choices=("queued", *selectors.ENDED_TASK_STATES),
        metavar="STATE",
        help="only tasks in this state (default: all)",
    )
    export.add_argument("--job", type=int, metavar="ID", help="only tasks of this submitted job (default: all tasks)")
    salvage = actions.add_parser("salvage", help="write what can be read of a damaged journal to a new one")
    for action in (verify, stats, export, salvage):
        action.add_argument("file", metavar="FILE", type=Path, help="the journal's file")
    salvage.add_argument("out", metavar="OUT", type=Path, help="the new file")
    for name, action in actions.choices.items():
        parsing.add_examples(action, *_EXAMPLES[name])


def journal(args: argparse.Namespace) -> int:
    """Run an action."""
    actions = {"verify": _verify, "stats": _stats, "export": _export, "salvage": _salvage}
    return actions[args.action](args)


def _verify(args: argparse.Namespace) -> int:
    from cyclone.journal.verify import verify

    count = 0
    for problem in verify(args.file):
        print(problem)
        count += 1
    if count:
        print(f"{args.file}: {count} problem{'s' * (count != 1)}; `cyclone journal salvage` saves what can be read")
        return common.EXIT_FAILED
    print(f"{args.file}: sound")
    return common.EXIT_OK


def _stats(args: argparse.Namespace) -> int:
    from cyclone.journal.stats import read_stats

    stats = read_stats(args.file)
    if args.json:
        import msgspec

        output.print_json("cyclone.journal_stats/1", msgspec.structs.asdict(stats))
    else:
        _print_stats(args.file, stats)
    return common.EXIT_OK


def _print_stats(path: Path, stats: "Stats") -> None:
    from cyclone.ranges import fold_nodes

    generator = stats.generator
    progress = "not started" if generator is None else f"{generator['pulled']} tasks pulled"
    if generator is not None:
        progress += f", results consumed up to batch {generator['consumed']}"
        progress += ", exhausted" if generator["exhausted"] else ""
    lines = {
        "file": path,
        "journal id": stats.journal_id,
        "made by": stats.created_by,
        "generator": stats.generator_class,
        "its progress": progress,
        "masters so far": stats.epochs,
        "tasks": f"{stats.last_id}, offered up to {stats.horizon}",
        **{f"  {state}": count for state, count in stats.tasks.items()},
        "tasks dropped": stats.tasks_dropped,
        "attempts that were not the last": stats.attempts_ended,
        "blocks": f"{stats.blocks_open} open, {stats.blocks_closed} closed",
        "batches of results": stats.result_batches,
        "submitted jobs": f"{stats.jobs['open']} open, {stats.jobs['ended']} ended",
        "namespaces": ", ".join(stats.namespaces) or "none",
        "keys": stats.keys,
        "controllers alive": fold_nodes(stats.controllers) or "none",
        "bytes": f"{stats.file_bytes} and {stats.wal_bytes} in the write-ahead log",
    }
    for name, value in lines.items():
        print(f"{name:32}{value}")


def _export(args: argparse.Namespace) -> int:
    from cyclone.journal.export import export

    for text in export(args.file, args.format, args.state, args.job):
        sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()
    return common.EXIT_OK


def _salvage(args: argparse.Namespace) -> int:
    from cyclone.journal.salvage import salvage

    whole = True
    for loss in salvage(args.file, args.out):
        print(f"lost: {loss}")
        whole = False
    print(f"{args.out}: {'nothing is lost' if whole else 'all that could be saved'}")
    return common.EXIT_OK
