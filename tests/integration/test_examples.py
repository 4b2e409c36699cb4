"""The programs of examples/, each killed in the middle of its work and started again."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cyclone.client.client import Client
from tests.support.lab import ROOT, Lab, Started, new_lab

PAGES = 40
STALLS_AT = 12


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Lab]:
    """A lab with a master that takes jobs, and no controller yet."""
    with new_lab(tmp_path) as lab:
        lab.config({"task_generator": {}, "clients": {"submit": "yes"}, "journal": {"path": str(lab.folder / "j")}})
        lab.master(lab.folder / "test.conf")
        lab.environment["CYCLONE_SERVER"] = f"tcp://127.0.0.1:{lab.port}"
        yield lab


def example(lab: Lab, name: str, *arguments: str | Path) -> Started:
    return lab.start(sys.executable, ROOT / "examples" / f"{name}.py", *arguments)


def kill(lab: Lab, started: Started) -> None:
    started.signal(signal.SIGKILL)
    assert started.exits() == -signal.SIGKILL


def jobs(lab: Lab) -> dict[str, dict[str, int]]:
    """The tasks of each job by state."""
    with Client(lab.environment["CYCLONE_SERVER"]) as client:
        return {job.name: job.tasks for job in client.jobs()}


def site(folder: Path) -> Path:
    """Pages that form a binary tree, with links back to the first. Whoever reads one of them waits for its writer."""
    folder.mkdir()
    for number in range(PAGES):
        path = folder / page(number)
        if number == STALLS_AT:
            os.mkfifo(path)
        else:
            path.write_text(text(number))
    return folder


def text(number: int) -> str:
    links = [n for n in (0, 2 * number + 1, 2 * number + 2) if n < PAGES]
    return "".join(f"<a href='{page(n)}'>{n}</a>" for n in links)


def page(number: int) -> str:
    return f"{number}.html" if number else "index.html"


def test_given_a_crawl_that_is_killed_with_its_master_when_started_again_then_each_page_is_told_once(
    server: Lab, tmp_path: Path
) -> None:
    pages = site(tmp_path / "site")
    before = example(server, "crawl", pages)
    before.says("job 1")
    kill(server, before)
    server.controller(server.folder / "test.conf", "one")
    crawl = example(server, "crawl", pages)
    server.wait_until(lambda: len(crawl.stdout().splitlines()) == STALLS_AT, "it waits for a page")
    kill(server, crawl)
    (master,) = [pid for pid, text in server.processes("cyclone-master").items() if "-f" in text]
    os.kill(master, signal.SIGKILL)
    server.master(server.folder / "test.conf")
    again = example(server, "crawl", pages)
    again.says("job 1")
    (pages / page(STALLS_AT)).write_text(text(STALLS_AT))
    assert again.exits() == 0, again.stderr()
    # Nothing was marked before the kill, so all is told again.
    assert [line.split()[0] for line in again.stdout().splitlines()] == [page(number) for number in range(PAGES)]
    assert again.stdout().splitlines()[STALLS_AT].split() == [page(STALLS_AT), "3"]
    assert f"{PAGES} pages, 0 of them could not be read" in again.stderr()
    assert jobs(server) == {"crawl": {"processed": PAGES}}
    # Whoever starts it once more has been told everything.
    last = example(server, "crawl", pages)
    assert last.exits() == 0, last.stderr()
    assert last.stdout() == ""
    assert jobs(server) == {"crawl": {"processed": PAGES}}


def test_given_a_sum_that_is_killed_twice_when_started_again_then_nothing_is_added_twice(server: Lab) -> None:
    arguments = ("50000", "--numbers-per-task", "10")
    before = example(server, "tree_sum", *arguments)
    before.says("level 0: job 1")
    kill(server, before)
    server.controller(server.folder / "test.conf", "one")
    second = example(server, "tree_sum", *arguments)
    second.says("level 1: job 2")
    kill(server, second)
    last = example(server, "tree_sum", *arguments)
    assert last.exits() == 0, last.stderr()
    assert last.stdout() == f"{sum(range(50_001))}\n"
    lengths = (5000, 500, 50, 5, 1)
    assert jobs(server) == {f"sum-50000-{level}": {"processed": count} for level, count in enumerate(lengths)}
