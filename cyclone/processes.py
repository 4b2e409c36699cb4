"""What every Cyclone process does with the operating system: dying with its parent, guarding its children, taking
signals, scratch folders.

Owns the guardian's life. Linux only, like the things it calls (prctl(2), pidfd_open(2), proc(5)).
"""

import gc
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cyclone import guardian

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
# malloc.h
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
# Twice the buffer that a whole batch of large arguments grows into, and room for some of them.
_MAPPED_FROM_BYTES = 4 * 1024 * 1024
_KEPT_BYTES_MAX = 16 * 1024 * 1024
_SCRATCH_PREFIX = f"cyclone-{os.getuid()}-"


def _prctl(option: int, value: int) -> None:
    import ctypes

    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def die_with_parent(parent_pid: int) -> None:
    """Be killed when the parent dies. Exits at once where the parent is gone already.

    The kernel watches the thread that forked, so a parent must start its children from its main thread (prctl(2)).
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent dies, so that they can be found and reaped."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def reap_orphans(own: set[int]) -> None:
    """Collect the ended children that nobody waits for: adopted ones. ``own`` are pids that somebody does wait for."""
    for pid in children() - own:
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            continue


def children(of: int = 0) -> set[int]:
    """The pids of a process's children, adopted ones included; of this process where none is named.

    OSError for one that has ended. Children of another thread than the main one are not found.
    """
    pid = of or os.getpid()
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()}


def raise_descriptor_limit() -> int:
    """Lift the soft limit of open files to the hard one; returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def spare_the_collector() -> None:
    """Leave what start-up made out of every later garbage collection, and collect less often.

    Our loops make columns by the thousand and hardly a cycle; with the default threshold a tenth of a busy generator's
    time went into looking for some. What is freed is kept for the next batch.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Have malloc(3) keep some of what is freed: batches of large arguments come and go by the megabyte.

    By itself it gives each back to the kernel and asks for it again, page by page: with arguments of 100 KB that was
    a quarter of the processor time of all processes, three quarters of the generator's.
    """
    import ctypes

    # Only glibc has it, and needs it.
    if tune := getattr(ctypes.CDLL(None), "mallopt", None):
        tune(_M_MMAP_THRESHOLD, _MAPPED_FROM_BYTES)
        tune(_M_TRIM_THRESHOLD, _KEPT_BYTES_MAX)


def end_text(status: int) -> str:
    """How a process ended, from ``Popen.returncode``: 'exit code 1', 'signal 9 (SIGKILL)'."""
    if status >= 0:
        return f"exit code {status}"
    name = signal_name(-status)
    return f"signal {-status} ({name})" if name else f"signal {-status}"


def signal_name(number: int) -> str:
    """SIGKILL and the like; '' for a real-time signal that has no name."""
    return signal.Signals(number).name if number in signal.Signals.__members__.values() else ""


def python_command(target: str, *arguments: str) -> list[str]:
    """The command line that runs ``module:function`` of this installation in a new interpreter with these arguments.

    Plain exec, no fork of a running interpreter: a process that holds a ZeroMQ context must not be forked, and there is
    no helper process whose death would have to be survived. ``-P``: the working directory joins the import path only
    where we put it.
    """
    module, function = target.split(":")
    return [sys.executable, "-P", "-c", f"from {module} import {function}; {function}()", *arguments]


class Guard:
    """A daemon's mark, its scratch folder and its guardian. ``close`` at the end; a kill is taken care of by itself."""

    def __init__(self) -> None:
        self.mark = uuid.uuid4().hex
        _remove_stale_scratch()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{_SCRATCH_PREFIX}{os.getpid()}-"))
        self._leaders: set[int] = set()
        self._start()

    def environment(self) -> dict[str, str]:
        """The environment for a child, with our mark in it and what concerns only ourselves left out."""
        private = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
        kept = {key: value for key, value in os.environ.items() if key not in private}
        return kept | {guardian.MARK: self.mark}

    @property
    def pid(self) -> int:
        """The guardian's."""
        return self._process.pid

    def fileno(self) -> int:
        """Becomes readable when the guardian has died: call ``renew`` then."""
        return self._pidfd

    def renew(self) -> None:
        """Replace a guardian that was killed."""
        self._stop()
        self._start()

    def add(self, pid: int) -> None:
        """A child that leads a session of its own."""
        self._leaders.add(pid)
        self._tell(f"+{pid}\n")

    def remove(self, pid: int) -> None:
        """That child is reaped."""
        self._leaders.discard(pid)
        self._tell(f"-{pid}\n")

    def close(self) -> None:
        """Let the guardian do its work now, and wait for it."""
        self._stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        lifeline, self._lifeline = os.pipe()
        environment = {key: value for key, value in os.environ.items() if key != guardian.MARK}
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", guardian.__file__, str(lifeline), self.mark, str(self.folder)],
            pass_fds=(lifeline,),
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=environment,
        )
        os.close(lifeline)
        self._pidfd = os.pidfd_open(self._process.pid)
        for pid in self._leaders:
            self._tell(f"+{pid}\n")

    def _tell(self, line: str) -> None:
        try:
            os.write(self._lifeline, line.encode("ascii"))
        except BrokenPipeError:
            # It was killed this very moment: fileno() tells, and renew() repeats what it must know.
            return

    def _stop(self) -> None:
        os.close(self._lifeline)
        self._process.wait()
        os.close(self._pidfd)


def _remove_stale_scratch() -> None:
    """Folders of owners that were killed together with their guardian."""
    living = guardian.living()
    for folder in Path(tempfile.gettempdir()).glob(f"{_SCRATCH_PREFIX}*"):
        pid = folder.name.removeprefix(_SCRATCH_PREFIX).partition("-")[0]
        # A zombie is dead too, and may stay for long where nobody waits for it.
        if pid.isdigit() and int(pid) not in living:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def sigterm_held() -> Iterator[Callable[[], object]]:
    """SIGTERM meets this thread only after the block, or from where the function is called that it gives; unless there
    is another thread, of user code, that does not block it.

    Whatever is started in it inherits that. A thread is to: the signal has to meet the main one, which a task's end
    interrupts. A program is not, and has to undo it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def release() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    try:
        yield release
    finally:
        release()


class SignalWakeup:
    """Signals as something to poll: ``fileno`` becomes readable, ``take`` tells which arrived since the last call."""

    def __init__(self, *numbers: signal.Signals) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._former = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._handlers = {number: signal.signal(number, lambda *_: None) for number in numbers}
        self._numbers = frozenset(numbers)

    def fileno(self) -> int:
        """To be polled."""
        return self._read

    def take(self) -> list[int]:
        """The signals that arrived."""
        if not select.select([self._read], [], [], 0)[0]:
            return []
        return [number for number in os.read(self._read, 4096) if number in self._numbers]

    def close(self) -> None:
        """Put the former handlers back."""
        signal.set_wakeup_fd(self._former)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        os.close(self._read)
        os.close(self._write)
