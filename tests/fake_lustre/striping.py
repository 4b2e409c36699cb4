"""Files and folders that lfs makes, and their names: ``setstripe``, ``mkdir``, ``path2fid``, ``fid2path``."""

import errno
import os
import zlib

from tests.fake_lustre.options import parse, seconds, size
from tests.fake_lustre.program import Call
from tests.fake_lustre.state import EOF, STRIPE_BYTES, Component, State

_LONG = {
    "component-end": "E",
    "stripe-count": "c",
    "overstripe-count": "C",
    "stripe-index": "i",
    "stripe-size": "S",
    "layout": "L",
    "mirror-count": "N",
    "ost": "o",
    "pool": "p",
}
_INACTIVE = "inactive OST among your specified {} OST(s)"
_SINKS = {"full": "/dev/full", "eio": "/proc/self/mem"}
"""What a file on a broken OST is a link to: writing there fails with ENOSPC, with EIO."""


def setstripe(call: Call, arguments: list[str]) -> int:
    options, operands = parse(arguments, "E:c:C:i:S:L:N:o:p:", _LONG)
    if not operands:
        call.err("lfs setstripe: FILE must be specified")
        return 1
    for path in operands:
        code = _create(call, path, options)
        if code:
            return code
    return 0


def _create(call: Call, path: str, options: list[tuple[str, str]]) -> int:
    state = call.state
    if os.path.isdir(path):
        return 0  # the defaults of folders are not kept
    try:
        key = state.relative(path)
    except OSError:
        return call.failed(f"'{path}' is not on a Lustre filesystem", errno.ENODEV)
    call.pause_for_mdt(state.mdt_of(key))
    if os.path.lexists(path):
        call.err(f"lfs setstripe: setstripe error for '{path}': stripe already set")
        return errno.EEXIST
    if not os.path.isdir(os.path.dirname(os.path.abspath(path))):
        return call.failed(f"unable to open '{path}'", errno.ENOENT)
    components = _components(state, path, options)
    if isinstance(components, int):
        count = next((value for letter, value in options if letter == "c"), "1")
        what = _INACTIVE.format(count) if components == errno.EREMOTEIO else os.strerror(components)
        call.err(f"lfs setstripe: setstripe error for '{path}': {what}")
        return components
    for ost in components[0].osts:
        call.pause(state.fault(f"ost {ost}", "latency"))
    with state.transaction():
        _make(state, path, components[0].osts)
        state.add(path, any(letter == "E" for letter, _ in options), components)
    return 0


def _components(state: State, path: str, options: list[tuple[str, str]]) -> tuple[Component, ...] | int:
    """The layout that the options ask for, or the error."""
    groups: list[list[tuple[str, str]]] = [[]]
    mirrors = 0
    for letter, value in options:
        if letter == "N":
            mirrors += 1
        if letter == "E":
            groups.append([("E", value), ("N", str(mirrors))])
        else:
            groups[-1].append((letter, value))
    # What precedes the first component holds for all of them.
    common, groups = (groups[0], groups[1:]) if len(groups) > 1 else ([], groups)
    made: list[Component] = []
    for group in groups:
        asked = dict(common) | dict(group)
        end = asked.get("E", "eof")
        mirror = int(asked.get("N", "0"))
        start = made[-1].end if made and made[-1].mirror == mirror and made[-1].end != EOF else 0
        component = _component(state, path, asked, first=start == 0)
        if isinstance(component, int):
            return component
        component.start, component.mirror = start, mirror
        component.end = EOF if end in ("eof", "-1", "EOF") else size(end)
        made.append(component)
    return tuple(made)


def _component(state: State, path: str, asked: dict[str, str], first: bool) -> Component | int:
    count = int(asked.get("c", asked.get("C", "1")))
    stripe_bytes = size(asked["S"]) if "S" in asked else STRIPE_BYTES
    if asked.get("L") == "mdt":
        return Component((), 0, stripe_bytes, "mdt")
    if not first:
        return Component((), count, stripe_bytes, pool=asked.get("p", ""))
    numbers = [target.number for target in state.targets("OST")]
    index = int(asked.get("i", asked.get("o", "-1").split(",")[0]))
    if index == -1:
        index = numbers[zlib.crc32(os.fsencode(path)) % len(numbers)]
    if index not in numbers:
        return errno.EINVAL
    if state.fault(f"ost {index}", "inactive") is not None:
        return errno.EREMOTEIO
    if state.fault(f"ost {index}", "no_create") is not None:
        return errno.ENOSPC
    osts = tuple(state.available_osts(misplaced(state, index, path), count))
    return Component(osts, len(osts), stripe_bytes, pool=asked.get("p", ""))


def misplaced(state: State, ost: int, path: str, tries: int = 0) -> int:
    """The OST, or another one where a fault says so."""
    chance = state.fault(f"ost {ost}", "misplace")
    if chance is None or not drawn(state, path, tries, chance):
        return ost
    return (state.available_osts(ost, 2) or [ost])[-1]


def drawn(state: State, path: str, tries: int, chance: str) -> bool:
    """Whether a fault of this probability hits: the same for the same file and try, wherever the mount point is."""
    if not chance:
        return True
    number = zlib.crc32(b"%s\0%d" % (state.relative(path), tries))
    # Checksums of names that differ in a digit or two are alike: the end of MurmurHash3 mixes them, without an import.
    for factor in (0x85EBCA6B, 0xC2B2AE35):
        number = (number ^ number >> 15) * factor % 2**32
    return (number ^ number >> 16) / 2**32 < float(chance)


def _make(state: State, path: str, osts: tuple[int, ...]) -> None:
    """The file itself: an ordinary one, or one that behaves as a broken OST."""
    for ost in osts:
        for name in ("hang", "hang_read"):
            duration = state.fault(f"ost {ost}", name)
            if duration is not None:
                from tests.fake_lustre.hanging import hang_readers, hang_writers

                hang = hang_writers if name == "hang" else hang_readers
                hang(path, seconds(duration) if duration else None)
                return
        for name, sink in _SINKS.items():
            if state.fault(f"ost {ost}", name) is not None:
                os.symlink(sink, path)
                return
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))


def mkdir(call: Call, arguments: list[str]) -> int:
    options, operands = parse(
        arguments, "c:i:m:o:H:D", {"mdt-count": "c", "mdt-index": "i", "mdt": "i", "mode": "o", "index": "i"}
    )
    index = next((int(value.split(",")[0]) for letter, value in options if letter in "im"), 0)
    known = {target.number for target in call.state.targets("MDT")}
    for path in operands:
        try:
            key = call.state.relative(path)
            if index not in known:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            call.pause_for_mdt(index)
            os.mkdir(path)
        except OSError as error:
            exists = error.errno == errno.EEXIST
            what = "stripe already set" if exists else error.strerror
            call.err(f"lfs {call.verb}: dirstripe error on '{path}': {what}")
            call.err(f"lfs setdirstripe: cannot create dir '{path}': {error.strerror}")
            return error.errno or errno.EIO
        call.state.db.execute("INSERT OR REPLACE INTO folders VALUES (?, ?)", (key, index))
    return 0


def path2fid(call: Call, arguments: list[str]) -> int:
    _, operands = parse(arguments, "p", {"parents": "p"})
    code = 0
    for path in operands:
        try:
            fid = call.state.file(path).fid
        except OSError as error:
            call.err(f"lfs path2fid: cannot get fid for '{path}': {error.strerror}")
            code = code or error.errno or errno.EIO
            continue
        call.out(f"{path}: {fid}\n" if len(operands) > 1 else f"{fid}\n")
    return code


def fid2path(call: Call, arguments: list[str]) -> int:
    _, operands = parse(
        arguments, "cfl:pr:", {"link": "l", "cur": "c", "current": "c", "print-link": "c", "print-fid": "f"}
    )
    if len(operands) < 2:
        call.err("Usage: lfs fid2path FSNAME|ROOT FID...")
        return 1
    root, *fids = operands
    code = 0
    for fid in fids:
        file = call.state.file_of_fid(fid)
        if file is None or not os.path.lexists(call.state.absolute(file.path)):
            call.err(f"lfs fid2path: cannot find {root} {fid}: {os.strerror(errno.ENOENT)}")
            code = code or errno.ENOENT
            continue
        call.out((call.state.absolute(file.path) if root.startswith("/") else os.fsdecode(file.path)) + "\n")
    return code
