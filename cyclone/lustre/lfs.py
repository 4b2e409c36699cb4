"""The one way in which Cyclone calls ``lfs``: arguments as a list and never a shell, a limit on time and output, values
or an ``LfsError`` that says what a caller needs to know.

Owns the command lines and what their failures mean; what lfs prints is ``parsing``'s. Paths are text as ``os.listdir``
gives it: bytes that are not UTF-8 are surrogate escapes, and any byte but NUL may occur.
"""

import enum
import os
import re
import shlex
from collections.abc import Callable, Sequence
from typing import TypeVar

from cyclone.errors import CycloneError
from cyclone.lustre import command, parsing
from cyclone.lustre.parsing import Layout, Target

__all__ = ["Layout", "Lfs", "LfsError", "LfsTimeout", "Reason", "Target"]

T = TypeVar("T")

MIGRATE_TIMEOUT_S = 8 * 3600.0
"""The limit of a migration that names none: a large file on a busy system takes hours. The original's resend limit."""

# `lfs df` of 10,000 targets takes 1 MB, `lfs getstripe` of a file on 2,000 OSTs 150 KB.
_STDOUT_BYTES_MAX = 16 * 1024 * 1024
_SHOWN_CHARS = 1000
_MIB = 1024 * 1024


class Reason(enum.StrEnum):
    """Why a call failed, as far as a caller may want to act on it."""

    BUSY = "busy"
    """The file is in use: no lease, or it was lost. Worth another try later."""
    CHANGED = "changed"
    """The file was written to while it was copied; nothing was lost. Worth another try later."""
    NO_SPACE = "no space"
    NO_SUCH_FILE = "no such file"
    PERMISSION = "permission"
    TIMEOUT = "timeout"
    NOT_RUN = "not run"
    """lfs was not executed: not installed, or sudo refused. Nothing is known of the file."""
    UNKNOWN = "unknown"


class LfsError(CycloneError):
    """A call of lfs failed: the command line, its exit code (None where it has none), its outputs, and why."""

    def __init__(
        self,
        message: str,
        command: Sequence[str] = (),
        returncode: int | None = None,
        stderr: str = "",
        stdout: str = "",
        reason: Reason = Reason.UNKNOWN,
    ) -> None:
        super().__init__(_shown(message))
        self.command = tuple(command)
        self.returncode = returncode
        self.stderr = stderr
        self.stdout = stdout
        self.reason = reason


class LfsTimeout(LfsError):
    """The call did not end in time. ``abandoned``: not even SIGKILL ended it, it hangs in the kernel and goes on."""

    def __init__(self, message: str, command: Sequence[str] = (), stderr: str = "", abandoned: bool = False) -> None:
        super().__init__(message, command, None, stderr, reason=Reason.TIMEOUT)
        self.abandoned = abandoned


# What stands at the end of a line, behind it perhaps the number of the error: "...: No space left on device (28)".
_ENDS = (
    (Reason.NO_SUCH_FILE, "No such file or directory"),
    (Reason.NO_SPACE, "No space left on device|Disk quota exceeded"),
    (Reason.PERMISSION, "Permission denied|Operation not permitted|Read-only file system"),
    (Reason.BUSY, "Device or resource busy|Text file busy"),
    # The two data versions of a migration differ, or its layouts cannot be swapped any more.
    (Reason.CHANGED, "(?:source )?file changed: .*"),
    (Reason.BUSY, "cannot get (?:lease|group lock): .*"),
)
_REASONS = [(reason, re.compile(rf"^.*\b(?:{end})(?: \(-?\d+\))?\.?$", re.MULTILINE)) for reason, end in _ENDS]
# lfs exits with errno; only those numbers that nothing else of it exits with.
_EXIT_CODES = {16: Reason.BUSY, 28: Reason.NO_SPACE}
# lfs also says so and exits with 0, as `lfs check` does.
_SAYS_ERROR = re.compile(r"^(?:lfs [a-z0-9_]+: )?error\b|^lfs [a-z0-9_]+: .* does not exist: ", re.MULTILINE)
_FID = re.compile(r"\[?0x[0-9a-fA-F]{1,16}:0x[0-9a-fA-F]{1,8}:0x[0-9a-fA-F]{1,8}\]?")
_SUDO_REFUSES = re.compile(r"^(?:sudo: |Sorry, user )", re.MULTILINE)


def _reason(line: Sequence[str], returncode: int, stderr: str) -> Reason:
    if line[0] == "sudo" and returncode == 1 and _SUDO_REFUSES.search(stderr):
        return Reason.NOT_RUN
    if line[-1].startswith(("/", "./")):
        # A name may read like an error.
        stderr = stderr.replace(line[-1], "")
    for reason, pattern in _REASONS:
        if pattern.search(stderr):
            return reason
    return _EXIT_CODES.get(returncode, Reason.UNKNOWN)


class Lfs:
    """Calls of ``lfs_bin``, each at most ``timeout_s`` seconds long unless it says otherwise.

    With ``sudo`` by ``sudo -n``, which never asks for a password. A call that must be ended by an ordinary user is then
    ended by ``sudo -n kill``, where that is allowed; otherwise it is given up. Any number of threads may call at once.
    Every method raises LfsError, and ValueError for a path or an index that cannot be one.
    """

    def __init__(self, lfs_bin: str = "lfs", sudo: bool = False, timeout_s: float = 60.0) -> None:
        self.lfs_bin = lfs_bin
        self.sudo = sudo
        self.timeout_s = timeout_s

    def run(self, arguments: Sequence[str], timeout_s: float | None = None) -> str:
        """What lfs prints on standard output when called with these arguments. All calls go this way.

        LfsError also where it exits with 0 but says on standard error that there was one.
        """
        line = [*(("sudo", "-n") if self.sudo else ()), self.lfs_bin, *arguments]
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        try:
            ended = command.run(
                [_bytes(argument) for argument in line],
                # What lfs says of an error is compared with what the C library says in this locale.
                {**os.environb, b"LC_ALL": b"C", b"LANG": b"C"},
                limit_s,
                _STDOUT_BYTES_MAX,
                kill_command=(b"sudo", b"-n", b"kill") if self.sudo else (),
            )
        except OSError as error:
            what = f"{os.fsdecode(error.filename or line[0])}: {error.strerror}"
            raise LfsError(f"{_named(line)} cannot be started: {what}", line, reason=Reason.NOT_RUN) from error
        stdout, stderr = os.fsdecode(ended.stdout), os.fsdecode(ended.stderr)
        said = "; ".join(text for text in stderr.split("\n") if text.strip())[:_SHOWN_CHARS]
        said = f": {said}" if said else ""
        if ended.timed_out:
            abandoned = ended.returncode is None
            what = "and not even SIGKILL ends it: it was given up" if abandoned else "and was ended"
            message = f"{_named(line)} did not end within {limit_s:g} s, {what}{said}"
            raise LfsTimeout(message, line, stderr, abandoned)
        if ended.too_long:
            raise LfsError(f"{_named(line)} printed more than {_STDOUT_BYTES_MAX} bytes, and was ended", line)
        assert ended.returncode is not None
        if ended.returncode or _SAYS_ERROR.search(stderr):
            reason = _reason(line, ended.returncode, stderr)
            message = f"{_named(line)} ended with exit code {ended.returncode}{said}"
            raise LfsError(message, line, ended.returncode, stderr, stdout, reason)
        return stdout

    def check_osts(self, target: str) -> dict[int, str]:
        """The state of each OST of the file system ``target``, by index: "active", "inactive", or why it is neither.

        Each call asks every OST; ``checked.CheckedOsts`` asks once per node and some seconds.
        """
        arguments = ["check", "osts"]
        try:
            return self._parsed(arguments, lambda text: parsing.parse_check_osts(text, target))
        except LfsTimeout:
            raise
        except LfsError as error:
            # It says of each OST that does not answer that this is an error, and goes on with the next.
            try:
                return parsing.parse_check_osts(f"{error.stdout}\n{error.stderr}", target)
            except ValueError:
                raise error from None

    def df(self, path: str) -> list[Target]:
        """All targets of the file system that is mounted at ``path``, the inactive ones among them."""
        arguments = ["df", "-v", _operand(path)]
        try:
            return self._parsed(arguments, parsing.parse_df)
        except LfsTimeout:
            raise
        except LfsError as error:
            # One target that cannot be asked is an error of the whole call, which lists the others all the same.
            try:
                return parsing.parse_df(error.stdout)
            except ValueError:
                raise error from None

    def layout(self, path: str) -> Layout:
        """Where the data of a file lies."""
        # Old releases print the name also with -y, and a name may look like a line of the layout.
        operand = _operand(path)
        return self._parsed(
            ["getstripe", "-y", operand], lambda text: parsing.parse_layout(text.removeprefix(operand + "\n"))
        )

    def set_stripe(self, path: str, ost_index: int, stripe_count: int = 1) -> None:
        """Create an empty file whose first stripe lies on this OST."""
        self.run(["setstripe", "-i", str(_index(ost_index)), "-c", str(stripe_count), _operand(path)])

    def migrate(
        self,
        path: str,
        ost_index: int,
        *,
        stripe_count: int = 1,
        block: bool = False,
        direct_io: bool = True,
        bandwidth_bytes: int = 0,
        timeout_s: float | None = None,
    ) -> None:
        """Move a file's data so that its first stripe lies on this OST; the file ends with a plain layout.

        With ``block`` other users of the file wait meanwhile, without it the call fails as soon as there are any.
        ``bandwidth_bytes`` per second, 0 for no limit, counts in whole MiB, at least one. At most ``timeout_s``
        seconds, ``MIGRATE_TIMEOUT_S`` for None: the file stays as it was where the call is ended.
        """
        arguments = ["migrate", "--block" if block else "--non-block"]
        if not direct_io:
            arguments.append("--non-direct")
        if bandwidth_bytes:
            arguments += ["-W", f"{max(1, bandwidth_bytes // _MIB)}M"]
        arguments += ["-i", str(_index(ost_index)), "-c", str(stripe_count), _operand(path)]
        self.run(arguments, MIGRATE_TIMEOUT_S if timeout_s is None else timeout_s)

    def dir_mdt_index(self, path: str) -> int:
        """The index of the MDT on which a folder lies, the first one of a striped folder."""
        return self._parsed(["getdirstripe", "-i", _operand(path)], parsing.parse_mdt_index)

    def fid_to_path(self, fs_path: str, fid: str) -> str:
        """The first path of the file with this FID, with or without brackets, below the mount point ``fs_path``."""
        if not _FID.fullmatch(fid):
            raise ValueError(f"{fid!r} is not a FID: expected three hexadecimal numbers, as in [0x200000401:0x5:0x0]")
        # Of the first link alone: between two paths stands a line feed, which a path may contain.
        arguments = ["fid2path", "--link", "0", _operand(fs_path), fid]
        return self._parsed(arguments, lambda text: parsing.parse_fid_path(text, fs_path))

    def _parsed(self, arguments: Sequence[str], parse: Callable[[str], T]) -> T:
        printed = self.run(arguments)
        try:
            return parse(printed)
        except ValueError as error:
            line = [self.lfs_bin, *arguments]
            raise LfsError(f"what {_named(line)} prints is not understood: {error}", line, 0, stdout=printed) from error


def _operand(path: str) -> str:
    """A path as an argument that is not taken for an option."""
    if not path:
        raise ValueError("an empty path")
    return f"./{path}" if path.startswith("-") else path


def _index(ost_index: int) -> int:
    if ost_index < 0:
        raise ValueError(f"OST index {ost_index}: expected 0 or more")
    return ost_index


def _bytes(argument: str) -> bytes:
    if "\0" in argument:
        raise ValueError(f"{argument!r} contains a NUL, which no path does")
    return os.fsencode(argument)


def _named(line: Sequence[str]) -> str:
    name = shlex.join(line)
    return name if len(name) <= _SHOWN_CHARS else name[:_SHOWN_CHARS] + "..."


def _shown(text: str) -> str:
    """Text for a message in one line: what cannot be printed, line feeds and broken UTF-8 included, as its escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
