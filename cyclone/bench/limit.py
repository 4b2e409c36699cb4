"""The bare pipeline: what a master, a controller and worker processes cost with nothing else in the way.

The yardstick of ``cyclone bench --limit`` and ``make bench``, measured in the same run on the same machine: ROUTER and
DEALER over tcp loopback, ipc to the workers, msgspec in msgpack, a fence checked for each task; no generator,
heartbeat, time limit or recovery. Messages are columns (a first id, a list of arguments), not an object per task; the
journal's rows are blocks. A program of its own, which imports nothing of ours and writes one JSON object to standard
output:

    python -m cyclone.bench.limit --tasks 1000000 --workers 2      # tasks per second
    python -m cyclone.bench.limit --tasks 1000000 --journal DIR    # each task and result in SQLite, synchronous=FULL
    python -m cyclone.bench.limit --latency --tasks 2000           # one task at a time: microseconds per round trip
    python -m cyclone.bench.limit --payload-bytes 100000           # messages of this size copied, there and back
"""

import argparse
import collections
import contextlib
import json
import multiprocessing
import resource
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import zmq

encode, decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode
# What a message of large arguments holds, as in the protocol.
BATCH_BYTES = 1 << 20
# Messages in flight for each worker.
DEPTH = 4


class NoopTask:
    def __init__(self, value: int) -> None:
        self.value = value

    def execute(self) -> int:
        return self.value


CLASSES = {"noop": NoopTask}


class Tasks(msgspec.Struct, array_like=True, gc=False):
    """Consecutive ids of one class; the arguments of each as msgpack bytes."""

    first: int
    attempt: int
    task_class: str
    args: list[bytes]


class Results(msgspec.Struct, array_like=True, gc=False):
    first: int
    attempt: int
    statuses: list[int]
    values: list[bytes]


decode_tasks = msgspec.msgpack.Decoder(Tasks).decode
decode_results = msgspec.msgpack.Decoder(Results).decode
STOP, READY = b"X", b"R"


class Journal:
    """Each message of tasks and each of results is a row; one transaction per message, flushed to the disk."""

    def __init__(self, folder: str) -> None:
        self._db = sqlite3.connect(Path(folder, "journal.sqlite"), isolation_level=None)
        for pragma in ("journal_mode=wal", "synchronous=full"):
            self._db.execute(f"pragma {pragma}")
        for table in ("tasks", "results"):
            self._db.execute(f"create table {table}(first integer primary key, body blob)")

    def write(self, table: str, first: int, message: bytes) -> None:
        self._db.execute("begin")
        self._db.execute(f"insert into {table} values(?, ?)", (first, message))
        self._db.execute("commit")

    def close(self) -> None:
        self._db.close()


def worker(endpoint: str) -> None:
    """Executes batches, one after the other."""
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.connect(endpoint)
    socket.send(READY)
    while (message := socket.recv()) != STOP:
        tasks = decode_tasks(message)
        task_class, statuses, outcomes = CLASSES[tasks.task_class], [], []
        for args in tasks.args:
            outcome: Any
            try:
                outcome, status = task_class(*decode(args)).execute(), 0
            except Exception as error:
                outcome, status = repr(error), 1
            statuses.append(status)
            outcomes.append(encode(outcome))
        socket.send(encode(Results(tasks.first, tasks.attempt, statuses, outcomes)))
    socket.close()
    context.term()


def controller(endpoint: str, workers: int, depth: int) -> None:
    """Passes batches on to idle workers, and results back."""
    context = zmq.Context()
    up = context.socket(zmq.DEALER)
    up.connect(endpoint)
    down = context.socket(zmq.ROUTER)
    with tempfile.TemporaryDirectory() as folder:
        local = f"ipc://{folder}/workers"
        down.bind(local)
        processes = [multiprocessing.Process(target=worker, args=(local,)) for _ in range(workers)]
        for process in processes:
            process.start()
        names = [down.recv_multipart()[0] for _ in processes]
        for _ in range(workers * depth):
            up.send(READY)
        pass_on(up, down, names)
        for name in names:
            down.send_multipart([name, STOP])
        for process in processes:
            process.join()
    up.close(0)
    down.close(0)
    context.term()


def pass_on(up: "zmq.Socket[bytes]", down: "zmq.Socket[bytes]", names: list[bytes]) -> None:
    """Until the master says stop; a worker holds two batches at most."""
    queue: collections.deque[bytes] = collections.deque()
    busy = dict.fromkeys(names, 0)
    poller = zmq.Poller()
    poller.register(up, zmq.POLLIN)
    poller.register(down, zmq.POLLIN)
    while True:
        ready = dict(poller.poll())
        if up in ready:
            message = up.recv()
            if message == STOP:
                return
            queue.append(message)
        if down in ready:
            name, message = down.recv_multipart()
            busy[name] -= 1
            up.send(message)
        for name in names:
            while queue and busy[name] < 2:
                down.send_multipart([name, queue.popleft()])
                busy[name] += 1


def echo(endpoint: str, workers: int, depth: int) -> None:
    """In place of the controller: opens each message, and sends as much back."""
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.connect(endpoint)
    for _ in range(workers * depth):
        socket.send(READY)
    while (message := socket.recv()) != STOP:
        tasks = decode_tasks(message)
        socket.send(encode(Results(tasks.first, tasks.attempt, [0] * len(tasks.args), tasks.args)))
    socket.close(0)
    context.term()


def master(options: argparse.Namespace, journal: Journal | None) -> tuple[float, list[float]]:
    """Seconds from the first dispatch to the last result, and each batch's round trip in seconds."""
    tasks, batch, workers = options.tasks, options.batch, options.workers
    depth = 1 if options.latency else DEPTH
    payload = bytes(options.payload_bytes)
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    body = echo if payload else controller
    child = multiprocessing.Process(target=body, args=(f"tcp://127.0.0.1:{port}", workers, depth))
    child.start()
    waiting = collections.deque(router.recv_multipart()[0] for _ in range(workers * depth))
    source = iter(range(tasks))
    leased: dict[int, tuple[int, bytes]] = {}
    sent_at: dict[int, float] = {}
    trips: list[float] = []
    issued = done = total = 0
    started = time.perf_counter()
    while done < tasks:
        while waiting:
            # An object for each task, as a generator would yield it.
            args = [
                encode((payload or NoopTask(number).value,)) for _, number in zip(range(batch), source, strict=False)
            ]
            if not args:
                break
            name = waiting.popleft()
            leased.update(dict.fromkeys(range(issued, issued + len(args)), (0, name)))
            message = encode(Tasks(issued, 0, "noop", args))
            if journal:
                journal.write("tasks", issued, message)
            sent_at[issued] = time.perf_counter()
            issued += len(args)
            router.send_multipart([name, message])
        name, message = router.recv_multipart()
        waiting.append(name)
        results = decode_results(message)
        if journal:
            journal.write("results", results.first, message)
        for task_id, packed in enumerate(results.values, results.first):
            if leased.pop(task_id, (None,))[0] == results.attempt:
                done += 1
                total += len(packed) if payload else decode(packed)
        trips.append(time.perf_counter() - sent_at.pop(results.first))
    seconds = time.perf_counter() - started
    if total != (tasks * len(encode((payload,))) if payload else tasks * (tasks - 1) // 2):
        raise SystemExit(f"limit.py: the results add up to {total}: nothing was measured")
    router.send_multipart([name, STOP])
    child.join()
    router.close(0)
    context.term()
    return seconds, trips


@contextlib.contextmanager
def open_journal(parent: str | None) -> Iterator[Journal | None]:
    if parent is None:
        yield None
        return
    with (
        tempfile.TemporaryDirectory(prefix="limit-", dir=parent) as folder,
        contextlib.closing(Journal(folder)) as journal,
    ):
        yield journal


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The bare pipeline, the yardstick of cyclone bench.")
    parser.add_argument("--tasks", type=int, default=500_000)
    parser.add_argument("--batch", type=int, help="tasks per message (default: 256, or 1 MiB of payload)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--journal", metavar="DIR", help="record tasks and results in a journal in this folder")
    parser.add_argument("--latency", action="store_true", help="one task at a time, one worker")
    parser.add_argument(
        "--payload-bytes",
        type=int,
        default=0,
        metavar="N",
        help="arguments and results of this size, copied between two processes: no workers, nothing is executed",
    )
    options = parser.parse_args(argv)
    if options.latency:
        options.batch = options.workers = 1
    if options.payload_bytes:
        options.workers = 1
        options.batch = options.batch or max(1, BATCH_BYTES // options.payload_bytes)
    options.batch = options.batch or 256
    return options


def main(argv: list[str] | None = None) -> None:
    options = parse(argv)
    with open_journal(options.journal) as journal:
        seconds, trips = master(options, journal)
    cpu_s = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    report = {
        "tasks": options.tasks,
        "batch": options.batch,
        "workers": options.workers,
        "journal": options.journal is not None,
        "payload_bytes": options.payload_bytes,
        "seconds": round(seconds, 4),
        "tasks_per_s": round(options.tasks / seconds, 1),
        "bytes_per_s": round(2 * options.tasks * options.payload_bytes / seconds),
        # With the start of its processes, which ours is measured without.
        "cpu_us_per_task": round(1e6 * cpu_s / options.tasks, 3),
        "p50_us": round(1e6 * statistics.median(trips), 1),
        "p99_us": round(1e6 * sorted(trips)[int(len(trips) * 0.99)], 1),
    }
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
