"""Results and records on their way to sinks, in real processes, whatever is killed: each once, and in order."""

import contextlib
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.exports import run_folders
from tests.support.keys import Keys
from tests.support.lab import Lab, Started
from tests.support.networks import ProxiedLink
from tests.support.recording import RECORDING
from tests.support.sinks import SinkLab, assert_complete

DONE = "control.exit_when_done=yes"


def config(lab: Lab, targets: str, count: int, sink: dict[str, str] | None = None, **recording: object) -> Path:
    """Of a master with these sinks, and of so many tasks."""
    wanted = {"count": str(count)} | {name: str(value) for name, value in recording.items()}
    sections = {"task_generator": RECORDING, "recording": wanted, "sink": {"targets": targets} | (sink or {})}
    return lab.config(sections)


def kill(started: Started) -> None:
    started.signal(signal.SIGKILL)
    started.exits()


def stop(started: Started) -> None:
    started.signal(signal.SIGTERM)
    assert started.exits() == 0, started.stderr()


@pytest.fixture
def link(lab: Lab) -> Iterator[tuple[SinkLab, ProxiedLink]]:
    """A sink, and a way to it that can be harmed."""
    sink = SinkLab(lab, "far")
    with contextlib.closing(ProxiedLink(lab, sink.port)) as one:
        yield sink, one


def test_given_kills_of_all_and_cut_connections_then_each_sink_has_every_result_and_record_once_and_in_order(
    lab: Lab, link: tuple[SinkLab, ProxiedLink]
) -> None:
    count = 3000
    near, (far, way) = SinkLab(lab, "near"), link
    sinks = {sink.folder.name: sink.start() for sink in (near, far)}
    file = config(lab, f"{near.target}, 127.0.0.1:{way.port}", count, nap="1ms")
    master = lab.master(file, DONE)
    controller = lab.controller(file, "one")
    lab.wait_until(lambda: near.results() > 500, "results at the near sink")
    kill(sinks["near"])
    way.do(lambda link: link.cut())
    lab.wait_until(lambda: far.results() > 1000, "results at the far sink, again")
    sinks["near"] = near.start()
    lab.wait_until(lambda: near.results() > 1300, "results at the near sink, again")
    kill(master)
    kill(sinks["far"])
    sinks["far"] = far.start()
    master = lab.master(file, DONE)
    lab.wait_until(lambda: far.results() > 1800, "results at the far sink after the kill")
    way.do(lambda link: link.cut())
    lab.wait_until(lambda: near.results() > 2400, "most results at the near sink")
    kill(sinks["near"])
    sinks["near"] = near.start()
    assert master.exits() == 0, master.stderr()
    assert controller.exits() == 0
    for started in sinks.values():
        stop(started)
    for sink in (near, far):
        (book,) = sink.books().values()
        assert_complete(book, count)


def test_given_a_spool_that_is_full_then_the_master_waits_and_all_comes_when_there_is_room(lab: Lab) -> None:
    count = 2000
    sink = SinkLab(lab, "small", "--spool-max", str(1 << 20))
    sink.hold(True)
    started = sink.start()
    file = config(lab, sink.target, count, value_bytes=1000)
    master = lab.master(file, DONE)
    lab.controller(file, "one")
    master.says("takes nothing more, results wait in the journal")
    started.says("nothing more is taken until there is room")
    # What runs is not kept from it.
    master.says("left: all work is done")
    assert sink.results() == 0
    sink.hold(False)
    assert master.exits() == 0, master.stderr()
    master.says("takes results again")
    stop(started)
    (book,) = sink.books().values()
    assert_complete(book, count)


def test_given_a_sink_that_is_away_when_a_run_ends_then_it_is_said_and_the_run_resumed_sends_it_the_rest(
    lab: Lab,
) -> None:
    sink = SinkLab(lab, "late")
    file = config(lab, sink.target, 300)
    run = lab.run(file, "--set", "control.stop_timeout=100ms")
    assert run.exits() == 1, run.stderr()
    assert re.search(rf"sinks +{sink.target} lacks [0-9]+ result blocks: --resume sends them", run.stdout())
    started = sink.start()
    (folder,) = run_folders(lab)
    again = lab.start("cyclone", "run", "--resume", folder)
    assert again.exits() == 0, again.stderr()
    stop(started)
    (book,) = sink.books().values()
    assert_complete(book, 300)


def test_given_two_masters_at_once_one_without_a_journal_then_the_sink_has_all_of_each_in_its_own_order(
    lab: Lab,
) -> None:
    sink = SinkLab(lab, "sink")
    started = sink.start()
    file = config(lab, sink.target, 500, gate_at=1)
    # Each has a folder and a port of its own.
    runs = [lab.run(file), lab.run(file, "--set", "journal.durability=off")]
    lab.wait_until(lambda: started.stderr().count(" attached, journal ") == 2, "both masters at the sink")
    lab.open("gate")
    for run in runs:
        assert run.exits() == 0, run.stderr()
    stop(started)
    books = sink.books()
    assert len(books) == 2
    for book in books.values():
        assert_complete(book, 500)


def test_given_a_sink_that_is_stopped_for_a_while_then_nobody_waits_for_it_and_nothing_is_missing(lab: Lab) -> None:
    count = 2000
    sink = SinkLab(lab, "sink")
    started = sink.start()
    file = config(lab, sink.target, count)
    master = lab.master(file, DONE)
    lab.controller(file, "one")
    lab.wait_until(lambda: sink.results() > 0, "results at the sink")
    started.signal(signal.SIGSTOP)
    had = sink.results()
    master.says("left: all work is done")
    assert had <= sink.results() < count
    assert master.alive
    started.signal(signal.SIGCONT)
    assert master.exits() == 0, master.stderr()
    stop(started)
    (book,) = sink.books().values()
    assert_complete(book, count)


def test_given_keys_then_only_a_master_with_a_key_of_its_role_gets_through(lab: Lab) -> None:
    keys = Keys(lab)
    right, wrong = keys.add("master-1", "master"), keys.add("node-1")
    sink = SinkLab(lab, "sink", "--keys", str(keys.folder))
    started = sink.start()
    master = lab.master(config(lab, sink.target, 100))
    master.says(f"sink {sink.target}: what listens there wants a key ([sink] key_file), or is no sink")
    kill(master)
    refused = lab.start("cyclone-master", "-f", config(lab, sink.target, 100, {"key_file": str(wrong)}))
    assert refused.exits() == 78
    assert f"{wrong}: is the key of a controller; here one of a master is needed" in refused.stderr()
    run = lab.run(config(lab, sink.target, 100, {"key_file": str(right)}))
    assert run.exits() == 0, run.stderr()
    stop(started)
    (book,) = sink.books().values()
    assert_complete(book, 100)


def test_given_sinks_off_loopback_then_a_master_without_a_key_does_not_start(lab: Lab) -> None:
    master = lab.start("cyclone-master", "-f", config(lab, "192.0.2.1:5777", 10))
    assert master.exits() == 78
    assert "[sink] targets: 192.0.2.1:5777 is not loopback, and there is no key" in master.stderr()
