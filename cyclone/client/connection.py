"""A client's conversation with a master: one request, one answer.

Owns where the master is found and how long it may take. Knows nothing of what the answers mean. A request that was not
answered may have been carried out: asking again is harmless, because each says what is to be, and not what to change.
"""

import os
import socket
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import urlsplit

import zmq

from cyclone.client.checking import check
from cyclone.client.handshakes import Handshakes
from cyclone.client.patience import Patience, Silence
from cyclone.client.profiles import DEFAULT_PROFILE, Profile, find_profile, profiles_file, read_profiles
from cyclone.errors import ConfigError, CycloneError, NotAllowed, ProtocolError, Unreachable
from cyclone.protocol import endpoints, wire
from cyclone.protocol.job_messages import AnyFromClient, AnyToClient, OutputRequest
from cyclone.protocol.limits import OUTPUT_ANSWER_MAX_S
from cyclone.protocol.messages import FORBIDDEN, UNRECORDED, Refused
from cyclone.protocol.sockets import POLLIN, POLLOUT, ClientKeys, controller_socket, reconnect

ENVIRONMENT = "CYCLONE_SERVER"
KEY_ENVIRONMENT = "CYCLONE_KEY_FILE"
_RESEND_S = 1.0
_NOT_THERE = "is it running, and is this its address? Give"


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


def not_let_in(address: Address, fault: str) -> NotAllowed:
    """What to raise where a master refuses to shake hands with us; ``fault`` as ``Handshakes`` has it."""
    return NotAllowed(f"{address}: {_with_remedy(address, fault)}")


def _with_remedy(address: Address, fault: str) -> str:
    if address.keys:
        return fault
    return f"{fault}; {address.words.key_file} gives it ours, or a profile in {profiles_file()} for this server"


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
        self._pid = os.getpid()
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
        self._handshakes = Handshakes(address.keys is not None, time.monotonic())
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

    @property
    def is_closed(self) -> bool:
        """Whether it has been ended."""
        return bool(self._context.closed)

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
        # What the master itself waits for, it is not silent about.
        own_wait_s = request.wait_s + OUTPUT_ANSWER_MAX_S if isinstance(request, OutputRequest) else 0.0
        give_up_at, send_at, said, has_left = began + self.timeout_s + own_wait_s, began, False, False
        # What was wrong with an earlier question.
        self._handshakes.forgive(began)
        self.silence.reason = ""
        while (now := time.monotonic()) < give_up_at:
            self.silence.lasts(now - began - own_wait_s)
            if now >= send_at or not (said or self.is_blocked):
                send_at, said = now + _RESEND_S, self.say(request)
                has_left |= said
            answer = self.hear(min(send_at, give_up_at) - now)
            if answer is not None and answer.request == request.request:
                return answer
        error = self.unreachable()
        if isinstance(error, Unreachable):
            error.may_be_done = has_left
        raise error

    def say(self, request: AnyFromClient) -> bool:
        """Send without waiting for anything; False where there is no connection at this moment.

        Raises CycloneError in a child that was forked, where ZeroMQ has no thread: it would wait for ever.
        """
        if os.getpid() != self._pid:
            raise CycloneError("this client belongs to the process that was forked: make another one in this process")
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
        wait_s = min(wait_s, max(0.0, self._handshakes.reconnect_at - time.monotonic()))
        ready = dict(self._poller.poll(int(wait_s * 1000) + 1))
        if self._stop and self._stop.fileno() in ready:
            raise Interrupted(f"nobody wants what the master at {self.address} says any more")
        self._blocked = self._blocked and not ready.get(self._socket, 0) & POLLOUT
        if self._monitor in ready:
            self._handshakes.read(self._monitor, time.monotonic())
            if self._handshakes.are_refused:
                raise self.unreachable()
        if self._handshakes.is_reconnect_due(time.monotonic()):
            reconnect(self._socket, self.address.target, self.address.port)
        return self._receive() if ready.get(self._socket, 0) & POLLIN else None

    def unreachable(self) -> Unreachable | NotAllowed:
        """What to raise where nothing was heard for too long, or a handshake was refused."""
        fault, words = self._handshakes.fault, self.address.words
        if self._handshakes.refusals:
            return not_let_in(self.address, fault)
        if self.silence.reason:
            return Unreachable(f"no answer from {self.address} within {self.timeout_s:g} s: {self.silence.reason}")
        reason = _with_remedy(self.address, fault) if fault else f"{_NOT_THERE} {words.connect}; {words.start}"
        return Unreachable(f"no answer from a master at {self.address} within {self.timeout_s:g} s: {reason}")

    def _receive(self) -> AnyToClient | None:
        try:
            answer = wire.decode_for_client(self._socket.recv_multipart())
        except ProtocolError as error:
            raise CycloneError(f"what answers at {self.address} is no master of this version: {error}") from error
        if isinstance(answer, Refused) and answer.code == UNRECORDED:
            self.silence.reason = answer.text
            return None
        if isinstance(answer, Refused):
            kind = NotAllowed if answer.code == FORBIDDEN else CycloneError
            raise kind(f"the master at {self.address} refuses: {answer.text}")
        self.silence.ends()
        return answer
