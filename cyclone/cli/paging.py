"""How much of a list is printed: ``--limit``, and whether there would have been more.

Owns that. Pages of a list are asked for as they are read, so that what is beyond the limit costs nothing.
"""

import argparse
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from cyclone.cli import output, selectors

# A person reads no more at once; a script gets all.
TERMINAL_LIMIT = 100

Row = TypeVar("Row")


def add_option(parser: argparse.ArgumentParser, what: str) -> None:
    """``--limit``."""
    parser.add_argument(
        "--limit",
        metavar="N",
        type=selectors.number,
        help=f"{what}, 0 for all (default: {TERMINAL_LIMIT} on a terminal, else all)",
    )


def wanted(args: argparse.Namespace) -> int | None:
    """How many rows are wanted, None for all."""
    if args.limit is None:
        return TERMINAL_LIMIT if output.is_terminal() and not args.json else None
    found: int = args.limit
    return found or None


def page_rows(args: argparse.Namespace) -> int:
    """How many rows a question should ask for, the one behind the limit among them."""
    from cyclone.protocol.limits import PAGE_ROWS_MAX

    count = wanted(args)
    return PAGE_ROWS_MAX if count is None else min(count + 1, PAGE_ROWS_MAX)


class Limited(Generic[Row]):
    """The first rows of many. Afterwards ``last`` is the last one, and ``following`` the one that was not wanted."""

    def __init__(self, rows: Iterable[Row], args: argparse.Namespace) -> None:
        self._rows = rows
        self._wanted = wanted(args)
        self._as_json = args.json
        self.last: Row | None = None
        self.following: Row | None = None

    def note_more(self) -> None:
        """Say that there are more, of a list that is told as a whole."""
        if self.following is not None:
            output.note("there are more: --limit 0 lists all", self._as_json)

    def __iter__(self) -> Iterator[Row]:
        for count, row in enumerate(self._rows):
            if count == self._wanted:
                self.following = row
                return
            self.last = row
            yield row
