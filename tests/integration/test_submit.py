"""``cyclone submit`` and ``cyclone run -- cmd`` with real masters, controllers and commands."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from cyclone.client.client import Client
from tests.integration.test_docs_commands import session
from tests.support.lab import Lab, new_lab

# Half of what the tasks of the long array take when they are kept.
MORE_KIB_MAX = 4_000


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with new_lab(tmp_path) as opened:
        for name in ("CYCLONE_SERVER", "CYCLONE_PROFILE", "CYCLONE_NAMESPACE"):
            opened.environment.pop(name, None)
        opened.environment["XDG_CONFIG_HOME"] = str(tmp_path)
        yield opened


@pytest.fixture
def server(lab: Lab) -> Lab:
    """A lab whose master takes jobs and has no controller."""
    config = lab.config(
        {"task_generator": {}, "clients": {"submit": "yes"}, "journal": {"path": str(lab.folder / "j")}}
    )
    lab.master(config)
    lab.environment["CYCLONE_SERVER"] = f"tcp://127.0.0.1:{lab.port}"
    return lab


def tasks_of(lab: Lab) -> int:
    """Of the newest job, 0 where there is none."""
    with Client(lab.environment["CYCLONE_SERVER"]) as client:
        return next((sum(job.tasks.values()) for job in client.jobs()), 0)


@pytest.mark.timeout(120)
def test_given_the_page_when_its_commands_run_then_they_do_what_it_says(tmp_path: Path) -> None:
    with session(tmp_path) as opened:
        opened.run("docs/submitting.md")
        opened.end(stop=True)


def test_given_no_master_when_a_run_is_interrupted_then_its_command_ends_and_nothing_is_left(lab: Lab) -> None:
    script = "echo begun; touch begun; trap 'touch ended; exit 3' TERM; sleep 60 & wait"
    run = lab.start("cyclone", "run", "--workers", "1", "--", "sh", "-c", script, start_new_session=True)
    lab.wait_until((lab.folder / "begun").exists, "the command has begun")
    # As a terminal does: to all that have not left its session.
    os.killpg(run.pid, signal.SIGINT)
    assert run.exits() == 130
    assert (lab.folder / "ended").exists()
    lab.all_gone()


def test_given_a_master_that_is_killed_while_tasks_are_streamed_then_the_job_has_each_of_them_once(server: Lab) -> None:
    read_end, write_end = os.pipe()
    echo = ["--class", "tests.support.sample_tasks:PlainTask", "-p", "first={}"]
    submit = server.start("cyclone", "submit", "--each-line", "-", *echo, stdin=read_end)
    os.close(read_end)
    with open(write_end, "wb") as lines:
        lines.writelines(b"%d\n" % number for number in range(10_000))
        lines.flush()
        server.wait_until(lambda: tasks_of(server) >= 8192, "two blocks are taken")
        (master,) = [pid for pid, text in server.processes("cyclone-master").items() if "-f" in text]
        os.kill(master, signal.SIGKILL)
        lines.writelines(b"%d\n" % number for number in range(10_000, 20_000))
        server.master(server.folder / "test.conf")
    assert submit.exits() == 0, submit.stderr()
    assert submit.stdout() == "job 1: 20,000 tasks\n"
    server.controller(server.folder / "test.conf", "c1")
    with Client(server.environment["CYCLONE_SERVER"]) as client:
        found = {result.index: result.value for result in client.results(1)}
    assert found == {number: [number, "default"] for number in range(20_000)}


def test_given_a_long_array_then_it_takes_no_more_memory_than_a_short_one(server: Lab) -> None:
    def peak_kib(array: str) -> int:
        submit = server.start("cyclone", "submit", "--hold", "--array", array, "--", "true")
        _, status, usage = os.wait4(submit.pid, 0)
        submit.process.returncode = os.waitstatus_to_exitcode(status)
        assert submit.process.returncode == 0, submit.stderr()
        return usage.ru_maxrss

    assert peak_kib("0-179999") < peak_kib("0-9") + MORE_KIB_MAX
    assert tasks_of(server) == 10
