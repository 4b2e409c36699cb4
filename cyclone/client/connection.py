"""A client's conversation with a master: one request, one answer.

Owns where the master is found and how long it may take. Knows nothing of what the answers mean. A request that was not
answered may have been carried out: asking again is harmless, because each says what is to be, and not what to change.
"""

import math
import os
import socket
import struct
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import urlsplit

import zmq

from cyclone.client.checking import check
from cyclone.client.patience import Patience, Silence
from cyclone.client.profiles import DEFAULT_PROFILE, Profile, find_profile, profiles_file, read_profiles
from cyclone.errors import ConfigError, CycloneError, NotAllowed, ProtocolError, Unreachable
from cyclone.protocol import endpoints, wire
from cyclone.protocol.job_messages import AnyFromClient, AnyToClient
from cyclone.protocol.messages import FORBIDDEN, Refused
from cyclone.protocol.sockets import POLLIN, POLLOUT, ClientKeys, controller_socket, handshake_fault, reconnect

ENVIRONMENT = "CYCLONE_SERVER"
KEY_ENVIRONMENT = "CYCLONE_KEY_FILE"
# zmq_socket_monitor(3): the event, and a number that belongs to it.
_EVENT = struct.Struct("=HI")
_RESEND_S = 1.0
# The master looks twice a second which keys there are: with one that was added just now we try once more.
_TRY_AGAIN_S = 0.6
_NOT_THERE = "is it running, and is this its address? Give"
# ZeroMQ does not always see what was wrong.
_BROKEN_OFF = "the connection ends in the handshake: what listens there wants a key, is overloaded, or is no master"


class Words(NamedTuple):
    """What whoever names a master can write, for messages that advise it; ``start``: where there is none yet."""

    connect: str
    key_file: str
    insecure: str
    start: str = "`cyclone-master -f FILE` starts one"


IN_PYTHON = Words('connect="tcp://HOST:PORT"', 'key_file="FILE"', "insecure=True")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a master listens, and what to prove ourselves with. ``port`` is 0 for a socket file."""

    target: str
    port: int
    keys: ClientKeys | None = None
    words: Words = field(default=IN_PYTHON, compare=False, repr=False)

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
    connect: str | None,
    config_file: Path | None,
    key_file: Path | None,
    insecure: bool,
    profile: str | None = None,
    words: Words = IN_PYTHON,
) -> Address:
    """The master that is meant: ``connect``, else that of a configuration file, else ``$CYCLONE_SERVER``, else that of
    the profile, else here.

    The key is ``key_file``, else ``$CYCLONE_KEY_FILE``, else that of the profile, which counts where it was named, or
    this master is its server. Raises ConfigError, also where a question would go over the network for everybody to
    read, unless ``insecure``.
    """
    text = connect or (None if config_file else os.environ.get(ENVIRONMENT))
    found = applicable_profile(connect, config_file, profile)
    if text or (found.server and not config_file):
        address = parse_address(text or found.server)
    else:
        address = _address_in(config_file)
    if found == Profile():
        found = _profile_of(address)
    own_key = os.environ.get(KEY_ENVIRONMENT)
    found_key = Path(own_key) if own_key else found.key_path
    return _prove(replace(address, words=words), key_file or found_key, insecure or found.insecure)


def _profile_of(address: Address) -> Profile:
    """The profile whose server this is, the default one first; an empty one where several others are, whose keys may
    have different rights.
    """
    same = {name: one for name, one in read_profiles().items() if _is_server(one.server, address)}
    if len(same) == 1:
        return next(iter(same.values()))
    return same.get(DEFAULT_PROFILE, Profile())


def _is_server(text: str, address: Address) -> bool:
    try:
        return bool(text) and parse_address(text) == address
    except ConfigError:
        # Of a profile that nobody asked for.
        return False


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
            f"{address} {what}, and there is no key: on the master's host 'cyclone keys add NAME --role client' makes "
            f"one for {address.words.key_file}; or say {address.words.insecure} where everybody on the network is "
            "trusted"
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
    return _monitored(monitor)[0]


def _monitored(monitor: "zmq.Socket[bytes]") -> tuple[int, int]:
    """The same with the number that belongs to it."""
    event, number = _EVENT.unpack(monitor.recv_multipart(zmq.DONTWAIT)[0])
    return event, number


class Interrupted(CycloneError):
    """Another thread wants no answer any more."""


class Connection:
    """Open as a context. ``timeout_s`` bounds each question, or ``patience`` once there has been an answer.

    Where the other end of the socket ``stop`` is closed, which any thread may do, whoever waits gets Interrupted. This
    end is closed with the connection.
    """

    def __init__(
        self,
        address: Address,
        timeout_s: float,
        stop: socket.socket | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.address = address
        self.silence = Silence(timeout_s, patience)
        self._stop = stop
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket, self._monitor = controller_socket(self._context, address.target, address.port, address.keys)
        # What is not answered is asked again, and not by ZeroMQ.
        self._socket.setsockopt(zmq.LINGER, 0)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, POLLIN)
        self._poller.register(self._monitor, POLLIN)
        if stop:
            self._poller.register(stop, POLLIN)
        self._fault = ""
        # How often the other end has refused to shake hands with us, and when we try again.
        self._refusals, self._try_again_at = 0, math.inf
        # Something could not be sent, and it is not known yet that it can be now.
        self._blocked = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def timeout_s(self) -> float:
        """How long an answer may take at this moment."""
        return self.silence.timeout_s

    def close(self) -> None:
        """End it; harmless the second time."""
        if not self._context.closed:
            self._socket.disable_monitor()
            self._context.destroy(linger=0)
        if self._stop:
            self._stop.close()

    def ask(self, request: AnyFromClient) -> AnyToClient:
        """The answer.

        Raises BadRequest; Unreachable; NotAllowed where the master does not know our key, or wants one; and
        CycloneError where it refuses to answer.
        """
        check(request)
        began = time.monotonic()
        give_up_at, send_at, said, self._fault = began + self.timeout_s, began, False, ""
        if self._refusals > 1:
            # Of an earlier question: a right may have been given since.
            self._refusals, self._try_again_at = 0, began
        while (now := time.monotonic()) < give_up_at:
            self.silence.lasts(now - began)
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
        """What the master says next, None where it says nothing for so long, or something happened to the connection.

        Raises CycloneError as ``ask`` does.
        """
        self._poller.modify(self._socket, POLLIN | POLLOUT if self._blocked else POLLIN)
        wait_s = min(wait_s, max(0.0, self._try_again_at - time.monotonic()))
        ready = dict(self._poller.poll(int(wait_s * 1000) + 1))
        if self._stop and self._stop.fileno() in ready:
            raise Interrupted(f"nobody wants what the master at {self.address} says any more")
        self._blocked = self._blocked and not ready.get(self._socket, 0) & POLLOUT
        if self._monitor in ready:
            self._on_event(*_monitored(self._monitor))
            if self._refusals > 1:
                raise self.unreachable()
        if time.monotonic() >= self._try_again_at:
            self._try_again_at = math.inf
            # ZeroMQ would not.
            reconnect(self._socket, self.address.target, self.address.port)
        return self._receive() if ready.get(self._socket, 0) & POLLIN else None

    def _on_event(self, event: int, number: int) -> None:
        """What the monitor has told: how the handshake went."""
        with_keys = self.address.keys is not None
        vague = _BROKEN_OFF if event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL else ""
        self._fault = handshake_fault(event, with_keys) or self._fault or vague
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._refusals = 0
        elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            self._refusals += 1
            self._try_again_at = time.monotonic() + _TRY_AGAIN_S
        elif number == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH and not with_keys:
            # There is nothing to try again with.
            self._refusals = 2

    def unreachable(self) -> Unreachable | NotAllowed:
        """What to raise where nothing was heard for too long, or a handshake was refused."""
        words = self.address.words
        reason = self._fault or f"{_NOT_THERE} {words.connect}; {words.start}"
        if self._fault and not self.address.keys:
            reason += f"; {words.key_file} gives it ours, or a profile in {profiles_file()} for this server"
        if self._refusals:
            return NotAllowed(f"{self.address}: {reason}")
        return Unreachable(f"no answer from a master at {self.address} within {self.timeout_s:g} s: {reason}")

    def _receive(self) -> AnyToClient:
        try:
            answer = wire.decode_for_client(self._socket.recv_multipart())
        except ProtocolError as error:
            raise CycloneError(f"what answers at {self.address} is no master of this version: {error}") from error
        if isinstance(answer, Refused):
            kind = NotAllowed if answer.code == FORBIDDEN else CycloneError
            raise kind(f"the master at {self.address} refuses: {answer.text}")
        self.silence.ends()
        return answer
