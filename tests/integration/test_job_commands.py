"""The verbs that look at jobs and steer them, asked of real masters by the command that users have."""

import io
import json
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from cyclone.cli import common, main
from tests.support.lab import Lab, Started

JOBS_ONLY = {"task_generator": {}, "clients": {"submit": "yes"}}


class Cyclone:
    """The command, with a master that is named by the environment."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def start(self, *words: str) -> Started:
        """In a process of its own."""
        return self._lab.start("cyclone", *words, environment=_surroundings(self._lab))

    def __call__(self, *words: str, exit_code: int = 0) -> str:
        """What it prints, when it has ended with this exit code; in this process, which is sooner there."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            found = common.guarded("cyclone", main._run, words)
        assert found == exit_code, (words, out.getvalue(), err.getvalue())
        return out.getvalue()

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--json"))

    def submit(self, *words: str) -> str:
        """The number of a job."""
        return self("submit", "--parsable", *words).strip()


@pytest.fixture
def config(lab: Lab) -> Path:
    """No generator, and clients that may submit."""
    return lab.config(JOBS_ONLY)


@pytest.fixture
def cyclone(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Cyclone:
    for name, value in _surroundings(lab).items():
        monkeypatch.setenv(name, value)
    return Cyclone(lab)


def _surroundings(lab: Lab) -> dict[str, str]:
    return {"CYCLONE_SERVER": f"tcp://127.0.0.1:{lab.port}", "XDG_CONFIG_HOME": str(lab.folder)}


def test_given_a_job_that_fails_in_part_beside_a_generator_then_all_verbs_tell_the_same_of_it(
    lab: Lab, cyclone: Cyclone
) -> None:
    config = lab.script({"what": "gate", "value": "gate"}, clients={"submit": "yes"})
    lab.master(config)
    lab.controller(config, "one", "processing.worker_count=3")
    lab.noted("start", what="gate")
    job = cyclone.submit("--name", "some", "--tag", "a=b", "--array", "0-9", "--", "sh", "-c", "echo {}; test {} != 3")

    [ended] = json.loads(cyclone("wait", "last", "--progress", "--json", exit_code=1))["jobs"]
    assert (ended["state"], ended["tasks"]) == ("failed", {"completed": 9, "failed": 1})
    assert cyclone("wait", job, "--infra-only") == ""

    jobs = cyclone.json("jobs")["jobs"]
    assert [(one["id"], one["name"]) for one in jobs] == [(int(job), "some"), (0, "generator")]
    assert jobs[0] == ended
    assert cyclone("jobs", "-s", "failed", "--tag", "a=b", "-o", "{id}") == f"{job}\n"
    assert cyclone("jobs", "-n", "default", "-s", "expired", "-o", "{id}") == ""
    cyclone("jobs", "-n", "elsewhere", exit_code=1)

    rows = cyclone.json("tasks", job, "--args", "--values")["tasks"]
    assert [(row["index"], row["state"], row["args"]) for row in rows] == [
        (index, "failed" if index == 3 else "completed", [index]) for index in range(10)
    ]
    assert [row["value"]["stdout"] for row in rows if row["value"]] == [f"{n}\n" for n in range(10) if n != 3]
    assert cyclone("tasks", f"{job}.2-4", "-s", "bad", "-o", "{id} {node}") == f"{job}.3 one\n"
    assert cyclone("tasks", "0", "-o", "{task_id} {state}") == "1 running\n"

    shown = cyclone.json("show", job)["job"]
    assert shown["options"]["tags"] == {"a": "b"}
    [failure] = shown["failures"]
    assert (failure["count"], failure["index"]) == (1, 3)
    assert "ended with exit code #" in failure["error"]
    assert cyclone.json("show", "last.3")["task"] == {**rows[3], "entry": 3, "output_cut": None}
    assert f"job {job} has ended: failed; 9 completed, 1 failed" in cyclone("explain", job)
    [stats] = cyclone.json("stats", job)["jobs"]
    assert (stats["tasks"], stats["states"], stats["nodes"]) == (10, ended["tasks"], 1)

    lines = [json.loads(line) for line in cyclone("results", job).splitlines()]
    assert [(line["index"], line["state"]) for line in lines] == [(row["index"], row["state"]) for row in rows]
    assert cyclone("tasks", "77", exit_code=1) == ""


def test_given_results_that_are_taken_then_they_count_as_processed_and_failures_can_be_tried_again(
    lab: Lab, config: Path, cyclone: Cyclone
) -> None:
    master = lab.master(config)
    lab.controller(config, "one")
    flag = lab.folder / "flag"
    job = cyclone.submit("--array", "0-5", "--", "sh", "-c", f"test {{}} -lt 4 || test -e {flag}")
    cyclone("wait", job, exit_code=1)

    assert cyclone("results", job, "--process", "-o", "{index}") == "0\n1\n2\n3\n4\n5\n"
    assert cyclone("results", job, "--process", "-o", "{index}") == "4\n5\n"
    assert cyclone.json("jobs", job)["jobs"][0]["tasks"] == {"processed": 4, "failed": 2}

    flag.touch()
    assert cyclone("retry", job, "--dry-run") == "2 tasks of job 1 would be submitted again\n"
    made = cyclone("retry", job, "--parsable").strip()
    # Whoever has not heard the answer asks again, also another master on the same journal.
    master.signal(signal.SIGKILL)
    master.exits()
    lab.master(config)
    assert cyclone("retry", job, "--parsable").strip() == made
    cyclone("wait", made)
    assert [row["args"] for row in cyclone.json("tasks", made, "--args")["tasks"]] == [[4], [5]]
    assert cyclone("jobs", "--tag", f"retry-of={job}", "-o", "{id} {state}") == f"{made} completed\n"
    cyclone("retry", made, exit_code=1)


def test_given_jobs_that_wait_then_they_can_be_held_paused_and_cancelled(
    lab: Lab, config: Path, cyclone: Cyclone
) -> None:
    lab.master(config)
    assert "no controller" in cyclone("explain", cyclone.submit("--array", "0-9", "--", "true"))
    assert offered(lab, "cyclone show ") == ["last", "all", "1"]
    cyclone("hold", "1")
    assert cyclone("jobs", "-s", "held", "-o", "{id}") == "1\n"
    cyclone("release", "1")
    cyclone("pause", *offered(lab, "cyclone pause d"))
    cyclone("namespaces", "create", "night", "--weight", "2.5", "--jobs-max", "1")
    spaces = {one["name"]: one for one in cyclone.json("namespaces")["namespaces"]}
    assert (spaces["default"]["state"], spaces["night"]["weight"], spaces["night"]["jobs_max"]) == ("paused", 2.5, 1)
    assert cyclone.submit("-n", "night", "--", "true") == "2"
    cyclone("submit", "-n", "night", "--", "true", exit_code=75)

    assert cyclone("cancel", "1.5-9", "--dry-run") == "5 tasks would be cancelled\n"
    cyclone("cancel", "1.5-9", "--reason", "too many")
    assert cyclone("tasks", "1", "-s", "cancelled", "-o", "{index}").split() == ["5", "6", "7", "8", "9"]
    cyclone("namespaces", "delete", "night", exit_code=1)
    cyclone("namespaces", "purge", "night", "-y")
    cyclone("namespaces", "delete", "night")
    assert json.loads(cyclone("wait", "1", "--timeout", "100ms", "--json", exit_code=124))["timed_out"] is True

    lab.controller(config, "one")
    cyclone("resume", "default")
    cyclone("wait", "1", exit_code=1)
    lab.wait_until(lambda: cyclone("nodes", "-o", "{name} {state} {slots}") == "one up 2\n", "both of its slots are up")
    assert cyclone.json("jobs", "1")["jobs"][0]["tasks"] == {"completed": 5, "cancelled": 5}


def test_given_results_that_are_followed_when_the_master_is_killed_then_they_go_on_without_a_gap_or_a_double(
    lab: Lab, config: Path, cyclone: Cyclone
) -> None:
    master = lab.master(config)
    lab.controller(config, "one", "processing.worker_count=3")
    gate = lab.folder / "late"
    wait_for_it = f"test {{}} -lt 20 || while ! test -e {gate}; do sleep 0.05; done; echo {{}}"
    job = cyclone.submit("--array", "0-29", "--", "sh", "-c", wait_for_it)
    follow = ["results", job, "--follow", "-o", "{index}", "--connect-timeout", "30"]
    as_they_come, in_order = cyclone.start(*follow), cyclone.start(*follow, "--in-order")
    lab.wait_until(
        lambda: all(len(one.stdout().split()) >= 20 for one in (as_they_come, in_order)), "the first are told"
    )
    master.signal(signal.SIGKILL)
    master.exits()
    lab.master(config)
    gate.touch()
    for following in (as_they_come, in_order):
        assert following.exits() == 0, following.stderr()
    assert [int(line) for line in in_order.stdout().split()] == list(range(30))
    assert sorted(map(int, as_they_come.stdout().split())) == list(range(30))


def offered(lab: Lab, line: str) -> list[str]:
    """What completion says, as the shells ask for it."""
    code = (
        "import os, subprocess, sys; r, w = os.pipe(); os.dup2(w, 8); os.close(w)\n"
        "subprocess.run(sys.argv[1:], pass_fds=[8]); os.close(8); print(os.read(r, 65536).decode())"
    )
    asked = {
        **_surroundings(lab),
        **{"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "COMP_LINE": line, "COMP_POINT": str(len(line))},
    }
    command = lab.start(sys.executable, "-c", code, str(Path(sys.executable).with_name("cyclone")), environment=asked)
    assert command.exits() == 0, command.stderr()
    return command.stdout().split()
