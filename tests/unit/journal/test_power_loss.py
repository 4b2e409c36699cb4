"""The power fails at some operations of a recorded run; ``python -m tests.power_loss`` does it at all of them."""

import random
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import apsw
import pytest

from cyclone.journal import schema
from tests.power_loss import disk
from tests.power_loss.disk import Delete, Op, Sync, Truncate, Write, image_after
from tests.power_loss.proof import NAME, prove, record

OLD, NEW = b"o" * 512, b"n" * 512


@pytest.mark.parametrize(
    ("ops", "fate", "image"),
    [
        ([Write("a", 0, OLD)], disk.DROPPED, {}),
        ([Write("a", 0, OLD)], disk.KEPT, {"a": OLD}),
        ([Write("a", 0, OLD), Sync("a", False), Write("a", 0, NEW)], disk.DROPPED, {"a": OLD}),
        ([Write("a", 0, OLD), Sync("a", False), Write("a", 0, NEW)], disk.KEPT, {"a": NEW}),
        ([Write("a", 0, OLD), Write("b", 0, NEW), Sync("b", False)], disk.DROPPED, {"b": NEW}),
        ([Write("a", 0, OLD), Sync("a", False), Truncate("a", 3)], disk.DROPPED, {"a": OLD}),
        ([Write("a", 0, OLD), Truncate("a", 3), Sync("a", False)], disk.DROPPED, {"a": b"ooo"}),
        ([Write("a", 2, b"x"), Sync("a", False)], disk.DROPPED, {"a": b"\0\0x"}),
        ([Write("a", 0, OLD), Sync("a", False), Delete("a")], disk.DROPPED, {"a": OLD}),
        ([Write("a", 0, OLD), Sync("a", False), Delete("a")], disk.KEPT, {}),
        ([Write("a", 0, OLD), Sync("a", False), Delete("a"), Sync("b", False)], disk.DROPPED, {"a": OLD, "b": b""}),
        ([Write("a", 0, OLD), Sync("a", False), Delete("a"), Sync("b", True)], disk.DROPPED, {"b": b""}),
    ],
)
def test_what_a_disk_holds_after_a_power_loss(ops: Sequence[Op], fate: str, image: dict[str, bytes]) -> None:
    assert image_after(ops, fate, random.Random(1)) == image


def test_a_torn_write_leaves_whole_sectors_of_either_age() -> None:
    ops: list[Op] = [Write("a", 0, OLD * 8), Sync("a", False), Write("a", 0, NEW * 8)]
    found = {image_after(ops, disk.TORN, random.Random(seed))["a"] for seed in range(20)}
    assert len(found) > 10
    assert all(content[at : at + 512] in (OLD, NEW) for content in found for at in range(0, 4096, 512))


def test_of_several_writes_any_may_be_missing() -> None:
    ops: list[Op] = [Truncate("a", 0), Sync("a", False), *(Write("a", at, b"x") for at in range(4))]
    found = {image_after(ops, disk.SUBSET, random.Random(seed))["a"] for seed in range(100)}
    assert {b"", b"x", b"\0x", b"xx", b"\0\0\0x", b"xxxx"} <= found


def test_a_recorded_run_has_checkpoints_restarts_and_acknowledgements_in_between(tmp_path: Path) -> None:
    trace = record(tmp_path, seed=1, turns=60)
    assert sum(isinstance(op, Write) and op.file == NAME for op in trace.ops) > 50
    assert sum(isinstance(op, Delete) and op.file == NAME + "-wal" for op in trace.ops) == 3
    assert len(trace.acknowledged) == 62


@pytest.mark.parametrize("seed", [1, 2])
def test_whenever_the_power_fails_all_that_was_acknowledged_is_there(seed: int) -> None:
    judged = list(prove(60, seed, turns=60))
    assert [problem for _, problem in judged if problem] == []
    assert len(judged) == 60


def test_the_proof_fails_for_a_journal_that_does_not_sync() -> None:
    configure = schema.configure

    def hasty(db: apsw.Connection) -> None:
        configure(db)
        db.pragma("synchronous", "OFF")

    with mock.patch.object(schema, "configure", hasty):
        problems = [problem for _, problem in prove(40, 1, turns=30) if problem]
    assert any("were acknowledged" in problem for problem in problems)
