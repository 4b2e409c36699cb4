"""A generator that goes on after a crash: the host in this process, in one thread, with a master that is a book."""

import logging
import random
import zlib
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from cyclone import BaseTask, BaseTaskGenerator, TaskResult, values
from cyclone.errors import NotSerialisable, PluginError
from cyclone.master.generator import feed_pipe, outgoing
from cyclone.master.generator.progress import GeneratorProgress
from cyclone.task import TaskSerialiser
from tests.support.generator_lives import Book, Life, live
from tests.support.sample_tasks import KeyTask, PlainTask

ROOTS = 8
DEPTH_MAX = 2
SEEDS = 20


def children_of(name: str) -> list[str]:
    """Deterministic by the name alone: none, one or a few."""
    if name.count(".") >= DEPTH_MAX:
        return []
    return [f"{name}.{number}" for number in range(zlib.crc32(name.encode()) % 4)]


def whole_tree(roots: int = ROOTS) -> list[str]:
    names = [str(number) for number in range(roots)]
    for name in names:
        names += children_of(name)
    return sorted(names)


class Tree(BaseTaskGenerator):
    """``generate()`` yields the roots, each result its children; without a cursor."""

    def __init__(self, config: Any = None) -> None:
        super().__init__(config or {})
        self.yielded = 0
        self.seen = 0

    def generate(self) -> Iterator[BaseTask]:
        while self.yielded < ROOTS:
            self.yielded += 1
            yield PlainTask(str(self.yielded - 1))

    def on_result(self, result: TaskResult) -> Any:
        self.seen += 1
        return [PlainTask(name) for name in children_of(result.value)]

    def summary(self) -> dict[str, Any]:
        return {"seen": self.seen}


class LazyTree(Tree):
    """Makes the children only as they are asked for, and each in a step of its own."""

    def on_result(self, result: TaskResult) -> Iterator[BaseTask]:
        self.seen += 1
        for name in children_of(result.value):
            yield PlainTask(name)


class MixedTree(Tree):
    """All that ``on_result`` may return."""

    def on_result(self, result: TaskResult) -> Any:
        self.seen += 1
        names = children_of(result.value)
        if len(names) < 2:
            return PlainTask(names[0]) if names else None
        return (PlainTask(name) for name in names)


class WithCursor(BaseTaskGenerator):
    yielded: int
    seen: int

    def cursor(self) -> list[int]:
        return [self.yielded, self.seen]

    def resume(self, cursor: list[int]) -> None:
        self.yielded, self.seen = cursor


class CursorTree(WithCursor, Tree):
    pass


class LazyCursorTree(WithCursor, LazyTree):
    pass


class MixedCursorTree(WithCursor, MixedTree):
    pass


class SometimesCursorTree(WithCursor, LazyTree):
    """Has a cursor only where it suits it."""

    def cursor(self) -> Any:
        return [self.yielded, self.seen] if self.yielded % 3 == 0 else None


class Rounds(Tree):
    """Waits for the results of a round before it begins the next."""

    def generate(self) -> Iterator[BaseTask]:
        self.served = 0
        for first in range(0, ROOTS, 2):
            for number in (first, first + 1):
                yield PlainTask(str(number))
            while self.served < first + 2:
                self.wait(60)

    def on_result(self, result: TaskResult) -> Any:
        self.served += "." not in result.value
        return super().on_result(result)


TREES = [Tree, LazyTree, MixedTree, CursorTree, LazyCursorTree, MixedCursorTree, SometimesCursorTree, Rounds]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "BLOCK_TASKS", 3)


def check_whole(book: Book) -> None:
    assert sorted(book.tasks()) == whole_tree()
    assert (book.progress.pulled, book.progress.exhausted) == (ROOTS, True)
    assert book.summary == {"seen": len(book.args)}


@pytest.mark.parametrize("tree", TREES)
def test_given_a_crash_after_any_message_then_each_task_is_there_once_and_each_result_counts_once(
    tree: type[Tree], small_blocks: None
) -> None:
    messages = len(live(Book(seed=1), tree, []).messages)
    assert messages > 20

    for kill_after in range(messages):
        check_whole(live(Book(seed=1), tree, [kill_after]))


@pytest.mark.parametrize("tree", TREES)
def test_given_crash_after_crash_then_each_task_is_there_once_and_each_result_counts_once(
    tree: type[Tree], small_blocks: None
) -> None:
    for seed in range(SEEDS):
        rng = random.Random(seed)
        check_whole(live(Book(seed), tree, [rng.randint(0, 12) for _ in range(rng.randint(1, 8))]))


def test_given_a_book_that_forgets_where_it_was_then_the_check_shows_it() -> None:
    class Forgetful(Book):
        def _advance(self, progress: GeneratorProgress) -> None:
            self.progress = GeneratorProgress(exhausted=progress.exhausted)

    with pytest.raises(AssertionError):
        check_whole(live(Forgetful(seed=1), LazyTree, [20]))


@pytest.mark.parametrize(
    ("tree", "cursor", "progress", "added"),
    [
        (Tree, None, GeneratorProgress(), 8),
        (Tree, None, GeneratorProgress(pulled=5), 3),
        (Tree, None, GeneratorProgress(pulled=8), 0),
        (Tree, None, GeneratorProgress(pulled=8, exhausted=True), 0),
        (CursorTree, [5, 0], GeneratorProgress(cursor_pulled=5, pulled=5), 3),
        (CursorTree, [5, 0], GeneratorProgress(cursor_pulled=5, pulled=7), 1),
        (CursorTree, [5, 0], GeneratorProgress(cursor_pulled=5, pulled=7, exhausted=True), 0),
    ],
)
def test_given_what_was_pulled_then_generate_adds_the_rest(
    tree: type[Tree], cursor: Any, progress: GeneratorProgress, added: int
) -> None:
    book = Book(seed=1)
    book.executes = False
    book.progress = progress if cursor is None else msgspec.structs.replace(progress, cursor=values.encode(cursor))
    Life(book, tree()).run()

    assert book.tasks() == [str(number) for number in range(ROOTS)][ROOTS - added :]
    assert book.progress.exhausted
    assert book.progress.pulled == progress.pulled + added


class Answers(BaseTaskGenerator):
    """Three tasks for each result."""

    def generate(self) -> Iterator[BaseTask]:
        yield from ()

    def on_result(self, result: TaskResult) -> Iterator[BaseTask]:
        return (PlainTask(f"{result.value}{ordinal}") for ordinal in "123")


@pytest.mark.parametrize(
    ("consumed", "rows", "made", "expected"),
    [
        (0, 0, 0, ["a1", "a2", "a3", "c1", "c2", "c3", "d1", "d2", "d3"]),
        (0, 0, 1, ["a2", "a3", "c1", "c2", "c3", "d1", "d2", "d3"]),
        (0, 0, 3, ["c1", "c2", "c3", "d1", "d2", "d3"]),
        (0, 1, 0, ["c1", "c2", "c3", "d1", "d2", "d3"]),
        (0, 1, 2, ["c3", "d1", "d2", "d3"]),
        (1, 0, 0, ["d1", "d2", "d3"]),
        (1, 0, 2, ["d3"]),
        (2, 0, 0, []),
    ],
)
def test_given_results_delivered_again_then_what_was_made_of_them_is_passed_over_up_to_that_place(
    consumed: int, rows: int, made: int, expected: list[str]
) -> None:
    for seed in range(5):
        book = Book(seed)
        book.executes = False
        book.classes, book.args, book.keys = ["m:C"] * 4, [values.encode([name]) for name in "abcd"], [b""] * 4
        # "b" had its result earlier, from elsewhere: the first block has it, but it does not count.
        book.ended = {1}
        book.end(0, 3)
        book.end(3, 4)
        book.progress = GeneratorProgress(consumed=consumed, consumed_rows=rows, made=made)
        Life(book, Answers({})).run()

        assert book.tasks()[4:] == expected
        assert (book.progress.consumed, book.progress.consumed_rows, book.progress.made) == (2, 0, 0)


@pytest.mark.parametrize("tree", [Tree, CursorTree])
def test_given_results_in_peace_then_each_delivery_is_answered_and_the_cursor_has_come_as_far(tree: type[Tree]) -> None:
    book = live(Book(seed=2), tree, [])

    last = book.progress
    assert (last.consumed, last.pulled, last.exhausted) == (len(book.blocks), ROOTS, True)
    assert (last.cursor_consumed, last.cursor_pulled) == ((last.consumed, ROOTS) if tree is CursorTree else (0, 0))


def test_given_a_slow_generator_then_its_cursor_keeps_up_with_what_the_other_thread_sends() -> None:
    book = Book(seed=1)
    book.executes = False
    # The other thread sends each task at once, and before there is a cursor that covers it.
    book.rng.random = lambda: 0.0  # type: ignore[method-assign]
    Life(book, CursorTree()).run()

    behind = [
        message.progress.pulled - message.progress.cursor_pulled
        for message in book.messages
        if isinstance(message, feed_pipe.Block)
    ]
    assert len(behind) == ROOTS
    assert max(behind) <= 2


def test_given_a_generator_with_a_cursor_then_the_first_message_has_one_before_anything_is_read() -> None:
    book = Book(seed=1)

    class Reads(CursorTree):
        def generate(self) -> Iterator[BaseTask]:
            self.told_before = list(book.messages)
            yield from ()

    generator = Reads()
    assert Life(book, generator).run()

    assert generator.told_before == [feed_pipe.Advanced(GeneratorProgress(cursor=values.encode([0, 0])))]


def test_given_a_cursor_without_a_way_back_then_the_class_is_refused_at_once() -> None:
    class OneWay(Tree):
        def cursor(self) -> int:
            return 1

    with pytest.raises(PluginError, match=r"OneWay defines cursor\(\) but not resume\(\)"):
        Life(Book(seed=1), OneWay())


def test_given_a_cursor_that_has_no_form_then_it_is_named() -> None:
    class Odd(CursorTree):
        def cursor(self) -> Any:
            return {1}

    with pytest.raises(NotSerialisable, match=r"Odd: what cursor\(\) returned holds a builtins.set"):
        Life(Book(seed=1), Odd()).run()


def test_given_a_recorded_cursor_that_the_class_does_not_know_then_the_class_is_named() -> None:
    book = Book(seed=1)
    book.progress = GeneratorProgress(cursor=values.encode(1))

    with pytest.raises(NotImplementedError, match=r"Tree does not define resume\(\)"):
        Life(book, Tree()).run()


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (GeneratorProgress(pulled=ROOTS + 2), "generate() has yielded 8 tasks, and 10 before"),
        (GeneratorProgress(pulled=ROOTS - 1, exhausted=True), "generate() has yielded 8 tasks, and 7 before"),
        (GeneratorProgress(pulled=ROOTS, exhausted=True), ""),
        (GeneratorProgress(pulled=ROOTS - 1), ""),
    ],
)
def test_given_another_number_of_tasks_than_before_then_it_is_said(
    before: GeneratorProgress, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    book = Book(seed=1)
    book.executes = False
    book.progress = before

    with caplog.at_level(logging.WARNING, "cyclone.generator"):
        Life(book, Tree()).run()

    assert said in caplog.text
    assert bool(said) == bool(caplog.text)


def test_given_a_wait_in_on_result_then_it_is_refused() -> None:
    class Waits(Tree):
        def on_result(self, result: TaskResult) -> None:
            self.wait(1)

    with pytest.raises(RuntimeError, match=r"not for on_result\(\)"):
        Life(Book(seed=1), Waits()).run()


def test_given_an_on_result_that_lets_a_stop_iteration_out_then_that_is_an_error_and_not_the_end_of_the_results() -> (
    None
):
    class Careless(Tree):
        def on_result(self, result: TaskResult) -> Any:
            return next(iter(()))

    with pytest.raises(StopIteration):
        Life(Book(seed=1), Careless()).run()


def test_given_keys_then_they_travel_beside_their_tasks_and_only_where_there_are_any() -> None:
    class Keyed(BaseTaskGenerator):
        def generate(self) -> Iterator[BaseTask]:
            yield from (PlainTask(1), PlainTask(2))
            self.wait(1)
            yield from (KeyTask("a"), PlainTask(3), KeyTask(None), KeyTask("a"))
            self.wait(1)
            yield KeyTask(None)

    book = Book(seed=1)
    book.executes = False
    life = Life(book, Keyed({}))
    life.book.rng.random = lambda: 1.0  # type: ignore[method-assign]
    life._granted = 10
    life.run()

    blocks = [message for message in book.messages if isinstance(message, feed_pipe.Block)]
    key = TaskSerialiser(KeyTask).identity(KeyTask("a"))  # type: ignore[misc]
    assert [block.keys for block in blocks] == [None, [key, b"", b"", key], None]
