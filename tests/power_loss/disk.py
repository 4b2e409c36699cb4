"""What a disk may hold after the power has failed: from a trace of operations to an image of the files. PURE.

The rules, which are those of a disk and a file system that keep their word about ``sync`` and about nothing else:

- What was done to a file before its last sync is there.
- Of what was done to it since, any part may be there: no write, some of them in any order, or some sectors of one.
- A file that was deleted since the last sync of the folder may be there still, as it was.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

SECTOR_BYTES = 512


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes are written at an offset."""

    file: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    """The file has this size now."""

    file: str
    size: int


@dataclass(frozen=True, slots=True)
class Sync:
    """The operating system has said that the file is on the disk; with ``folder``, that the names are."""

    file: str
    folder: bool


@dataclass(frozen=True, slots=True)
class Delete:
    """The name is gone."""

    file: str


Op = Write | Truncate | Sync | Delete
Image = dict[str, bytes]

DROPPED, KEPT, TORN, SUBSET = "dropped", "kept", "torn", "subset"
FATES = (DROPPED, KEPT, TORN, SUBSET)
"""Of what was not synced: nothing is there; all is; all, but of the last write only some sectors; some of it, shuffled
and torn."""


def image_after(ops: Sequence[Op], fate: str, rng: random.Random) -> Image:
    """The files after a power loss that follows the last of the operations."""
    image: Image = {}
    names_synced = max((at for at, op in enumerate(ops) if isinstance(op, Sync) and op.folder), default=-1)
    for file in dict.fromkeys(op.file for op in ops):
        mine = [(at, op) for at, op in enumerate(ops) if op.file == file]
        sure = max((at for at, op in mine if isinstance(op, Sync) or _is_gone(op, at, names_synced)), default=-1)
        lasting = [op for at, op in mine if at <= sure]
        content: bytearray | None = None
        for op in [*lasting, *_surviving([op for at, op in mine if at > sure], fate, rng)]:
            content = _apply(content, op)
        if content is not None:
            image[file] = bytes(content)
    return image


def _is_gone(op: Op, at: int, names_synced: int) -> bool:
    return isinstance(op, Delete) and at < names_synced


def _surviving(pending: Sequence[Op], fate: str, rng: random.Random) -> list[Op]:
    if fate == DROPPED:
        return []
    if fate == KEPT:
        return list(pending)
    if fate == TORN:
        return [*pending[:-1], *(part for op in pending[-1:] for part in _torn(op, rng))]
    some = [part for op in pending if rng.random() < 0.5 for part in (_torn(op, rng) if rng.random() < 0.3 else [op])]
    rng.shuffle(some)
    return some


def _torn(op: Op, rng: random.Random) -> list[Op]:
    """Some sectors of a write, each of them whole; any other operation happens or does not."""
    if not isinstance(op, Write):
        return [op] if rng.random() < 0.5 else []
    starts = range(0, len(op.data), SECTOR_BYTES)
    return [Write(op.file, op.offset + at, op.data[at : at + SECTOR_BYTES]) for at in starts if rng.random() < 0.5]


def _apply(content: bytearray | None, op: Op) -> bytearray | None:
    """The content after an operation; in place, where that can be."""
    if isinstance(op, Delete):
        return None
    content = bytearray() if content is None else content
    match op:
        case Write(_, offset, data):
            content.extend(bytes(max(0, offset - len(content))))
            content[offset : offset + len(data)] = data
        case Truncate(_, size):
            content.extend(bytes(max(0, size - len(content))))
            del content[size:]
    return content
