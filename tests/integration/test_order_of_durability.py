"""Record, sync, and only then acknowledge: seen once from outside, in the system calls of a real master.

The master runs under strace(1). What it receives and sends is put together again to the messages of the protocol, so
that each acknowledgement is found with the results that it is for.
"""

import re
import shutil
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cyclone.protocol import messages, wire
from tests.chaos.zmtp import Splitter
from tests.support.lab import Lab, program

TASKS = 12
# pid, name of the call, descriptor, what that is (-y), the rest of the line.
_CALL = re.compile(r"^(?P<pid>\d+) +(?P<name>\w+)\((?P<fd>\d+)<(?P<what>.*?)>(?P<rest>[,) ].*)$")
_RESUMED = re.compile(r"^(?P<pid>\d+) +<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)$")
_RETURNED = re.compile(r"= (-?\d+)")


@dataclass(frozen=True)
class Call:
    """A system call; where another process came in between, ``began`` and ``ended`` are the two lines of the trace."""

    name: str
    fd: int
    what: str
    text: str
    began: int
    ended: int

    @property
    def returned(self) -> int:
        found = _RETURNED.findall(self.text)
        return int(found[-1]) if found else -1

    def data(self) -> bytes:
        """What went through it; strace writes each byte as \\xNN."""
        quoted = self.text.partition('"')[2].partition('"')[0]
        return _bytes(quoted)[: max(0, self.returned)]


def _bytes(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", ""))


def calls(trace: Path) -> list[Call]:
    """All of the trace, in the order in which they ended."""
    found: list[Call] = []
    open_calls: dict[str, tuple[re.Match[str], int]] = {}
    for line, text in enumerate(trace.read_text().splitlines()):
        if begun := _CALL.match(text):
            rest = begun["rest"]
            if rest.endswith("<unfinished ...>"):
                open_calls[begun["pid"]] = (begun, line)
            else:
                found.append(_call(begun, rest, line, line))
        elif (resumed := _RESUMED.match(text)) and resumed["pid"] in open_calls:
            begun, began = open_calls.pop(resumed["pid"])
            rest = begun["rest"].removesuffix("<unfinished ...>") + resumed["rest"]
            found.append(_call(begun, rest, began, line))
    return found


def _call(begun: re.Match[str], rest: str, began: int, ended: int) -> Call:
    return Call(begun["name"], int(begun["fd"]), _bytes(begun["what"]).decode(errors="replace"), rest, began, ended)


def said(found: list[Call], name: str) -> Iterator[tuple[Call, tuple[bytes, ...]]]:
    """The messages in what went through the sockets by this call, each with the call that completed it."""
    streams: dict[tuple[int, str], Splitter] = defaultdict(Splitter)
    for call in found:
        if call.name == name and call.what.startswith("socket:") and call.returned > 0:
            for unit in streams[call.fd, call.what].feed(call.data()):
                if unit.frames[:1] == (wire.MAGIC,):
                    yield call, unit.frames


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_given_a_durable_master_then_each_result_is_written_and_synced_before_it_is_acknowledged(lab: Lab) -> None:
    config = lab.config(
        {
            "control": {"exit_when_done": "yes"},
            "journal": {"path": "journal.sqlite", "durability": "full"},
            "script": {"tasks": f'[{{"what": "quick", "times": {TASKS}}}]'},
        }
    )
    trace = lab.folder / "trace"
    traced = "trace=pwrite64,write,fsync,fdatasync,sendto,recvfrom"
    strace = ("-f", "-y", "-xx", "-s", "65536", "-e", traced, "-e", "signal=none", "-o", trace)
    master = lab.start("strace", *strace, program("cyclone-master"), "-f", config)
    lab.wait_until(lambda: "master at " in master.stderr() or not master.alive, "the master is ready")
    if not master.alive and "ptrace" in master.stderr().lower():
        pytest.skip("this host lets nobody trace a process")
    controller = lab.start("cyclone-controller", "-f", config, "--set", "processing.worker_count=1")
    assert master.exits() == 0, master.stderr()
    assert controller.exits() == 0, controller.stderr()

    found = calls(trace)
    received: dict[int, tuple[Call, list[bytes]]] = {}
    for call, frames in said(found, "recvfrom"):
        message = wire.decode_for_master(frames)
        if isinstance(message, messages.Results):
            received.setdefault(message.number, (call, [batch.body for batch in message.batches]))
    acknowledged = 0
    for call, frames in said(found, "sendto"):
        answer = wire.decode_from_master(frames)
        for number in answer.numbers if isinstance(answer, messages.Recorded) else ():
            arrival, bodies = received[number]
            between = [c for c in found if arrival.ended < c.began and c.ended < call.began]
            for body in bodies:
                synced = after_its_write(between, body)
                assert synced, f"results {number} were acknowledged before they were written and synced"
                acknowledged += 1
    assert acknowledged, "the trace shows no acknowledgement"


def after_its_write(found: list[Call], body: bytes) -> list[Call]:
    """The syncs of the journal that came after it had been given these bytes."""
    of_the_journal = [call for call in found if "journal.sqlite" in call.what]
    writes = [call for call in of_the_journal if call.name == "pwrite64" and body in call.data()]
    syncs = [call for call in of_the_journal if call.name in ("fsync", "fdatasync") and call.returned == 0]
    return [sync for sync in syncs if any(write.fd == sync.fd and write.ended < sync.began for write in writes)]
