"""Keys are refused where ZeroMQ cannot keep what they promise."""

import pytest
import zmq

from cyclone.errors import ConfigError
from cyclone.protocol.sockets import ClientKeys, ServerKeys, controller_socket, master_socket, require_curve


def test_given_this_installation_then_it_can_do_curve() -> None:
    require_curve()


@pytest.mark.parametrize(
    ("version", "curve", "expected"),
    [((4, 3, 3), True, "keys need libzmq 4.3.4 or later"), ((4, 3, 5), False, "keys need CURVE")],
)
def test_given_a_zeromq_that_is_old_or_without_curve_then_no_socket_gets_keys(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], curve: bool, expected: str
) -> None:
    monkeypatch.setattr(zmq, "zmq_version_info", lambda: version)
    monkeypatch.setattr(zmq, "has", lambda _: curve)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    keys = bytes(32)
    with pytest.raises(ConfigError, match=expected):
        master_socket(context, "127.0.0.1", 0, ServerKeys(keys))
    with pytest.raises(ConfigError, match=expected):
        controller_socket(context, "127.0.0.1", 1, ClientKeys("c1", keys, keys, keys))
    context.destroy()
