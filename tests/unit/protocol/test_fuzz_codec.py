"""Fuzzing behind the codec: messages that are well-formed and make no sense, or nearly, at the brains.

The codec by itself is fuzzed in test_wire_fuzz.py, running peers in tests/integration. Here most messages get through;
the scheduler and the agent keep their invariants, never raise, and say only what the other side can decode.
``CYCLONE_FUZZ_CASES`` sets the number of cases (20,000); a case is its own seed, counted from the start of its life.
"""

import os
import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from cyclone.controller import pipe
from cyclone.controller.actions import Execute, KillWorker, StartWorker, TakeBack
from cyclone.errors import ProtocolError
from cyclone.master.actions import Send
from cyclone.master.jobs.rights import ANYBODY, Who
from cyclone.protocol import limits, wire
from cyclone.protocol.client_messages import FromClient
from cyclone.protocol.figure_messages import FiguresRequest
from cyclone.protocol.framing import FrameReader
from cyclone.protocol.job_messages import DetailRequest, FollowRequest, JobsRequest, TasksRequest
from cyclone.protocol.job_spec import JobSelection
from cyclone.protocol.messages import FromController, FromMaster, Tasks, Welcome
from tests.support import controllers
from tests.support.controllers import Node
from tests.support.golden_messages import FROM_CLIENT, FROM_CONTROLLER, FROM_MASTER
from tests.support.job_requests import submit
from tests.support.masters import EPOCH, Master, batch, hello, tasks

CASES = int(os.environ.get("CYCLONE_FUZZ_CASES", "20000"))
# A fresh pair of brains after so many cases: a state that the fuzz has ended or emptied finds nothing more.
CASES_PER_LIFE = 100

Mutation = Callable[[random.Random, bytes], bytes]


def flip(rng: random.Random, body: bytes) -> bytes:
    """Some bytes are others."""
    changed = bytearray(body)
    for _ in range(rng.randint(1, 4)):
        changed[rng.randrange(len(changed))] = rng.choice((0, 1, 0x7F, 0x80, 0xC0, 0xC4, 0xFF, rng.randrange(256)))
    return bytes(changed)


STRANGE: Sequence[Any] = (
    None, True, -1, 0, 1, 2, 3, 5, 7, (1 << 31) - 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, -(1 << 63), 0.5,
    float("nan"), float("inf"), "", "a", "c1", "no_session", "superseded", "x" * 300, b"", b"\0\0\3", b"\xff" * 20,
    [], [[]], [[1, 4, 7, 1]], [[2, 1 << 62, 7, 1]], [[[1, 1]]], {}, {1: 2}, msgspec.msgpack.Ext(5, b"x"),
)  # fmt: skip


def retype(rng: random.Random, body: bytes) -> bytes:
    """A field, or one inside a field, is another value: of a wrong type, or right and extreme."""
    fields = msgspec.msgpack.decode(body)
    target = fields
    while isinstance(target, list) and target:
        place = rng.randrange(1 if target is fields else 0, len(target))
        if not isinstance(target[place], list) or not target[place] or rng.random() < 0.4:
            target[place] = rng.choice(STRANGE)
            break
        target = target[place]
    return msgspec.msgpack.encode(fields)


MUTATIONS: Sequence[Mutation] = (flip, retype, retype, retype)


def busy_master() -> Master:
    """Two controllers: c1 holds tasks and has had a crash, c2 is idle; others wait."""
    master = Master(crash_limit=2)
    session = master.join("c1")
    master.offer(20)
    master.lease(session, 10)
    master.results(session, batch(2, 3))
    master.lease(session, 1)
    master.join("c2", "2")
    for number in (1, 2):
        submit(master, 6, f"job {number}", who=Who("ann", is_admin=False), sealed=number == 1, max_fails=2)
    master.lease(session, 14)
    master.results(session, batch(22, 0, 1))
    return master


def busy_node() -> Node:
    """Two workers with tasks, some queued, one result on its way."""
    node = Node(task_time_limit_s=10.0, stop_timeout_s=5.0)
    node.open()
    node.warm_up(0.001)
    node.lease(1, 20)
    node.advance()
    node.done(0, 1, 0)
    node.advance(0.1)
    return node


def addressed(rng: random.Random, message: Any, session: int) -> Any:
    """Most messages are for the session that is open, else few would get behind its check."""
    if hasattr(message, "session") and not isinstance(message, Welcome) and rng.random() < 0.8:
        return msgspec.structs.replace(message, session=session)
    return message


def feed_workers(node: Node, actions: Sequence[object]) -> None:
    """What the service would do with the worker side of the actions, as shortly as possible."""
    for action in actions:
        if isinstance(action, StartWorker):
            node.agent.worker_ready(action.worker, node.now)
        elif isinstance(action, TakeBack):
            feed_workers(node, node.agent.taken_back(action.worker, 0, node.now))
        elif isinstance(action, KillWorker):
            batches = node.agent.crew.slots[action.worker].batches
            last = max((batch.base + batch.reported - 1 for batch in batches), default=0)
            node.agent.worker_exited(action.worker, last, False, "signal 9", node.now)
        elif isinstance(action, Execute):
            node.done(action.worker, action.base, *[0] * len(action.piece))


def mutated(rng: random.Random, golden: Sequence[tuple[Any, str]]) -> bytes:
    """A golden body, most often with one or two changes."""
    body = bytes.fromhex(rng.choice(golden)[1])
    for _ in range(rng.choice((0, 1, 1, 1, 2))):
        mutate = rng.choice(MUTATIONS)
        try:
            body = mutate(rng, body)
        except (msgspec.DecodeError, ValueError, TypeError):
            # The first change left nothing that could be taken apart for a second.
            continue
    return body


def test_given_odd_messages_from_controllers_then_the_master_keeps_its_invariants() -> None:
    decoded = 0
    for case in range(CASES // 2):
        if case % CASES_PER_LIFE == 0:
            master = busy_master()
        rng = random.Random(case)
        try:
            message = wire.decode_for_master([wire.MAGIC, mutated(rng, FROM_CONTROLLER)])
        except ProtocolError:
            continue
        decoded += 1
        assert isinstance(message, FromController)
        session = rng.choice([*master.scheduler.state.sessions.by_id, 5])
        known = master.scheduler.state.sessions.by_id.get(session)
        for action in master.scheduler.handle(
            known.peer if known else b"stranger", addressed(rng, message, session), master.now
        ) + master.advance(rng.choice((0.0, 0.0, 0.01, 1.0))):
            if hasattr(action, "message"):
                wire.decode_from_master(wire.encode(action.message))
        master.scheduler.check()
        if not master.scheduler.state.sessions.by_id:
            master.handle(hello("c1", f"{case:032x}", held=[tasks(1, 9, 1, EPOCH)]))
    assert decoded > CASES // 20, "too few messages got past the codec to say anything about the scheduler"


def test_given_odd_requests_of_clients_then_each_is_answered_and_the_master_keeps_its_invariants() -> None:
    answered = 0
    for case in range(CASES // 10):
        if case % (CASES_PER_LIFE // 10) == 0:
            master = busy_master()
        rng = random.Random(case)
        try:
            message = wire.decode_for_master([wire.MAGIC, mutated(rng, FROM_CLIENT)])
        except ProtocolError:
            continue
        assert isinstance(message, FromClient)
        if hasattr(message, "job_id") and rng.random() < 0.8:
            message = msgspec.structs.replace(message, job_id=rng.choice((1, 2)))
        who = rng.choice((ANYBODY, Who("ann", is_admin=False)))
        actions = master.carry_out(master.scheduler.answer(b"client", message, master.now, who))
        answers = [one.message for one in actions if isinstance(one, Send) and one.peer == b"client"]
        if isinstance(message, JobsRequest | TasksRequest | DetailRequest | FiguresRequest | FollowRequest):
            # These the body answers, from what the journal has and from what it asks of the brain.
            assert not answers
            master.scheduler.job_summaries(getattr(message, "selection", JobSelection()), 0, 9)
            list(master.scheduler.live_tasks(rng.choice((0, 1, 2)), getattr(message, "start", 0), limits.ID_MAX))
        else:
            (answer,) = answers
            assert wire.decode_for_client(wire.encode(answer)) == answer
            assert answer.request == message.request  # type: ignore[union-attr]
        answered += 1
        for action in actions + master.advance(rng.choice((0.0, 0.01, 3.0))):
            if isinstance(action, Send) and action.peer != b"client":
                wire.decode_from_master(wire.encode(action.message))
        master.scheduler.check()
    assert answered > CASES // 100, "too few requests got past the codec to say anything about the answers"


def test_given_odd_messages_from_a_master_then_the_agent_keeps_its_invariants() -> None:
    decoded = 0
    for case in range(CASES // 2):
        if case % CASES_PER_LIFE == 0:
            node = busy_node()
        rng = random.Random(case)
        try:
            message = wire.decode_from_master([wire.MAGIC, mutated(rng, FROM_MASTER)])
        except ProtocolError:
            continue
        decoded += 1
        assert isinstance(message, FromMaster)
        if isinstance(message, Tasks) and rng.random() < 0.5:
            node.lease(1000 + 2 * case, 2)
        session = node.agent.link.session
        actions = node.handle(addressed(rng, message, session.session if session else 5))
        actions = actions + node.advance(rng.choice((0.0, 0.001, 1.0)))
        for action in actions:
            if hasattr(action, "message"):
                wire.decode_for_master(wire.encode(action.message))
        feed_workers(node, actions)
        controllers.check(node.agent, honest_master=False)
        if node.agent.exited:
            node = busy_node()
    assert decoded > CASES // 20, "too few messages got past the codec to say anything about the agent"


def test_given_odd_reports_from_a_worker_then_the_agent_keeps_its_invariants() -> None:
    golden = [
        (None, body.hex()) for body in (b"\x92\x0b\x05", b"\x96\x0c\x03\xc4\x02\0\1\xc4\1\x97\xcb\0\0\0\0\0\0\0\0\xc2")
    ]
    for case in range(CASES // 10):
        if case % CASES_PER_LIFE == 0:
            node = busy_node()
        rng = random.Random(case)
        try:
            report = pipe.decode_from_worker(mutated(rng, golden))
        except ProtocolError:
            continue
        if isinstance(report, pipe.Ready):
            node.agent.worker_ready(rng.randrange(2), node.now)
        else:
            feed_workers(node, node.agent.worker_done(rng.randrange(2), report, node.now))
        for action in node.advance(0.01):
            if hasattr(action, "message"):
                wire.decode_for_master(wire.encode(action.message))
        controllers.check(node.agent)


def test_given_random_bytes_on_a_stream_then_frames_come_or_it_makes_no_sense() -> None:
    for case in range(CASES // 10):
        rng, reader = random.Random(case), FrameReader()
        try:
            for _ in range(8):
                for body in reader.feed(rng.randbytes(rng.randint(0, 9)) + bytes(rng.randint(0, 4))):
                    assert isinstance(body, bytes)
        except ProtocolError:
            continue
