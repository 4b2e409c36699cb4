"""What the file system consists of: ``lfs check``, ``lfs df``, ``lctl get_param``."""

import errno
import math
import os

from tests.fake_lustre.options import parse
from tests.fake_lustre.program import Call
from tests.fake_lustre.state import State, Target

SUFFIX = "ffff8ea7b7a28000"
_OSTS_OF_AN_OSS = 14
_KINDS = {"osts": ("OST",), "mdts": ("MDT",), "mds": ("MDT",), "servers": ("OST", "MDT"), "all": ("OST", "MDT")}


def check(call: Call, arguments: list[str]) -> int:
    """Exits with 0 whatever the targets say, as lfs does."""
    if not arguments or arguments[0] not in _KINDS:
        call.err("lfs check: server type must be specified")
        return 1
    for kind in _KINDS[arguments[0]]:
        for target in call.state.targets(kind):
            subject = f"{kind.lower()} {target.number}"
            device = _device(call.state, target)
            if call.state.fault(subject, "unreachable") is not None:
                call.failed(f"error: check '{device}'", errno.EAGAIN)
            elif call.state.fault(subject, "inactive") is not None:
                call.out(f"{device} inactive.\n")
            else:
                call.out(f"{device} active.\n")
    return 0


def _device(state: State, target: Target) -> str:
    client = "osc" if target.kind == "OST" else "mdc"
    return f"{state.fs}-{target.kind}{target.number:04x}-{client}-{SUFFIX}"


def df(call: Call, arguments: list[str]) -> int:
    options, operands = parse(
        arguments,
        "hHilp:v",
        {"human-readable": "h", "si": "H", "inodes": "i", "lazy": "l", "pool": "p", "verbose": "v"},
    )
    flags = {letter for letter, _ in options}
    state = call.state
    if operands and not os.path.exists(operands[0]):
        call.err(f"error: invalid path '{operands[0]}': {os.strerror(errno.ENOENT)}")
        return errno.ENOENT
    if operands:
        try:
            state.relative(operands[0])
        except OSError:
            return errno.ENODEV  # as lfs: without a word
    heads = ("Inodes", "IUsed", "IFree", "IUse%") if "i" in flags else ("1K-blocks", "Used", "Available", "Use%")
    if flags & {"h", "H"} and "i" not in flags:
        heads = ("bytes", *heads[1:])
    call.out(f"{'UUID':<20} {heads[0]:>11} {heads[1]:>11} {heads[2]:>11} {heads[3]:>4} Mounted on\n")
    code = 0
    total = [0, 0]
    for kind in ("MDT", "OST"):
        for target in state.targets(kind):
            subject = f"{kind.lower()} {target.number}"
            uuid = f"{state.fs}-{kind}{target.number:04x}_UUID"
            if state.fault(subject, "inactive") is not None:
                if "v" in flags:
                    call.out(f"{uuid:<20}: inactive device\n")
                continue
            if state.fault(subject, "unreachable") is not None:
                call.out(f"{uuid:<20}: {os.strerror(errno.EAGAIN)}\n")
                code = code or errno.EAGAIN
                continue
            if kind == "OST":
                total = [total[0] + target.size_bytes, total[1] + target.used_bytes]
            call.out(f"{_columns(uuid, target, flags)} {state.mount}[{kind}:{target.number}]{_marks(state, target)}\n")
    summary = _columns("filesystem_summary:", Target("OST", 0, *total), flags)
    call.out(f"\n{summary} {state.mount}\n\n")
    return code


def _columns(uuid: str, target: Target, flags: set[str]) -> str:
    size, used, free = target.size_bytes, min(target.size_bytes, target.used_bytes), target.free_bytes
    unit = 1024 * 1024 if "i" in flags else 1024
    if flags & {"h", "H"}:
        base = 1000 if "H" in flags else 1024
        shown = [_cooked(value // (unit if "i" in flags else 1), base) for value in (size, used, free)]
    else:
        shown = [str(value // unit) for value in (size, used, free)]
    percent = math.ceil(used / (used + free) * 100) if used + free else 0
    return f"{uuid:<20} {shown[0]:>11} {shown[1]:>11} {shown[2]:>11} {percent:3d}%"


def _cooked(number: float, base: int) -> str:
    power = 0
    while number > base:
        number /= base
        power += 1
    return f"{number:8.1f}{'KMGTPEZY'[power - 1]}" if power else f"{number:.0f}"


def _marks(state: State, target: Target) -> str:
    subject = f"{target.kind.lower()} {target.number}"
    letters = {"degraded": "D", "read_only": "R", "no_create": "N", "full": "S"}
    marks = "".join(letter for name, letter in letters.items() if state.fault(subject, name) is not None)
    return f" {marks}" if marks else ""


def get_param(call: Call, arguments: list[str]) -> int:
    """``osc.*.ost_conn_uuid`` alone: which server has which OST."""
    from fnmatch import fnmatchcase

    options, patterns = parse(arguments, "nN", {})
    code = 0
    for pattern in patterns:
        found = False
        for target in call.state.targets("OST"):
            name = f"osc.{_device(call.state, target)}.ost_conn_uuid"
            if fnmatchcase(name, pattern):
                found = True
                server = f"10.1.2.{3 + target.number // _OSTS_OF_AN_OSS}@o2ib"
                call.out(f"{server}\n" if ("n", "") in options else f"{name}={server}\n")
        if not found:
            call.err(f"error: get_param: param_path '{pattern}': {os.strerror(errno.ENOENT)}")
            code = errno.ENOENT
    return code
