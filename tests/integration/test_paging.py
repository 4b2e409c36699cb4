"""More tasks than memory is meant for, with a real journal: how they come out of it."""

import contextlib
import time

import pytest
import zmq

from cyclone.cli import common
from cyclone.config import load
from cyclone.master.events import JobAdded, TasksAdded
from cyclone.protocol import wire
from cyclone.protocol.messages import Job, State, Tasks, Welcome
from tests.support.lab import Lab
from tests.support.masters import hello


@pytest.mark.alone
def test_given_many_small_blocks_in_the_journal_then_they_follow_each_other_without_a_pause(lab: Lab) -> None:
    blocks = 200
    config = lab.config({"journal": {"path": str(lab.folder / "journal.sqlite")}})
    with contextlib.closing(common.open_journal(load(config, (), "master"), lab.folder / "journal.sqlite")) as journal:
        added = [TasksAdded(first, [(1, 1)], [b"\x90"]) for first in range(1, blocks + 1)]
        journal.append([JobAdded(Job(1, "tests:Task")), *added])
    lab.master(config)
    with zmq.Context() as context, context.socket(zmq.DEALER) as controller:
        controller.setsockopt(zmq.RCVTIMEO, 20_000)
        controller.connect(f"tcp://127.0.0.1:{lab.port}")
        controller.send_multipart(wire.encode(hello(slots=blocks, journal_id="")))
        welcome = wire.decode_from_master(controller.recv_multipart())
        assert isinstance(welcome, Welcome)
        began, leased = time.monotonic(), 0
        controller.send_multipart(wire.encode(State(welcome.session, 1, 0, blocks, blocks, 0, [])))
        while leased < blocks:
            message = wire.decode_from_master(controller.recv_multipart())
            leased += sum(len(batch.args) for batch in message.batches) if isinstance(message, Tasks) else 0
        # With a pause for each few blocks, these would take as long as a time-out.
        assert time.monotonic() - began < 2.0
