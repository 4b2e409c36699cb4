"""``fake-lfs``: makes a fake Lustre, breaks and mends it, and tells what it was asked."""

import argparse
import os
import shlex
import sys
from pathlib import Path

from tests.fake_lustre import state as states
from tests.fake_lustre.faults import REFUSES, set_fault, table
from tests.fake_lustre.log import read_log
from tests.fake_lustre.options import Usage, size
from tests.fake_lustre.state import State, Target

ROOT = Path(__file__).parents[2]
_MDT_BYTES = 6 * 1024**4
_MDT_FILL = 2

_SUDO = """#!/bin/sh
# The options of sudo that do not matter here, then the command.
if [ -e {refuses} ]; then echo "sudo: a password is required" >&2; exit 1; fi
while :; do
    case $1 in
        -u|-g) shift 2 ;;
        --) shift; break ;;
        -*) shift ;;
        *) break ;;
    esac
done
exec "$@"
"""
_PROGRAM = """#!{python} -SE
import sys
sys.path.insert(0, {root!r})
from tests.fake_lustre.program import main
main({folder!r})
"""


def init(
    folder: Path,
    mount: Path,
    fs: str = "lustrefs",
    mdts: int = 3,
    osts: int = 784,
    ost_bytes: int = 66 * 1024**4,
    fill: tuple[float, ...] = (34, 35),
) -> None:
    """Make a file system. ``fill`` are per cent, given to the OSTs in turn."""
    folder = folder.absolute()
    mount.mkdir(parents=True, exist_ok=True)
    targets = [Target("MDT", number, _MDT_BYTES, states.used(_MDT_BYTES, _MDT_FILL)) for number in range(mdts)]
    targets += [Target("OST", n, ost_bytes, states.used(ost_bytes, fill[n % len(fill)])) for n in range(osts)]
    states.create(str(folder), {"fs": fs, "mount": os.path.realpath(mount)}, targets)
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    program = programs / "lfs"
    program.write_text(_PROGRAM.format(python=sys.executable, root=str(ROOT), folder=str(folder)), encoding="utf-8")
    program.chmod(0o755)
    for name in ("lctl", "fake-lfs"):
        (programs / name).symlink_to("lfs")
    sudo = programs / "sudo"
    sudo.write_text(_SUDO.format(refuses=shlex.quote(str(folder / REFUSES))), encoding="utf-8")
    sudo.chmod(0o755)


def main(arguments: list[str], folder: str = "") -> None:
    """The command line; ``folder`` is what the program was made for."""
    parser = argparse.ArgumentParser(prog="fake-lfs", description="A Lustre file system without Lustre, for tests.")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(folder or os.environ.get("FAKE_LUSTRE", "fake-lustre")),
        help="where its state is (default: $FAKE_LUSTRE, or fake-lustre)",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    making = verbs.add_parser("init", help='make one, and print what the shell needs: eval "$(fake-lfs init ...)"')
    making.add_argument("--fs", default="lustrefs", help="its name")
    making.add_argument("--mount", type=Path, help="an ordinary folder (default: mount, below the folder)")
    making.add_argument("--mdts", type=int, default=3)
    making.add_argument("--osts", type=int, default=784)
    making.add_argument("--ost-size", default="66T")
    making.add_argument("--fill", default="34,35", help="per cent, for the OSTs in turn")
    setting = verbs.add_parser(
        "set",
        help="break or mend: ost 5 hang 30s, migrate busy 0.1, ost 5 ok",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=table(),
    )
    setting.add_argument("words", nargs="+")
    verbs.add_parser("faults", help="what is broken")
    verbs.add_parser("log", help="all calls, with their durations")
    asked = parser.parse_args(arguments)
    try:
        _execute(asked)
    except (Usage, ValueError) as error:
        parser.error(str(error))


def _execute(asked: argparse.Namespace) -> None:
    if asked.verb == "init":
        mount = asked.mount or asked.folder / "mount"
        fill = tuple(float(percent) for percent in asked.fill.split(","))
        init(asked.folder, mount, asked.fs, asked.mdts, asked.osts, size(asked.ost_size), fill)
        folder = asked.folder.absolute()
        print(f"export FAKE_LUSTRE={shlex.quote(str(folder))}")
        print(f"export PATH={shlex.quote(str(folder / 'bin'))}:$PATH")
        print(f"# {asked.osts} OSTs; {asked.fs} is mounted at {mount.resolve()}")
        return
    state = State(str(asked.folder))
    if asked.verb == "set":
        set_fault(state, asked.words)
    elif asked.verb == "faults":
        for (subject, name), value in sorted(state.faults.items()):
            print(f"{os.fsdecode(subject)} {name} {value}".rstrip())
    else:
        for call in read_log(asked.folder):
            took = "running or killed" if call.ended_s is None else f"{call.ended_s - call.started_s:.3f} s"
            print(f"{call.started_s:.3f} {took} exit {call.code} {shlex.join(call.arguments)}")
