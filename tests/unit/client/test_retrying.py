"""What is submitted again of a job, by a program and by ``cyclone retry`` alike."""

from typing import Any

import pytest

from cyclone.cli import retry as verb
from cyclone.client.client import Client
from cyclone.client.retrying import USUAL_STATES, Retry
from cyclone.client.submitting import Blocks, Row
from cyclone.errors import CycloneError, NoSuchJob
from cyclone.protocol.job_spec import JobSpec
from tests.support.client_double import ClientDouble, job, task


@pytest.fixture
def client() -> Any:
    double = ClientDouble()
    double.summaries = [job(5, "failed")]
    double.spec = JobSpec(task_class="tests:Task", time_limit_s=60.0, not_before=1e9)
    double.rows[5] = [
        task(0),
        task(1, "failed", time_limit_s=2.5),
        task(2, "timed_out", not_before=2e9),
        task(3, "expired"),
    ]
    return double


def test_given_tasks_with_options_of_their_own_then_they_keep_them(client: Any) -> None:
    retried = Retry(client, 5)
    assert list(retried) == [Row(b"\x91\x01", None, 2.5), Row(b"\x91\x02", 2e9, None), Row(b"\x91\x03")]
    assert retried.count == 3
    assert (retried.spec.time_limit_s, retried.spec.not_before) == (60.0, None)
    block = Blocks(retried).take()
    assert block is not None
    assert block.options == [(0, None, 2.5), (1, 2e9, None)]


def test_given_a_client_then_the_new_job_has_their_key_unless_it_is_made_again(client: Any) -> None:
    assert Client.retry(client, 5, indexes=[(1, 2)], hold=True) == 77
    assert Client.retry(client, 5, indexes=[(1, 2)], again=True) == 77
    (first, again) = client.asked
    assert first[1].held
    assert first[2] == again[2] == [b"\x91\x01", b"\x91\x02"]
    assert first[3] == Retry(client, 5, [(1, 2)]).key
    assert again[3] is None


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"states": ["quarantined"]}, CycloneError, "job 5 has no task that is quarantined"),
        ({"states": ["queued", "failed"]}, CycloneError, "queued has not ended"),
        ({"job_id": 6}, NoSuchJob, "no job 6"),
    ],
)
def test_given_nothing_that_can_be_submitted_again_then_it_is_said(
    client: Any, options: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        Client.retry(client, **{"job_id": 5, **options})
    assert client.asked == []


def test_given_the_command_then_it_means_the_same_states_as_the_client() -> None:
    assert set(verb._USUAL_STATES) == set(USUAL_STATES)
