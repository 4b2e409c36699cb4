"""What tasks print, from real commands through real daemons: kept, found, followed while it comes."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from cyclone.client.client import Client
from cyclone.errors import CycloneError
from tests.support.lab import Lab, Started, new_lab

STDOUT_MAX = 64 * 1024
SECTIONS = {
    "task_generator": {},
    "clients": {"submit": "yes"},
    "processing": {"worker_count": "2", "stdout_max_bytes": "64KiB"},
}


class Site:
    """A master that takes jobs, and a controller."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        for name in ("CYCLONE_SERVER", "CYCLONE_PROFILE", "CYCLONE_NAMESPACE"):
            lab.environment.pop(name, None)
        lab.environment["XDG_CONFIG_HOME"] = str(lab.folder)
        self.config = lab.config({**SECTIONS, "journal": {"path": str(lab.folder / "journal")}})
        self.server = lab.environment["CYCLONE_SERVER"] = f"tcp://127.0.0.1:{lab.port}"
        lab.master(self.config)
        lab.controller(self.config, "c1")

    def cyclone(self, *arguments: str, exit_code: int = 0) -> Started:
        """A command that has ended."""
        done = self.lab.start("cyclone", *arguments)
        assert done.exits() == exit_code, done.stderr()
        return done

    def submit(self, *arguments: str) -> int:
        """A job; its number."""
        return int(self.cyclone("submit", *arguments).stdout().split(":")[0].removeprefix("job "))

    def kill(self, part: str) -> None:
        """The daemon with this in its command line, and what it has left."""
        found = [pid for pid, text in self.lab.processes(part).items() if "-f" in text]
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        self.lab.wait_until(lambda: not set(found) & set(self.lab.processes()), f"{part} is gone")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with new_lab(tmp_path_factory.mktemp("output")) as lab:
        yield Site(lab)


@pytest.fixture
def client(site: Site) -> Iterator[Client]:
    with Client(site.server) as opened:
        yield opened


def waits(gate: Path) -> str:
    return f"while [ ! -e {gate} ]; do sleep 0.02; done"


def printed(client: Client, job_id: int, index: int = 0, attempt: int = 0) -> list[tuple[str, bytes]]:
    return [(piece.stream, piece.data) for piece in client.read_output(job_id, index, attempt=attempt).read()]


def test_given_a_task_that_runs_when_followed_then_each_line_is_there_before_the_next_is_printed(
    site: Site, client: Client, tmp_path: Path
) -> None:
    job_id = site.submit("--", "sh", "-c", f"echo begun; {waits(tmp_path / 'gate')}; printf failed >&2")
    pieces = (piece for piece in client.read_output(job_id, 0).follow(2.0) if piece)
    first = next(pieces)
    assert (first.attempt, first.controller, first.stream, first.data) == (1, "c1", "stdout", b"begun\n")
    (tmp_path / "gate").touch()
    assert [(piece.stream, piece.offset, piece.data) for piece in pieces] == [("stderr", 6, b"failed")]
    assert client.output(job_id, 0).state == "completed"


def test_given_very_short_tasks_then_each_has_what_it_has_printed_and_nothing_else(site: Site, client: Client) -> None:
    commands = site.submit("--array", "0-59", "--", "sh", "-c", "echo {}; printf 'no end {}' >&2")
    classes = site.submit("--array", "0-199", "--class", "tests.support.sample_tasks:PrintingTask", "-p", "number={}")
    client.wait([commands, classes])
    for index in range(60):
        found = printed(client, commands, index)
        assert sorted(found) == [("stderr", b"no end %d" % index), ("stdout", b"%d\n" % index)]
    for index in range(200):
        assert printed(client, classes, index) == [("stdout", b"%d and no end" % index)]


def test_given_any_way_to_print_then_it_is_known_as_the_tasks_and_what_it_catches_is_not_touched(
    site: Site, client: Client
) -> None:
    expected = {
        "buffer": b"\xff by bytes",
        "descriptor": b"by descriptor",
        "child": b"by a child",
        "fork": b"by a fork\n",
        "elsewhere": b"not caught",
    }
    job_id = site.submit("--class", "tests.support.sample_tasks:OddPrinterTask", "-p", "how={}", ":::", *expected)
    values = {result.index: result.value for result in client.results(job_id)}
    assert {index: value for index, value in values.items() if value} == {4: "caught\n"}
    assert {how: printed(client, job_id, index)[0][1] for index, how in enumerate(expected)} == expected


def test_given_a_task_that_prints_far_too_much_then_the_beginning_is_kept_and_the_master_has_none_of_it(
    site: Site, client: Client
) -> None:
    job_id = site.submit("--", "head", "-c", "100000000", "/dev/zero")
    client.wait([job_id])
    answer = client.output(job_id, 0, bytes_max=0)
    reader = client.read_output(job_id, 0)
    assert b"".join(piece.data for piece in reader.read()) == bytes(STDOUT_MAX)
    assert reader.cut.startswith(f"{100_000_000 - STDOUT_MAX:,} more bytes were discarded")
    assert (answer.size, answer.ended) == (STDOUT_MAX + len(f"{reader.cut}\n"), True)
    site.lab.wait_until(
        lambda: f"printed {100_000_000 - STDOUT_MAX} bytes more, discarded" in _errors(site.lab), "what was discarded"
    )


def test_given_a_task_that_is_tried_again_then_each_attempt_has_its_own_output_and_both_are_followed(
    site: Site, client: Client, tmp_path: Path
) -> None:
    script = f"if [ -e {tmp_path}/tried ]; then echo second; else touch {tmp_path}/tried; echo first; exit 1; fi"
    job_id = site.submit("--retries", "1", "--", "sh", "-c", script)
    followed = [(piece.attempt, piece.data) for piece in client.read_output(job_id, 0).follow(2.0) if piece]
    assert followed == [(1, b"first\n"), (2, b"second\n")]
    assert printed(client, job_id) == [("stdout", b"second\n")]
    assert printed(client, job_id, attempt=1) == [("stdout", b"first\n")]


def test_given_logs_then_they_are_shown_as_they_were_printed_or_as_lines_for_programs(site: Site) -> None:
    job_id = site.submit("--array", "1-2", "--", "sh", "-c", "echo one {}; printf '\\377two\\n'; echo three >&2")
    site.cyclone("wait", str(job_id))
    one = f"{job_id}.0"
    shown = site.lab.start("cyclone", "logs", one)
    assert shown.exits() == 0
    assert shown.stdout_bytes() == b"one 1\n\xfftwo\nthree\n"
    assert site.cyclone("logs", one, "--tail", "1").stdout() == "three\n"
    assert site.cyclone("logs", one, "--stream", "stderr").stdout() == "three\n"
    lines = [msgspec.json.decode(line) for line in site.cyclone("logs", one, "--json").stdout().splitlines()]
    assert [(line["stream"], line.get("line"), line.get("base64")) for line in lines] == [
        ("stdout", "one 1", None),
        ("stdout", None, "/3R3bw=="),
        ("stderr", "three", None),
    ]
    result = msgspec.json.decode(site.cyclone("results", one).stdout())
    assert (result["value"]["stdout"], result["value"]["stderr"]) == ({"base64": "b25lIDEK/3R3bwo="}, "three\n")
    with_headers = site.cyclone("logs", str(job_id), "--stream", "stderr").stdout()
    assert with_headers == f"==> {job_id}.0 <==\nthree\n==> {job_id}.1 <==\nthree\n"
    assert "has no task 7" in site.cyclone("logs", f"{job_id}.7", exit_code=1).stderr()


def test_given_more_than_is_kept_of_a_task_then_logs_and_show_say_how_much_is_missing_and_why(site: Site) -> None:
    job_id = site.submit("--", "sh", "-c", "head -c 2000000 /dev/zero | tr '\\0' x")
    site.cyclone("wait", str(job_id))
    said = "1,934,464 more bytes were discarded: [processing] stdout_max_bytes = 64KiB"
    logs = site.cyclone("logs", str(job_id))
    assert logs.stdout() == "x" * 65536
    assert logs.stderr() == f"task {job_id}.0: it has printed more: {said}\n"
    assert said in site.cyclone("show", f"{job_id}.0").stdout()


def test_given_a_run_then_its_command_prints_as_it_goes_and_exits_as_it_exits(site: Site, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    script = f"printf 'o\\377ut\\n'; echo err >&2; {waits(gate)}; printf end; exit 3"
    run = site.lab.start("cyclone", "run", "--", "sh", "-c", script)
    site.lab.wait_until(lambda: run.stderr() == "err\n", "what it prints")
    assert run.stdout_bytes() == b"o\xffut\n"
    gate.touch()
    assert run.exits() == 3
    assert run.stdout_bytes() == b"o\xffut\nend"
    assert run.stderr() == "err\n"


def test_given_a_master_that_is_killed_while_a_task_is_followed_then_each_line_is_told_once(
    site: Site, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    run = site.lab.start("cyclone", "run", "--", "sh", "-c", f"echo begun; {waits(gate)}; echo ended")
    site.lab.wait_until(lambda: run.stdout() == "begun\n", "what it prints")
    site.kill("cyclone-master")
    site.lab.master(site.config)
    gate.touch()
    assert run.exits() == 0
    assert run.stdout() == "begun\nended\n"


def test_given_daemons_that_are_killed_then_what_was_printed_is_there_as_soon_as_they_are_back(
    site: Site, client: Client
) -> None:
    job_id = site.submit("--", "echo", "survives")
    client.wait([job_id])
    site.kill("cyclone-controller")
    site.lab.wait_until(lambda: "c1 is not connected since 20" in client.output(job_id, 0).text, "c1 is away")
    began = time.monotonic()
    assert "state_dir, and can be fetched when it is back" in site.cyclone("logs", str(job_id), exit_code=1).stderr()
    assert time.monotonic() - began < 3.0, "nobody is waited for who cannot answer"
    site.kill("cyclone-master")
    site.lab.master(site.config)
    site.lab.controller(site.config, "c1")
    assert printed(client, job_id) == [("stdout", b"survives\n")]


def test_given_no_such_task_then_it_is_said(client: Client) -> None:
    with pytest.raises(CycloneError, match=r"there is no task 999\.0"):
        client.output(999, 0)


def _errors(lab: Lab) -> str:
    return "".join(path.read_text() for path in lab.folder.glob("*.stderr"))
