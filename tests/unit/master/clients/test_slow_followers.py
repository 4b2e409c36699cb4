"""Clients that follow a job and are slow, behind or away, or miss what is sent to them."""

import random

import pytest

from cyclone.master.clients import client_feeds
from cyclone.protocol import limits
from cyclone.protocol.job_messages import FOLLOW_S, JobResults
from tests.support.client_feeds import World, rows


@pytest.fixture
def world() -> World:
    return World()


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
