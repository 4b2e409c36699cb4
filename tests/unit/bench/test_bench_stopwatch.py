"""The stop-watch of a run: when it starts the generator, what it counts, and when it lets the master leave."""

import os
from types import SimpleNamespace
from typing import Any

import pytest

from cyclone.bench import stopwatch
from cyclone.bench.plan import Plan
from cyclone.bench.stopwatch import Sizes, Stopwatch
from cyclone.protocol.messages import Pong, TaskBatch, Tasks
from cyclone.protocol.traffic import Traffic
from cyclone.results import RecordedBlock


class Master:
    """What a stop-watch sees of a master. ``clock`` is the time for both."""

    def __init__(self) -> None:
        self.clock = 100.0
        self.sessions: dict[int, Any] = {}
        self.scheduler = SimpleNamespace(
            state=SimpleNamespace(sessions=SimpleNamespace(by_id=self.sessions)), all_done=False
        )
        self.traffic = Traffic()
        self.source: Any = None
        self.finishing = self.left = False

    def start_generator(self) -> None:
        feed = SimpleNamespace(pid=os.getpid(), summary=None)
        self.source = SimpleNamespace(feed=feed, failure=None, finish=self._finish)

    def leave(self) -> None:
        self.left = True

    def _finish(self) -> None:
        self.finishing = True


@pytest.fixture
def master(monkeypatch: pytest.MonkeyPatch) -> Master:
    found = Master()
    monkeypatch.setattr("time.monotonic", lambda: found.clock)
    return found


def watch_of(plan: Plan, syncs: list[int] | None = None) -> Stopwatch:
    return Stopwatch(plan, lambda: [], lambda: (syncs or [0])[-1])


def lease(*counts: int) -> Tasks:
    batches = [TaskBatch(1, 1, [(1, count)], [b"\x90"] * count) for count in counts]
    return Tasks(1, 1, sum(counts), [], batches)


def block(count: int) -> RecordedBlock:
    return RecordedBlock(1, 1, [("a:B", count)], [b"\x90"] * count, bytes(count), None, b"", "c")


def test_given_workers_that_come_then_the_generator_is_started_with_the_last_of_them(master: Master) -> None:
    watch = watch_of(Plan("throughput", 10, workers=1, controllers=2))
    for number in (1, 2):
        watch.turn(master)  # type: ignore[arg-type]
        assert master.source is None
        master.sessions[number] = SimpleNamespace(slots=1)
    watch.turn(master)  # type: ignore[arg-type]
    assert master.source


def test_given_workers_that_do_not_come_then_the_run_begins_without_them(master: Master) -> None:
    watch = watch_of(Plan("throughput", 10, workers=1))
    master.clock += 9.0
    watch.turn(master)  # type: ignore[arg-type]
    assert master.source is None
    master.clock += 2.0
    watch.turn(master)  # type: ignore[arg-type]
    assert master.source


def test_given_a_place_to_listen_then_it_waits_for_all_controllers_and_until_no_more_workers_come(
    master: Master,
) -> None:
    watch = watch_of(Plan("throughput", 10, workers=1, controllers=2, listen="tcp://*"))
    master.sessions[1] = SimpleNamespace(slots=4)
    master.clock += 1000.0
    watch.turn(master)  # type: ignore[arg-type]
    master.clock += 1000.0
    watch.turn(master)  # type: ignore[arg-type]
    assert master.source is None

    # It has come, but none of its workers is ready.
    master.sessions[2] = SimpleNamespace(slots=0)
    watch.turn(master)  # type: ignore[arg-type]
    master.clock += 1000.0
    watch.turn(master)  # type: ignore[arg-type]
    assert master.source is None

    master.sessions[2].slots = 1
    watch.turn(master)  # type: ignore[arg-type]
    master.clock += 0.9
    master.sessions[2].slots = 2
    watch.turn(master)  # type: ignore[arg-type]
    master.clock += 0.9
    watch.turn(master)  # type: ignore[arg-type]
    assert master.source is None
    master.clock += 0.2
    watch.turn(master)  # type: ignore[arg-type]
    assert master.source


def run(master: Master, watch: Stopwatch, syncs: list[int]) -> None:
    """Ten tasks in two leases, and results in three batches, in 2 s; the generator takes in the last after 3 s."""
    master.sessions[1] = SimpleNamespace(slots=2)
    master.start_generator()
    watch.turn(master)  # type: ignore[arg-type]
    master.traffic.on_sent([b"ab", b"c"])
    watch.sent(Pong(1, 1, 0, 0))
    master.clock += 50.0
    watch.sent(lease(3, 4))
    master.traffic.on_sent([b"ab", b"cdefg"])
    watch.sent(lease(3))
    master.traffic.on_sent([b"abc"])
    master.traffic.on_received([b"abcd"])
    syncs.append(5)
    for count in (1, 6, 3):
        master.clock += 2 / 3
        watch.recorded(block(count))
    watch.turn(master)  # type: ignore[arg-type]
    master.clock += 1.0
    watch.turn(master)  # type: ignore[arg-type]
    master.scheduler.all_done = True
    watch.turn(master)  # type: ignore[arg-type]


def test_given_a_run_then_what_lies_between_the_first_dispatch_and_the_last_result_is_measured(master: Master) -> None:
    syncs = [2]
    watch = watch_of(Plan("throughput", 10, workers=2), syncs)
    run(master, watch, syncs)

    found = watch.measured()

    assert found.seconds == pytest.approx(2.0)
    assert found.generator_s == pytest.approx(3.0)
    assert found.leases == Sizes(batches=2, tasks=10, largest=7)
    assert found.results == Sizes(batches=3, tasks=10, largest=6)
    # What was said before the first dispatch is not in it.
    assert found.traffic == Traffic(sent=2, sent_bytes=10, received=1, received_bytes=4)
    assert found.syncs == 3
    assert found.cpu.keys() == {"master", "generator"}
    assert (found.trips_us, found.blocks) == ([], [])
    assert not master.finishing
    assert not master.left


def test_given_a_growing_master_then_early_and_late_are_the_medians_of_looks_around_these_parts(
    master: Master, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = watch_of(Plan("throughput", 100, workers=2))
    master.start_generator()
    watch.turn(master)  # type: ignore[arg-type]
    watch.sent(lease(100))
    done = 0

    def resident_bytes() -> int:
        # A look that meets what is there for a moment only is far off.
        return 10**9 if done in (8, 99) else done

    monkeypatch.setattr(stopwatch, "_resident_bytes", resident_bytes)
    for done in range(1, 101):  # noqa: B007 - resident_bytes reads it
        watch.recorded(block(1))

    found = watch.measured()

    # Looks at 6, (8), 10, 12, 14 and 91, 93, 95, 97, (99).
    assert found.rss_early_bytes == 12
    assert found.rss_late_bytes == 95


def test_given_round_trips_then_each_is_noted_and_in_the_mixed_mode_each_block_is_kept(master: Master) -> None:
    for mode, trips, blocks in (("latency", 2, 0), ("mixed", 0, 2)):
        watch = watch_of(Plan(mode, 2, workers=1))  # type: ignore[arg-type]
        master.start_generator()
        watch.turn(master)  # type: ignore[arg-type]
        for _ in range(2):
            watch.sent(lease(1))
            watch.recorded(block(1))
        found = watch.measured()
        assert (len(found.trips_us), len(found.blocks)) == (trips, blocks)


def test_given_controllers_of_others_then_the_master_leaves_when_the_generator_has_said_its_summary(
    master: Master,
) -> None:
    syncs = [0]
    watch = watch_of(Plan("throughput", 10, workers=2, listen="tcp://*"), syncs)
    run(master, watch, syncs)
    assert master.finishing
    watch.turn(master)  # type: ignore[arg-type]
    assert not master.left
    master.source.feed.summary = {}
    watch.turn(master)  # type: ignore[arg-type]
    assert master.left
