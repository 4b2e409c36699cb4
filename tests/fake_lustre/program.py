"""``lfs``, ``lctl`` and ``fake-lfs``: one program, which does what its name and first argument say, and logs each call.

Everything else is imported when it is needed: a call takes 20 ms, and thousands of them run in a test.
"""

import errno
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module

from tests.fake_lustre.options import Usage, seconds
from tests.fake_lustre.state import State

LOG = "calls.log"
_EXIT_USAGE = 1
_VERBS = {
    "check": ("showing", "check"),
    "df": ("showing", "df"),
    "setstripe": ("striping", "setstripe"),
    "getstripe": ("getstripe", "getstripe"),
    "getdirstripe": ("getstripe", "getdirstripe"),
    "mkdir": ("striping", "mkdir"),
    "setdirstripe": ("striping", "mkdir"),
    "path2fid": ("striping", "path2fid"),
    "fid2path": ("striping", "fid2path"),
    "migrate": ("migrating", "migrate"),
    "find": ("finding", "find"),
    "get_param": ("showing", "get_param"),
}
_OF_LCTL = {"get_param"}


class Call:
    """One call: its outputs, its state, and its lines in the log."""

    def __init__(self, folder: str, arguments: list[str]) -> None:
        self.arguments = arguments
        self.verb = arguments[1] if len(arguments) > 1 else ""
        self._folder = folder
        self._id = f"{os.getpid()}-{time.monotonic_ns()}"
        self._out: list[str] = []
        self.log("start", os.getpid(), arguments)
        self.state = State(folder)

    def log(self, event: str, *values: object) -> None:
        """A line in the log; one write to a file that is only appended to is not torn by those of others."""
        line = repr((event, self._id, time.monotonic(), *values)).encode("utf-8", "backslashreplace") + b"\n"
        descriptor = os.open(os.path.join(self._folder, LOG), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        os.write(descriptor, line)
        os.close(descriptor)

    def out(self, text: str) -> None:
        self._out.append(text)

    def err(self, line: str) -> None:
        os.write(2, os.fsencode(line + "\n"))

    def failed(self, what: str, number: int) -> int:
        """An error as the library of Lustre says it; returns the exit code."""
        self.err(f"lfs {self.verb}: {what}: {os.strerror(number)} ({number})")
        return number

    @property
    def printed(self) -> str:
        """What ``flush`` would write."""
        return "".join(self._out)

    def flush(self) -> None:
        data = memoryview(os.fsencode(self.printed))
        self._out.clear()
        while data:
            data = data[os.write(1, data) :]

    def pause(self, duration: str | None) -> None:
        """Sleep as a fault says, if it is set."""
        if duration is not None:
            time.sleep(seconds(duration) if duration else 86400.0)

    def pause_for_mdt(self, number: int) -> None:
        self.pause(self.state.fault(f"mdt {number}", "slow"))


def execute(call: Call) -> int:
    """Do what the call asks for; returns its exit code."""
    program = call.arguments[0]
    module, name = _VERBS.get(call.verb, ("", ""))
    if not module or (call.verb in _OF_LCTL) != (program == "lctl"):
        call.err(f"{program}: '{call.verb}' is not a command of the fake {program}")
        return _EXIT_USAGE
    call.pause(call.state.fault(f"verb {call.verb}", "hang"))
    code = call.state.fault(f"verb {call.verb}", "fail")
    if code is not None:
        return call.failed("the fake was told to fail", int(code or errno.EIO))
    function: Callable[[Call, list[str]], int] = getattr(import_module(f"tests.fake_lustre.{module}"), name)
    try:
        return function(call, call.arguments[2:])
    except Usage as error:
        call.err(f"lfs {call.verb}: {error}")
        return _EXIT_USAGE


def main(folder: str) -> None:
    """Run the call of ``sys.argv``, and exit."""
    name = os.path.basename(sys.argv[0])
    if name == "fake-lfs":
        import_module("tests.fake_lustre.admin").main(sys.argv[1:], folder)
        return
    call = Call(folder, [name, *sys.argv[1:]])
    code = errno.EPIPE
    try:
        code = execute(call)
        call.flush()
    finally:
        call.log("end", code)
    # Nothing is left to be tidied up, and that would take as long as the call.
    os._exit(code)
