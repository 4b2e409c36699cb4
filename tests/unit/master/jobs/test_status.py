"""What a master says of its controllers."""

import pytest

from cyclone.protocol.client_messages import StatusReport, StatusRequest
from cyclone.protocol.messages import State
from tests.support.job_requests import ask, submit, told
from tests.support.masters import Master, tasks


@pytest.mark.parametrize(
    ("slots", "running", "drained", "mark"),
    [
        pytest.param(2, 2, False, "", id="it works"),
        pytest.param(0, 2, False, "leaving", id="no slots, and it finishes what it runs"),
        pytest.param(0, 0, False, "", id="its workers have yet to start"),
        pytest.param(0, 2, True, "drained", id="drained before it left"),
    ],
)
def test_given_what_a_controller_says_then_its_mark_follows(
    master: Master, slots: int, running: int, drained: bool, mark: str
) -> None:
    session = master.join()
    submit(master, 2)
    master.lease(session, 2)
    if drained:
        master.drain("c1")
    master.handle(State(session, 99, 1, 2, slots, 2, [tasks(1, 2)], [tasks(1, running)] if running else []))
    report = told(ask(master, StatusRequest(1)))
    assert isinstance(report, StatusReport)
    assert [one.mark for one in report.controllers] == [mark]


def test_given_slots_at_rest_then_clients_are_told_how_many_as_the_controller_said_last(master: Master) -> None:
    session = master.join()
    for seq, busy, resting in ((98, 2, 1), (99, 1, 0)):
        master.handle(State(session, seq, 1, 2, 2, busy, [], [], resting))
        report = told(ask(master, StatusRequest(1)))
        assert isinstance(report, StatusReport)
        assert [(one.busy, one.resting) for one in report.controllers] == [(busy, resting)]


def test_given_classes_of_service_then_clients_are_told_what_each_means() -> None:
    master = Master(qos={"normal": (0, 1.0), "gold": (5, 2.0)})
    report = told(ask(master, StatusRequest(1)))
    assert isinstance(report, StatusReport)
    assert report.qos == {"normal": (0, 1.0), "gold": (5, 2.0)}
