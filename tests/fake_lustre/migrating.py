"""``lfs migrate``: takes the time that a copy takes, moves usage from OST to OST, and fails as told."""

import errno
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.fake_lustre.options import parse, size
from tests.fake_lustre.program import Call
from tests.fake_lustre.state import STRIPE_BYTES, Component, File
from tests.fake_lustre.striping import drawn, misplaced

_LONG = {
    "block": "b",
    "non-block": "n",
    "non-direct": "D",
    "stripe-count": "c",
    "stripe-index": "i",
    "stripe-size": "S",
    "pool": "p",
    "bandwidth": "W",
    "files-from": "F",
    "null": "0",
    "fid": "f",
    "verbose": "v",
    "mdt-index": "m",
    "auto-stripe": "A",
}


class Refused(Exception):
    """One file was not migrated: what went wrong, and its errno."""

    def __init__(self, what: str, number: int) -> None:
        super().__init__(what)
        self.what = what
        self.number = number


def migrate(call: Call, arguments: list[str]) -> int:
    options, operands = parse(arguments, "bnDc:i:S:p:W:F:0fvm:A", _LONG)
    asked = dict(options)
    paths = _listed(asked["F"], "0" in asked) if "F" in asked else operands
    if "f" in asked:
        # The mount point stands among the FIDs.
        found = [call.state.file_of_fid(path) for path in paths if path.startswith(("[", "0x"))]
        paths = [call.state.absolute(file.path) for file in found if file]
    if not paths:
        call.err("lfs migrate: FILE must be specified")
        return 1
    # As when lfs is killed the volatile file is gone, so here the stream.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    code = 0
    for path in paths:
        try:
            _migrate(call, path, asked)
        except Refused as refused:
            call.err(f"error: lfs migrate: {path}: {refused.what}: {os.strerror(refused.number)}")
            code = code or refused.number
        else:
            if "v" in asked:
                call.out(f"{path}\n")
    return code


def _listed(name: str, null: bool) -> list[str]:
    with open(0 if name == "-" else name, "rb") as file:
        return [os.fsdecode(path) for path in file.read().split(b"\0" if null else b"\n") if path]


def _migrate(call: Call, path: str, asked: dict[str, str]) -> None:
    state = call.state
    try:
        if os.path.isdir(path):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        file = state.file(path)
    except OSError as error:
        raise Refused("cannot open source file", error.errno or errno.EIO) from None
    file.tries += 1
    state.db.execute("UPDATE files SET tries = ? WHERE oid = ?", (file.tries, file.oid))
    call.pause_for_mdt(file.mdt)
    target = int(asked.get("i", "-1"))
    osts = _new_osts(call, path, file, target, int(asked.get("c", "1")))
    block = "n" not in asked
    if not block and _hits(call, path, file, "busy"):
        raise Refused("cannot get lease", errno.EBUSY)
    size_bytes = os.stat(path).st_size if os.path.isfile(path) else 0
    with _stream(call, file.osts, osts):
        _copy(call, file, osts, size_bytes, asked)
        if _hits(call, path, file, "changed"):
            raise Refused("file changed" if block else "source file changed", errno.EAGAIN)
        if _hits(call, path, file, "fail"):
            raise Refused("data copy failed", errno.EIO)
        stripe_bytes = size(asked["S"]) if "S" in asked else STRIPE_BYTES
        component = Component(tuple(osts), len(osts), stripe_bytes, pool=asked.get("p", ""))
        with state.transaction():
            state.use(file.osts, -file.size_bytes)
            state.use(osts, size_bytes)
            file.composite, file.components, file.size_bytes = False, (component,), size_bytes
            state.update(file)


def _new_osts(call: Call, path: str, file: File, target: int, count: int) -> list[int]:
    state = call.state
    what = "cannot create volatile file"
    if target == -1:
        return state.available_osts(state.available_osts(-1, 0)[file.oid % 7], count)
    if state.ost(target) is None:
        raise Refused(what, errno.EINVAL)
    if state.fault(f"ost {target}", "inactive") is not None:
        raise Refused(what, errno.EREMOTEIO)
    if state.fault(f"ost {target}", "no_create") is not None:
        raise Refused(what, errno.ENOSPC)
    return state.available_osts(misplaced(state, target, path, file.tries), count)


def _hits(call: Call, path: str, file: File, name: str) -> bool:
    """Whether a fault of all migrations, or of this file for so many tries, is due."""
    chance = call.state.fault("migrate", name)
    if chance is not None and drawn(call.state, path, file.tries, chance):
        return True
    times = call.state.fault("file " + os.fsdecode(file.path), name)
    return times is not None and (not times or file.tries <= int(times))


def _copy(call: Call, file: File, osts: list[int], size_bytes: int, asked: dict[str, str]) -> None:
    state = call.state
    involved = [*file.osts, *osts]
    rates = [state.fault("migrate", "rate"), *(state.fault(f"ost {ost}", "slow") for ost in involved)]
    limits = [size(rate) for rate in rates if rate]
    if asked.get("W"):
        limits.append(size(asked["W"], default_unit=1024 * 1024))
    time.sleep(size_bytes / min(limits) if limits else 0)
    for subject in ("migrate", *(f"ost {ost}" for ost in involved)):
        call.pause(state.fault(subject, "latency"))
    for ost in involved:
        duration = state.fault(f"ost {ost}", "hang")
        if duration is not None:
            call.pause(duration)
            raise Refused("data copy failed", errno.EIO)
        if state.fault(f"ost {ost}", "eio") is not None:
            raise Refused("data copy failed", errno.EIO)
    for ost in osts:
        found = state.ost(ost)
        if state.fault(f"ost {ost}", "full") is not None or found is None or found.free_bytes * len(osts) < size_bytes:
            raise Refused("data copy failed", errno.ENOSPC)


@contextmanager
def _stream(call: Call, sources: list[int], targets: list[int]) -> Iterator[None]:
    """Be seen as a stream from and to these OSTs, and log how many each of them has now."""
    db = call.state.db
    pid = os.getpid()
    with call.state.transaction():
        for (other,) in db.execute("SELECT DISTINCT pid FROM streams").fetchall():
            if not _alive(other):
                db.execute("DELETE FROM streams WHERE pid = ?", (other,))
        rows = [(pid, "source", ost) for ost in sources] + [(pid, "target", ost) for ost in targets]
        db.executemany("INSERT INTO streams VALUES (?, ?, ?)", rows)
        seen = db.execute("SELECT role, ost, COUNT(*) FROM streams GROUP BY role, ost").fetchall()
        counts = {(role, ost): count for role, ost, count in seen}
        call.log("streams", [(role, ost, counts[role, ost]) for _, role, ost in rows])
    try:
        yield
    finally:
        db.execute("DELETE FROM streams WHERE pid = ?", (pid,))


def _alive(pid: int) -> bool:
    """False also for one that was killed and that its parent has not collected yet."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2][:1] not in b"ZX"
    except OSError:
        return False
