"""The worker processes of a controller: started, fed, stopped exactly, killed and reaped. A thin body: decides nothing.

Each worker has a socket pair for batches, a second one for nudges, and a few words of shared memory (memfd) in which it
publishes what it executes: nothing of it has a name that could be left behind, and no lock is shared that a kill could
leave locked. Its end is seen by a pidfd, because a grandchild may keep its sockets open.

Must be used from the main thread only: the kernel ties a worker's PR_SET_PDEATHSIG to the thread that started it.
"""

import json
import mmap
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cyclone import guardian
from cyclone.controller import pipe, surroundings
from cyclone.controller.output import Elsewhere, Keep, Rows, TaskOutput
from cyclone.controller.printed import MARK_BYTES
from cyclone.controller.watch import Progress
from cyclone.controller.work import Piece
from cyclone.errors import ProtocolError
from cyclone.logs import stderr_is_journal
from cyclone.processes import Guard, end_text, python_command, signal_name
from cyclone.protocol.framing import Channel, socket_pair
from cyclone.protocol.messages import Job, TaskRange

# A stop takes about 0.1 ms; a process in an uninterruptible system call may take for ever.
_STOP_WAIT_S = 0.01
# Between two looks whether it has: it may need the very processor that we are on to get there, and would get it only
# after 3 ms, at the end of our slice.
_STOP_LOOK_S = 0.00002
# Of the kernel's flags of a task (include/linux/sched.h): it is in exit(2), or has been killed.
_PF_EXITING = 4
# How much of one worker's reports is taken in before the others get their turn.
_READ_BYTES_PER_TURN = 4 << 20


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What is the same for all workers. ``arguments`` goes to each as it is.

    With ``log_output``, what tasks print goes to the controller's log, too, where it is kept; with ``inherits_output``
    to neither, but to the controller's own standard output and error.
    """

    arguments: dict[str, object]
    environment_keep: tuple[str, ...]
    stdout_max_bytes: int
    log_output: bool = True
    inherits_output: bool = False


class WorkerProcess:
    """One worker process and our ends of what we share with it.

    ``lease`` tells which task is in a row of it, ``keep`` takes what its tasks print.
    """

    def __init__(
        self,
        worker: int,
        guard: Guard,
        options: WorkerOptions,
        lease: Callable[[int], TaskRange | None],
        keep: Keep | None = None,
    ) -> None:
        self.worker = worker
        self._guard = guard
        our_end, channel = socket_pair()
        self.channel = Channel(our_end)
        self._nudges, nudges = socket.socketpair()
        self._nudges.setblocking(False)
        words = os.memfd_create("cyclone-worker", os.MFD_CLOEXEC)
        os.ftruncate(words, pipe.WORDS * 8)
        self.words = shared = memoryview(mmap.mmap(words, pipe.WORDS * 8)).cast("Q")
        self._times = pipe.seconds_view(self.words)
        self.words[pipe.LIMIT_SEQ] = pipe.NO_LIMIT
        descriptors = {"channel_fd": channel.fileno(), "nudges_fd": nudges.fileno(), "words_fd": words}
        scratch = guard.folder / f"worker-{worker}-{time.monotonic_ns()}"
        scratch.mkdir(mode=0o700)
        self.scratch = scratch
        self.mark = scratch.name
        # What nobody here reads has no marks in it, and no bound.
        output_mark = b"" if options.inherits_output else os.urandom(MARK_BYTES)
        about = {
            "output_mark": output_mark.hex(),
            "stdout_max_bytes": options.stdout_max_bytes if output_mark else 0,
            "parent_pid": os.getpid(),
            "scratch": str(scratch),
            "relayed_to_journal": stderr_is_journal(),
        }
        arguments = {**options.arguments, **descriptors, **about}
        environment = surroundings.environment(guard.environment(), options.environment_keep, scratch)
        readable, printed = os.pipe() if output_mark else (-1, None)
        self._process = subprocess.Popen(
            python_command("cyclone.controller.worker:main", json.dumps(arguments)),
            pass_fds=tuple(descriptors.values()),
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=printed,
            umask=surroundings.UMASK,
            env=environment | {guardian.WORKER_MARK: self.mark},
        )
        channel.close()
        nudges.close()
        os.close(words)
        if printed is not None:
            os.close(printed)
        # Not by way of ourselves: in a ring we would stay, with our descriptors, long after our end.
        rows = Rows(lambda: int(shared[pipe.EXECUTING_SEQ]), lease)
        self.output: TaskOutput | Elsewhere = (
            Elsewhere()
            if printed is None
            else TaskOutput(readable, output_mark, rows, options.stdout_max_bytes, keep, options.log_output)
        )
        self._killed = self._retired = self._asked_to_end = False
        self.pid = self._process.pid
        self.pidfd = os.pidfd_open(self.pid)
        guard.add(self.pid)

    def progress(self) -> Progress:
        """What the worker publishes."""
        words = self.words
        # In this order: a row that is seen to run is never taken to have begun when its preparation did.
        seq, executing = words[pipe.EXECUTING_SEQ], words[pipe.EXECUTING]
        return Progress(seq, self._times[pipe.STARTED_S], bool(executing), executing == pipe.PREPARING)

    def execute(self, base: int, piece: Piece, jobs: list[Job], slot: int) -> None:
        """Give it a batch. Whatever limit an earlier take-back had set is off again."""
        self.words[pipe.LIMIT_SEQ] = pipe.NO_LIMIT
        limits = piece.time_limits() if piece.limits_s else []
        self.channel.send(
            pipe.pack(pipe.Execute(base, slot, piece.first, piece.attempt, jobs, piece.runs, piece.args, limits))
        )

    def read(self) -> Iterator[pipe.Ready | pipe.Done]:
        """What it reports. Raises ProtocolError when the stream makes no sense; after that it reports nothing more."""
        for frame in self.channel.read(_READ_BYTES_PER_TURN):
            try:
                yield pipe.decode_from_worker(frame)
            except ProtocolError:
                self.channel.distrusted = True
                raise

    def nudge(self) -> None:
        """Have it report what it finished."""
        try:
            self._nudges.send(b"f")
        except (BlockingIOError, OSError):
            # Full: it has not even read the last nudge.
            return

    def take_back(self) -> int | None:
        """Forbid every row behind the one it is in; that row's number, or None if it could not be stopped."""
        if not self._stop():
            return None
        seq = self.words[pipe.EXECUTING_SEQ]
        self.words[pipe.LIMIT_SEQ] = seq + 1
        self._signal(signal.SIGCONT)
        return seq

    def end_task(self, seq: int, started_s: float | None = None) -> bool:
        """SIGTERM to its process group if it is in exactly this row, and forbid all others; False if it is not.

        With ``started_s`` only if that is when it has begun.
        """
        if not self._stop():
            return False
        there = self.words[pipe.EXECUTING_SEQ] == seq and self.words[pipe.EXECUTING] != 0
        there = there and started_s in (None, self._times[pipe.STARTED_S])
        if there:
            self.words[pipe.LIMIT_SEQ] = seq + 1
            self._asked_to_end = True
            self._signal_group(signal.SIGTERM)
        self._signal(signal.SIGCONT)
        return there

    def kill(self) -> None:
        """SIGKILL to its process group."""
        self._killed = self._killed or not self._is_ending()
        self._signal_group(signal.SIGKILL)

    def retire(self) -> None:
        """Let it exit by itself."""
        self._retired = True
        self.channel.end()

    def reap(self) -> str:
        """After its end: collect it. How it ended, as text."""
        status = self._process.wait()
        self._guard.remove(self.pid)
        os.close(self.pidfd)
        self.channel.close()
        self._nudges.close()
        self._remove_scratch()
        # The kernel does not say why, and it is nearly always the one that was short of memory.
        out_of_memory = status == -signal.SIGKILL and not self._killed
        return "killed by SIGKILL (out of memory?)" if out_of_memory else end_text(status)

    def end_reason(self) -> str:
        """After ``reap``: why it ended, as one of a few words: ours, else ``exited`` or the signal that it died of."""
        if self._asked_to_end:
            return "ended"
        if self._killed:
            return "killed"
        status = self._process.returncode
        return (
            "retired"
            if self._retired and status == 0
            else "exited"
            if status >= 0
            else signal_name(-status) or "signal"
        )

    def sweep(self) -> None:
        """After its end: kill what its tasks left behind, also what left its process group."""
        self._signal_group(signal.SIGKILL)
        guardian.clear(f"{guardian.WORKER_MARK}={self.mark}".encode(), {self.pid}, clean_looks=1)

    def _remove_scratch(self) -> None:
        try:
            self.scratch.rmdir()
        except OSError:
            # A task has left something, perhaps very much: whatever is not removed by our own end goes then.
            threading.Thread(target=shutil.rmtree, args=(self.scratch,), kwargs={"ignore_errors": True}).start()

    def _stop(self) -> bool:
        self._signal(signal.SIGSTOP)
        deadline = time.monotonic() + _STOP_WAIT_S
        stat = Path(f"/proc/{self.pid}/stat")
        while True:
            # proc(5): the state is the field behind the command, which is in parentheses and may hold anything.
            state = stat.read_bytes().rpartition(b") ")[2][:1]
            if state in b"Tt":
                return True
            if state in b"ZX" or time.monotonic() > deadline:
                self._signal(signal.SIGCONT)
                return False
            time.sleep(_STOP_LOOK_S)

    def _is_ending(self) -> bool:
        """Whether something else has ended it already: its sockets close before it is a zombie."""
        # proc(5): the flags are the seventh field behind the command.
        state, *_, flags = Path(f"/proc/{self.pid}/stat").read_bytes().rpartition(b") ")[2].split()[:7]
        return state in b"ZX" or bool(int(flags) & _PF_EXITING)

    def _signal(self, number: signal.Signals) -> None:
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            return

    def _signal_group(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return
