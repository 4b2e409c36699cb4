"""A client's conversation with a master: one request, one answer.

Owns where the master is found and how long it may take. Knows nothing of what the answers mean. A request that was not
answered may have been carried out: asking again is harmless, because each says what is to be, and not what to change.
"""

import os
import struct
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import zmq

from cyclone.client.profiles import Profile, find_profile
from cyclone.errors import ConfigError, CycloneError, NotAllowed, ProtocolError, Unreachable
from cyclone.protocol import endpoints, wire
from cyclone.protocol.job_messages import AnyFromClient, AnyToClient
from cyclone.protocol.messages import FORBIDDEN, Refused
from cyclone.protocol.sockets import POLLIN, POLLOUT, ClientKeys, controller_socket, handshake_fault

ENVIRONMENT = "CYCLONE_SERVER"
KEY_ENVIRONMENT = "CYCLONE_KEY_FILE"
# zmq_socket_monitor(3): the event, and a number that belongs to it.
_EVENT = struct.Struct("=HI")
_RESEND_S = 1.0
_NOT_THERE = "is it running, and is this its address? Give --connect tcp://HOST:PORT or -f its file"
# ZeroMQ does not always see what was wrong.
_BROKEN_OFF = "the connection ends in the handshake: what listens there wants a key, is overloaded, or is no master"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a master listens, and what to prove ourselves with. ``port`` is 0 for a socket file."""

    target: str
    port: int
    keys: ClientKeys | None = None

    def __str__(self) -> str:
        return endpoints.endpoint(self.target, self.port)


def parse_address(text: str) -> Address:
    """``tcp://HOST[:PORT]`` or ``ipc:///PATH``. Raises ConfigError."""
    expected = f"{text!r}: expected tcp://HOST or tcp://HOST:PORT, or {endpoints.FILE_FORM} of a socket file"
    if endpoints.is_file(text):
        try:
            return Address(endpoints.check_file(text), 0)
        except ValueError as error:
            raise ConfigError(str(error)) from None
    try:
        parts = urlsplit(text if "://" in text else f"tcp://{text}")
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"{expected} ({error})") from None
    more = parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None
    if parts.scheme != "tcp" or not parts.hostname or port == 0 or more:
        raise ConfigError(expected)
    return Address(parts.hostname, port or _default_port())


def _default_port() -> int:
    # With all keys of the configuration, which most commands need not know.
    from cyclone.config_keys import DEFAULT_PORT

    return DEFAULT_PORT


def find_address(
    connect: str | None, config_file: Path | None, key_file: Path | None, insecure: bool, profile: str | None = None
) -> Address:
    """The master that is meant: ``connect``, else that of a configuration file, else ``$CYCLONE_SERVER``, else that of
    the profile, else here.

    The key is ``key_file``, else ``$CYCLONE_KEY_FILE``, else that of the profile, which counts where it was named or
    the master was found in it. Raises ConfigError, also where a question would go over the network for everybody to
    read, unless ``insecure``.
    """
    text = connect or (None if config_file else os.environ.get(ENVIRONMENT))
    found = applicable_profile(connect, config_file, profile)
    if text or (found.server and not config_file):
        address = parse_address(text or found.server)
    else:
        address = _address_in(config_file)
    own_key = os.environ.get(KEY_ENVIRONMENT)
    return _prove(address, key_file or (Path(own_key) if own_key else found.key_path), insecure or found.insecure)


def applicable_profile(
    connect: str | None = None, config_file: Path | None = None, profile: str | None = None
) -> Profile:
    """The profile that was named, or the default one where nothing else names a master; else an empty one."""
    found, named = find_profile(profile)
    elsewhere = connect or config_file or os.environ.get(ENVIRONMENT)
    return Profile() if elsewhere and not named else found


def is_server_named(profile: str | None = None) -> bool:
    """Whether the environment or a profile names a master."""
    return bool(os.environ.get(ENVIRONMENT) or find_profile(profile)[0].server)


def _prove(address: Address, key_file: Path | None, insecure: bool) -> Address:
    from cyclone.security.peers import client_keys, openness

    if key_file:
        return replace(address, keys=client_keys(key_file, "client", "monitor", "admin"))
    if not insecure and (why := openness(address.target)):
        what = why if endpoints.is_file(address.target) else "is not this host"
        raise ConfigError(
            f"{address} {what}, and there is no key: on the master's host 'cyclone keys add NAME --role "
            "client' makes one for --key-file; or say --insecure where everybody on the network is trusted"
        )
    return address


def _address_in(config_file: Path | None) -> Address:
    if config_file is None:
        return Address("127.0.0.1", _default_port())
    from cyclone.config import load

    comm = load(config_file, (), "master").comm
    # What a master binds to be heard everywhere is no address to call.
    target = "127.0.0.1" if comm.target in ("*", "0.0.0.0", "::") else comm.target
    return Address(target, 0 if endpoints.is_file(target) else comm.port)


def monitored_event(monitor: "zmq.Socket[bytes]") -> int:
    """What a monitor tells next. pyzmq's own way to read it imports asyncio, which takes 25 ms."""
    number, _ = _EVENT.unpack(monitor.recv_multipart(zmq.DONTWAIT)[0])
    return int(number)


class Connection:
    """Open as a context. ``timeout_s`` bounds each question."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self.address = address
        self.timeout_s = timeout_s
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket, self._monitor = controller_socket(self._context, address.target, address.port, address.keys)
        # What is not answered is asked again, and not by ZeroMQ.
        self._socket.setsockopt(zmq.LINGER, 0)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, POLLIN)
        self._poller.register(self._monitor, POLLIN)
        self._fault = ""
        # Something could not be sent, and it is not known yet that it can be now.
        self._blocked = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it; harmless the second time."""
        if not self._context.closed:
            self._socket.disable_monitor()
            self._context.destroy(linger=0)

    def ask(self, request: AnyFromClient) -> AnyToClient:
        """The answer. Raises Unreachable, and CycloneError where the master refuses to answer."""
        now = time.monotonic()
        give_up_at, send_at, said, self._fault = now + self.timeout_s, now, False, ""
        while (now := time.monotonic()) < give_up_at:
            if now >= send_at or not (said or self.is_blocked):
                send_at, said = now + _RESEND_S, self.say(request)
            answer = self.hear(min(send_at, give_up_at) - now)
            if answer is not None and answer.request == request.request:
                return answer
        raise self.unreachable()

    def say(self, request: AnyFromClient) -> bool:
        """Send without waiting for anything; False where there is no connection at this moment."""
        try:
            self._socket.send_multipart(wire.encode(request), zmq.DONTWAIT)
        except zmq.Again:
            self._blocked = True
            return False
        return True

    @property
    def is_blocked(self) -> bool:
        """Whether there was no connection when something was said, and ``hear`` has not returned for one since."""
        return self._blocked

    def hear(self, wait_s: float) -> AnyToClient | None:
        """What the master says next, None where it says nothing for so long, or there is a connection again.

        Raises CycloneError as ``ask`` does.
        """
        self._poller.modify(self._socket, POLLIN | POLLOUT if self._blocked else POLLIN)
        ready = dict(self._poller.poll(int(wait_s * 1000) + 1))
        self._blocked = self._blocked and not ready.get(self._socket, 0) & POLLOUT
        if self._monitor in ready:
            event = monitored_event(self._monitor)
            vague = _BROKEN_OFF if event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL else ""
            self._fault = handshake_fault(event, self.address.keys is not None) or self._fault or vague
        return self._receive() if ready.get(self._socket, 0) & POLLIN else None

    def unreachable(self) -> Unreachable:
        """What to raise where nothing was heard for too long."""
        reason = self._fault or _NOT_THERE
        if self._fault and not self.address.keys:
            reason += "; --key-file FILE gives it ours"
        return Unreachable(f"no answer from a master at {self.address} within {self.timeout_s:g} s: {reason}")

    def _receive(self) -> AnyToClient:
        try:
            answer = wire.decode_for_client(self._socket.recv_multipart())
        except ProtocolError as error:
            raise CycloneError(f"what answers at {self.address} is no master of this version: {error}") from error
        if isinstance(answer, Refused):
            kind = NotAllowed if answer.code == FORBIDDEN else CycloneError
            raise kind(f"the master at {self.address} refuses: {answer.text}")
        return answer
