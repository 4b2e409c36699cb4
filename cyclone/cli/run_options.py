"""The command line of ``cyclone run``; ``cyclone.cli.run_command`` and ``cyclone.cli.run`` have what it does."""

import argparse
from pathlib import Path

from cyclone.cli import common, connecting, parsing, submit_options
from cyclone.errors import UsageError

_EXAMPLES = (
    ("cyclone run -- hostname", "a command on the cluster: its output and its exit code are here"),
    (
        "cyclone run --workers 8 -- gzip {} ::: *.log",
        "where no master is named: on this machine, eight files at once",
    ),
    (
        "cyclone run --each-line hosts.txt --wrap 'ping -c 1 {} | tail -n 1'",
        "a command for the shell, for each line of a file",
    ),
    (
        "cyclone run -f crawl.conf --results crawl.jsonl",
        "a generator's tasks on this machine, with a record of each in a file",
    ),
    (
        "cyclone run --resume ~/.local/state/cyclone/runs/20261122T053000Z-4711",
        "go on with the run of a generator that was killed",
    ),
)


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Its command line."""
    run = verbs.add_parser(
        "run",
        help="run a command on the cluster as if it were here, or a generator's tasks on this machine",
        usage="cyclone run [options] -- COMMAND ARGUMENT...  [::: WORD...]\n"
        "       cyclone run [options] SCRIPT ARGUMENT...  [::: WORD...]\n"
        "       cyclone run [options] -f CONF",
        description="With a command: submit it, as `cyclone submit` does, print what it prints, and exit as it exits; "
        "Ctrl-C cancels it. The master is that of --connect, $CYCLONE_SERVER or a profile; without one, a cluster is "
        "started on this machine and ends with it. "
        "With -f or --resume: start a master, a controller and workers on this machine, and run until the generator is "
        "done. [comm] and pid_file of the configuration are ignored: a free loopback port is taken. Each run has a "
        "folder with its journal, by which it can be resumed after a kill.",
        epilog="Exit codes of a command: its own, of several the largest; 124 its time limit, 126 it is no program, "
        "127 there is none, 128+n signal n; 1 it could not be started or was cancelled, 2 bad usage, "
        f"{connecting.EXIT_CODES}, 75 over quota. Exit codes of a generator: 0 every task succeeded, 1 one failed or a "
        "sink lacks results, 78 bad configuration, 130 Ctrl-C, 143 SIGTERM.",
    )
    submit_options.add_words(run)
    common.add_config_options(run, required=False)
    run.add_argument(
        "--resume", metavar="FOLDER", type=Path, help="go on with the run of this folder, where it was when it ended"
    )
    run.add_argument(
        "--workers", type=common.positive, metavar="N", help="worker processes (default: the usable cores)"
    )
    run.add_argument("--results", metavar="FILE", help="write a record per task to FILE (.jsonl, .csv or .sqlite)")
    run.add_argument(
        "--dry-run",
        action="store_true",
        help="print what would be submitted, or where it can tell what the generator would do, and do nothing",
    )
    run.add_argument("-q", "--quiet", action="store_true", help="no progress and no summary")
    submit_options.add_options(run)
    connecting.add_options(run, config_file=False)
    parsing.add_examples(run, *_EXAMPLES)


def run(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    from cyclone.cli import run_command

    if run_command.wants_command(args):
        return run_command.run_command(args)
    if not (args.config_file or args.resume):
        raise UsageError("run what? Give -- COMMAND, -f CONF of a generator, or --resume FOLDER")
    from cyclone.cli.run import run

    return run(args)
