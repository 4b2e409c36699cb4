"""Results on their way to clients that follow jobs."""

import pytest

from cyclone.master.actions import Follow
from cyclone.master.clients import client_feeds
from cyclone.master.jobs.rights import ANYBODY, Who
from cyclone.protocol.client_messages import Answer
from cyclone.protocol.job_messages import FollowRequest, JobResults
from cyclone.results import OpenBlock, RecordedBlock
from cyclone.task_rows import job_block
from tests.support.client_feeds import JOB, WINDOW, World, block, rows


@pytest.fixture
def world() -> World:
    return World()


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
