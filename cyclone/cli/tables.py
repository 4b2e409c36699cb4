"""A table for people: how wide its columns are, and what of a long text has room there.

Owns that. The widths are those of the first rows, and no row is kept. Where the paper is too narrow, texts of any
length are shortened, the widest first, as far as they stay readable; numbers, ids, states and moments never are. Where
that is not enough columns move together, and after that a table is as wide as it must be. What the paper is, the caller
knows (``cyclone.cli.output``).
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from cyclone.cli.columns import Column, sayable

# Between two columns; and where there is no room for it.
GAP = "  "
_NARROW_GAP = " "
# So many rows are looked at for the widths of a table; a wider one that follows is as wide as the paper allows.
_MEASURED_ROWS = 200
# Of less nobody can tell any more what it was.
_READABLE_WIDTH = 8
# Marks that stand on the letter before them, joiners, and what only says how others are shown.
_NO_WIDTH = ("Mn", "Me", "Cf")
_RED, _GREEN, _YELLOW, _CYAN, _DIM = "31", "32", "33", "36", "2"
_COLOURS = {
    **dict.fromkeys(("failed", "timed_out", "setup_failed", "quarantined", "refused", "suspected"), _RED),
    **dict.fromkeys(("completed", "processed"), _GREEN),
    **dict.fromkeys(("cancelled", "cancelling", "expired", "drained", "leaving", "paused"), _YELLOW),
    **dict.fromkeys(("running", "leased"), _CYAN),
    **dict.fromkeys(("held", "delayed", "blocked"), _DIM),
}


class Paper(NamedTuple):
    """What a table is written on: ``width`` is None where a line may be of any length."""

    encoding: str = "utf-8"
    width: int | None = None
    colours: bool = False


def lines(columns: Sequence[Column], rows: Iterable[Any], header: bool, paper: Paper) -> Iterator[tuple[bool, str]]:
    """Each line of the table, and whether it is a row; nothing before the first row is there."""
    texts = ([sayable(one.kind.for_people(one.get(row)), paper.encoding) for one in columns] for row in rows)
    head = [(one.title or one.name).upper() for one in columns]
    measured = list(islice(texts, _MEASURED_ROWS))
    looked_at = [head, *measured] if header or not measured else measured
    widths = [max(map(text_width, cells)) for cells in zip(*looked_at, strict=True)]
    readable = [max(_READABLE_WIDTH, text_width(name)) for name in head]
    gap, room = GAP, None
    if paper.width is not None:
        least = _least(columns, widths, readable)
        gap = GAP if sum(least) + len(GAP) * (len(least) - 1) <= paper.width else _NARROW_GAP
        room = paper.width - len(gap) * (len(least) - 1)
        widths = fitted(widths, least, room)
    ellipsis = "…" if sayable("…", paper.encoding) == "…" else "..."

    def line(cells: list[str], colours: bool = paper.colours) -> str:
        sizes = list(map(text_width, cells))
        if room is not None and any(size > width for size, width in zip(sizes, widths, strict=True)):
            wanted = list(map(max, sizes, widths))
            allowed = fitted(wanted, _least(columns, wanted, list(map(max, readable, widths))), room)
            cells = [shortened(cell, most, ellipsis) for cell, most in zip(cells, allowed, strict=True)]
            sizes = list(map(text_width, cells))
        found = []
        for column, cell, size, width in zip(columns, cells, sizes, widths, strict=True):
            blanks = " " * (width - size)
            painted = _painted(cell) if colours and column.kind.paints else cell
            found.append(blanks + painted if column.kind.right else painted + blanks)
        return gap.join(found).rstrip()

    if header:
        yield False, line(head, colours=False)
    while measured:
        yield True, line(measured.pop(0))
    for cells in texts:
        yield True, line(cells)


def fitted(wanted: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Widths of columns, together no more than ``room``: the widest give way first, and none below its ``least``."""

    def at_most(level: int) -> list[int]:
        return [max(low, min(size, level)) for size, low in zip(wanted, least, strict=True)]

    level = bisect_right(range(room + 1), room, key=lambda level: sum(at_most(level))) - 1
    widths = at_most(level)
    # Less is left than the next level takes: the first ones have it.
    left = room - sum(widths)
    for place, size in enumerate(at_most(level + 1)):
        if left > 0 and size > widths[place]:
            widths[place] += 1
            left -= 1
    return widths


def text_width(text: str) -> int:
    """Columns of a terminal that the text takes."""
    return len(text) if text.isascii() else sum(_char_widths(text))


def shortened(text: str, width: int, ellipsis: str = "…") -> str:
    """The text, or as much of its beginning as there is room for in so many columns, and an ellipsis."""
    if text_width(text) <= width:
        return text
    left = width - len(ellipsis)
    end = 0
    for size in _char_widths(text):
        left -= size
        if left < 0:
            break
        end += 1
    return f"{text[:end]}{ellipsis}"


def _least(columns: Sequence[Column], wanted: Sequence[int], least: Sequence[int]) -> list[int]:
    """How narrow each may become: what is no free text not at all."""
    return [
        min(size, low) if column.kind.free else size for column, size, low in zip(columns, wanted, least, strict=True)
    ]


def _char_widths(text: str) -> Iterator[int]:
    from unicodedata import category, east_asian_width

    for char in text:
        yield 0 if category(char) in _NO_WIDTH else 2 if east_asian_width(char) in "WF" else 1


def _painted(state: str) -> str:
    colour = _COLOURS.get(state)
    return f"\x1b[{colour}m{state}\x1b[0m" if colour else state
