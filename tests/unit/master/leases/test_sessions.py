"""Sessions: who stands in which line, and which incarnations never come back."""

import pytest

from cyclone.master.leases.sessions import Session, Sessions
from tests.support.masters import hello, peer


def joined(sessions: Sessions, name: str = "c1", incarnation: str = "1") -> Session:
    return sessions.add(peer(name), hello(name, incarnation), 0.0)


@pytest.mark.parametrize(
    ("granted", "sent", "open_tasks", "slots", "reachable", "credit", "lines"),
    [
        pytest.param(0, 0, 0, 2, True, 0, "", id="no credit"),
        pytest.param(3, 0, 0, 2, True, 3, "hungry idle", id="credit and a free slot"),
        pytest.param(3, 1, 2, 2, True, 2, "hungry", id="credit for later"),
        pytest.param(3, 3, 0, 2, True, 0, "", id="credit used up"),
        pytest.param(3, 1, 0, 0, True, 0, "", id="no slots"),
        pytest.param(3, 1, 0, 2, False, 0, "", id="unreachable"),
    ],
)
def test_given_a_session_when_ranked_then_it_stands_in_the_lines_it_belongs_to(
    granted: int, sent: int, open_tasks: int, slots: int, reachable: bool, credit: int, lines: str
) -> None:
    sessions = Sessions()
    session = joined(sessions)
    session.granted = 1
    sessions.rank(session)
    session.granted, session.sent = granted, sent
    session.open = session.taken = open_tasks
    session.slots, session.reachable = slots, reachable
    sessions.rank(session)
    assert session.credit == credit == sessions.credit_total
    assert ("hungry" in lines, "idle" in lines) == (1 in sessions.hungry, 1 in sessions.idle)


def test_given_another_epoch_then_no_number_of_a_session_comes_back() -> None:
    before, after = (Sessions(epoch) for epoch in (7, 8))
    numbers = [{joined(sessions, name).session_id for name in ("c1", "c2", "c3")} for sessions in (before, after)]
    assert numbers[0].isdisjoint(numbers[1])


def test_given_two_sessions_when_one_is_removed_then_its_credit_goes_with_it() -> None:
    sessions = Sessions()
    first, second = joined(sessions), joined(sessions, "c2", "2")
    for session, granted in ((first, 3), (second, 4)):
        session.granted = granted
        sessions.rank(session)
    assert sessions.credit_total == 7
    sessions.remove(first)
    assert sessions.credit_total == 4
    assert (list(sessions.by_id), list(sessions.by_name), len(sessions)) == ([2], ["c2"], 1)


def test_given_a_name_that_was_taken_over_when_the_old_session_goes_then_the_new_one_keeps_the_name() -> None:
    sessions = Sessions()
    old, new = joined(sessions), joined(sessions)
    sessions.remove(old)
    assert sessions.by_name["c1"] is new


def test_given_more_restarts_than_anybody_makes_then_the_oldest_incarnations_are_forgotten() -> None:
    sessions = Sessions()
    incarnations = [f"{number:032x}" for number in range(17_000)]
    for incarnation in incarnations:
        sessions.remove(joined(sessions, "c1", incarnation))
    assert not sessions.is_superseded(incarnations[0])
    assert sessions.is_superseded(incarnations[-2])
    assert not sessions.is_superseded(incarnations[-1])


@pytest.mark.parametrize(
    ("open_tasks", "slots", "reachable", "laden"),
    [(2, 2, True, False), (3, 2, True, True), (3, 2, False, False), (1, 0, True, True)],
)
def test_given_more_tasks_than_slots_then_the_session_is_among_those_to_recall_from(
    open_tasks: int, slots: int, reachable: bool, laden: bool
) -> None:
    sessions = Sessions()
    session = joined(sessions)
    session.open = session.taken = open_tasks
    session.slots, session.reachable = slots, reachable
    sessions.rank(session)
    assert (1 in sessions.laden) == laden
    session.open = session.taken = 0
    sessions.rank(session)
    assert not sessions.laden


def test_given_attempts_that_ended_then_they_are_summed_up_as_long_as_their_sessions_last() -> None:
    sessions = Sessions()
    first, second = joined(sessions), joined(sessions, "c2", "2")
    sessions.learn(first, 30, 20)
    sessions.learn(second, 50, 1)
    sessions.learn(first, -10, -5)
    assert (first.ended, first.failed, sessions.ended, sessions.failed) == (20, 15, 70, 16)
    sessions.remove(first)
    assert (sessions.ended, sessions.failed) == (50, 1)


def test_given_more_names_than_may_be_here_at_once_then_each_former_incarnation_is_still_superseded() -> None:
    sessions = Sessions()
    for number in range(5000):
        joined(sessions, f"c{number}", f"{number:032x}")
    joined(sessions, "c0", "f" * 32)
    assert sessions.is_superseded(f"{0:032x}")
