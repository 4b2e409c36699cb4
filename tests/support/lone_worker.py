"""A worker process without a controller: a test holds the other ends of all that it has and writes what it executes."""

import json
import mmap
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from cyclone import BaseTask
from cyclone.controller import pipe
from cyclone.processes import python_command
from cyclone.protocol.framing import RECEIVE_BYTES, FrameReader
from cyclone.protocol.messages import ErrorRecord, Job, ResultColumns

ROOT = Path(__file__).parents[2]


class Do(BaseTask):
    """Does one thing, by name, and as little besides as is possible."""

    def __init__(self, what: str, value: Any = None) -> None:
        self.what = what
        self.value = value

    def execute(self) -> Any:
        return getattr(self, self.what)()

    def echo(self) -> Any:
        return self.value

    def shift(self) -> int:
        return 1 << int(self.value)

    def text(self) -> str:
        return "x" * int(self.value)

    def make_records(self) -> int:
        """Records with these numbers of bytes, and then a failure where one of them is negative."""
        for size in self.value:
            if size < 0:
                raise OverflowError("after some records")
            self.record("sample", content=b"x" * size)
        return len(self.value)

    def fail(self) -> None:
        raise OverflowError(self.value)

    def close(self) -> None:
        os.close(self.value)

    def busy(self) -> None:
        until = time.process_time() + self.value
        while time.process_time() < until:
            pass

    def hang(self) -> None:
        """Says so in the named pipe ``started``, and goes on until it is ended, of which it leaves a file."""
        folder = Path(self.value)
        try:
            (folder / "started").write_bytes(b"started")
            while True:
                time.sleep(0.05)
        finally:
            (folder / "tidied").touch()


def args(what: str, value: Any = None) -> bytes:
    """The constructor properties of a ``Do``."""
    return msgspec.msgpack.encode([what, value])


class LoneWorker:
    """The process, the shared words and the conversation."""

    def __init__(self, folder: Path, by_value: bool = False) -> None:
        self._channel, channel = socket.socketpair()
        self._nudges, nudges = socket.socketpair()
        words = os.memfd_create("words")
        os.ftruncate(words, pipe.WORDS * 8)
        self.words = memoryview(mmap.mmap(words, pipe.WORDS * 8)).cast("Q")
        self.words[pipe.LIMIT_SEQ] = pipe.NO_LIMIT
        self.channel_fd = channel.fileno()
        descriptors = {"channel_fd": self.channel_fd, "nudges_fd": nudges.fileno(), "words_fd": words}
        options = {
            **{"parent_pid": os.getpid(), "scratch": str(folder), "relayed_to_journal": False, "search_path": []},
            **{"time_limit_s": 0.0, "task_memory_max_bytes": 0, "task_modules": ["tests.support"]},
            **{"by_value": by_value, "node": "lone", "output_mark": "00" * 16, "stdout_max_bytes": 0},
            "log": {"filename": None, "format": "text", "level": "info"},
        }
        self.process = subprocess.Popen(
            python_command("cyclone.controller.worker:main", json.dumps(options | descriptors)),
            pass_fds=tuple(descriptors.values()),
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        channel.close()
        nudges.close()
        os.close(words)
        self._messages = self._read()
        self._next_base = 1
        assert type(next(self._messages)) is pipe.Ready

    def start(self, *rows: bytes, task_class: str = "tests.support.lone_worker:Do", **options: Any) -> int:
        """Give it a batch of a job of its own, with these options; the number of the first row."""
        base = self._next_base
        return self.give(Job(base, task_class, **options), *rows)

    def give(self, job: Job, *rows: bytes, time_limits: Sequence[tuple[int, float]] = ()) -> int:
        """Give it a batch of a job, of which it is told anew; the number of the first row."""
        base = self._next_base
        self._next_base += len(rows)
        runs = [(job.job_id, len(rows))]
        self._channel.sendall(pipe.pack(pipe.Execute(base, 0, base, 1, [job], runs, list(rows), list(time_limits))))
        return base

    def nudge(self) -> None:
        """Have it report."""
        self._nudges.send(b"f")

    def report(self) -> pipe.Done:
        """The next report."""
        done = next(self._messages)
        assert isinstance(done, pipe.Done)
        return done

    def reports(self) -> list[pipe.Done]:
        """All up to the one that ends the batch."""
        reports = [self.report()]
        while not reports[-1].ended:
            reports.append(self.report())
        return reports

    def run(self, *rows: bytes, **options: Any) -> list[tuple[int, Any]]:
        """Status, and value or error, of each row of a batch, whose reports follow each other without a gap."""
        base, outcomes = self.start(*rows, **options), list[tuple[int, Any]]()
        for done in self.reports():
            assert done.base == base + len(outcomes)
            outcomes += zip(done.statuses, outcomes_of(done), strict=True)
        return outcomes

    def close(self) -> None:
        """End it."""
        self._channel.close()
        self._nudges.close()
        self.process.kill()
        self.process.wait()

    def _read(self) -> Iterator[pipe.Ready | pipe.Done]:
        reader = FrameReader()
        while data := self._channel.recv(RECEIVE_BYTES):
            yield from map(pipe.decode_from_worker, reader.feed(data))


def columns_of(done: pipe.Done) -> ResultColumns:
    """The columns of a report."""
    return msgspec.msgpack.decode(done.body, type=ResultColumns)


def records_of(dones: Sequence[pipe.Done], base: int) -> list[tuple[int, str, int]]:
    """The records of a batch: the row that made it, from 0 on, its name, and how many bytes it holds."""
    return [
        (done.base - base + row, name, len(msgspec.msgpack.decode(packed)["content"]))
        for done in dones
        for row, name, packed in columns_of(done).records
    ]


def outcomes_of(done: pipe.Done) -> list[Any]:
    """What each row returned, or its ``ErrorRecord``."""
    return [
        msgspec.msgpack.decode(value, type=ErrorRecord) if status else msgspec.msgpack.decode(value)
        for status, value in zip(done.statuses, columns_of(done).values, strict=True)
    ]
