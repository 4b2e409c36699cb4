"""How long a master takes from its start to its first dispatch, with very many tasks pending in its journal.

Makes a journal that a killed master could have left: tasks that were added and never offered. Then starts the real
``cyclone-master`` on it and speaks to it as a controller does, until the first lease arrives. Prints one JSON object.
"""

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import zmq

from cyclone.journal import Origin, open_journal
from cyclone.master.events import GeneratorAdvanced, JobAdded, TasksAdded
from cyclone.master.generator.progress import GeneratorProgress
from cyclone.protocol import limits, wire
from cyclone.protocol.messages import Hello, Job, State, Tasks, Welcome
from cyclone.protocol.sockets import controller_socket

_GENERATOR = "task_generators.benchmark:BenchmarkTaskGenerator"
_BLOCK = limits.TASKS_PER_BATCH_MAX
_GIVE_UP_S = 120.0


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000, help="how many tasks wait (default: a million)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cyclone-restart-") as name:
        folder = Path(name)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        journal = folder / "master.journal"
        _fill(journal, args.tasks)
        seconds, recovered = _restart(folder, journal, port, args.tasks)
        report = {
            "pending": args.tasks,
            "journal_bytes": journal.stat().st_size,
            "first_dispatch_s": round(seconds, 3),
            "bare_start_s": round(recovered, 3),
        }
    print(json.dumps(report))


def _fill(path: Path, tasks: int) -> None:
    options = {"benchmark": {"num_tasks": str(tasks)}}
    journal = open_journal(path, Origin(_GENERATOR, options))
    journal.append([JobAdded(Job(1, "tasks.empty:EmptyTask"))])
    packed = b"\x91\xce\x00\x01\x00\x00"
    for first in range(1, tasks + 1, _BLOCK):
        count = min(_BLOCK, tasks + 1 - first)
        pulled = GeneratorProgress(pulled=first + count - 1)
        journal.append([TasksAdded(first, [(1, count)], [packed] * count), GeneratorAdvanced(pulled)])
    journal.close()


def _restart(folder: Path, journal: Path, port: int, tasks: int) -> tuple[float, float]:
    """Seconds to the first lease, and to the Welcome before it."""
    config = folder / "master.conf"
    config.write_text(
        f"[task_generator]\nclass = {_GENERATOR}\n[benchmark]\nnum_tasks = {tasks}\n"
        f"[comm]\nport = {port}\n[control]\npid_file =\n[journal]\npath = {journal}\n[log]\nlevel = warning\n",
        encoding="utf-8",
    )
    command = str(Path(sys.executable).with_name("cyclone-master"))
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    started = time.monotonic()
    with subprocess.Popen([command, "-f", str(config)]) as master:
        try:
            return _first_lease(context, port, started)
        finally:
            master.kill()
            context.destroy(linger=0)


def _first_lease(context: "zmq.Context[zmq.Socket[bytes]]", port: int, started: float) -> tuple[float, float]:
    channel, _ = controller_socket(context, "127.0.0.1", port)
    channel.setsockopt(zmq.RCVTIMEO, int(_GIVE_UP_S * 1000))
    channel.setsockopt(zmq.SNDTIMEO, int(_GIVE_UP_S * 1000))
    channel.send_multipart(
        wire.encode(Hello(limits.PROTOCOL_VERSION, "bench", "0" * 32, "", 1, "here", 1, "0", "3", 2, []))
    )
    welcomed = 0.0
    while True:
        match wire.decode_from_master(channel.recv_multipart()):
            case Welcome(session=session):
                welcomed = time.monotonic() - started
                channel.send_multipart(wire.encode(State(session, 1, 0, 1000, 2, 0, [])))
            case Tasks():
                return time.monotonic() - started, welcomed


if __name__ == "__main__":
    main()
