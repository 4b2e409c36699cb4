"""Tasks on their way out: what is sent of them, by whichever thread, and what is told with it."""

import random
import sys
import threading
from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any

import pytest

from cyclone import BaseTask, values
from cyclone.master.generator import feed_pipe
from cyclone.master.generator.outgoing import END, Outgoing
from tests.support.generator_lives import Pipe
from tests.support.sample_tasks import KeyTask, NothingTask, PlainTask


def test_given_two_threads_that_send_then_each_block_says_exactly_what_was_sent_so_far() -> None:
    sent: list[Any] = []
    wrong: list[str] = []

    def read(message: feed_pipe.FromGenerator) -> None:
        assert isinstance(message, feed_pipe.Block | feed_pipe.Advanced)
        if isinstance(message, feed_pipe.Block):
            sent.extend(values.decode(args)[0] for args in message.args)
        told = message.progress
        made = [tuple(name) for name in sent if isinstance(name, list)]
        # Behind the last task made there may be results that made none.
        last = made[-1] if made else (0, 0, 0)
        if told.pulled != len(sent) - len(made) or (told.consumed, told.consumed_rows, told.made) not in (
            last,
            (last[0] + 1, 0, 0),
        ):
            wrong.append(f"{told} after {last} and {len(sent) - len(made)} pulled")
        if told.cursor_pulled > told.pulled or told.cursor_consumed > told.consumed:
            wrong.append(f"the cursor is ahead: {told}")

    out = Outgoing(Pipe(read))  # type: ignore[arg-type]
    stop = threading.Event()

    def other_thread() -> None:
        while not stop.is_set():
            out.flush()

    thread = threading.Thread(target=other_thread)
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        pulled = 0
        for number in range(150):
            yields = chain([PlainTask(pulled + ordinal) for ordinal in range(1, 31)], repeat(END))
            pulled += 30
            while out.pull(yields, pulled + 1, []):
                pass
            for row, ordinal in [(0, 1), (0, 2), (3, 1)]:
                out.add(PlainTask([number, row, ordinal]), (number, row, ordinal))
            out.mark(b"\x01", pulled, number + 1)
            if number % 10 == 0:
                out.report()
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval_s)
    out.report()

    assert wrong == []
    assert len(sent) == 150 * 33


def blocks_of(tasks: Iterator[BaseTask], flush_at: set[int]) -> list[feed_pipe.Block]:
    """What is sent of such yields, of which the other thread sends what is there behind some."""
    sent: list[Any] = []
    out = Outgoing(Pipe(sent.append))  # type: ignore[arg-type]

    def yields() -> Iterator[object]:
        for number, task in enumerate(tasks):
            if number in flush_at:
                out.flush()
            yield task
        yield from repeat(END)

    asked: list[None] = []
    pulling = yields()
    while out.pull(pulling, 10_000, asked):
        out.flush_full()
    out.flush()
    return sent


def test_given_classes_keys_and_limits_in_any_order_then_each_task_leaves_with_its_own_and_in_order() -> None:
    for seed in range(30):
        rng = random.Random(seed)
        tasks: list[Any] = []
        while len(tasks) < 60:
            kind: Any = rng.choice([PlainTask, KeyTask, NothingTask])
            limit_s = rng.choice([None, 5.0])
            for _ in range(rng.randint(1, 8)):
                task: BaseTask
                if kind is NothingTask:
                    task = NothingTask()
                elif kind is KeyTask:
                    task = KeyTask(rng.choice([None, str(len(tasks))]))
                else:
                    task = PlainTask(rng.choice([len(tasks), [len(tasks)]]))
                if limit_s is not None:
                    task.time_limit_s = limit_s
                tasks.append(task)

        sent = blocks_of(iter(tasks), {rng.randrange(60) for _ in range(rng.randint(0, 10))})

        found: list[Any] = []
        for block in sent:
            jobs = [block.jobs[job] for job, count in block.runs for _ in range(count)]
            assert all(left[0] != right[0] for left, right in zip(block.runs, block.runs[1:], strict=False))
            keys = block.keys or [b""] * len(block.args)
            for job, args, key in zip(jobs, block.args, keys, strict=True):
                found.append((job.task_class.split(":")[1], job.time_limit_s, values.decode(args), bool(key)))
        expected = [
            (
                type(task).__name__,
                task.time_limit_s,
                list(vars(task)[name] for name in vars(task) if name != "time_limit_s"),
                task.key() is not None,
            )
            for task in tasks
        ]
        assert found == expected


@pytest.mark.parametrize("value", [1, "text", [1], {"a": [1]}], ids=repr)
def test_given_a_task_that_is_changed_behind_its_yield_then_it_leaves_as_it_was(value: Any) -> None:
    def tasks() -> Iterator[BaseTask]:
        for number in range(5):
            task = PlainTask(number, value)
            yield task
            task.first = "changed"
            if isinstance(value, list):
                value.append(2)
            elif isinstance(value, dict):
                value["a"].append(2)

    (block,) = blocks_of(tasks(), set())

    for number, args in enumerate(block.args):
        grown: dict[type, Any] = {list: [1] + [2] * number, dict: {"a": [1] + [2] * number}}
        assert values.decode(args) == [number, grown.get(type(value), value)]


@pytest.mark.parametrize("task_class", [PlainTask, KeyTask])
@pytest.mark.parametrize("at", [0, 1, 5])
def test_given_that_it_is_asked_to_come_out_then_it_pulls_no_other_task(task_class: Any, at: int) -> None:
    out = Outgoing(Pipe([].append))  # type: ignore[arg-type]
    asked: list[None] = []

    def tasks() -> Iterator[BaseTask]:
        for number in range(10):
            if number == at:
                asked.append(None)
            yield task_class(str(number))

    assert out.pull(tasks(), 100, asked)
    assert out.pulled == at + 1


@pytest.mark.parametrize("until", [1, 2, 7])
def test_given_room_for_so_many_then_it_pulls_no_other_task(until: int) -> None:
    out = Outgoing(Pipe([].append))  # type: ignore[arg-type]

    assert out.pull(map(PlainTask, range(10)), until, []) and out.pulled == until


def test_given_large_arguments_then_no_block_is_larger_than_it_may_be() -> None:
    sizes = [10, 300_000, 300_000, 900_000, 3_000_000, 10, 1_100_000, 600_000, 500_000, 10]

    sent = blocks_of((PlainTask("x" * size) for size in sizes), set())

    assert [len(values.decode(args)[0]) for block in sent for args in block.args] == sizes
    assert max(sum(map(len, block.args)) for block in sent) < 5_000_000
