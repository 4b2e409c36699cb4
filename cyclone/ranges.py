"""Ranges of numbers and sets of nodes as people write them, to and from lists.

Owns the grammar: ClusterShell's, and besides it Slurm's steps (``0-10:2``) and hexadecimal indices as Lustre prints
them (``0x1f``, ``OST001f``). A ValueError starts with the offending text and ends with what would be right; its caller
adds where the text came from. ClusterShell is imported at the first use: what never names a range starts without it.
"""

import re
from collections.abc import Callable, Iterable
from math import prod

# Nobody has more targets or nodes, and a slip such as 0-999999999 must not take the memory.
NUMBERS_MAX = 100_000
NODES_MAX = 100_000

_RANGE_FORMS = "0-2,5, 0-10/2 or 0-10:2, with , ! & ^ between ranges"
_HEX_FORMS = "0x0-0x1f, OST0000-OST001f or 0-1f"
_NODE_FORMS = "node[001-176], node[0-10/2], node1,node2, node[1-9]!node3 or @group"

_RANGE = re.compile(r"(\w+)(?:\s*-\s*(\w+)(?:[/:]([0-9]{1,18}))?)?", re.ASCII)
_OPERATOR = re.compile(r"([,!&^])")
_OPERATIONS: dict[str, Callable[[set[int], range], None]] = {
    ",": set.update,
    "!": set.difference_update,
    "&": set.intersection_update,
    "^": set.symmetric_difference_update,
}
_NUMBER = re.compile(r"[0-9]{1,18}")
_HEX_NUMBER = re.compile(r"(?:0x|OST|MDT)?([0-9a-f]{1,15})", re.IGNORECASE)
_HEX_PREFIX = re.compile(r"0x|OST|MDT", re.IGNORECASE)

# What stands between two operators outside brackets, and how brackets hold ranges.
_NODES = re.compile(r"(?:[^,!&^\[\]]|\[[^\[\]]*\])+")
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_SLURM_STEP = re.compile(r"(?<=[0-9]):(?=[0-9])")
# A name that ClusterShell takes for nothing but a name.
_PLAIN_NAME = re.compile(r"(?!.*[0-9]{19})[\w.+:/-][\w.+:/@-]*", re.ASCII)
_DIGITS = re.compile(r"[0-9]+")
# ClusterShell folds names with several numbers in more than quadratic time: 0.2 s for 300 of host-pid.
_FOLDED_IN_SEVERAL_DIMENSIONS_MAX = 200


def range_set(text: str, hexadecimal: bool = False) -> list[int]:
    """The numbers of ``0-2,5,8`` or ``0-10/2``, ascending, each once; never none.

    A number with ``0x``, ``OST`` or ``MDT`` before it is hexadecimal anyway, with ``hexadecimal`` every one is. A step
    is decimal. Raises ValueError.
    """
    forms = _HEX_FORMS if hexadecimal else _RANGE_FORMS
    found: set[int] = set()
    total, operator = 0, ","
    for part in _OPERATOR.split(text):
        if part in _OPERATIONS:
            operator = part
            continue
        numbers = _range(text, part.strip(), hexadecimal, forms)
        total += len(numbers)
        if total > NUMBERS_MAX:
            raise ValueError(f"{text!r} holds more than {NUMBERS_MAX:,} numbers: write a shorter range")
        _OPERATIONS[operator](found, numbers)
    if not found:
        raise ValueError(f"{text!r} holds no number: nothing is left of it; write {forms}")
    return sorted(found)


def number_ranges(text: str) -> list[range]:
    """The ranges of ``0-99:2`` or ``1,3,5-8`` as they are written, however long: for who does not want the numbers
    themselves in memory. Only commas join them. Raises ValueError."""
    return [_range(text, part.strip(), False, _RANGE_FORMS) for part in text.split(",")]


def fold_ranges(numbers: Iterable[int], hexadecimal: bool = False) -> str:
    """The shortest text of these numbers that ``range_set`` reads back; '' for none."""
    from ClusterShell.RangeSet import RangeSet

    spell = hex if hexadecimal else str
    given = list(numbers)
    # ClusterShell makes no set of nothing.
    slices = RangeSet(given).slices() if given else ()
    return ",".join(
        spell(part.start) if part.stop == part.start + 1 else f"{spell(part.start)}-{spell(part.stop - 1)}"
        for part in slices
    )


def node_set(text: str) -> list[str]:
    """The names of ``node[001-176]``, ``node[0-10/2]``, ``@group``, ``node[1-9]!node3``, each once; never none.

    Padding is kept. Groups are those of ClusterShell on this host (``/etc/clustershell``). Raises ValueError.
    """
    from ClusterShell.NodeSet import NodeSet, NodeSetException
    from ClusterShell.NodeUtils import GroupResolverError

    # Slurm's steps only inside brackets: outside, the colon of @source:group means something else.
    spelled = _BRACKETS.sub(lambda found: _SLURM_STEP.sub("/", found[0]), text.strip())
    parts = [part.strip() for part in _NODES.findall(spelled)]
    if any(re.search(r"\s", part) for part in parts):
        raise ValueError(f"{text!r} is not a set of nodes: it holds a blank, write a comma between names")
    if sum(map(_size, parts)) > NODES_MAX:
        raise ValueError(f"{text!r} names more than {NODES_MAX:,} nodes: write a shorter range")
    try:
        for part in parts:
            if part.startswith("@") and not NodeSet(part):
                raise ValueError(f"{text!r}: ClusterShell has no group {part} on this host, or nobody is in it")
        names = list(map(str, NodeSet(spelled)))
    except NodeSetException as error:
        raise ValueError(f"{text!r} is not a set of nodes: {error}; write {_NODE_FORMS}") from None
    except GroupResolverError as error:
        raise ValueError(f"{text!r}: ClusterShell has no such group on this host: {error}") from None
    if not names:
        raise ValueError(f"{text!r} names no node; write {_NODE_FORMS}")
    return names


def fold_nodes(names: Iterable[str]) -> str:
    """The names as ``node[001-004,007]``, for people; ``node_set`` reads it back. '' for none."""
    from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet

    given = sorted(set(names))
    plain = [name for name in given if _PLAIN_NAME.fullmatch(name)]
    several = sum(len(_DIGITS.findall(name)) > 1 for name in plain)
    if several > _FOLDED_IN_SEVERAL_DIMENSIONS_MAX:
        folded = _fold_last_number(plain)
    else:
        folded = [str(NodeSet.fromlist(plain, resolver=RESOLVER_NOGROUP))] if plain else []
    return ",".join([*folded, *(name for name in given if not _PLAIN_NAME.fullmatch(name))])


def _range(text: str, part: str, hexadecimal: bool, forms: str) -> range:
    found = _RANGE.fullmatch(part)
    first = _number(found[1], hexadecimal) if found else None
    last = _number(found[2] or found[1], hexadecimal) if found else None
    if found is None or first is None or last is None:
        raise ValueError(f"{_about(text, part)} is not a range of numbers; write {forms}")
    step = int(found[3] or 1)
    if first > last:
        raise ValueError(f"{_about(text, part)} begins behind its end; write the smaller number first")
    if step < 1:
        raise ValueError(f"{_about(text, part)} has a step of 0; write at least 1")
    return range(first, last + 1, step)


def _about(text: str, part: str) -> str:
    return repr(text) if part == text.strip() else f"{text!r}: {part!r}"


def _number(text: str, hexadecimal: bool) -> int | None:
    if hexadecimal or _HEX_PREFIX.match(text):
        found = _HEX_NUMBER.fullmatch(text)
        return int(found[1], 16) if found else None
    return int(text) if _NUMBER.fullmatch(text) else None


def _size(nodes: str) -> int:
    """How many names such a part stands for at most, without expanding it."""
    return prod(sum(map(_range_size, found.split(","))) for found in _BRACKETS.findall(nodes))


def _range_size(text: str) -> int:
    found = _RANGE.fullmatch(text.strip())
    if not found or not found[2] or not (found[1].isdecimal() and found[2].isdecimal()):
        return 1
    return max(0, int(found[2]) - int(found[1])) // max(1, int(found[3] or 1)) + 1


def _fold_last_number(names: Iterable[str]) -> list[str]:
    """Folds the last number of each name alone, in time that is linear in the names."""
    from ClusterShell.NodeSet import NodeSetBase
    from ClusterShell.RangeSet import RangeSet

    numbers: dict[str, list[str]] = {}
    for name in names:
        *_, last = [None, *_DIGITS.finditer(name)]
        pattern = f"{name[: last.start()]}%s{name[last.end() :]}" if last else name
        numbers.setdefault(pattern, []).extend([last[0]] if last else [])
    return [
        str(NodeSetBase(pattern, RangeSet(",".join(found)) if found else None)) for pattern, found in numbers.items()
    ]
