"""What a journal is opened on, and what is refused: by another master, another generator, of another kind."""

import os
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from cyclone.errors import AlreadyRunning, ConfigError
from cyclone.journal import Origin, SqliteJournal, open_journal, schema
from cyclone.master.journal import JournalBroken
from tests.support.journals import JOBS, ORIGIN, added, all_closed

Opened = Callable[..., SqliteJournal]


def test_given_another_master_then_opening_names_its_process(opened: Opened, path: Path) -> None:
    journal = opened()
    with pytest.raises(AlreadyRunning, match=f"process {os.getpid()}"):
        open_journal(path, ORIGIN)
    journal.close()
    opened()


def test_given_a_second_writer_in_spite_of_the_lock_then_the_first_one_is_fenced(opened: Opened) -> None:
    first = opened()
    first._lock.close()
    second = opened()
    second.append(JOBS)
    with pytest.raises(JournalBroken, match="epoch 1 is over"):
        first.append([added(1, 1)])
    with pytest.raises(JournalBroken):
        first.append([added(1, 1)])
    assert next(second.recover()) == all_closed(0, 0, {})


@pytest.mark.parametrize(
    ("origin", "message"),
    [
        (Origin("other:Class", ORIGIN.options), "was tests.generators:Numbers, now it is other:Class"),
        (Origin(ORIGIN.generator_class, {"numbers": {"count": "9"}}), r"\[numbers\] count was '100', now it is '9'"),
        (Origin(ORIGIN.generator_class, {}), r"\[numbers\] count was '100', now it is not set"),
    ],
)
def test_given_another_origin_then_it_is_refused_with_the_difference(
    opened: Opened, origin: Origin, message: str
) -> None:
    opened().close()
    with pytest.raises(ConfigError, match=message):
        opened(origin=origin)
    assert opened().epoch == 2


def test_given_a_newer_version_then_it_is_refused(opened: Opened, path: Path) -> None:
    opened().close()
    with apsw.Connection(str(path)) as db:
        db.pragma("user_version", schema.SCHEMA_VERSION + 1)
    with pytest.raises(ConfigError, match="newer Cyclone"):
        opened()


def test_given_a_database_of_another_program_then_it_is_refused(opened: Opened, path: Path) -> None:
    apsw.Connection(str(path)).execute("CREATE TABLE theirs(a)")
    with pytest.raises(ConfigError, match="no journal of Cyclone"):
        opened()


def test_given_a_file_that_is_no_database_then_the_message_names_what_helps(opened: Opened, path: Path) -> None:
    path.write_bytes(b"a diary, perhaps" * 500)
    with pytest.raises(JournalBroken, match="(?s)journal verify.*journal salvage"):
        opened()


def test_given_no_file_and_none_to_be_made_then_it_is_refused(opened: Opened, path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        opened(create=False)
    path.touch()
    with pytest.raises(ConfigError, match="empty"):
        opened(create=False)
