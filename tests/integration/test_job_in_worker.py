"""Jobs as a worker process sees them: what tasks share, what is prepared for them, and what is around them."""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cyclone.controller import pipe
from cyclone.controller.pipe import TOLD_JOBS_MAX
from cyclone.protocol.messages import ErrorRecord, Job
from cyclone.protocol.states import COMPLETED, FAILED, REFUSED, SETUP_FAILED
from tests.support import procfs
from tests.support.lone_worker import LoneWorker, outcomes_of

pack = msgspec.msgpack.encode
SAMPLES = "tests.support.job_samples"


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoneWorker]:
    """No test leaves anything in it, and the last shows that."""
    worker = LoneWorker(tmp_path_factory.mktemp("worker"))
    yield worker
    worker.close()


@pytest.fixture
def open_minded(tmp_path: Path) -> Iterator[LoneWorker]:
    worker = LoneWorker(tmp_path, by_value=True)
    yield worker
    worker.close()


def run(worker: LoneWorker, name: str, shared: Sequence[Any] | None, *rows: Sequence[Any], **options: Any) -> list[Any]:
    """Status, and value or the error's type and message, of each row."""
    packed = b"" if shared is None else pack(shared)
    options = {"namespace": "default", **options}
    found = worker.run(*map(pack, rows), task_class=f"{SAMPLES}:{name}", shared=packed, **options)
    return [(status, (one.type, one.message) if type(one) is ErrorRecord else one) for status, one in found]


@pytest.mark.parametrize(
    ("shared", "rows", "values"),
    [
        pytest.param(None, [[1, 2, 4], [5, 6, 7]], [[1, 2, 4], [5, 6, 7]], id="none"),
        pytest.param([1], [[2, 4], [6, 7]], [[1, 2, 4], [1, 6, 7]], id="the first one"),
        pytest.param([1, 2], [[4], [7]], [[1, 2, 4], [1, 2, 7]], id="all but one that goes by name"),
        pytest.param([1], [[2], [6]], [[1, 2, 3], [1, 6, 3]], id="and one is left out that has a default"),
        pytest.param([1, 2, 9], [[], []], [[1, 2, 9], [1, 2, 9]], id="all of them"),
    ],
)
def test_given_shared_properties_then_they_come_before_each_tasks_own(
    worker: LoneWorker, shared: list[Any] | None, rows: list[list[Any]], values: list[list[Any]]
) -> None:
    assert run(worker, "Three", shared, *rows) == [(COMPLETED, value) for value in values]


@pytest.mark.parametrize("shared", [b"\x05", b"\x91", b"\x90\x90"], ids=["no array", "cut off", "and more"])
def test_given_shared_properties_that_cannot_be_read_then_each_task_has_failed_in_its_setup(
    worker: LoneWorker, shared: bytes
) -> None:
    for status, error in worker.run(pack([2, 3]), pack([4, 5]), task_class=f"{SAMPLES}:Three", shared=shared):
        assert (status, error.type) == (SETUP_FAILED, "PluginError")
        assert "share cannot be read" in error.message


def test_given_a_class_that_prepares_then_it_does_once_for_each_job(worker: LoneWorker) -> None:
    job = Job(900, f"{SAMPLES}:Counted", shared=pack(["count"]))
    times = []
    for job_id in (900, 900, 901):
        base = worker.give(msgspec.structs.replace(job, job_id=job_id), pack([7]), pack([8]))
        (done,) = worker.reports()
        assert done.base == base
        (first, seven), (second, eight) = outcomes_of(done)
        assert (first, seven, eight) == (second, 7, 8)
        times.append(first)
    assert times == [times[0], times[0], times[0] + 1]


@pytest.mark.parametrize(
    ("shared", "status", "error"),
    [
        (["raise"], SETUP_FAILED, ("LookupError", "nothing to prepare it with")),
        (["exit"], SETUP_FAILED, ("SystemExit", "no")),
        (["refuse"], REFUSED, ("ClassRefused", "not here")),
    ],
)
def test_given_a_preparation_that_fails_then_so_has_each_task(
    worker: LoneWorker, shared: list[str], status: int, error: tuple[str, str]
) -> None:
    assert run(worker, "Counted", shared, [1], [2]) == [(status, error)] * 2


@pytest.mark.parametrize(
    ("path", "status", "outcome"),
    [
        (f"{SAMPLES}:double", COMPLETED, 42),
        ("os:getcwd", REFUSED, "its module os is not one of task_modules"),
        (f"{SAMPLES}:Path", REFUSED, "its module pathlib is not one of task_modules"),
        (f"{SAMPLES}:NOT_A_FUNCTION", REFUSED, "is a int, which cannot be called"),
        (f"{SAMPLES}:nothing", SETUP_FAILED, "has no 'nothing'"),
    ],
)
def test_given_a_function_by_name_then_it_is_loaded_only_where_its_module_is_allowed(
    worker: LoneWorker, path: str, status: int, outcome: Any
) -> None:
    ((found, value),) = run(worker, "Counted", ["load", path], [21])
    assert found == status
    assert value == outcome if status == COMPLETED else outcome in value[1]


def test_given_a_setup_then_its_failure_is_told_apart_from_that_of_the_task(worker: LoneWorker, tmp_path: Path) -> None:
    (tmp_path / "full").write_text("text", encoding="utf-8")
    (tmp_path / "empty").touch()
    outcomes = run(worker, "SetUp", None, *[[str(tmp_path / name)] for name in ("full", "none", "empty")], ["exit"])
    assert [status for status, _ in outcomes] == [COMPLETED, SETUP_FAILED, FAILED, SETUP_FAILED]
    assert [outcome if status == COMPLETED else outcome[0] for status, outcome in outcomes] == [
        *("text", "FileNotFoundError", "ValueError", "SystemExit")
    ]


def test_given_a_preparation_then_it_is_published_as_such_and_the_clock_of_the_limit_starts_behind_it(
    worker: LoneWorker, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "there")
    os.mkfifo(tmp_path / "go")
    began, stages = time.monotonic(), []
    job = Job(910, f"{SAMPLES}:Gated", 100.0, shared=pack([str(tmp_path)]), namespace="default")
    first = worker.give(job, pack([1]), pack([2]))
    for _ in range(5):
        assert (tmp_path / "there").read_bytes() == b"there"
        seen = worker.words[pipe.EXECUTING], worker.words[pipe.EXECUTING_SEQ] - first
        stages.append((*seen, pipe.seconds_view(worker.words)[pipe.STARTED_S] > began))
        began = time.monotonic()
        (tmp_path / "go").write_bytes(b"go")
    prepared, once_set_up, running = (pipe.PREPARING, 0, True), (pipe.PREPARING, 0, True), (pipe.RUNNING, 0, True)
    assert stages == [prepared, once_set_up, running, (pipe.PREPARING, 1, True), (pipe.RUNNING, 1, True)]
    for prepared_left_s, setup_left_s, left_s in outcomes_of(worker.report()):
        assert (prepared_left_s, setup_left_s) == (100.0, 100.0)
        assert 50 < left_s < 100
    assert worker.words[pipe.EXECUTING] == 0


def test_given_an_environment_and_a_directory_then_they_are_there_for_that_job_alone(
    worker: LoneWorker, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"environment": {"CYCLONE_SAMPLE": "a=ü"}, "directory": str(tmp_path)}
    job = Job(800, f"{SAMPLES}:Around", **options)
    ((_, (before, folder, _)),) = run(worker, "Around", None, ["CYCLONE_SAMPLE"])
    descriptors = len(procfs.open_files(worker.process.pid))
    for _ in range(2):
        worker.give(job, *[pack(["CYCLONE_SAMPLE"])] * 2)
        (done,) = worker.reports()
        assert [value[:2] for value in outcomes_of(done)] == [["a=ü", str(tmp_path)]] * 2
    ((_, (after, again, _)),) = run(worker, "Around", None, ["CYCLONE_SAMPLE"])
    assert (before, after, again) == (None, None, folder)
    assert len(procfs.open_files(worker.process.pid)) == descriptors


def test_given_variables_that_were_there_then_they_come_back_and_our_own_marks_stay(worker: LoneWorker) -> None:
    ((_, (path, *_)),) = run(worker, "Around", None, ["PATH"])
    assert path
    options = {"PATH": "/nowhere", "CYCLONE_WORKER": "another"}
    ((_, (inside, *_)),) = run(worker, "Around", None, ["PATH"], environment=options)
    ((_, (mark, *_)),) = run(worker, "Around", None, ["CYCLONE_WORKER"], environment=options)
    ((_, (after, *_)),) = run(worker, "Around", None, ["PATH"])
    assert (inside, after, mark) == ("/nowhere", path, None)


def test_given_a_folder_for_temporary_files_then_python_finds_it_for_that_job_alone(
    worker: LoneWorker, tmp_path: Path
) -> None:
    def told(**environment: str) -> Any:
        ((_, value),) = run(worker, "Temporary", None, [], environment=environment)
        return value

    before = told()
    assert (told(TMPDIR=str(tmp_path)), told()) == (str(tmp_path), before)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"directory": "/nowhere/at/all"}, "FileNotFoundError"),
        ({"directory": "/etc/passwd", "environment": {"CYCLONE_SAMPLE": "set"}}, "NotADirectoryError"),
        ({"environment": {"CYCLONE_SAMPLE": "set", "A=B": "x"}}, "ValueError"),
        ({"environment": {"CYCLONE_SAMPLE": "a\0b"}}, "ValueError"),
    ],
)
def test_given_surroundings_that_cannot_be_had_then_its_tasks_have_failed_in_their_setup_and_the_next_are_fine(
    worker: LoneWorker, options: dict[str, Any], error: str
) -> None:
    found = run(worker, "Around", None, ["CYCLONE_SAMPLE"], ["CYCLONE_SAMPLE"], **options)
    assert [(status, kind) for status, (kind, _) in found] == [(SETUP_FAILED, error)] * 2
    ((status, (value, *_)),) = run(worker, "Around", None, ["CYCLONE_SAMPLE"])
    assert (status, value) == (COMPLETED, None)


def test_given_a_job_then_its_tasks_know_whose_they_are(worker: LoneWorker) -> None:
    options: dict[str, Any] = {"name": "sweep", "namespace": "lustre", "cpus": 3}
    base = worker.give(Job(77, f"{SAMPLES}:Around", **options), pack([""]), pack([""]))
    (done,) = worker.reports()
    expected = {
        "CYCLONE_JOB_ID": "77",
        "CYCLONE_JOB_NAME": "sweep",
        "CYCLONE_NAMESPACE": "lustre",
        "CYCLONE_ATTEMPT": "1",
        "CYCLONE_NODE": "lone",
        "CYCLONE_SLOT": "0",
        "CYCLONE_CPUS": "3",
    }
    assert [value[2] for value in outcomes_of(done)] == [
        expected | {"CYCLONE_TASK_ID": str(task_id)} for task_id in (base, base + 1)
    ]
    ((_, (*_, generators)),) = run(worker, "Around", None, [""], namespace="")
    assert (generators["CYCLONE_JOB_ID"], generators["CYCLONE_NAMESPACE"]) == ("0", "")


def test_given_time_limits_then_a_task_with_one_of_its_own_knows_that(worker: LoneWorker) -> None:
    rows = [pack([""])] * 4
    worker.give(Job(78, f"{SAMPLES}:LeftAlone", 100.0), *rows, time_limits=[(1, 200.0), (3, 0.0)])
    (done,) = worker.reports()
    assert outcomes_of(done) == [100, 200, 100, None]


def test_given_a_job_by_value_where_that_is_not_allowed_then_it_is_refused_with_the_line_that_allows_it(
    worker: LoneWorker,
) -> None:
    ((status, (_, message)),) = run(worker, "Three", None, [1, 2], by_value=True)
    assert status == REFUSED
    assert message.endswith("[processing] by_value = yes")


@pytest.mark.parametrize(
    ("by_value", "how", "pickled"),
    [(True, "fine", b"fine"), (True, "large", b""), (True, "raise", b""), (False, "fine", b"")],
)
def test_given_an_error_of_a_job_by_value_then_its_client_gets_it_where_that_can_be(
    open_minded: LoneWorker, by_value: bool, how: str, pickled: bytes
) -> None:
    ((status, error),) = open_minded.run(pack([how]), task_class=f"{SAMPLES}:ByValue", by_value=by_value)
    assert (status, error.type, error.pickled) == (FAILED, "KeyError", pickled)


@pytest.mark.parametrize("by_value", [True, False])
def test_given_a_job_then_its_tasks_know_whether_it_is_by_value(open_minded: LoneWorker, by_value: bool) -> None:
    assert run(open_minded, "ByValue", None, ["told"], by_value=by_value) == [(COMPLETED, by_value)]


def test_given_more_jobs_than_a_worker_keeps_then_it_forgets_those_and_executes_each(worker: LoneWorker) -> None:
    counted = Job(1999, f"{SAMPLES}:Counted", shared=pack(["count"]))
    worker.give(counted, pack([7]))
    ((times, _),) = outcomes_of(worker.report())
    for job_id in range(2000, 2000 + TOLD_JOBS_MAX):
        worker.give(Job(job_id, f"{SAMPLES}:Three"), pack([1, 2]))
        assert outcomes_of(worker.report()) == [[1, 2, 3]]
    worker.give(counted, pack([8]))
    assert outcomes_of(worker.report()) == [[times + 1, 8]]
