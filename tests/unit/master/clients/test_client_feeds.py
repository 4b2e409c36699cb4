"""Results on their way to clients that follow jobs."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from cyclone.master.actions import Follow
from cyclone.master.clients import client_feeds
from cyclone.master.clients.client_feeds import ClientFeeds
from cyclone.master.events import JobSubmitted
from cyclone.master.jobs.rights import ANYBODY, Who
from cyclone.master.journal import Journal
from cyclone.protocol import limits
from cyclone.protocol.client_messages import Answer
from cyclone.protocol.job_messages import FOLLOW_S, FollowRequest, JobBlock, JobResults, JobSummary
from cyclone.protocol.job_spec import JobSpec
from cyclone.protocol.messages import Job, ResultColumns
from cyclone.results import OpenBlock, RecordedBlock, encode_columns, pack_seconds
from cyclone.task_rows import job_block

JOB = 7
WINDOW = 1 << 20


def block(first: int, values: list[bytes], accepted: bytes | None = None) -> RecordedBlock:
    body = encode_columns(ResultColumns(values, pack_seconds([0.5] * len(values)), 100.0, 42))
    runs = [("tasks.empty:EmptyTask", len(values))]
    return RecordedBlock(first, 1, runs, [b"\x90"] * len(values), bytes(len(values)), accepted, body, "node1")


@dataclass
class Memory:
    """What a journal knows of one job: its blocks by number."""

    kept: dict[int, list[JobBlock]] = field(default_factory=dict)
    ended: bool = False
    lost: int = 0
    forgotten: int = 0

    def job_results_after(self, job_id: int, number: int) -> Iterator[tuple[int, list[JobBlock]]]:
        assert job_id == JOB
        while following := [other for other in self.kept if other > number]:
            number = min(following)
            yield number, self.kept[number]

    def ended_job(self, job_id: int) -> tuple[JobSubmitted, JobSummary, str] | None:
        if not self.ended or job_id != JOB:
            return None
        submitted = JobSubmitted(Job(JOB, "m:C"), JobSpec(task_class="m:C"), b"k" * 16, "ann", 1.0, 0)
        return submitted, JobSummary(JOB, "", "default", "ann", "completed", "m:C", 0, 1.0, 2.0, True, {}), ""

    def lost_results(self, job_id: int) -> int:
        return self.lost

    def forget(self, job_id: int, number: int) -> None:
        self.forgotten = max(self.forgotten, number)


class World:
    """A feed with a client of each name; what is sent and arrives is in ``inbox``."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.inbox: dict[bytes, list[JobResults | Answer]] = {}
        self.full: set[bytes] = set()
        self.number = 0
        self.now = 100.0
        self.index = 0
        self.feeds = ClientFeeds(cast(Journal, self.memory), self._send, 0)

    def _send(self, peer: bytes, message: Any) -> bool:
        if peer in self.full:
            return False
        self.inbox.setdefault(peer, []).append(message)
        return True

    def follow(
        self,
        peer: bytes = b"a",
        position: int = 0,
        window: int = WINDOW,
        resume: bool = False,
        start: int = 0,
        consume: bool = True,
        who: Who = ANYBODY,
    ) -> None:
        request = FollowRequest(1, JOB, position, window, resume, consume)
        is_open = not self.memory.ended
        self.feeds.follow(Follow(peer, request, start, is_open, who, "ann" if is_open else ""), self.now)

    def record(self, rows: int = 1, *, of_job: bool = True, size: int = 1) -> None:
        """Some results are recorded, of the job or of another one."""
        self.number += 1
        recorded = block(self.number * 1000, [b"\xc4" + bytes([min(size, 255)]) + bytes(size)] * rows)
        parts = ((JOB, self.index, 0, rows),) if of_job else ((JOB + 1, 0, 0, rows),)
        if of_job:
            self.memory.kept[self.number] = [job_block(recorded, self.index, 0, rows)]
            self.index += rows
        self.feeds.deliver(self.number, recorded, parts)

    def end(self) -> None:
        self.memory.ended = True
        self.feeds.ended(JOB)

    def turn(self, seconds: float = 0.0) -> list[JobResults]:
        """What the client ``a`` gets in a turn."""
        self.now += seconds
        self.inbox.clear()
        for _ in range(1000):
            if not self.feeds.turn(self.now, idle=True):
                break
        self.feeds.turn(self.now, idle=True)
        return [one for one in self.inbox.get(b"a", []) if isinstance(one, JobResults)]


@pytest.fixture
def world() -> World:
    return World()


def rows(messages: list[JobResults]) -> list[int]:
    return [one.index + row for message in messages for one in message.blocks for row in range(len(one.statuses))]


def test_given_a_job_that_is_followed_then_each_result_is_told_as_it_is_recorded(world: World) -> None:
    world.follow()
    (greeting,) = world.turn()
    assert (greeting.after, greeting.position, greeting.blocks, greeting.finished) == (0, 0, [], False)
    world.record(2)
    world.record(of_job=False)
    world.record(3)
    (told,) = world.turn()
    assert (told.after, told.position) == (0, 3)
    assert rows([told]) == [0, 1, 2, 3, 4]
    assert world.turn() == []


def test_given_results_of_before_then_they_come_first(world: World) -> None:
    for _ in range(5):
        world.record()
    world.follow()
    world.record()
    told = world.turn()
    assert rows(told) == list(range(6))
    assert told[-1].position == 6


def test_given_a_position_then_only_what_is_behind_it_is_told(world: World) -> None:
    for _ in range(5):
        world.record()
    world.follow(position=3)
    told = world.turn()
    assert (told[0].after, rows(told)) == (3, [3, 4])


def test_given_a_job_that_begins_later_then_nothing_before_it_is_read(world: World) -> None:
    world.record(of_job=False)
    world.record()
    world.follow(position=0, start=1)
    (told,) = world.turn()
    # From where the client is, who could not know that it had missed nothing.
    assert (told.after, told.position, rows([told])) == (0, 2, [0])


def test_given_the_end_of_a_job_then_the_message_with_the_last_results_says_so(world: World) -> None:
    world.follow()
    world.turn()
    world.record()
    world.end()
    (told,) = world.turn()
    assert (rows([told]), told.finished) == ([0], True)


def test_given_a_job_that_ended_before_then_all_is_told_and_that_it_is_finished(world: World) -> None:
    world.record()
    world.end()
    world.follow()
    told = world.turn()
    assert rows(told) == [0]
    assert [one.finished for one in told] == [True]


def test_given_a_job_that_nobody_knows_then_the_client_is_told(world: World) -> None:
    world.feeds.follow(Follow(b"a", FollowRequest(9, JOB, 0, WINDOW), 0, is_open=False), world.now)
    assert world.inbox[b"a"] == [Answer(9, False, 0, f"there is no job {JOB}")]
    assert len(world.feeds) == 0


def test_given_a_slow_client_then_no_more_than_its_window_is_under_way(world: World) -> None:
    world.follow(window=4000)
    world.turn()
    sent: list[JobResults] = []
    for _ in range(50):
        world.record(size=200)
        sent += world.turn()
    assert 0 < sum(len(one.body) for message in sent for one in message.blocks) <= 2 * 4000
    for _ in range(50):
        world.follow(window=4000, position=sent[-1].position)
        sent += world.turn()
    assert rows(sent) == list(range(50))
    assert all(one.after == before.position for before, one in zip(sent, sent[1:], strict=False))


def test_given_a_message_that_got_lost_then_the_client_can_see_it_and_gets_it_again(world: World) -> None:
    world.follow()
    world.turn()
    world.record()
    (lost,) = world.turn()
    world.record()
    (next_,) = world.turn()
    assert next_.after == lost.position != 0
    world.follow(position=0, resume=True)
    assert rows(world.turn()) == [0, 1]


def test_given_the_last_message_lost_then_a_reminder_says_how_far_the_client_must_be(world: World) -> None:
    world.follow()
    world.turn()
    world.record()
    world.turn()
    world.now += FOLLOW_S
    world.follow(position=0)
    (reminder,) = world.turn()
    assert (reminder.after, reminder.blocks) == (1, [])


def test_given_a_full_window_lost_then_a_reminder_says_so_too(world: World) -> None:
    world.follow(window=100)
    world.turn()
    world.record(size=200)
    world.record(size=200)
    world.turn()
    world.now += FOLLOW_S
    world.follow(window=100)
    (reminder,) = world.turn()
    assert (reminder.after, reminder.blocks) == (1, [])
    world.follow(window=100, resume=True)
    assert rows(world.turn()) == [0]


def test_given_a_peer_whose_queue_is_full_then_what_it_missed_is_sent_again(world: World) -> None:
    world.follow()
    world.turn()
    world.full.add(b"a")
    world.record()
    assert world.turn() == []
    assert not world.feeds.turn(world.now, idle=True), "it is left alone for a while, and the master rests"
    world.full.clear()
    assert rows(world.turn(0.1)) == [0]


def test_given_a_client_that_is_behind_without_room_then_the_master_rests(world: World) -> None:
    for _ in range(20):
        world.record(size=200)
    world.follow(window=300)
    told = world.turn()
    assert not world.feeds.turn(world.now, idle=True)
    world.follow(window=300, position=told[-1].position)
    assert rows(told + world.turn()) == [0, 1]


def test_given_several_that_are_behind_then_each_gets_a_message_before_one_gets_two(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BATCH_BYTES_TARGET", 1000)
    for _ in range(40):
        world.record(size=200)
    peers = [b"a", b"b", b"c"]
    for peer in peers:
        world.follow(peer)
    for _ in range(4):
        world.feeds.turn(world.now, idle=True)
    assert [len(world.inbox[peer]) for peer in peers] == [4, 4, 4]


def test_given_a_turn_without_time_then_what_is_due_is_sent_one_by_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_feeds, "_IDLE_SLICE_S", 0.0)
    peers = [b"%d" % number for number in range(20)]
    for peer in peers:
        world.follow(peer)
    turns = 0
    while world.feeds.turn(world.now, idle=True):
        turns += 1
        assert sum(map(len, world.inbox.values())) <= turns
    assert [len(world.inbox[peer]) for peer in peers] == [1] * 20


def test_given_a_job_that_ended_in_the_turn_in_which_it_was_asked_for_then_the_next_request_finds_out(
    world: World,
) -> None:
    world.record()
    world.end()
    world.feeds.follow(Follow(b"a", FollowRequest(1, JOB, 0, WINDOW), 0, is_open=True), world.now)
    (told,) = world.turn()
    assert not told.finished
    world.follow(position=told.position)
    assert [one.finished for one in world.turn()] == [True]


def test_given_a_window_of_nothing_then_no_more_is_told(world: World) -> None:
    world.follow()
    world.turn()
    world.follow(window=0)
    world.record()
    assert world.turn() == []
    assert len(world.feeds) == 0


@pytest.mark.parametrize("how", ["silent", "gone"])
def test_given_a_client_that_is_away_then_it_is_forgotten(world: World, how: str) -> None:
    world.follow()
    world.follow(b"b")
    world.turn()
    if how == "gone":
        world.feeds.gone(b"a")
    else:
        world.now += 9 * FOLLOW_S
        world.follow(b"b")
        world.turn(2 * FOLLOW_S)
    assert len(world.feeds) == 1


def test_given_two_clients_then_both_get_all(world: World) -> None:
    world.follow()
    world.follow(b"b")
    world.turn()
    world.record(4)
    world.turn()
    assert [rows([one for one in world.inbox[peer] if isinstance(one, JobResults)]) for peer in (b"a", b"b")] == [
        [0, 1, 2, 3]
    ] * 2


def test_given_too_many_then_another_one_is_told_to_come_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_feeds, "FEEDS_MAX", 1)
    world.follow()
    world.follow(b"b")
    (answer,) = world.inbox[b"b"]
    assert isinstance(answer, Answer) and not answer.granted and "try later" in answer.text


def test_given_what_a_client_has_then_the_memory_of_results_may_forget_it(world: World) -> None:
    world.follow()
    world.turn()
    world.record()
    world.turn()
    world.follow(position=1)
    assert world.memory.forgotten == 1


@pytest.mark.parametrize("ended", [False, True], ids=["open", "ended"])
@pytest.mark.parametrize(
    ("who", "consume", "forgotten"),
    [
        pytest.param(Who("ann", is_admin=False), True, 1, id="its owner"),
        pytest.param(Who("root", is_admin=True), True, 1, id="an administrator"),
        pytest.param(ANYBODY, True, 1, id="nobody has a key"),
        pytest.param(Who("bob", is_admin=False), True, 0, id="somebody else"),
        pytest.param(Who("ann", is_admin=False), False, 0, id="its owner, who only looks on"),
    ],
)
@pytest.mark.parametrize("position", [1, 1 << 40])
def test_given_who_follows_then_only_a_consumer_with_the_right_to_it_lets_results_go(
    world: World, position: int, who: Who, consume: bool, forgotten: int, ended: bool
) -> None:
    world.record()
    world.memory.ended = ended
    world.follow(consume=consume, who=who)
    world.turn()
    world.follow(position=position, consume=consume, who=who)
    assert world.memory.forgotten == forgotten


def test_given_two_that_follow_then_only_what_both_have_is_forgotten(world: World) -> None:
    world.follow()
    world.follow(b"b")
    world.turn()
    world.record()
    world.record()
    world.turn()
    world.follow(position=2)
    assert world.memory.forgotten == 0
    world.follow(b"b", position=1)
    assert world.memory.forgotten == 1


def test_given_a_position_that_there_is_not_yet_then_no_more_than_is_recorded_is_forgotten(world: World) -> None:
    world.record()
    world.follow(b"b", position=1 << 40)
    assert world.memory.forgotten == 1


def test_given_a_batch_of_several_jobs_then_each_gets_its_rows_alone() -> None:
    recorded = block(10, [b"\x01", b"\x02", b"\x03"], accepted=b"\x01\x00\x01")
    cut = job_block(recorded, 5, 1, 2)
    assert (cut.index, cut.task_id, cut.statuses, cut.accepted) == (5, 11, b"\x00\x00", b"\x00\x01")
    opened = OpenBlock(
        RecordedBlock(11, 1, [("c", 2)], [b"", b""], cut.statuses, cut.accepted, cut.body, cut.controller)
    )
    assert [result.value for result in opened] == [3]
    assert list(opened.seconds) == [0.5, 0.5]
    assert job_block(recorded, 4, 0, 3).body is recorded.body


@pytest.mark.parametrize("seed", range(30))
def test_given_losses_of_all_kinds_then_a_client_that_keeps_asking_gets_each_result_once_and_in_order(
    seed: int, world: World
) -> None:
    chance = random.Random(seed)
    position, got, finished = 0, [], False
    resume = False
    for step in range(3000):
        if step < 100 and chance.random() < 0.7:
            world.record(chance.randint(1, 3), of_job=chance.random() < 0.7, size=chance.choice([1, 100]))
        if step == 100:
            world.end()
        if chance.random() < 0.05:
            world.feeds.gone(b"a")
        world.full = {b"a"} if chance.random() < 0.1 else set()
        if chance.random() < 0.4:
            world.follow(position=position, window=chance.choice([300, 2000]), resume=resume)
            resume = False
        for message in world.turn(chance.choice([0.0, 0.3])):
            if chance.random() < 0.1:
                continue
            if message.after != position:
                resume = True
                continue
            position = message.position
            got += rows([message])
            finished = message.finished
        if finished:
            break
    assert finished
    assert got == list(range(world.index))
