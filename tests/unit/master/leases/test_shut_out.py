"""A peer that has lost its right to a session: its tasks go elsewhere at once, and its word counts no more."""

from cyclone.master.actions import Say
from cyclone.protocol import messages, states
from cyclone.protocol.messages import Refused, Tasks
from tests.support.masters import Master, batch, peer, sent


def test_given_a_controller_with_tasks_when_shut_out_then_another_gets_them_at_once() -> None:
    master = Master()
    master.offer(3)
    bad = master.join("bad", "1")
    master.lease(bad, 3)
    good = master.join("good", "2")
    actions = master.scheduler.shut_out(peer("bad"), "its key was revoked", master.now)
    assert any(
        isinstance(action, Say) and "shut out, its key was revoked: 3 tasks" in action.text for action in actions
    )
    leased = [message for message in sent(master.lease(good, 3)) if isinstance(message, Tasks)]
    assert [(one.first, one.attempt, len(one.args)) for message in leased for one in message.batches] == [(1, 2, 3)]
    refused = sent(
        master.scheduler.handle(peer("bad"), messages.Results(bad, 1, 0, [batch(1, states.COMPLETED)]), 101.0)
    )
    assert [one.code for one in refused if isinstance(one, Refused)] == [messages.NO_SESSION]
    assert master.scheduler.done_tasks == 0
    master.scheduler.check()


def test_given_a_peer_without_a_session_when_shut_out_then_nothing_happens() -> None:
    master = Master()
    session = master.join("good")
    assert not sent(master.scheduler.shut_out(peer("other"), "", master.now))
    assert session in master.scheduler.state.sessions.by_id
