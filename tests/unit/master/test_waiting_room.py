"""Who speaks to a master that can record nothing: clients get the reason, what others say keeps its order."""

from collections.abc import Iterator
from typing import Any, cast

from cyclone.master.waiting_room import Waiting, WaitingRoom
from cyclone.protocol.client_messages import StatusRequest
from cyclone.protocol.messages import (
    FORBIDDEN,
    UNRECORDED,
    Goodbye,
    Refused,
    ResultBatch,
    Results,
    Returned,
    State,
)
from tests.support.masters import hello

REVOKED = Refused(FORBIDDEN, "", "this key was revoked")


class Gate:
    """What has come in, taken a part at a time."""

    def __init__(self, *come: tuple[bytes, Any]) -> None:
        self.come = list(come)
        self.readable = [cast(Any, "authenticator")]
        self.served = 0

    def serve(self, now: float) -> None:
        self.served += 1

    def receive(self, socket: object, messages_max: int, now: float) -> Iterator[Waiting]:
        taken, self.come = self.come[:messages_max], self.come[messages_max:]
        return (Waiting(peer, message, None) for peer, message in taken)


def room(gate: Gate) -> tuple[WaitingRoom, list[tuple[bytes, Refused]]]:
    sent: list[tuple[bytes, Refused]] = []
    return WaitingRoom(cast(Any, gate), cast(Any, "socket"), lambda *what: sent.append(what)), sent


def results(number: int, body: bytes = b"") -> Results:
    return Results(1, number, 0, [ResultBatch(1, 1, 1, b"\0", body)])


def state(seq: int) -> State:
    return State(1, seq, 0, 0, 1, 0, [])


def test_given_clients_then_they_are_told_why_and_nothing_of_theirs_waits() -> None:
    gate = Gate((b"c", StatusRequest(7)), (b"d", StatusRequest(1)))
    waiting_room, sent = room(gate)

    waiting_room.listen("the disk is full", 1.0)

    refused = Refused(UNRECORDED, "", "nothing can be recorded at the moment: the disk is full")
    assert sent == [(b"c", refused), (b"d", refused)]
    assert len(waiting_room) == 0
    assert gate.served == 1


def test_given_others_then_they_are_heard_afterwards_in_their_order_and_once() -> None:
    said = [(b"a", Returned(1, 0, [])), (b"b", REVOKED), (b"a", Goodbye(1, "x")), (b"a", Returned(1, 1, []))]
    waiting_room, sent = room(Gate(*said))

    waiting_room.listen("full", 1.0)

    assert [(peer, message) for peer, message, _ in waiting_room.leave()] == said
    assert waiting_room.leave() == []
    assert sent == []


def test_given_what_is_said_again_and_again_then_the_last_word_waits_where_it_was_said() -> None:
    first, second = hello("a"), hello("a", slots=9)
    said: list[tuple[bytes, Any]] = [(b"a", first), (b"a", state(1)), (b"b", state(1)), (b"a", Returned(1, 0, []))]
    waiting_room, _ = room(Gate(*said, (b"a", state(2)), (b"a", second)))

    waiting_room.listen("full", 1.0)

    heard = [(peer, message) for peer, message, _ in waiting_room.leave()]
    assert heard == [(b"b", state(1)), (b"a", Returned(1, 0, [])), (b"a", state(2)), (b"a", second)]


def test_given_results_that_are_repeated_then_they_wait_once_and_where_they_were() -> None:
    said: list[tuple[bytes, Any]] = [(b"a", results(1)), (b"b", results(1)), (b"a", results(2)), (b"a", results(1))]
    waiting_room, _ = room(Gate(*said))

    waiting_room.listen("full", 1.0)

    assert [(peer, message) for peer, message, _ in waiting_room.leave()] == said[:3]


def test_given_a_client_that_is_refused_again_and_again_then_that_takes_no_more_room() -> None:
    waiting_room, _ = room(Gate(*[(b"a", REVOKED)] * 1000))
    waiting_room.listen("full", 1.0)
    assert len(waiting_room) == 1


def test_given_no_room_for_more_then_nothing_more_is_read_until_they_have_left() -> None:
    body = bytes(16 << 20)
    gate = Gate(*[(b"a", results(number, body)) for number in range(16)])
    waiting_room, _ = room(gate)
    assert [*map(str, waiting_room.readable)] == ["authenticator", "socket"]

    waiting_room.listen("full", 1.0)
    assert len(waiting_room) == 16
    assert [*map(str, waiting_room.readable)] == ["authenticator"]
    gate.come = [(b"a", Returned(1, 0, []))]
    waiting_room.listen("full", 1.0)
    assert gate.come

    waiting_room.leave()
    assert [*map(str, waiting_room.readable)] == ["authenticator", "socket"]
