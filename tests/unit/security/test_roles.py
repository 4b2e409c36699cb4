"""What a key may say."""

from typing import get_args

import pytest

from cyclone.protocol import client_messages, job_messages, messages, sink_messages
from cyclone.protocol.client_messages import FromClient
from cyclone.protocol.messages import FromController
from cyclone.protocol.sink_messages import ToSink
from cyclone.security.roles import MAY_SEND, PeerRole, objection
from tests.support.golden_messages import FROM_CLIENT, FROM_CONTROLLER
from tests.support.masters import hello


def test_given_the_messages_of_a_peer_then_each_has_its_line_in_the_table() -> None:
    kinds = {
        kind
        for module in (messages, client_messages, job_messages, sink_messages)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, FromController | FromClient | ToSink)
    }
    assert kinds - {FromController, FromClient, ToSink} == set(MAY_SEND)
    assert all(MAY_SEND.values())


@pytest.mark.parametrize("message", [message for message, _ in FROM_CLIENT], ids=lambda one: type(one).__name__)
def test_given_what_a_monitor_may_not_say_then_it_is_told_so_in_words_of_people(message: FromClient) -> None:
    wrong = objection("mon", "monitor", message)
    assert (wrong == "") == ("monitor" in MAY_SEND[type(message)])
    assert "Request" not in wrong


@pytest.mark.parametrize("role", get_args(PeerRole))
@pytest.mark.parametrize("message", [message for message, _ in FROM_CONTROLLER], ids=lambda one: type(one).__name__)
def test_given_what_a_controller_says_then_only_a_controllers_key_may_say_it(
    role: PeerRole, message: messages.AnyFromController
) -> None:
    name = message.name if isinstance(message, messages.Hello) else "c1"
    assert (objection(name, role, message) == "") == (role == "controller")


@pytest.mark.parametrize(
    ("key", "name", "allowed"),
    [
        ("node17", "node17", True),
        ("node17", "node17/2", True),
        ("node17", "node17/a/b", True),
        ("node17", "node1", False),
        ("node17", "node177", False),
        ("node17", "node17-2", False),
        ("node17", "/node17", False),
        ("node17", "NODE17", False),
        ("node17/2", "node17", False),
    ],
)
def test_given_a_name_in_a_greeting_then_it_must_be_the_keys_or_below_it(key: str, name: str, allowed: bool) -> None:
    wrong = objection(key, "controller", hello(name))
    assert (wrong == "") == allowed
    if wrong:
        assert key in wrong and name in wrong and "cyclone keys add" in wrong
