"""The comparison with peers, with processes that stand in for them: nothing is installed here, no figure judged."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.peers.catalogue import Case, Peer
from benchmarks.peers.environment import Environment
from benchmarks.peers.session import Ours, Outcome, RunError, Session
from tests.support import procfs
from tests.support.lab import ROOT, Lab

SPEED = '{"version": "1", "tasks_per_s": %s}'
CYCLONE = 'print(\'{"tasks_per_s": 1000.0, "more": 1}\')'
TIMEOUT_S = 20.0


def peer(name: str, *scripts: str) -> Peer:
    """A peer of which each case is a Python script."""
    return Peer(name, name, (), True, "", tuple(Case(script, 1, "nobody") for script in scripts))


def printing(speed: float) -> str:
    return f"print({SPEED % speed!r})"


class Bench:
    """A session of stand-ins, and what it said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def measure(
        self, *peers: Peer, rounds: int = 1, timeout_s: float = TIMEOUT_S, cyclone: str = CYCLONE
    ) -> list[Outcome]:
        ours = Ours("memory", [sys.executable, "-c", cyclone], ("tasks_per_s",))
        session = Session(
            [ours], lambda _, case: [sys.executable, "-c", case.variant], rounds, timeout_s, self.said.append
        )
        return session.measure(peers)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def pid_file(tmp_path: Path) -> Iterator[Path]:
    """Where a stand-in says which process it leaves behind; killed at the latest here."""
    path = tmp_path / "pid"
    yield path
    if path.exists():
        procfs.kill_all([int(path.read_text())])


def leaving_behind(pid_file: Path, then: str) -> str:
    """A script that starts a daemon in a session of its own, and then does something."""
    return (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        f"open({str(pid_file)!r}, 'w').write(str(child.pid))\n{then}"
    )


def test_given_two_peers_then_cyclone_is_measured_before_each_in_each_round(bench: Bench) -> None:
    outcomes = bench.measure(peer("a", printing(1.5), printing(2.5)), peer("b", printing(3.5)), rounds=2)
    assert [said.split(":")[1].split(",")[0].strip() for said in bench.said] == [
        "Cyclone",
        "a",
        "a",
        "Cyclone",
        "b",
    ] * 2
    assert [[theirs["tasks_per_s"] for _, theirs in o.pairs] for o in outcomes] == [[1.5] * 2, [2.5] * 2, [3.5] * 2]
    assert [mine for mine, _ in outcomes[0].pairs] == [{"memory.tasks_per_s": 1000.0}] * 2
    # The cases of a peer share Cyclone's run of their round.
    assert outcomes[0].pairs[0][0] is outcomes[1].pairs[0][0]
    assert outcomes[0].pairs[0][0] is not outcomes[2].pairs[0][0]


def test_given_a_peer_that_fails_then_its_last_words_are_kept_and_the_others_go_on(bench: Bench) -> None:
    broken = "import sys; print('{}'); sys.exit('first\\nthe reason')"
    outcomes = bench.measure(peer("a", broken, printing(2.0)), rounds=2)
    # Once: what never succeeded is not tried again.
    assert outcomes[0].failures == ["the reason"]
    assert outcomes[0].pairs == []
    assert len(outcomes[1].pairs) == 2


def test_given_a_peer_that_fails_in_one_round_then_the_others_count(bench: Bench, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    second_fails = (
        f"import sys\nwith open({str(mark)!r}, 'a+') as file:\n    file.write('x')\n    count = file.tell()\n"
        f"if count == 2:\n    sys.exit('now and then')\n{printing(2.0)}"
    )
    [outcome] = bench.measure(peer("a", second_fails), rounds=3)
    assert (len(outcome.pairs), outcome.failures) == (2, ["now and then"])


def test_given_a_peer_that_never_ends_then_its_time_limit_is_the_result(bench: Bench, pid_file: Path) -> None:
    hanging = leaving_behind(pid_file, "time.sleep(600)")
    [outcome] = bench.measure(peer("a", hanging), timeout_s=3.0)
    assert outcome.failures == ["no result within 3 s"]
    assert procfs.command(int(pid_file.read_text())) == ""


def test_given_a_peer_that_reports_and_then_hangs_then_its_figures_count(bench: Bench) -> None:
    hanging = f"import time\nprint({SPEED % 7.0!r}, flush=True)\ntime.sleep(600)"
    [outcome] = bench.measure(peer("a", hanging), timeout_s=3.0)
    assert [theirs["tasks_per_s"] for _, theirs in outcome.pairs] == [7.0]


def test_given_a_peer_that_leaves_a_daemon_and_files_then_nothing_of_it_is_left(bench: Bench, pid_file: Path) -> None:
    home = pid_file.with_name("home")
    files = (
        "import os\nopen(os.path.expanduser('~/token'), 'w').close()\n"
        f"open({str(home)!r}, 'w').write(os.environ['HOME'])"
    )
    [outcome] = bench.measure(peer("a", leaving_behind(pid_file, f"{files}\n{printing(1.0)}")))
    assert outcome.failures == []
    assert procfs.state(int(pid_file.read_text())) in ("", "Z")
    private = Path(home.read_text())
    assert private != Path.home()
    assert not private.exists()


def test_given_a_run_of_cyclone_that_fails_then_the_session_ends(bench: Bench) -> None:
    with pytest.raises(RunError, match="no master"):
        bench.measure(peer("a", printing(1.0)), cyclone="import sys; sys.exit('no master')")


def interpreter(folder: Path, script: str) -> Path:
    """An environment that is there already, with a program of ours as its Python."""
    programs = folder / "environment" / "bin"
    programs.mkdir(parents=True)
    (programs / "pip").touch()
    python = programs / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o700)
    return folder / "environment"


def test_given_a_peer_that_does_not_install_then_the_first_error_is_the_reason_and_it_is_tried_again(
    tmp_path: Path,
) -> None:
    said: list[str] = []
    words = "echo 'WARNING: slow' >&2; echo 'ERROR: No such package' >&2; echo 'ERROR: so nothing' >&2; exit 1"
    environment = Environment(interpreter(tmp_path, words), said.append)
    environment.make()
    wanted = Peer("a", "A", ("a",), True, "", ())
    assert [environment.install(wanted) for _ in range(2)] == ["No such package"] * 2
    assert said == ["installing A", "installing A"]


def test_given_a_peer_that_installs_then_it_does_so_once_until_the_pins_change(tmp_path: Path) -> None:
    said: list[str] = []
    pins = tmp_path / "requirements.txt"
    pins.write_text("a==1\n")
    environment = Environment(interpreter(tmp_path, f'echo "$@" >> {tmp_path}/calls'), said.append, pins)
    wanted = Peer("a", "A", ("a", "b"), True, "", ())
    assert [environment.install(wanted) for _ in range(2)] == [None, None]
    stamp = pins.stat()
    os.utime(pins, (stamp.st_atime, stamp.st_mtime + 60))
    assert environment.install(wanted) is None
    options = f"-m pip --quiet --disable-pip-version-check install --constraint {pins} a b"
    assert (tmp_path / "calls").read_text().splitlines() == [options] * 2


def test_given_a_peer_of_the_standard_library_then_nothing_is_installed(tmp_path: Path) -> None:
    environment = Environment(interpreter(tmp_path, "exit 1"), pytest.fail)
    assert environment.install(Peer("a", "A", (), False, "", ())) is None


@pytest.mark.timeout(150)
def test_given_a_quick_run_beside_the_standard_library_then_it_prints_the_report(lab: Lab, tmp_path: Path) -> None:
    raw = tmp_path / "raw.json"
    environment = interpreter(tmp_path, f'exec {sys.executable} "$@"')
    run = lab.start(
        *(sys.executable, "-m", "benchmarks.peers", "--quick", "--only", "futures", "--only", "pool"),
        *("--environment", environment, "--json", raw),
        cwd=ROOT,
    )
    assert run.exits(120) == 0, run.stderr()
    assert "### No-op tasks" in run.stdout()
    written = json.loads(raw.read_text())
    assert [(case["peer"], case["variant"]) for case in written["cases"]] == [
        ("pool", "chunk=1"),
        ("pool", "chunk=64"),
        ("pool", "chunk=1024"),
        ("futures", "chunk=1"),
        ("futures", "chunk=256"),
    ]
    for case in written["cases"]:
        assert case["failures"] == []
        [pair] = case["pairs"]
        assert pair["peer"]["tasks_per_s"] > 0
        assert 0 < pair["peer"]["efficiency"] <= 1
        assert 0 < pair["cyclone"]["busy.efficiency"] <= 1
    assert written["cases"][0]["pairs"][0]["peer"]["p50_us"] > 0


def test_given_a_part_only_then_it_is_not_written_into_the_page(lab: Lab, tmp_path: Path) -> None:
    page = Path(shutil.copy(ROOT / "docs" / "peers.md", tmp_path))
    before = page.read_text()
    run = lab.start(sys.executable, "-m", "benchmarks.peers", "--quick", "--write", page, cwd=ROOT)
    assert run.exits() == 2
    assert "--write is for a full run: leave out --quick and --only" in run.stderr()
    assert page.read_text() == before
