"""The master as a daemon: stopped, doubled, and talked to by strangers."""

import signal
import socket

import msgspec
import pytest
import zmq

from cyclone.protocol import wire
from cyclone.protocol.messages import Hello, Stop
from tests.support.lab import Lab
from tests.support.procfs import open_files, wait_until

ONE_WORKER = "processing.worker_count=1"
NO_JOURNAL = "journal.durability=off"
GARBAGE: list[list[bytes]] = [
    [b"rubbish"],
    [b"", b""],
    [b"CYC9", msgspec.msgpack.encode([1])],
    [b"CYC1", b"\xc1"],
    [b"CYC1", msgspec.msgpack.encode([999, 1, 2])],
    [b"CYC1", msgspec.msgpack.encode({"t": 1})],
    [b"CYC1", b"\x91" * 10_000],
    [b"CYC1", msgspec.msgpack.encode([2, -1, 0, 0, 0, 0, 0, []])],
    [b"CYC1", wire.encode(Stop(1, "not for a master"))[1]],
    [b"CYC1"] * 500,
]


def test_given_a_busy_master_when_terminated_then_it_waits_for_what_runs_and_exits_0(lab: Lab) -> None:
    config = lab.script({"what": "gate", "value": "gate"}, {"what": "quick", "times": 50})
    master = lab.master(config)
    lab.controller(config, "one", ONE_WORKER)
    lab.noted("start", what="gate")
    master.signal(signal.SIGTERM)
    master.says("SIGTERM: no more dispatch")
    assert master.alive
    lab.open("gate")
    assert master.exits() == 0
    assert "1 completed, 50 unfinished" in master.stderr()
    assert len(lab.notes("start")) == 1


def test_given_a_master_that_stopped_when_another_starts_then_its_controller_is_still_there(lab: Lab) -> None:
    config = lab.script({"what": "quick"})
    first = lab.master(config, NO_JOURNAL)
    controller = lab.controller(config, "one", ONE_WORKER)
    lab.noted("result")
    first.signal(signal.SIGTERM)
    assert first.exits() == 0
    lab.master(config, NO_JOURNAL)
    lab.noted("result", 2)
    assert controller.alive


def test_given_a_stopping_master_when_terminated_again_then_it_ends_at_once(lab: Lab) -> None:
    config = lab.script({"what": "hang"})
    master = lab.master(config)
    lab.controller(config, "one", ONE_WORKER)
    lab.noted("start")
    master.signal(signal.SIGTERM)
    master.says("SIGTERM: no more dispatch")
    master.signal(signal.SIGTERM)
    assert master.exits(5) == 0
    assert "stopped at once by a second " in master.stderr()


def test_given_a_task_that_does_not_end_when_the_stop_times_out_then_the_master_exits_0(lab: Lab) -> None:
    config = lab.script({"what": "hang"}, control={"stop_timeout": "500ms"})
    master = lab.master(config)
    lab.controller(config, "one", ONE_WORKER)
    lab.noted("start")
    master.signal(signal.SIGTERM)
    assert master.exits(10) == 0


def test_given_exit_when_done_when_all_is_done_then_master_and_controllers_exit_0(lab: Lab) -> None:
    config = lab.script({"what": "gate", "value": "gate", "times": 2}, control={"exit_when_done": "yes"})
    master = lab.master(config)
    controllers = [lab.controller(config, name, ONE_WORKER) for name in ("one", "two")]
    lab.noted("start", 2)
    lab.open("gate")
    assert master.exits() == 0
    assert [controller.exits() for controller in controllers] == [0, 0]
    assert "all work is done" in controllers[0].stderr()


def test_given_a_master_without_exit_when_done_when_all_is_done_then_it_stays(lab: Lab) -> None:
    config = lab.script({"what": "quick"})
    master = lab.master(config)
    lab.controller(config, "one", ONE_WORKER)
    lab.noted("result")
    late = lab.controller(config, "two", ONE_WORKER)
    assert master.alive and late.alive


def test_given_a_master_when_a_second_takes_its_port_then_that_is_refused_and_the_holder_named(lab: Lab) -> None:
    config = lab.script({"what": "quick"})
    first = lab.master(config)
    second = lab.start("cyclone-master", "-f", config, "--set", NO_JOURNAL)
    assert second.exits() == 1
    assert f"port {lab.port} on 127.0.0.1 is taken by pid {first.pid} (" in second.stderr()
    assert "cyclone-master" in second.stderr()
    assert "Traceback" not in second.stderr()
    assert first.alive


@pytest.mark.parametrize("role", ["master", "controller"])
def test_given_a_pid_file_when_a_second_instance_starts_then_it_is_refused_and_the_holder_named(
    lab: Lab, role: str
) -> None:
    pid_file = lab.folder / "cyclone.pid"
    config = lab.script(control={"pid_file": str(pid_file)})
    first = lab.start(f"cyclone-{role}", "-f", config)
    wait_until(lambda: pid_file.exists() and pid_file.read_text() == f"{first.pid}\n", "the pid file holds its pid")
    second = lab.start(f"cyclone-{role}", "-f", config, "--set", "comm.port=1")
    assert second.exits() == 1
    assert f"pid file {pid_file} is held by pid {first.pid} (" in second.stderr()
    first.says("started" if role == "controller" else "master at")
    first.signal(signal.SIGTERM)
    assert first.exits() == 0
    assert not pid_file.exists()


def test_given_a_stale_pid_file_when_a_daemon_starts_then_it_is_replaced(lab: Lab) -> None:
    pid_file = lab.folder / "cyclone.pid"
    config = lab.script(control={"pid_file": str(pid_file)})
    killed = lab.master(config)
    killed.signal(signal.SIGKILL)
    killed.exits()
    assert pid_file.read_text() == f"{killed.pid}\n"
    master = lab.master(config)
    assert pid_file.read_text() == f"{master.pid}\n"


def test_given_a_pid_file_when_its_daemon_is_killed_then_no_worker_or_generator_holds_its_lock(lab: Lab) -> None:
    config = lab.script({"what": "descriptors"}, control={"pid_file": str(lab.folder / "cyclone.pid")})
    master = lab.master(config)
    for pid in lab.processes("generator_process"):
        assert not [target for target in open_files(pid) if target.endswith(".pid")]
    assert master.alive


def test_given_strangers_when_they_talk_to_a_master_then_it_works_on_and_its_controller_too(lab: Lab) -> None:
    config = lab.script({"what": "gate", "value": "gate"}, {"what": "quick", "times": 20})
    # Without the limit, which would have the master listen to the first five only.
    master = lab.master(config, "comm.strike_limit=0")
    controller = lab.controller(config, "one", ONE_WORKER)
    lab.noted("start", what="gate")
    sessions = controller.stderr().count("welcomed by the master")
    with zmq.Context() as context, context.socket(zmq.DEALER) as stranger:
        stranger.linger = 0
        stranger.connect(f"tcp://127.0.0.1:{lab.port}")
        for frames in GARBAGE * 20:
            stranger.send_multipart(frames)
        # A stranger who speaks the language, but another version of it, gets an answer, behind all of that.
        stranger.send_multipart(wire.encode(Hello(99, "old", "0" * 32, "", 1, "host", 1, "0", "3", 1, [])))
        assert stranger.poll(10_000)
        answer = wire.decode_from_master(stranger.recv_multipart())
        assert "version" in str(answer)
    with socket.create_connection(("127.0.0.1", lab.port)) as stranger_without_zmq:
        stranger_without_zmq.sendall(b"GET / HTTP/1.1\r\n\r\n" * 100)
    lab.open("gate")
    lab.noted("result", 21)
    assert master.alive and controller.alive
    assert len(lab.notes("result")) == 21
    assert controller.stderr().count("welcomed by the master") == sessions, "it has not noticed anything"
    dropped = master.stderr().count("dropped a bad message")
    assert dropped == 1, "one line per peer and minute"


def test_given_a_false_master_when_it_talks_rubbish_then_the_controller_waits_for_the_true_one(lab: Lab) -> None:
    config = lab.script({"what": "quick"})
    with zmq.Context() as context, context.socket(zmq.ROUTER) as false_master:
        false_master.linger = 0
        false_master.bind(f"tcp://127.0.0.1:{lab.port}")
        controller = lab.controller(config, "one", ONE_WORKER, welcomed=False)
        assert false_master.poll(10_000)
        peer, *hello = false_master.recv_multipart()
        assert wire.decode_for_master(hello).name == "one"  # type: ignore[union-attr]
        for frames in GARBAGE[:8]:
            false_master.send_multipart([peer, *frames])
        # It greets again, and so has gone through all of that.
        assert false_master.poll(10_000)
    assert controller.alive
    lab.master(config)
    lab.noted("result")
    assert controller.stderr().count("dropped a bad message from the master") == 1
