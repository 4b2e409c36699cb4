"""Every command of README.md, the tutorial and the other walk-throughs does what the page says.

A page is one session in a private copy of this folder, read from top to bottom:

- a block whose first line is a comment with a file name alone (``# words.py``) is that file;
- in a ``console`` block, lines with ``$`` are commands for the shell, the others are what they print: each must come
  out, in whatever order, since standard output and standard error are two streams; ``...`` stands for anything, and
  figures behind ``time`` and ``rate`` may differ;
- a command exits with 0, unless the next one is ``echo $?``;
- a daemon keeps running beside what follows, and must end with 0 when the page is over, by itself or, where the page
  leaves them running, told by SIGTERM, having printed what is shown behind it; other commands find the master's port in
  ``$CYCLONE_SERVER``, as another master may run on this machine;
- of ``make`` only the target is looked up: these tests are one of them.
"""

import os
import shutil
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import mariadb
from tests.support.lab import free_port
from tests.support.pages import ROOT, Session
from tests.support.parts import PARTS, environment
from tests.support.pushgateway import Pushgateway

NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "runs", "tests")


@contextmanager
def session(folder: Path, **options: object) -> Iterator[Session]:
    shutil.copytree(ROOT, folder / "clone", ignore=NOT_COPIED)
    started = Session(folder / "clone", **options)  # type: ignore[arg-type]
    try:
        yield started
    finally:
        started.close()


def new_environment(folder: Path) -> Path:
    """The programs of an empty one. Its pip is the one of this Python, since to unpack another takes seconds."""
    venv.create(folder)
    pip = folder / "bin" / "pip"
    pip.write_text(f'#!/bin/sh\nexec {sys.executable} -m pip --python {folder}/bin/python "$@"\n', encoding="utf-8")
    pip.chmod(0o700)
    return pip.parent


@pytest.mark.timeout(180)
@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md", "docs/security.md", "docs/migrating-from-2.md"])
def test_given_a_page_when_its_files_are_made_and_its_commands_run_then_they_do_what_it_says(
    page: str, tmp_path: Path
) -> None:
    programs = ""
    if "$ pip install " in (ROOT / page).read_text(encoding="utf-8"):
        programs = str(new_environment(tmp_path / "environment"))
    with session(tmp_path, path=programs) as opened:
        opened.run(page)
        opened.end(stop=page == "README.md")


@pytest.mark.timeout(180)
def test_given_the_lustre_page_when_run_against_real_servers_then_each_line_does_what_it_says(tmp_path: Path) -> None:
    database = mariadb.MariaDb(tmp_path / "db", mariadb.install(tmp_path / "template"))
    gateway = Pushgateway(tmp_path)
    # Who the administrator of the database is, as on a host where root is.
    (tmp_path / "my.cnf").write_text(f"[client]\nuser = root\nsocket = {database.socket}\n", encoding="utf-8")
    fake = tmp_path / "clone" / "fake-lustre" / "bin"
    options = {
        "path": os.pathsep.join(map(str, (fake, PARTS / "usr/bin"))),
        "variables": {**environment(), "MYSQL_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        "replaced": {
            "/run/mysqld/mysqld.sock": str(database.socket),
            "9091": gateway.url.rpartition(":")[2],
            **{port: str(free_port()) for port in ("5777", "5888", "9090", "9777", "9888")},
        },
    }
    try:
        with gateway.running(), session(tmp_path, **options) as opened:
            opened.run("docs/lustre.md")
            opened.end(stop=True)
    finally:
        database.kill()


def test_given_a_page_that_installs_and_nobody_who_says_where_to_then_it_changes_nothing(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    command = f"$ {sys.executable} -m pip uninstall --yes nothing-of-this-name\n"
    refusal = "ERROR: Could not locate Python interpreter ...\n$ echo $?\n1\n"
    page.write_text(f"```console\n{command}{refusal}```\n", encoding="utf-8")
    (tmp_path / "clone").mkdir()
    opened = Session(tmp_path / "clone")
    try:
        opened.run(str(page))
    finally:
        opened.close()
