"""A lab for each test, and one MariaDB for all."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.lab import Lab, new_lab

if TYPE_CHECKING:
    from tests.support.mariadb import MariaDb


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with new_lab(tmp_path) as one:
        yield one


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty data folder of MariaDB."""
    from tests.support.mariadb import install

    return install(tmp_path_factory.mktemp("db") / "template")


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory, template: Path) -> "Iterator[MariaDb]":
    from tests.support.mariadb import MariaDb

    database = MariaDb(tmp_path_factory.mktemp("db") / "d", template)
    yield database
    database.kill()


@pytest.fixture
def server(shared_server: "MariaDb") -> "MariaDb":
    """The server with an empty database."""
    from tests.support.mariadb import DATABASE

    shared_server.execute(f"DROP DATABASE {DATABASE}")
    shared_server.execute(f"CREATE DATABASE {DATABASE}")
    return shared_server
