"""A generator process that is killed again and again, and the feed that starts the next one where it had come to."""

import os
import random
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cyclone import values
from cyclone.master.generator.feed import Feed, FeedOptions
from cyclone.master.generator.task_options import TaskDefaults
from cyclone.processes import Guard
from tests.support import workload
from tests.support.generator_lives import Book
from tests.support.odd_generators import Counter

LIMIT_S = 60.0
ROOT = Path(__file__).parents[2]


@pytest.fixture
def guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guard]:
    monkeypatch.setenv(workload.FOLDER, str(tmp_path))
    with_end = Guard()
    yield with_end
    with_end.close()


def options(name: str) -> FeedOptions:
    return FeedOptions(
        {
            "class": f"tests.support.odd_generators:{name}",
            "sections": {},
            "folder": str(ROOT),
            "search_path": [str(ROOT)],
            "log": {"filename": None, "format": "text", "level": "warning"},
            "task_defaults": TaskDefaults(),
        }
    )


def value_of_act(properties: list[int]) -> int:
    return properties[1]


def live(book: Book, feed: Feed, kill_after: int | None) -> bool:
    """A generator's life; whether it came to its end. It is killed when so many messages have come."""
    delivered = book.progress.cursor_consumed
    until = time.monotonic() + LIMIT_S
    finished = False
    poller = select.poll()
    poller.register(feed.pidfd, select.POLLIN)
    while feed.summary is None:
        assert time.monotonic() < until, "the generator has come to a stop"
        poller.register(feed.channel.fileno(), select.POLLIN | (select.POLLOUT if feed.channel.unsent_bytes else 0))
        ready = dict(poller.poll(LIMIT_S * 1000))
        if ready.get(feed.channel.fileno(), 0) & select.POLLOUT:
            feed.channel.write()
        for message in feed.read():
            book.record(message)
        if feed.pidfd in ready and feed.summary is None:
            feed.ended()
            return False
        if kill_after is not None and len(book.messages) >= kill_after:
            os.kill(feed.pid, signal.SIGKILL)
            kill_after = None
        if len(book.ended) < len(book.args):
            # First come, first served.
            first = len(book.ended)
            book.end(first, min(len(book.args), first + book.rng.randint(1, 300)))
        if feed.wants_results:
            for number in range(delivered + 1, len(book.blocks) + 1):
                feed.deliver(number, book.blocks[number - 1])
            delivered = len(book.blocks)
            feed.flush()
        feed.grant(book.progress.pulled + 100)
        if book.done and not finished:
            finished = True
            feed.finish()
    return True


@pytest.mark.parametrize("name", ["Counter", "CursorCounter"])
def test_given_a_generator_that_is_killed_again_and_again_then_each_task_is_there_once(name: str, guard: Guard) -> None:
    book = Book(seed=1, value_of=value_of_act)
    rng = random.Random(1)
    lives = 0
    while True:
        lives += 1
        feed = Feed(guard, options(name), book.progress)
        # How much a message holds depends on the machine; the first kills leave something to do for the others.
        kill_after = len(book.messages) + rng.randint(1, 5 if lives <= 3 else 40) if lives <= 6 else None
        try:
            if live(book, feed, kill_after):
                break
            assert feed.died
            assert feed.failure is not None and "signal 9" in feed.failure.message
        finally:
            feed.close()

    assert lives > 3
    limit = Counter.limit
    made = {-number for number in range(1, limit + 1)} | {limit + number for number in range(1, limit + 1)}
    expected = sorted({*range(1, limit + 1), *made})
    assert sorted(value_of_act(values.decode(args)) for args in book.args) == expected
    assert feed.summary == {"seen": len(expected), "sum": sum(expected)}


def test_given_an_exception_of_user_code_then_it_did_not_die(guard: Guard) -> None:
    book = Book(seed=1)
    feed = Feed(guard, options("BadConstructor"), book.progress)
    try:
        assert not live(book, feed, None)
        assert feed.failure is not None and "odd" in feed.failure.message
        assert not feed.died
    finally:
        feed.close()
