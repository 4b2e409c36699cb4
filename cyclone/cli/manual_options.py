"""The command line of ``cyclone manual``; ``cyclone.cli.manual`` has what it does."""

import argparse
from pathlib import Path

from cyclone.cli import parsing

_EXAMPLES = (
    ("cyclone manual /usr/local/share/man/man1", "for all users of this host: man cyclone, man cyclone-submit"),
    ("cyclone manual --markdown > commands.md", "all verbs on one page"),
)


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Its command line."""
    parser = verbs.add_parser(
        "manual",
        help="write the manual pages, or the reference of all verbs",
        description="Write a manual page for each verb, and one for the program, from what --help says.",
        epilog="`man -l DIR/cyclone-jobs.1` shows one; in /usr/local/share/man/man1 all users have them.",
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("folder", metavar="DIR", type=Path, nargs="?", help="the folder that they are written to")
    where.add_argument("--markdown", action="store_true", help="print the reference of all verbs instead")
    parsing.add_examples(parser, *_EXAMPLES)
