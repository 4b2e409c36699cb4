"""Private clusters: the journal of an Executor's, where its tasks print, and that of `cyclone run`."""

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from cyclone import Executor
from cyclone.errors import AlreadyRunning, ConfigError
from cyclone.journal.stats import read_stats
from tests.support.lab import Lab
from tests.support.procfs import wait_until

WAIT_S = 30

LEFT_BEHIND = """
import os, time
from cyclone import Executor

def touch(path):
    time.sleep(0.1)
    open(path, "w").close()

executor = Executor(workers=1, journal="left")
# All travel at once, so that with the first of them all are recorded. The iterator lives: dropped, it cancels the rest.
done = executor.map(touch, [os.path.abspath(f"done-{number}") for number in range(4)])
next(done)
os.kill(os.getpid(), 9)
"""


TALKATIVE = """
import os, subprocess, sys
from cyclone import Executor

def talk(number):
    print("printed", number)
    print("warned", number, file=sys.stderr)
    os.write(1, b"by the descriptor\\n")
    subprocess.run(["echo", "by a child"])
    sys.stdout.write("no end of line")

with Executor(workers=1) as executor:
    list(executor.map(talk, [1, 2]))
"""


def square(x: int) -> int:
    return x * x


def test_given_a_journal_then_a_private_cluster_that_is_killed_goes_on_and_loses_nothing(tmp_path: Path) -> None:
    journal = tmp_path / "night.journal"
    with Executor(workers=1, journal=journal) as executor:
        killed = executor.cluster_pid
        results = executor.map(square, range(10_000))
        first = [next(results) for _ in range(1000)]
        with pytest.raises(AlreadyRunning, match=rf"another master has it \(process {killed}\)"):
            Executor(workers=1, journal=journal)
        os.kill(killed, signal.SIGKILL)
        late = executor.submit(square, -3)
        assert [*first, *results] == [x * x for x in range(10_000)]
        assert late.result(WAIT_S) == 9
        assert executor.cluster_pid not in (0, killed)
    stats = read_stats(journal)
    assert (stats.epochs, stats.tasks["completed"], stats.last_id) == (2, 10_001, 10_001)


def test_given_a_journal_of_a_program_that_was_killed_then_the_next_one_does_what_it_left(lab: Lab) -> None:
    started = lab.start(sys.executable, "-c", LEFT_BEHIND)
    assert started.exits() == -signal.SIGKILL, started.stderr()
    lab.all_gone()
    assert len(list(lab.folder.glob("done-*"))) < 4
    with Executor(workers=2, journal=lab.folder / "left"):
        wait_until(lambda: len(list(lab.folder.glob("done-*"))) == 4, "the tasks of the former program are done")


def test_given_a_journal_where_none_can_be_then_the_constructor_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder: name a file in it"):
        Executor(workers=1, journal=tmp_path)
    with pytest.raises(ValueError, match="journal belongs to a private cluster"):
        Executor(connect="tcp://127.0.0.1:1", journal=tmp_path / "journal")


def test_given_tasks_that_print_then_it_comes_out_where_the_program_prints(lab: Lab) -> None:
    started = lab.start(sys.executable, "-c", TALKATIVE)
    assert started.exits() == 0, started.stderr()
    of_each = "printed {}\nby the descriptor\nby a child\nno end of line"
    assert started.stdout() == of_each.format(1) + of_each.format(2)
    assert started.stderr() == "warned 1\nwarned 2\n"


def test_given_a_program_without_standard_output_then_its_tasks_print_to_nobody(lab: Lab) -> None:
    started = lab.start("sh", "-c", f"exec {sys.executable} -c '{TALKATIVE}' >&-")
    assert started.exits() == 0, started.stderr()
    assert started.stderr() == "warned 1\nwarned 2\n"


def test_given_a_run_then_no_port_is_open_and_nobody_else_may_enter_its_folder(lab: Lab) -> None:
    run = lab.run(lab.script({"what": "gate", "value": "gate"}))
    lab.noted("start", 1)
    master = psutil.Process(run.pid)
    everybody = [master, *master.children(recursive=True)]
    assert [process.net_connections("inet") for process in everybody] == [[]] * len(everybody)
    files = {Path(str(one.laddr)) for one in master.net_connections("unix") if one.laddr}
    assert {path.parent.stat().st_mode & 0o777 for path in files} == {0o700}
    lab.open("gate")
    assert run.exits() == 0, run.stderr()


WITHOUT = """
import os
from cyclone import Executor

with Executor(workers=1) as executor:
    # As a task of a program that nobody looks at does.
    found = list(executor.map(print, ["said"])), executor.submit(abs, -5).result()
open("found-" + os.environ["CLOSED"], "w").write(repr(found))
"""


def test_given_programs_without_standard_files_then_they_use_an_executor_as_others_do(lab: Lab) -> None:
    closed = {"out": ">&-", "error": "2>&-", "all": "<&- >&- 2>&-", "later": ""}
    late = "import os; [os.close(number) for number in range(3)]"
    started = []
    for name, files in closed.items():
        script = f"{late if name == 'later' else ''}{WITHOUT}"
        command = f'exec "$0" -c "$1" {files}'
        started.append(lab.start("sh", "-c", command, sys.executable, script, environment={"CLOSED": name}))
    for one in started:
        assert one.exits() == 0, one.stderr()
        assert "Traceback" not in one.stderr()
    assert {path.name: path.read_text() for path in lab.folder.glob("found-*")} == {
        f"found-{name}": "([None], 5)" for name in closed
    }
