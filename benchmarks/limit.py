"""The bare pipeline: what a master, a controller and worker processes cost with nothing else in the way.

The yardstick of ``make bench``, measured in the same run on the same machine: ROUTER and DEALER over tcp loopback, ipc
to the workers, msgspec in msgpack, a fence checked for each task; no generator, heartbeat, time limit, recovery or
journal. Messages are columns (a first id, a list of arguments), not an object per task. Prints one JSON object:

    limit.py --tasks 1000000 --workers 2     # tasks per second
    limit.py --latency --tasks 2000          # one task at a time: microseconds per round trip
"""

import argparse
import collections
import json
import multiprocessing
import statistics
import tempfile
import time
from typing import Any

import msgspec
import zmq

encode, decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode


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


def master(tasks: int, batch: int, workers: int, depth: int) -> tuple[float, list[float]]:
    """Seconds from the first dispatch to the last result, and each batch's round trip in seconds."""
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    child = multiprocessing.Process(target=controller, args=(f"tcp://127.0.0.1:{port}", workers, depth))
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
            args = [encode((NoopTask(number).value,)) for _, number in zip(range(batch), source, strict=False)]
            if not args:
                break
            name = waiting.popleft()
            leased.update(dict.fromkeys(range(issued, issued + len(args)), (0, name)))
            message = encode(Tasks(issued, 0, "noop", args))
            sent_at[issued] = time.perf_counter()
            issued += len(args)
            router.send_multipart([name, message])
        name, message = router.recv_multipart()
        waiting.append(name)
        results = decode_results(message)
        for task_id, packed in enumerate(results.values, results.first):
            if leased.pop(task_id, (None,))[0] == results.attempt:
                done += 1
                total += decode(packed)
        trips.append(time.perf_counter() - sent_at.pop(results.first))
    seconds = time.perf_counter() - started
    if total != tasks * (tasks - 1) // 2:
        raise SystemExit(f"limit.py: the results add up to {total}: nothing was measured")
    router.send_multipart([name, STOP])
    child.join()
    router.close(0)
    context.term()
    return seconds, trips


def main() -> None:
    parser = argparse.ArgumentParser(description="The bare pipeline, the yardstick of make bench.")
    parser.add_argument("--tasks", type=int, default=500_000)
    parser.add_argument("--batch", type=int, default=256, help="tasks per message")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--latency", action="store_true", help="one task at a time, one worker")
    args = parser.parse_args()
    if args.latency:
        args.batch = args.workers = 1
    seconds, trips = master(args.tasks, args.batch, args.workers, 1 if args.latency else 4)
    report = {
        "tasks": args.tasks,
        "batch": args.batch,
        "workers": args.workers,
        "seconds": round(seconds, 4),
        "tasks_per_s": round(args.tasks / seconds),
        "p50_us": round(1e6 * statistics.median(trips), 1),
        "p99_us": round(1e6 * sorted(trips)[int(len(trips) * 0.99)], 1),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
