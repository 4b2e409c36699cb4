"""Sums over tasks: they are what a list of the same tasks would add up to."""

import random

import pytest

from cyclone import task_figures
from cyclone.error_kinds import error_kind
from cyclone.protocol import states
from cyclone.protocol.figure_messages import TaskFigures
from cyclone.protocol.job_messages import JobBlock, TaskRow
from cyclone.protocol.messages import ErrorRecord, ResultColumns
from cyclone.results import encode_columns, error_columns, pack_seconds
from cyclone.task_figures import KINDS_MAX, Figures, add_up
from cyclone.task_rows import Stretch, Wanted, list_rows

COUNT = 60
ENDS = (states.COMPLETED, states.COMPLETED, states.FAILED, states.TIMED_OUT, states.CANCELLED)
PROCESSED = [(0, 4), (11, 11), (30, 45)]


def is_processed(index: int) -> bool:
    return any(low <= index <= high for low, high in PROCESSED)


def processed(low: int, high: int) -> list[tuple[int, int]]:
    return [(first, last) for first, last in PROCESSED if first < high and last >= low]


def block(rng: random.Random, index: int, count: int, accepted: bytes | None, attempt: int) -> JobBlock:
    """Of tasks that have ended so and so; some of them were measured by themselves."""
    statuses = bytes(rng.choice(ENDS) if rng.random() < 0.5 else states.COMPLETED for _ in range(count))
    node = rng.choice(("node1", "node2"))
    if rng.random() < 0.1:
        body = b"torn"
    elif rng.random() < 0.2:
        # Nobody has had them.
        statuses, node = bytes([states.CANCELLED]) * count, ""
        body = error_columns(ErrorRecord("Cancelled", "by ann"), rows=count)
    else:
        values = [
            b"\x07" if status == states.COMPLETED else encode_columns(ErrorRecord("OSError", f"disk {row} is full\nx"))
            for row, status in enumerate(statuses)
        ]
        seconds = [rng.choice((0.0, 0.25, 0.5, 2.0)) for _ in range(count)]
        usage = [(row, 0.125, rng.randrange(1 << 20)) for row in range(count) if rng.random() < 0.3]
        started = float(1_700_000_000 + rng.randrange(1000))
        body = encode_columns(
            ResultColumns(values, pack_seconds(seconds), started, 7, 0.5, rng.randrange(1 << 20), usage)
        )
    return JobBlock(index, 100 + index, attempt, statuses, accepted, body, node)


def stretches(rng: random.Random) -> list[Stretch]:
    """Results for some of the tasks, in blocks that overlap where a task was tried again; each task has one at most."""
    free = {index for index in range(COUNT) if rng.random() < 0.9}
    found: list[Stretch] = []
    while free and len(found) < 30:
        index = rng.randrange(COUNT)
        count = min(COUNT - index, rng.choice((1, 2, 7, 20)))
        mine = {one for one in range(index, index + count) if one in free and rng.random() < 0.8}
        free -= mine
        accepted = None if len(mine) == count else bytes(one in mine for one in range(index, index + count))
        low, high = index, index + count
        if accepted is not None and count > 2 and not accepted[0]:
            # Blocks of tasks and of results are cut at other places.
            low += 1
        made = block(rng, index, count, accepted, rng.randrange(1, 4))
        found.append(Stretch(low, high, made))
    return sorted(found, key=lambda stretch: stretch.low)


def summed(rows: list[TaskRow]) -> Figures:
    """One by one."""
    found = Figures()
    for row in rows:
        failures = [(error_kind(row.error), 1, row.index)] if row.error else []
        times = (row.seconds, row.seconds, row.seconds, row.cpu_s, row.peak_bytes, row.started)
        ran = (1, *times, row.started + row.seconds) if row.started else (0, 0.0, 0.0, 0.0, 0.0, 0, 0.0, 0.0)
        found.add(TaskFigures({row.state: 1}, row.attempt, [row.controller] if row.controller else [], *ran, failures))
    return found


def comparable(figures: Figures) -> tuple[TaskFigures, dict[str, int], float, float]:
    """Without what depends on the order in which floats are added, which is apart and rounded."""
    told = figures.told()
    exact = TaskFigures(
        told.tasks,
        told.attempts,
        told.nodes,
        told.ran,
        told.seconds,
        told.shortest_s,
        told.longest_s,
        0.0,
        told.peak_bytes,
        told.started,
    )
    return exact, {kind: count for kind, count, _ in told.failures}, round(told.cpu_s, 6), round(told.finished, 3)


@pytest.mark.parametrize("cost_max", [1, 1000, 1 << 20])
@pytest.mark.parametrize("seed", range(40))
def test_given_results_then_their_sums_are_those_of_their_rows_however_many_answers_it_takes(
    seed: int, cost_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_figures, "_COST_MAX", cost_max)
    rng = random.Random(seed)
    known = stretches(rng)
    first = rng.choice((0, 0, 13))
    stop = rng.choice((COUNT, COUNT, 1 << 62, 40))
    expected, following = list_rows(known, Wanted(first, (), is_processed, False), 1000)
    assert following is None

    found, start = Figures(), first
    while True:
        page, end = add_up(known, start, stop, processed)
        assert end is None or start < end < stop
        assert all(start <= index < (stop if end is None else end) for _, _, index in page.failures)
        found.add(page.told())
        if end is None:
            break
        start = end

    assert comparable(found) == comparable(summed([row for row in expected if row.index < stop]))


def test_given_very_many_kinds_of_errors_then_the_last_ones_are_not_told_apart() -> None:
    found = Figures()
    for number in range(KINDS_MAX + 5):
        found.add(TaskFigures(failures=[("x" * number, 2, number)]))
    assert len(found.failures) == KINDS_MAX + 1
    assert found.failures[0] == ("others", 10, KINDS_MAX)


def test_given_nothing_then_the_figures_can_be_sent() -> None:
    assert Figures().told() == TaskFigures()
    figures = Figures()
    figures.add_open("running", 3, 2, "node1")
    figures.add_open("queued", 4, 0, "")
    assert figures.told() == TaskFigures({"running": 3, "queued": 4}, 6, ["node1"])
