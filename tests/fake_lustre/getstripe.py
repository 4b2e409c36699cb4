"""Layouts as lfs prints them: ``lfs getstripe``, ``lfs getdirstripe``."""

import errno
import os

from tests.fake_lustre.options import parse
from tests.fake_lustre.program import Call
from tests.fake_lustre.state import EOF, Component, File

_LONG = {
    "stripe-count": "c",
    "stripe-index": "i",
    "stripe-size": "S",
    "layout": "L",
    "generation": "g",
    "pool": "p",
    "quiet": "q",
    "recursive": "r",
    "directory": "d",
    "verbose": "v",
    "yaml": "y",
}
# Those that are printed alone when they are asked for.
_DETAILS = "cSLgip"


def getstripe(call: Call, arguments: list[str]) -> int:
    options, operands = parse(arguments, "cidgLpqrSvy", _LONG)
    flags = {letter for letter, _ in options}
    if not operands:
        call.err("error: getstripe: no filename|pathname")
        return 1
    for path in operands:
        code = _of_path(call, path, flags)
        if code:
            call.err(f"error: getstripe failed for {path}.")
            return code
    return 0


def _of_path(call: Call, path: str, flags: set[str]) -> int:
    if not os.path.lexists(path):
        return call.failed(f"error opening {path}", errno.ENOENT)
    try:
        if os.path.isdir(path):
            return _of_folder(call, path, flags)
        file = call.state.file(path)
    except OSError as error:
        return call.failed(f"cb_getstripe: '{path}' not on a Lustre fs?", error.errno or errno.EIO)
    call.pause_for_mdt(file.mdt)
    show(call, path, file, flags)
    return 0


def _of_folder(call: Call, path: str, flags: set[str]) -> int:
    call.state.relative(path)
    wanted = flags & set(_DETAILS)
    if not wanted:
        call.out("" if "y" in flags else f"{path}\n")
        call.out("stripe_count:  1 stripe_size:   1048576 pattern:       raid0 stripe_offset: -1\n\n")
    if "d" in flags or wanted:
        return 0
    for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
        if not entry.is_dir(follow_symlinks=False):
            show(call, entry.path, call.state.file(entry.path), flags)
        elif "r" in flags:
            _of_folder(call, entry.path, flags)
    return 0


def show(call: Call, path: str, file: File, flags: set[str]) -> None:
    """What lfs prints for a file: its name only where everything is asked for, and not in YAML."""
    wanted = [letter for letter in _DETAILS if letter in flags] if "v" not in flags else []
    if not wanted and "y" not in flags:
        call.out(f"{path}\n")
    if not file.composite:
        _plain(call, file, file.components[0], wanted, flags)
        return
    yaml = "y" in flags
    if not wanted and "q" not in flags:
        mirrors = max(component.mirror for component in file.components)
        call.out(f"  lcm_layout_gen:    {1 + len(file.components)}\n")
        call.out(f"  lcm_mirror_count:  {max(1, mirrors)}\n  lcm_entry_count:   {len(file.components)}\n")
    shown = list(enumerate(file.components))
    if wanted:
        # As lfs: of the last component that has been written to, up to the first that has not.
        written = [index for index, component in shown if component.osts or component.pattern == "mdt"]
        shown = [shown[written[-1] if written else 0]]
    for index, component in shown:
        if yaml:
            call.out(f"  component{index}:\n")
        if not wanted and "q" not in flags:
            _entry(call, index, component)
        if yaml:
            call.out("    sub_layout:\n")
        _values(call, component, wanted, "      ", yaml, quiet="q" in flags)
        if not wanted and component.osts:
            call.out("      lmm_objects:\n")
            for at, ost in enumerate(component.osts):
                fid = f"0x{0x100000000 + (ost << 16):x}:{_object(file, at):#x}:0x0"
                if yaml:
                    call.out(f"      - l_ost_idx: {ost}\n        l_fid:     {fid}\n")
                else:
                    call.out(f"      - {at}: {{ l_ost_idx: {ost}, l_fid: [{fid}] }}\n")
        call.out("" if len(wanted) == 1 else "\n")


def _entry(call: Call, index: int, component: Component) -> None:
    instantiated = bool(component.osts) or component.pattern == "mdt"
    number = index + 1 if not component.mirror else component.mirror * 0x10000 + index + 1
    call.out(f"    lcme_id:             {number}\n    lcme_mirror_id:      {component.mirror}\n")
    call.out(f"    lcme_flags:          {'init' if instantiated else '0'}\n")
    call.out(f"    lcme_extent.e_start: {component.start}\n")
    call.out(f"    lcme_extent.e_end:   {'EOF' if component.end == EOF else component.end}\n")


def _plain(call: Call, file: File, component: Component, wanted: list[str], flags: set[str]) -> None:
    _values(call, component, wanted, "", "y" in flags, quiet="q" in flags)
    if wanted:
        return
    if component.pattern not in ("released", "mdt"):
        if "y" in flags:
            call.out("lmm_objects:\n")
        else:
            call.out("\tobdidx\t\t objid\t\t objid\t\t group\n")
        for at, ost in enumerate(component.osts):
            number = _object(file, at)
            if "y" in flags:
                fid = f"0x{0x100000000 + (ost << 16):x}:{number:#x}:0x0"
                call.out(f"      - l_ost_idx: {ost}\n        l_fid:     {fid}\n")
            else:
                call.out(f"\t{ost:6d}\t{number:14d}\t{number:#13x}\t{0:14d}\n")
    call.out("\n")


def _object(file: File, at: int) -> int:
    return 6449992 + 16 * file.oid + at


def _values(call: Call, component: Component, wanted: list[str], indent: str, yaml: bool, quiet: bool) -> None:
    if quiet:
        return
    first = component.osts[0] if component.osts else (0 if component.pattern in ("mdt", "released") else -1)
    rows = {
        "c": ("stripe_count:  ", component.stripe_count),
        "S": ("stripe_size:   ", component.stripe_size_bytes),
        "L": ("pattern:       ", component.pattern),
        "g": ("layout_gen:    ", 0),
        "i": ("stripe_offset: ", first),
        "p": ("pool:          ", component.pool),
    }
    for letter in wanted or _DETAILS:
        label, value = rows[letter]
        if letter == "p" and not component.pool:
            continue
        call.out(f"{value}\n" if len(wanted) == 1 else f"{indent}lmm_{label}{value}\n")


def getdirstripe(call: Call, arguments: list[str]) -> int:
    options, operands = parse(
        arguments, "cDHimrTvy", {"mdt-count": "c", "mdt-index": "i", "mdt-hash": "H", "recursive": "r", "yaml": "y"}
    )
    letters = {letter for letter, _ in options}
    for path in operands:
        if not os.path.isdir(path):
            call.failed(f"error opening {path}", errno.ENOENT)
            call.err(f"error: getdirstripe failed for {path}.")
            return errno.ENOENT
        try:
            mdt = call.state.mdt_of(call.state.relative(path))
        except OSError as error:
            return call.failed(f"cb_getstripe: '{path}' not on a Lustre fs?", error.errno or errno.EIO)
        call.pause_for_mdt(mdt)
        if letters & {"i", "m"}:
            call.out(f"{mdt}\n")
        elif letters & {"c", "T"}:
            call.out("0\n")
        else:
            call.out(f"lmv_stripe_count: 0 lmv_stripe_offset: {mdt} lmv_hash_type: none\n")
    return 0
