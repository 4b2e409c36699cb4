"""What can be broken, and mended: ``fake-lfs set ost 5 hang 30s``, ``fake-lfs set ost 0-9 ok``.

Owns the table of faults and what may be set; what a fault does is in the verb that it breaks.
"""

import os
from collections.abc import Callable
from pathlib import Path
from textwrap import fill
from typing import NamedTuple

from tests.fake_lustre.options import Usage, indices, seconds, size
from tests.fake_lustre.state import State

REFUSES = "sudo-refuses"
"""The file in the state's folder at which the shell script that is ``sudo`` looks."""


class Fault(NamedTuple):
    value: str
    """What it takes: a key of ``_CHECKS``, behind it "?" where it may be left out; "" for none."""
    meaning: str


FAULTS: dict[str, dict[str, Fault]] = {
    "ost": {
        "inactive": Fault("", "so says lfs check; nothing is created there"),
        "unreachable": Fault("", "lfs check says an error of it, lfs df too and fails"),
        "missing": Fault("", "nobody lists it"),
        "degraded": Fault("", "a D behind its line of lfs df"),
        "read_only": Fault("", "an R behind its line"),
        "no_create": Fault("", "an N behind its line; setstripe and migrate say: No space left on device"),
        "full": Fault("", "an S behind its line; files are created, writing fails with ENOSPC (a link to /dev/full)"),
        "eio": Fault("", "files are created, writing fails with EIO (a link to /proc/self/mem)"),
        "hang": Fault(
            "duration?",
            "a new file is a FIFO: writing hangs for so long and then fails with EPIPE; without a duration, opening it "
            "to write hangs until somebody opens it to read. A migration from or to it hangs and fails with EIO",
        ),
        "hang_read": Fault(
            "duration?",
            "a new file is a FIFO: it takes what one writes, then opening it to read hangs until so long (60s) after "
            "its creation, and nothing is in it. fsync(2) of a FIFO fails with EINVAL, its size is 0",
        ),
        "slow": Fault("rate", "migrations from or to it go at this rate: 5M, 5MB/s"),
        "latency": Fault("duration", "setstripe on it, and migrations from or to it, take so much longer"),
        "misplace": Fault("chance?", "what should lie on it lands on the next one, always or with this probability"),
        "fill": Fault("number", "so many per cent of it are used"),
    },
    "mdt": {
        "slow": Fault("duration", "setstripe, getstripe, mkdir and migrate of what lies on it take so much longer"),
        "inactive": Fault("", "so says lfs check servers"),
        "unreachable": Fault("", "lfs check servers says an error of it"),
    },
    "migrate": {
        "busy": Fault("chance?", "cannot get lease: Device or resource busy; not with --block"),
        "changed": Fault("chance?", "source file changed, at the end of the copy"),
        "fail": Fault("chance?", "data copy failed: Input/output error"),
        "rate": Fault("rate", "the speed of a copy where nothing else is slower; without it, no time at all"),
        "latency": Fault("duration", "each copy takes so much longer"),
    },
    "file": {
        "busy": Fault("number?", "as for all migrations, for the first so many tries of this file, or always"),
        "changed": Fault("number?", "the same"),
        "fail": Fault("number?", "the same"),
    },
    "verb": {
        "hang": Fault("duration?", "each call of lfs with this verb hangs first: check, df, getstripe..."),
        "fail": Fault("number?", "each call of lfs with this verb exits with this code"),
    },
    "sudo": {"refuse": Fault("", "sudo asks for a password")},
}
_NAMED = {"ost": "3|0-9", "mdt": "3|0-2", "file": "PATH", "verb": "VERB"}
_CHECKS: dict[str, Callable[[str], object]] = {"duration": seconds, "rate": size, "chance": float, "number": float}
OK = "ok"


def table() -> str:
    """All of them, for people."""
    lines = ["A chance falls the same way for the same file and try in every run. What can be set:", ""]
    for kind, faults in FAULTS.items():
        for name, fault in [*faults.items(), (OK, Fault("", "all of it mended"))]:
            words = (kind, _NAMED.get(kind, ""), name, _shown(fault.value))
            lines.append("  " + " ".join(word for word in words if word))
            lines.append(fill(fault.meaning, 100, initial_indent="      ", subsequent_indent="      "))
    return "\n".join(lines)


def _shown(value: str) -> str:
    return f"[{value[:-1].upper()}]" if value.endswith("?") else value.upper()


def set_fault(state: State, words: list[str]) -> None:
    """Break or mend what the words say. Raises Usage."""
    kind, *rest = words or [""]
    if kind not in FAULTS:
        raise Usage(f"'{kind}' cannot be set: expected {', '.join(FAULTS)}")
    known = FAULTS[kind]
    name = rest.pop(0) if kind in _NAMED and rest else ""
    if not rest:
        raise Usage(f"expected: {kind} {_NAMED.get(kind, '')} {'|'.join(known)}|{OK} [VALUE]".replace("  ", " "))
    fault, *values = rest
    if fault != OK:
        if fault not in known:
            raise Usage(f"'{fault}' is no fault of {kind}: expected {', '.join(known)} or {OK}")
        _check_value(fault, known[fault].value, values)
    with state.transaction():
        for subject in _subjects(state, kind, name):
            if fault == OK:
                state.clear_faults(subject)
            elif (kind, fault) == ("ost", "fill"):
                state.fill(int(subject.split()[1]), float(values[0]))
            else:
                state.set_fault(subject, fault, values[0] if values else "")
    if kind == "sudo":
        marker = Path(state.folder, REFUSES)
        if fault == OK:
            marker.unlink(missing_ok=True)
        else:
            marker.touch()


def _subjects(state: State, kind: str, name: str) -> list[str]:
    if kind == "file":
        return ["file " + os.fsdecode(state.relative(name))]
    if kind in ("ost", "mdt"):
        known = {row[0] for row in state.db.execute("SELECT number FROM targets WHERE kind = ?", (kind.upper(),))}
        numbers = indices(name)
        unknown = [str(number) for number in numbers if number not in known]
        if unknown:
            raise Usage(f"no {kind.upper()} {', '.join(unknown)}: there are 0 to {max(known)}")
        return [f"{kind} {number}" for number in numbers]
    return [f"{kind} {name}".strip()]


def _check_value(fault: str, kind: str, values: list[str]) -> None:
    if not values and (not kind or kind.endswith("?")):
        return
    if len(values) != 1 or not kind:
        raise Usage(f"{fault} takes {'one value, a ' + kind.removesuffix('?') if kind else 'no value'}")
    try:
        _CHECKS[kind.removesuffix("?")](values[0])
    except ValueError:
        raise Usage(f"{fault} {values[0]}: expected a number") from None
