"""Random turns of a master against the journal and a model: whatever happens in between, both know the same."""

import random
from pathlib import Path

import pytest

from cyclone.journal import open_journal
from tests.support.journal_checks import check, check_file, check_results
from tests.support.journals import ORIGIN, Book, finish, kill, random_turns


@pytest.mark.parametrize("seed", range(12))
def test_random_turns_with_housekeeping_and_crashes_lose_nothing(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    path = tmp_path / "journal.sqlite"
    journal = open_journal(path, ORIGIN)
    book = Book()
    for events in random_turns(seed, 60, size=rng.choice((1, 5, 40))):
        journal.append(events)
        book.add(events)
        if rng.random() < 0.3:
            journal.tend(0, idle=rng.random() < 0.5)
        if rng.random() < 0.1:
            kill(journal) if rng.random() < 0.5 else journal.close()
            epoch = journal.epoch
            journal = open_journal(path, ORIGIN)
            assert journal.epoch == epoch + 1
            check(journal, book)
        if rng.random() < 0.1:
            check_file(path, book)
            check_results(journal, book, after=rng.randint(0, len(book.numbers)))
    finish(journal)
    check(journal, book)
    journal.close()
    check_file(path, book)


@pytest.mark.parametrize("seed", range(4))
def test_results_that_are_read_while_blocks_are_closed_come_once_and_in_order(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    journal = open_journal(tmp_path / "journal.sqlite", ORIGIN)
    turns = random_turns(seed, 80, size=8)
    book = Book()
    numbers: list[int] = []
    reader = journal.results_after(0)
    for events in turns:
        journal.append(events)
        book.add(events)
        if rng.random() < 0.5:
            journal.tend(0, idle=True)
        while len(numbers) < len(book.numbers) and rng.random() < 0.6:
            numbers.append(next(reader)[0])
    numbers += [number for number, _ in reader]
    assert numbers == [event.number for event in book.numbers]
    journal.close()
