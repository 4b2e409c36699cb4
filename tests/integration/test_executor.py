"""Executors on clusters of real processes: what they do with tasks that go wrong, and that nothing of them is left."""

import doctest
import inspect
import itertools
import math
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, CancelledError, wait
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

import cyclone
from cyclone import Client, Executor
from cyclone.client import async_client as async_client_module
from cyclone.client import client as client_module
from cyclone.client import executor as executor_module
from cyclone.errors import ConfigError, NotAllowed, PayloadTooLarge, TaskRefused, TaskTimeout, WorkerDied
from cyclone.protocol.job_spec import JobSelection
from tests.support import procfs
from tests.support.lab import Lab
from tests.support.procfs import wait_until

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
WAIT_S = 30
GONE_WITHIN_S = 5.0

SCRIPT = """
import atexit, os, sys, time
from concurrent.futures import wait
from cyclone import Executor

def touch(path):
    time.sleep(0.1)
    open(path, "w").write(str(os.getpid()))

def late(number):
    if number >= 9996:
        open(f"done-{number}", "w").close()

def too_late():
    try:
        executor.submit(os.getpid)
    except RuntimeError:
        late(9999.5)

executor = Executor(workers=2)
executor.submit(os.getpid).result()
futures = [executor.submit(touch, f"done-{number}") for number in range(4)]
print("submitted", file=sys.stderr, flush=True)
"""


class Square(cyclone.BaseTask):
    def __init__(self, number: int) -> None:
        self.number = number

    def execute(self) -> int:
        return self.number**2


def square(x: int) -> int:
    return x * x


def descendants(pid: int) -> set[int]:
    """A process and all that it has started."""
    found, waiting = {pid}, [pid]
    while waiting:
        try:
            children = Path(f"/proc/{waiting.pop()}/task").glob("*/children")
            new = {int(child) for path in children for child in path.read_text().split()} - found
        except OSError:
            continue
        found |= new
        waiting += new
    return found


@pytest.fixture(scope="module")
def executor() -> Iterator[Executor]:
    """A private cluster for all tests that do it no harm; nothing of it is left in the end."""
    made = Executor(workers=2)
    made.submit(square, 1).result(WAIT_S)
    pids = descendants(made.cluster_pid)
    assert len(pids) >= 5
    yield made
    made.shutdown()
    wait_until(lambda: not [pid for pid in pids if procfs.command(pid)], "nothing is left", GONE_WITHIN_S)


def test_given_functions_of_all_kinds_then_a_private_cluster_executes_them(executor: Executor) -> None:
    offset = 3

    def plus(x: int, *, y: int) -> int:
        return x + y + offset

    assert executor.submit(plus, 1, y=2).result(WAIT_S) == 6
    assert executor.submit(os.getpid).result(WAIT_S) not in (0, os.getpid())
    assert list(executor.map(lambda x: (x, {x}), range(3))) == [(0, {0}), (1, {1}), (2, {2})]
    assert sum(executor.map(square, range(20_000))) == sum(x * x for x in range(20_000))


def test_given_the_environment_then_tasks_find_what_they_would_find_here(
    executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert executor.submit(os.getcwd).result(WAIT_S) == str(Path.cwd())
    home = executor.submit(os.environ.get, "PATH").result(WAIT_S)
    assert home == os.environ["PATH"]


def test_given_a_task_that_runs_then_cancel_ends_it(executor: Executor, tmp_path: Path) -> None:
    started, ended = tmp_path / "started", tmp_path / "ended"

    def slow() -> None:
        started.touch()
        time.sleep(60)
        ended.touch()

    future = executor.submit(slow)
    wait_until(started.exists, "the task has started")
    assert future.cancel()
    with pytest.raises(CancelledError):
        future.result()
    assert executor.submit(square, 4).result(WAIT_S) == 16
    assert not ended.exists()


def test_given_a_result_that_is_too_large_then_the_error_is_of_the_documented_type_and_says_what(
    executor: Executor,
) -> None:
    said = r"the value that execute\(\) returned takes .* bytes, the limit is 4194304: .* a file"
    with pytest.raises(PayloadTooLarge, match=said):
        executor.submit(bytes, 5 << 20).result(WAIT_S)
    with pytest.raises(PayloadTooLarge, match=said):
        list(executor.map(str.ljust, ["text"], [5 << 20]))


def test_given_options_then_the_cluster_keeps_to_them(executor: Executor) -> None:
    with pytest.raises(TaskTimeout, match="0.2"):
        executor.options(time_limit=0.2).submit(time.sleep, 60).result(WAIT_S)
    with pytest.raises(WorkerDied, match="SIGKILL"):
        executor.options(crash_limit=1).submit(lambda: os.kill(os.getpid(), signal.SIGKILL)).result(WAIT_S)


def test_given_two_private_clusters_then_neither_knows_of_the_other(executor: Executor) -> None:
    with Executor(workers=1) as other:
        pids = {each.submit(os.getppid).result(WAIT_S) for each in (executor, other)}
        assert len(pids) == 2
    assert executor.submit(square, 2).result(WAIT_S) == 4


def test_given_a_private_cluster_then_no_port_is_open_and_nobody_else_may_enter_its_folder(executor: Executor) -> None:
    processes = [psutil.Process(pid) for pid in descendants(executor.cluster_pid)]
    assert [process.net_connections("inet") for process in processes] == [[]] * len(processes)
    master = psutil.Process(executor.cluster_pid)
    files = {Path(str(one.laddr)) for one in master.net_connections("unix") if one.laddr}
    assert files
    assert {path.parent.stat().st_mode & 0o777 for path in files} == {0o700}


def test_given_a_socket_file_then_master_controller_and_executor_meet_there_if_its_folder_is_closed(lab: Lab) -> None:
    folder = lab.folder / "closed"
    folder.mkdir(mode=0o700)
    target = f"ipc://{folder}/master"
    config = lab.config(
        {
            "comm": {"target": target},
            "processing": {"task_modules": "tasks, tests"},
            "journal": {"durability": "off"},
            "task_generator": {"class": ""},
        }
    )
    lab.master(config)
    lab.controller(config, "c1")
    with Executor(connect=target) as executor:
        assert list(executor.map(square, range(100))) == [x * x for x in range(100)]
    second = lab.start("cyclone-master", "-f", config, "--set", f"control.pid_file={lab.folder}/second.pid")
    assert second.exits() == 1
    assert f"{target} is held by pid " in second.stderr()
    folder.chmod(0o750)
    for command in ("cyclone-master", "cyclone-controller"):
        refused = lab.start(command, "-f", config, "--set", f"control.pid_file={lab.folder}/third.pid")
        assert refused.exits() == 78
        assert "others may enter (mode 750; chmod 700 closes it)" in refused.stderr()
    with pytest.raises(ConfigError, match="others may enter"):
        Executor(connect=target)


def test_given_a_cluster_that_is_killed_then_nobody_waits_for_ever() -> None:
    executor = Executor(workers=1)
    executor.submit(square, 1).result(WAIT_S)
    pids = descendants(executor.cluster_pid)
    future = executor.submit(time.sleep, 60)
    os.kill(executor.cluster_pid, signal.SIGKILL)
    with pytest.raises(BrokenExecutor, match="has ended with signal 9"):
        future.result(WAIT_S)
    with pytest.raises(BrokenExecutor):
        executor.submit(square, 1)
    executor.shutdown()
    wait_until(lambda: not [pid for pid in pids if procfs.command(pid)], "nothing is left", GONE_WITHIN_S)


@pytest.mark.parametrize(
    ("end", "done"),
    [
        pytest.param("executor.shutdown()", 4, id="after shutdown"),
        pytest.param("executor.map(late, range(10_000))\natexit.register(too_late)", 9, id="the interpreter ends"),
        pytest.param("del executor", 4, id="nobody holds it"),
        pytest.param("raise SystemExit", 4, id="with an exception"),
        pytest.param("os.kill(os.getpid(), 9)", 0, id="killed"),
        pytest.param("os._exit(0)", 0, id="left at once"),
        pytest.param("pid = os.fork()\nif pid == 0: sys.exit(0)\nos.waitpid(pid, 0)", 4, id="after a fork"),
        pytest.param(
            "pid = os.fork()\nif pid == 0: time.sleep(1); os._exit(0)\nos._exit(0)", 0, id="a forked child lives on"
        ),
    ],
)
def test_given_a_program_that_ends_in_any_way_then_nothing_of_it_is_left(lab: Lab, end: str, done: int) -> None:
    started = lab.start(sys.executable, "-c", SCRIPT + end)
    started.says("submitted")
    started.exits()
    lab.all_gone()
    if done:
        assert len(list(lab.folder.glob("done-*"))) == done, started.stderr()
    assert "Traceback" not in started.stderr()


def test_given_an_interrupt_then_the_program_sees_it_and_what_was_submitted_ends(lab: Lab) -> None:
    end = (
        "\ntry:\n    waited = executor.submit(time.sleep, 0.5)\n    print('waiting', file=sys.stderr, flush=True)"
        "\n    waited.result()\nexcept KeyboardInterrupt:\n    print('interrupted')\n"
    )
    started = lab.start(sys.executable, "-c", SCRIPT + end, start_new_session=True)
    started.says("waiting")
    os.killpg(started.pid, signal.SIGINT)
    assert started.exits() == 0
    assert started.stdout() == "interrupted\n"
    lab.all_gone()


def examples(module: ModuleType, **names: Any) -> int:
    """Runs the examples of a module's docstrings; how many there were."""
    found = doctest.DocTestFinder().find(module, globs={**vars(module), "cyclone": cyclone, **names})
    results = [doctest.DocTestRunner().run(test) for test in found]
    assert sum(result.failed for result in results) == 0
    return sum(result.attempted for result in results)


def test_given_the_examples_of_docstrings_then_they_are_true(lab: Lab, executor: Executor) -> None:
    assert examples(executor_module, executor=executor, math=math, itertools=itertools) >= 4
    assert examples(sys.modules["cyclone.task"], executor=executor) >= 2
    lab.master(open_cluster(lab))
    lab.controller(open_cluster(lab), "c1")
    address = f"tcp://127.0.0.1:{lab.port}"
    assert examples(client_module, address=address, math=math) >= 3
    assert examples(async_client_module, address=address, math=math) >= 2
    assert examples(sys.modules["cyclone.generator"], Square=Square) >= 2
    with Client(address) as client:
        job_id = client.map(math.factorial, [5])
        assert examples(sys.modules["cyclone.results"], client=client, job_id=job_id) >= 2


def test_given_the_pages_with_python_then_their_examples_are_true(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.master(open_cluster(lab))
    lab.controller(open_cluster(lab), "c1")
    monkeypatch.setenv("CYCLONE_SERVER", f"tcp://127.0.0.1:{lab.port}")
    # Where a journal of the page may lie.
    monkeypatch.chdir(lab.folder)
    # What is written at a prompt is of __main__.
    names = {"__name__": "__main__", "math": math}
    for page, count_min in ((PAGE, 30), (PAGE.parents[1] / "README.md", 2)):
        test = doctest.DocTestParser().get_doctest(page.read_text(encoding="utf-8"), names, page.name, str(page), 0)
        result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test)
        assert (result.failed, result.attempted >= count_min) == (0, True)


@pytest.mark.parametrize("name", ["AsyncClient", "Client", "Executor"])
def test_given_a_public_class_then_the_page_for_python_names_each_of_its_methods(name: str) -> None:
    [row] = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `cyclone.{name}`")]
    methods = {word for word, member in inspect.getmembers(getattr(cyclone, name)) if callable(member)}
    assert {word for word in methods if not word.startswith("_")} == set(re.findall("`([a-z_]+)`", row))


def test_given_the_public_names_then_the_page_for_python_has_a_line_and_an_example_of_each() -> None:
    page = PAGE.read_text(encoding="utf-8")
    code = "\n".join(line for line in page.splitlines() if line.startswith((">>>", "...")))
    for name in cyclone.__all__:
        assert f"| `cyclone.{name}` | " in page
        assert name == "__version__" or f"cyclone.{name}" in code, name


def open_cluster(lab: Lab) -> Path:
    """The configuration of one that takes jobs from this host."""
    return lab.config(
        {
            "clients": {"submit": "yes"},
            "journal": {"durability": "off"},
            "processing": {"task_modules": "tasks, tests, math"},
            "task_generator": {"class": ""},
        }
    )


def test_given_a_running_master_that_is_killed_then_an_executor_goes_on(lab: Lab) -> None:
    sections = {
        "clients": {"submit": "yes"},
        "journal": {"path": str(lab.folder / "journal")},
        "processing": {"task_modules": "tasks, tests, builtins"},
        "task_generator": {"class": ""},
    }
    config = lab.config(sections)
    master = lab.master(config)
    lab.controller(config, "c1")
    with Executor(connect=f"tcp://127.0.0.1:{lab.port}") as executor:
        assert executor.submit(abs, -1).result(WAIT_S) == 1
        results = executor.map(square, range(60_000))
        first = [next(results) for _ in range(1000)]
        master.signal(signal.SIGKILL)
        master.exits()
        future = executor.submit(abs, -2)
        lab.master(config)
        assert [*first, *results] == [x * x for x in range(60_000)]
        assert future.result(WAIT_S) == 2
        with pytest.raises(TaskRefused, match="task_modules"):
            executor.submit(os.getcwd).result(WAIT_S)
    with pytest.raises(NotAllowed, match=r"no controller.* by_value = yes"):
        Executor(connect=f"tcp://127.0.0.1:{lab.port}", by_value=True)
    with Client(f"tcp://127.0.0.1:{lab.port}") as client:
        jobs = list(client.jobs(JobSelection(name="square")))
        assert [job.tasks["completed"] for job in jobs] == [60_000]
        values = {result.index: result.value for result in client.results(jobs[0].job_id)}
        assert values == {x: x * x for x in range(60_000)}


def test_given_several_threads_then_they_share_an_executor(executor: Executor) -> None:
    found: list[int] = []

    def work(start: int) -> None:
        futures = [executor.submit(square, number) for number in range(start, start + 500)]
        wait(futures)
        found.append(sum(future.result() for future in futures))

    threads = [threading.Thread(target=work, args=(start,)) for start in range(0, 2000, 500)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(found) == sum(number * number for number in range(2000))
