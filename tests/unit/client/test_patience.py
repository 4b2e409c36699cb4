"""A master that is away for a while, and who waits for it."""

import threading

import pytest

from cyclone.client import connection, following
from cyclone.client.byreference import pack_arguments
from cyclone.client.client import Client
from cyclone.client.connection import Connection, parse_address
from cyclone.client.following import follow
from cyclone.client.patience import Patience, Silence
from cyclone.errors import Unreachable
from cyclone.protocol.client_messages import StatusRequest
from cyclone.protocol.job_spec import JobSpec
from cyclone.values import encode
from tests.support.played_master import PlayedMaster

CALL = JobSpec(task_class="tasks.function:FunctionTask", shared=encode(["builtins:abs"]))
SAID = ["the master does not answer; trying on for 60 s", "the master answers again"]


def test_given_no_answer_yet_then_patience_does_not_count() -> None:
    told: list[str] = []
    patience = Patience(60.0, told.append, 0.0)
    with (
        Client("tcp://127.0.0.1:9", timeout_s=0.05, patience=patience) as client,
        pytest.raises(Unreachable, match="within 0.05 s"),
    ):
        client.status()
    assert told


@pytest.fixture
def away(master: PlayedMaster, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Where it is set, whatever is asked gets lost, and is soon asked again."""
    monkeypatch.setattr(connection, "_RESEND_S", 0.02)
    monkeypatch.setattr(following, "FOLLOW_S", 0.02)
    found = threading.Event()
    master.lose = lambda _: found.is_set()
    return found


def test_given_a_master_that_has_answered_then_its_absence_is_told_and_outlasted(
    master: PlayedMaster, away: threading.Event
) -> None:
    told: list[str] = []

    def tell(text: str) -> None:
        told.append(text)
        away.clear()

    with Client(master.address, timeout_s=5.0, patience=Patience(60.0, tell, 0.01)) as client:
        job_id = client.submit(CALL, [pack_arguments((3,))])
        away.set()
        client.status()
        assert told == SAID
    with Connection(parse_address(master.address), 5.0, patience=Patience(60.0, tell, 0.01)) as connected:
        connected.ask(StatusRequest(1))
        away.set()
        assert sum(len(one.blocks) for one in follow(connected, job_id, 0)) == 1
        assert told == 2 * SAID


def test_given_a_longer_time_for_the_first_answer_then_patience_is_no_shorter() -> None:
    silence = Silence(90.0, Patience(60.0, print))
    silence.ends()
    assert silence.timeout_s == 90.0
