"""The link: greeting and greeting again, what is counted in a session, and what counts as lost."""

import pytest

from cyclone.controller.link import RETRY_WAIT_MAX_S, Link
from cyclone.protocol import limits
from cyclone.protocol.messages import Hello, Pong, Tasks
from tests.support.controllers import EPOCH, IDENTITY, JOURNAL, welcome


def link(retries_max: int = 0, jitter: float = 0.0) -> Link:
    made = Link(IDENTITY, 1.0, retries_max, lambda: jitter)
    made.connected(0.0)
    return made


def hello(made: Link, now: float) -> Hello | None:
    return made.hello(now, 2, list)


@pytest.mark.parametrize(("jitter", "share"), [(0.0, 0.5), (0.5, 0.75)])
def test_given_no_answer_then_the_waits_double_up_to_a_bound_with_jitter(jitter: float, share: float) -> None:
    made, at = link(jitter=jitter), 0.0
    for wait_s in (1.0, 2.0, 4.0, 8.0, 16.0, RETRY_WAIT_MAX_S, RETRY_WAIT_MAX_S):
        assert hello(made, at) is not None
        assert made.deadline == pytest.approx(at + wait_s * share)
        assert hello(made, made.deadline - 0.001) is None
        at = made.deadline


@pytest.mark.parametrize(("retries_max", "hellos"), [(1, 2), (3, 4)])
def test_given_a_number_of_retries_then_it_gives_up_behind_them(retries_max: int, hellos: int) -> None:
    made = link(retries_max)
    for _ in range(hellos):
        assert not made.given_up
        hello(made, made.deadline)
    assert made.given_up
    made.open(welcome(), 0.0)
    assert not made.given_up


def test_given_a_first_hello_then_it_names_no_master_and_later_ones_the_last() -> None:
    made = link()
    first = hello(made, 0.0)
    assert first == Hello(limits.PROTOCOL_VERSION, "c1", "1" * 32, "", 1, "node", 11, "1.0", "3.11.2", 2, [])
    made.open(welcome(), 0.0)
    assert hello(made, 9.0) is None
    made.greet_again(9.0)
    again = hello(made, 9.0)
    assert again is not None
    assert (again.journal_id, again.epoch) == (JOURNAL, EPOCH)


def test_given_a_session_that_was_lost_with_the_connection_then_the_greeting_is_spread() -> None:
    made = link(jitter=0.5)
    assert made.deadline == 0.0
    made.open(welcome(), 0.0)
    made.connected(5.0)
    assert (made.session, made.deadline) == (None, 5.1)


def test_given_silence_then_it_counts_from_the_last_message() -> None:
    made = link()
    assert made.silent_s(99.0) == 0.0
    made.open(welcome(), 0.0)
    made.heard(10.0)
    assert (made.silent_s(25.0), made.silent_s(25.5)) == (0.0, 15.5)


@pytest.mark.parametrize(
    ("messages", "taken", "granted"),
    [
        # messages: (seq, sent), with a credit of 5; granted: what a room of 5 comes to then
        pytest.param([(1, 5)], [True], 10, id="within the credit"),
        pytest.param([(1, 6)], [False], 11, id="beyond the credit"),
        pytest.param([(1, 2), (1, 2)], [True, False], 7, id="repeated"),
        pytest.param([(2, 4), (1, 2)], [True, False], 9, id="out of order"),
        pytest.param([(3, 4)], [True], 9, id="behind a gap"),
    ],
)
def test_given_leases_then_only_those_in_order_and_within_the_credit_are_taken(
    messages: list[tuple[int, int]], taken: list[bool], granted: int
) -> None:
    made = link()
    made.open(welcome(), 0.0)
    made.grant(5)
    assert [made.take_tasks(Tasks(5, seq, sent, [], [])) for seq, sent in messages] == taken
    made.grant(5)
    assert made.granted == granted


def test_given_a_pong_then_the_credit_of_lost_leases_is_free_again() -> None:
    made = link()
    made.open(welcome(), 0.0)
    made.grant(5)
    made.take_pong(Pong(5, 1, 3, 5))
    made.grant(5)
    assert made.granted == 10
    assert not made.take_tasks(Tasks(5, 3, 5, [], []))
    assert made.take_tasks(Tasks(5, 4, 6, [], []))


def test_given_a_master_that_counts_beyond_all_bounds_then_the_credit_can_still_be_told() -> None:
    made = link()
    made.open(welcome(), 0.0)
    made.take_pong(Pong(5, 1, 1, limits.ID_MAX))
    made.grant(5)
    assert made.told() == limits.ID_MAX


def test_given_less_room_then_the_credit_does_not_fall() -> None:
    made = link()
    made.open(welcome(), 0.0)
    made.grant(5)
    made.grant(-3)
    assert made.granted == 5


@pytest.mark.parametrize(
    ("now", "granted", "results_soon", "said"),
    [
        pytest.param(0.0, 0, False, True, id="at once in a new session"),
        pytest.param(0.5, 0, False, False, id="nothing new"),
        pytest.param(1.0, 0, False, True, id="a heartbeat"),
        pytest.param(0.5, 3, False, True, id="new credit"),
        pytest.param(0.5, 3, True, False, id="new credit that results will carry"),
        pytest.param(1.0, 3, True, True, id="a heartbeat all the same"),
    ],
)
def test_given_time_and_credit_then_a_state_is_said_when_it_is_worth_it(
    now: float, granted: int, results_soon: bool, said: bool
) -> None:
    made = link()
    made.open(welcome(), 0.0)
    if now:
        assert made.state(0.0, 2, 0, list, False) is not None
    made.grant(granted)
    assert (made.state(now, 2, 0, list, results_soon) is not None) == said


@pytest.mark.parametrize(("told_s", "next_s"), [(4.0, 4.0), (0.25, 0.25), (0.0, 1.0)])
def test_given_a_pong_that_names_another_heartbeat_then_it_holds_at_once(told_s: float, next_s: float) -> None:
    made = link()
    made.open(welcome(), 0.0)
    assert made.state(0.0, 2, 0, list, False) is not None
    assert made.deadline == 1.0
    made.take_pong(Pong(5, 1, 0, 0, told_s))
    assert made.deadline == next_s
    assert made.state(next_s, 2, 0, list, False) is not None
    made.take_pong(Pong(5, 2, 0, 0))
    assert made.deadline == 2 * next_s


@pytest.mark.parametrize(
    ("answered", "next_s"),
    [
        pytest.param([], 2.0, id="no answer"),
        pytest.param([1], 2.0, id="an answer to an earlier one"),
        pytest.param([2], 9.5, id="the answer"),
        pytest.param([1, 2], 9.5, id="both answers"),
    ],
)
def test_given_a_state_that_is_not_answered_then_it_is_said_again_before_the_heartbeat(
    answered: list[int], next_s: float
) -> None:
    made = link()
    made.open(welcome(heartbeat_s=9.0, controller_timeout_s=12.0), 0.0)
    for now in (0.0, 0.5):
        made.grant(int(now * 2))
        assert made.state(now, 2, 0, list, False) is not None
    for seq in answered:
        made.take_pong(Pong(5, seq, 0, 0))
    assert made.deadline == next_s


def test_given_a_new_session_then_its_welcome_says_how_often_to_speak() -> None:
    made = link()
    made.open(welcome(), 0.0)
    made.take_pong(Pong(5, 1, 0, 0, 6.0))
    made.open(welcome(6), 10.0)
    assert made.state(10.0, 2, 0, list, False) is not None
    assert made.deadline == 11.0


@pytest.mark.parametrize("lost", [0, 1, 2, 3])
def test_given_the_slowest_heartbeat_then_two_that_are_lost_end_no_lease_and_three_do(lost: int) -> None:
    made = link()
    hello(made, 0.0)
    made.open(welcome(heartbeat_s=9.0), 0.0)
    assert made.state(0.0, 2, 0, list, False) is not None
    made.take_pong(Pong(5, 1, 0, 0))
    for _ in range(lost + 1):
        answered_at = made.deadline
        assert made.state(answered_at, 2, 0, list, False) is not None
    # The answer is on its way for a second.
    assert made.lease_ended(answered_at + 1.0) == (lost == 3)


def test_given_lost_states_when_one_is_answered_then_the_lease_counts_from_that_one() -> None:
    made = link()
    hello(made, 0.0)
    made.open(welcome(heartbeat_s=9.0), 0.0)
    for now in (0.0, 2.0, 4.0):
        assert made.state(now, 2, 0, list, False) is not None
    made.take_pong(Pong(5, 3, 0, 0))
    assert not made.lease_ended(19.0)
    assert made.lease_ended(19.1)


def test_given_an_answer_to_an_earlier_state_then_the_lease_counts_from_the_first_that_waited() -> None:
    made = link()
    hello(made, 0.0)
    made.open(welcome(heartbeat_s=9.0), 0.0)
    for now in (0.0, 2.0, 4.0):
        assert made.state(now, 2, 0, list, False) is not None
    made.take_pong(Pong(5, 2, 0, 0))
    assert not made.lease_ended(15.0)
    assert made.lease_ended(15.1)
