"""A real controller and its workers, told of jobs by a master that a test plays: what it offers, what it says of what
runs, and what a job asks of its slots."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cyclone.protocol.messages import Job, Offer, State
from cyclone.results import TaskResult
from tests.support.fake_master import FakeMaster, packed
from tests.support.lab import Lab, new_lab

SAMPLES = "tests.support.job_samples"
PROCESSING = {
    "worker_count": "2",
    "namespaces": "lustre, default",
    "labels": "gpu, rack:7",
    "resources": "licence:2",
    "memory": "3GiB",
}


@dataclass
class Played:
    lab: Lab
    master: FakeMaster
    _next_job: int = 1
    _next_task: int = 1

    def lease(self, sample: str, *rows: tuple[object, ...], **options: object) -> list[int]:
        """Tasks of a new job; their ids."""
        job = Job(self._next_job, f"{SAMPLES}:{sample}", **options)  # type: ignore[arg-type]
        first = self._next_task
        self._next_job += 1
        self._next_task += len(rows)
        self.master.add(job, first, [packed(*row) for row in rows])
        return list(range(first, first + len(rows)))

    def run(self, sample: str, *rows: tuple[object, ...], **options: object) -> list[TaskResult]:
        """Their results."""
        return self.master.await_results(self.lease(sample, *rows, **options))


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    with new_lab(tmp_path_factory.mktemp("jobs")) as lab, FakeMaster(lab.port) as master:
        lab.controller(lab.config({"processing": PROCESSING}), "node", welcomed=False)
        master.welcome(1)
        yield Played(lab, master)


def test_given_what_it_has_then_a_controller_says_so_in_its_hello(played: Played) -> None:
    assert played.master.hello
    assert played.master.hello.offer == Offer(
        ("lustre", "default"), ("gpu", "rack:7"), 3 << 30, {"licence": 2}, by_value=False
    )


def test_given_a_job_with_surroundings_and_shared_properties_then_its_tasks_find_them(
    played: Played, tmp_path: Path
) -> None:
    (result,) = played.run(
        "Around",
        (),
        shared=packed("COLOUR"),
        environment={"COLOUR": "blue"},
        directory=str(tmp_path),
        name="paint",
        namespace="lustre",
    )
    colour, folder, variables = result.value
    assert (colour, folder) == ("blue", str(tmp_path))
    assert (variables["CYCLONE_NODE"], variables["CYCLONE_JOB_NAME"]) == ("node", "paint")


def test_given_a_setup_that_fails_then_that_is_the_tasks_state(played: Played) -> None:
    (result,) = played.run("SetUp", ("/nowhere/at/all",))
    assert result.state == "setup_failed"
    assert result.error and result.error.type == "FileNotFoundError"


def test_given_a_job_by_value_then_it_is_refused(played: Played) -> None:
    (result,) = played.run("ByValue", ("fine",), by_value=True)
    assert (result.state, result.error and result.error.message.rpartition("] ")[2]) == ("refused", "by_value = yes")


def test_given_a_running_task_then_a_heartbeat_says_that_it_runs_and_its_end_that_it_does_not(played: Played) -> None:
    gate = played.lab.folder / "gate"
    (task_id,) = played.lease("Waiting", (str(gate),))
    state = played.master.await_message(State, lambda state: bool(state.running))
    assert [(part.first, part.count) for part in state.running] == [(task_id, 1)]
    assert state.busy == 1
    gate.touch()
    played.master.await_results([task_id])
    assert played.master.await_message(State, lambda state: not state.held).running == []


def test_given_a_rest_after_success_then_the_slot_begins_its_next_task_so_much_later(played: Played) -> None:
    rest_s = 0.3
    results = sorted(played.run("Around", *[("",)] * 4, waits=(rest_s, 0.0, 0.0)), key=lambda result: result.started)
    assert len({result.worker_pid for result in results}) == 2
    for pid in {result.worker_pid for result in results}:
        first, second = (result for result in results if result.worker_pid == pid)
        assert second.started - first.finished >= rest_s


def test_given_tasks_of_two_slots_then_nothing_runs_beside_them(played: Played) -> None:
    wide = played.lease("Napping", *[(0.05,)] * 3, cpus=2)
    narrow = played.lease("Napping", *[(0.05,)] * 3)
    results = {result.task_id: result for result in played.master.await_results([*wide, *narrow])}
    for task_id in wide:
        others = [result for other, result in results.items() if other != task_id]
        own = results[task_id]
        assert all(other.finished <= own.started or own.finished <= other.started for other in others)
