"""Where the tasks of a job lie, and sets of indexes: against plain dicts and sets."""

import random
from typing import Any

import pytest

from cyclone.master.jobs.extents import Extents, IndexSet


@pytest.mark.parametrize("seed", range(40))
def test_given_blocks_in_any_order_then_each_index_is_found_at_its_id_and_back(seed: int) -> None:
    chance = random.Random(seed)
    blocks, index, task_id = [], 0, 1
    for _ in range(12):
        task_id += chance.choice([0, 0, 3])
        count = chance.randrange(1, 5)
        blocks.append((index, task_id, count))
        index, task_id = index + count, task_id + count
    ids = {at + row: first + row for at, first, count in blocks for row in range(count)}
    if seed % 2:
        chance.shuffle(blocks)
    extents = Extents(blocks)
    low, high = sorted(chance.sample(range(index + 2), 2))
    found = {at + row: first + row for at, first, count in extents.by_index(low, high) for row in range(count)}
    assert found == {at: task_id for at, task_id in ids.items() if low <= at < high}
    back = {first + row: at + row for at, first, count in extents.by_id(low, high) for row in range(count)}
    assert back == {task_id: at for at, task_id in ids.items() if low <= task_id < high}
    assert (extents.first_id, extents.last_id) == (ids[0], ids[index - 1])


def test_given_blocks_that_adjoin_then_they_take_one_entry() -> None:
    extents = Extents()
    for index in range(0, 4096 * 100, 4096):
        extents.add(index, 17 + index, 4096)
    assert list(extents) == [(0, 17, 4096 * 100)]
    extents.add(4096 * 100, 17 + 4096 * 100 + 1, 5)
    assert len(extents) == 2


@pytest.mark.parametrize("seed", range(40))
def test_given_ranges_in_any_order_then_the_set_has_what_a_set_has_in_as_few_ranges_as_can_be(seed: int) -> None:
    chance = random.Random(seed)
    ranges, plain = IndexSet(), set[int]()
    for _ in range(25):
        low = chance.randrange(60)
        high = low + chance.randrange(8)
        ranges.add(low, high)
        plain |= set(range(low, high + 1))
        assert ranges.count == len(plain)
    assert {index for low, high in ranges for index in range(low, high + 1)} == plain
    entries: list[tuple[int, int]] = list(ranges)
    assert all(left[1] + 1 < right[0] for left, right in zip(entries, entries[1:], strict=False))
    assert len(ranges) == len(entries)
    low, high = sorted(chance.sample(range(70), 2))
    assert ranges.covers(low, high) == (set(range(low, high + 1)) <= plain)
    assert (low in ranges) == (low in plain)


def test_given_nothing_then_nothing_is_found() -> None:
    found: list[Any] = [*Extents().by_index(0, 9), *Extents().by_id(0, 9), *IndexSet()]
    assert found == []
    assert 0 not in IndexSet()
