"""A node that fails everything gets a task at a time; tasks that fail everywhere make nobody suspect."""

import pytest

from cyclone.protocol.states import COMPLETED, FAILED
from tests.support.masters import Master, batch
from tests.unit.master.conftest import NewMaster


def work(master: Master, session: int, count: int, status: int) -> None:
    """So many tasks end like this on a controller."""
    first = master.scheduler.state.last_id + 1
    master.offer(count)
    master.lease(session, count)
    held = [span for span in master.scheduler.state.sessions.by_id[session].spans if span.first >= first]
    for span in held:
        master.results(session, batch(span.first, *[status] * span.count))


def is_suspected(master: Master, session: int) -> bool:
    return master.scheduler.state.sessions.by_id[session].suspected


def test_given_a_controller_that_fails_everything_while_another_does_not_then_it_gets_one_task_at_a_time(
    master: Master,
) -> None:
    good, bad = master.join("c1", "1"), master.join("c2", "2")
    work(master, good, 30, COMPLETED)
    work(master, bad, 30, FAILED)
    assert is_suspected(master, bad)
    assert not is_suspected(master, good)
    master.offer(10)
    master.lease(bad, 10)
    assert master.scheduler.state.sessions.by_id[bad].open == 1


def test_given_a_suspected_controller_when_its_tasks_succeed_again_then_it_is_trusted_again(master: Master) -> None:
    good, bad = master.join("c1", "1"), master.join("c2", "2")
    work(master, good, 30, COMPLETED)
    work(master, bad, 30, FAILED)
    for _ in range(40):
        work(master, bad, 1, COMPLETED)
    assert not is_suspected(master, bad)


@pytest.mark.parametrize(
    ("others", "status"),
    [
        pytest.param(0, COMPLETED, id="nobody else"),
        pytest.param(30, FAILED, id="they fail too"),
        pytest.param(5, COMPLETED, id="too little is known of them"),
    ],
)
def test_given_nothing_to_compare_with_then_nobody_is_suspected(master: Master, others: int, status: int) -> None:
    other, bad = master.join("c1", "1"), master.join("c2", "2")
    if others:
        work(master, other, others, status)
    work(master, bad, 30, FAILED)
    assert not is_suspected(master, bad)


def test_given_the_option_then_a_suspected_controller_is_drained(new_master: NewMaster) -> None:
    master = new_master(drain_suspected=True)
    good, bad = master.join("c1", "1"), master.join("c2", "2")
    work(master, good, 30, COMPLETED)
    work(master, bad, 30, FAILED)
    assert master.scheduler.state.sessions.by_id[bad].drained
    master.offer(10)
    master.lease(bad, 10)
    assert master.scheduler.state.sessions.by_id[bad].open == 0
