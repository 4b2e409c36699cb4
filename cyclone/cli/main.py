"""``cyclone``: one program, a verb for each thing that people do. Imports a verb's code only when it is called."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cyclone.cli import ask_verbs, bench_options, common, config, journal, lustre, taskfile


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cyclone", description="Run very many tasks and lose none of them.")
    common.add_version(parser)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    run = verbs.add_parser(
        "run",
        help="run a generator's tasks on this machine, to the end",
        description="Start a master, a controller and workers on this machine, and run until the generator is done. "
        "[comm] and pid_file of the configuration are ignored: a free loopback port is taken. Each run has a folder "
        "with its journal, by which it can be resumed after a kill.",
        epilog="Exit codes: 0 every task succeeded, 1 one failed or a sink lacks results, 78 bad configuration, "
        "130 Ctrl-C, 143 SIGTERM.",
    )
    common.add_config_options(run, required=False)
    run.add_argument(
        "--resume", metavar="FOLDER", type=Path, help="go on with the run of this folder, where it was when it ended"
    )
    run.add_argument(
        "--workers", type=common.positive, metavar="N", help="worker processes (default: the usable cores)"
    )
    run.add_argument("--results", metavar="FILE", help="write a record per task to FILE (.jsonl, .csv or .sqlite)")
    run.add_argument(
        "--dry-run", action="store_true", help="print what the generator would do, where it can tell, and do nothing"
    )
    run.add_argument("-q", "--quiet", action="store_true", help="no progress and no summary")
    bench_options.add_parser(verbs)
    ask_verbs.add_verbs(verbs)
    _add_keys(verbs)
    journal.add_parser(verbs)
    config.add_parser(verbs)
    taskfile.add_parser(verbs)
    lustre.add_parser(verbs)
    return parser


def _add_keys(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    keys = verbs.add_parser(
        "keys",
        help="make, list and revoke the keys by which peers are let in",
        description="Keep the folder of keys on the master's host. Run it as the user that the master runs as.",
    )
    actions = keys.add_subparsers(dest="action", metavar="ACTION", required=True)
    init = actions.add_parser("init", help="make the folder and the master's own key")
    init.add_argument("--address", metavar="HOST[:PORT]", help="where nodes find the master (default: this host:5678)")
    add = actions.add_parser("add", help="let a peer in: make its key, and print one line to carry to it")
    add.add_argument(
        "names",
        metavar="NAMES",
        help="whose key it is: for a controller its name, as a rule the host's; of node[001-176] each gets one",
    )
    add.add_argument(
        "--role", choices=("controller", "client", "monitor", "admin", "master"), required=True, help="what it may do"
    )
    listing = actions.add_parser("list", help="list the keys")
    listing.add_argument("--json", action="store_true", help="print a JSON object for each")
    revoke = actions.add_parser("revoke", help="let a peer in no more; a running master cuts it off")
    revoke.add_argument("names", metavar="NAMES", help="a name, or several: node[001-003]")
    for action in (init, add, listing, revoke):
        action.add_argument(
            "--dir",
            metavar="DIR",
            type=Path,
            help="folder of the keys (default: /etc/cyclone/keys for root, else cyclone/keys in $XDG_CONFIG_HOME)",
        )


def _run(argv: Sequence[str] | None) -> int:
    parser = _parser()
    args = parser.parse_args(argv)
    if args.verb == "run":
        if not (args.config_file or args.resume):
            parser.error("run: the following arguments are required: -f/--config-file, or --resume")
        from cyclone.cli.run import run

        return run(args)
    if args.verb == "journal":
        return journal.journal(args)
    if args.verb == "config":
        return config.config(args)
    if args.verb == "taskfile":
        return taskfile.taskfile(args)
    if args.verb == "lustre":
        return lustre.lustre(args)
    if args.verb in ("status", "cancel", "drain"):
        from cyclone.cli import ask

        return {"status": ask.status, "cancel": ask.cancel, "drain": ask.drain}[args.verb](args)
    if args.verb == "keys":
        from cyclone.cli.keys import keys

        return keys(args)
    from cyclone.cli.bench import bench

    return bench(args)


def main() -> None:
    """Entry point."""
    sys.exit(common.guarded("cyclone", _run))
