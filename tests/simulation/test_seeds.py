"""The simulation over its first seeds. A failure names the seed; ``make sim SEED=n`` runs it again.

``make test`` runs more of them by ``python -m tests.simulation``, which uses both cores.
"""

import itertools
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.simulation.__main__ import run_chunk
from tests.simulation.seeds import corpus_seeds
from tests.simulation.settings import INFINITE, draw
from tests.simulation.world import World

SEEDS, CHUNK = 50, 25
# So much work is a seed on average, whatever time that takes here; ``make sim`` prints the time.
EVENTS_MAX = 20_000
CHUNKS = [
    pytest.param(range(first, first + CHUNK), id=f"{first}-{first + CHUNK - 1}") for first in range(0, SEEDS, CHUNK)
]


def assert_all_hold(seeds: list[int]) -> None:
    tally = run_chunk(seeds)
    replays = [f"make sim SEED={seed}\n{text}" for seed, text in tally.failures]
    assert not replays, "\n".join(replays)
    assert tally.faults_min >= 20, f"a seed had only {tally.faults_min} faults"
    assert tally.events / len(seeds) < EVENTS_MAX, f"{tally.events / len(seeds):.0f} events per seed"


def test_given_the_seeds_that_once_failed_then_all_invariants_hold() -> None:
    assert_all_hold(corpus_seeds())


@pytest.mark.parametrize("seeds", CHUNKS)
def test_given_a_seed_then_all_invariants_hold_and_every_task_ends(seeds: range) -> None:
    assert_all_hold(list(seeds))


def test_given_the_same_seed_then_the_trace_is_the_same_in_another_process_with_other_hashes() -> None:
    here = "".join(f"{World(4, faulty=faulty).run().trace_hash:08x} " for faulty in (True, False))
    code = (
        "from tests.simulation.world import World\n"
        "for faulty in (True, False): print(f'{World(4, faulty=faulty).run().trace_hash:08x}', end=' ')"
    )
    root = Path(__file__).parents[2]
    for hash_seed in ("0", "12345"):
        environment = {"PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", code]
        there = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=True)
        assert there.stdout == here


def test_given_a_busy_machine_then_the_trace_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    seed = 43
    idle = World(seed).run().trace_hash
    monkeypatch.setattr(time, "monotonic", itertools.count(0.0, 10.0).__next__)
    assert World(seed).run().trace_hash == idle


def test_given_two_seeds_then_the_traces_differ() -> None:
    assert World(1).run().trace_hash != World(2).run().trace_hash


def test_given_many_seeds_then_they_draw_every_generator() -> None:
    works = [draw(random.Random(seed), True).work for seed in range(100)]
    assert any(work.tasks == INFINITE for work in works)
    assert any(work.children for work in works)
    assert any(work.pace_s and work.tasks != INFINITE for work in works)
    assert any(len(work.classes) > 2 for work in works)
    assert any(work.has_cursor and work.children for work in works)
    assert any(work.children and not work.has_cursor for work in works)
    assert any(work.keys for work in works) and any(not work.reads for work in works)
    assert any(work.killers for work in works) and any(work.hangers for work in works)
