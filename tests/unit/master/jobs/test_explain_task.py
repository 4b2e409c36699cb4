"""Why does this one task not run? What is said of it, besides what is said of its job."""

from cyclone.protocol.messages import State
from cyclone.protocol.states import CRASHED, FAILED
from tests.support.job_requests import add, cancel, explain, ids, join, submit
from tests.support.masters import Master, batch, tasks


def test_given_a_task_that_a_controller_has_then_it_is_told_who_and_since_when(master: Master) -> None:
    session = join(master, credit=2)
    submit(master, 2)
    master.advance()
    at = "2001-09-09T01:48:20Z"
    assert explain(master, 1, 0) == {"leased": f"was sent to c1 at {at}, and nothing was heard yet of its start"}
    since = f"which has had it since {at}"
    master.handle(State(session, 99, 1, 2, slots=2, busy=2, held=[tasks(1, 2)], running=[tasks(1)]))
    assert explain(master, 1, 0) == {"running": f"runs at c1, {since}"}
    assert explain(master, 1, 1) == {"leased": f"waits for a slot at c1, {since}"}
    master.now += 9.0
    assert explain(master, 1, 0)["running"].endswith("; c1 has been silent for 9 s")


def test_given_a_task_that_has_failed_then_it_is_told_how_often_and_until_when_it_waits(master: Master) -> None:
    session = join(master, credit=2)
    submit(master, 1, retries=3, retry_delay_s=100.0)
    master.advance()
    master.results(session, batch(1, FAILED))
    assert explain(master, 1, 0)["delayed"].startswith("failed 1 of 4 times: delayed until 2001-09-09T01:4")
    assert "1 task delayed, the first until 2001-09-09T01:4" in explain(master, 1)["delayed"]


def test_given_a_task_that_killed_a_worker_then_that_is_told_too(master: Master) -> None:
    session = join(master, credit=1, slots=1)
    submit(master, 2)
    master.advance()
    master.results(session, batch(1, CRASHED))
    assert explain(master, 1, 0)["tried"] == "killed 1 worker"
    master.handle(State(session, 99, 1, 2, slots=1, busy=0, held=[]))
    master.advance()
    assert explain(master, 1, 0)["leased"].startswith("was sent to c1")
    assert explain(master, 1, 0)["tried"] == "killed 1 worker"


def test_given_tasks_that_wait_then_the_position_counts_those_before_it(master: Master) -> None:
    submit(master, 9, "other")
    job_id = submit(master, 2, sealed=False).job_id
    add(master, job_id, 3, 2)
    assert explain(master, job_id, 4)["position"] == "before it in namespace default wait 13 tasks of priority 0"


def test_given_the_next_task_then_that_is_told(master: Master) -> None:
    submit(master, 2)
    assert explain(master, 1, 0)["position"] == "it is next in namespace default"


def test_given_a_task_with_a_result_or_one_that_there_is_not_then_that_is_told(master: Master) -> None:
    session = join(master, credit=1, slots=1)
    submit(master, 2)
    master.advance()
    master.results(session, batch(1, 0))
    assert explain(master, 1, 0) == {"done": "task 0 has its result"}
    assert explain(master, 1, 9) == {"no_task": "job 1 has 2 tasks so far, and none with index 9"}


def test_given_a_task_that_is_to_end_then_that_is_told_first(master: Master) -> None:
    join(master, credit=1, slots=1)
    submit(master, 2)
    master.advance()
    cancel(master, ids(1), indexes=[(0, 0)], reason="enough")
    assert list(explain(master, 1, 0)) == ["cancelled", "leased"]


def test_given_a_task_of_before_a_restart_then_it_is_told_for_whom_is_waited(master: Master) -> None:
    join(master, credit=1, slots=1)
    submit(master, 2)
    master.advance()
    master.restart()
    assert explain(master, 1, 0)["awaited"] == ("it may still run from before the restart of the master: waits for c1")
