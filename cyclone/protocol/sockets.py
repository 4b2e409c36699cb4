"""The ZeroMQ sockets of the protocol: every option in one place, each with its reason.

Whoever needs a socket of the protocol gets it here.
"""

import contextlib
import select
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import zmq

from cyclone.errors import AlreadyRunning, ConfigError
from cyclone.protocol import endpoints, limits

# Plain integers: pyzmq's flag enumerations cost a microsecond for each "and".
POLLIN, POLLOUT = int(zmq.POLLIN), int(zmq.POLLOUT)
_AT_ONCE = int(zmq.DONTWAIT)
_MORE = _AT_ONCE | int(zmq.SNDMORE)
# From this on a frame is decoded where ZeroMQ has received it, instead of out of a copy: a small one is copied in less
# time than it takes to make a view of it.
_LARGE_BYTES = 1 << 16
# A message is batch-sized; so few of them suffice, and a slow peer costs little memory before it is seen to be slow.
_MESSAGES_QUEUED = 64
# The authenticator answers for this domain alone; a socket that names none would not be asked about.
ZAP_DOMAIN = b"cyclone"
# Older ones have holes before and after the handshake: CVE-2019-13132, CVE-2020-15166, CVE-2021-20234 to 20237.
_LIBZMQ_MIN = (4, 3, 4)

# What a client's monitor is asked for. The failures are the only sign of a refused key: ZeroMQ is silent about it.
_MONITORED = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_CONNECT_RETRIED
)


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """What the master's socket proves itself with: its secret key, 32 bytes."""

    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """What a peer's socket proves itself with, and the public key of the only master that it talks to; 32 bytes each.

    ``name`` is whose they are, as the master knows it.
    """

    name: str
    server: bytes
    public: bytes
    secret: bytes = field(repr=False)


def _common(socket: "zmq.Socket[bytes]") -> None:
    # An oversize frame cuts the connection; the sender's own bound keeps well-behaved peers away from it.
    socket.setsockopt(zmq.MAXMSGSIZE, limits.MESSAGE_BYTES_MAX)
    # Where the other host vanished without a word, the kernel ends the connection: what was sent, or on an idle one a
    # probe, is not acknowledged for so long. It costs no process anything (decision 16).
    socket.setsockopt(zmq.TCP_MAXRT, 10_000)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 8)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 3)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, 3)
    # The default of 30 s lets a silent stranger hold a descriptor for half a minute.
    socket.setsockopt(zmq.HANDSHAKE_IVL, 5000)
    socket.setsockopt(zmq.IPV6, 1)


def require_curve() -> None:
    """ConfigError where this installation's ZeroMQ cannot do CURVE, or not safely."""
    version = ".".join(map(str, zmq.zmq_version_info()))
    if not zmq.has("curve"):
        raise ConfigError(f"keys need CURVE, and libzmq {version} here is built without it: install pyzmq's wheel")
    if zmq.zmq_version_info() < _LIBZMQ_MIN:
        needed = ".".join(map(str, _LIBZMQ_MIN))
        raise ConfigError(f"keys need libzmq {needed} or later, which is safe before the handshake; here is {version}")


def authenticator_socket(context: "zmq.Context[zmq.Socket[bytes]]") -> "zmq.Socket[bytes]":
    """Where ZeroMQ asks whether to let a connection in; one per context, bound before the socket that it guards."""
    socket = context.socket(zmq.REP)
    # An answer that is not awaited any more is of no use.
    socket.setsockopt(zmq.LINGER, 0)
    # Fixed by ZAP.
    socket.bind("inproc://zeromq.zap.01")
    return socket


def master_socket(
    context: "zmq.Context[zmq.Socket[bytes]]", target: str, port: int, keys: ServerKeys | None = None
) -> tuple["zmq.Socket[bytes]", int]:
    """The ROUTER of a master or a sink, bound; ``port`` 0 takes a free one. Returns it with its port, 0 of a file.

    With keys only peers get through that the context's authenticator lets in; it must be there already.
    Raises AlreadyRunning when the address is taken, ConfigError when it cannot be bound.
    """
    if endpoints.is_file(target) and endpoints.is_listening(target):
        raise AlreadyRunning(f"somebody listens at {target}: is another one running?")
    socket = context.socket(zmq.ROUTER)
    _common(socket)
    if target.replace(".", "").isdecimal():
        # Else it would be listed as ::ffff:127.0.0.1, which who looks for open ports takes for something else.
        socket.setsockopt(zmq.IPV6, 0)
    # Without it a message to a vanished peer is dropped in silence; with it we get EHOSTUNREACH.
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.setsockopt(zmq.SNDHWM, _MESSAGES_QUEUED)
    socket.setsockopt(zmq.RCVHWM, _MESSAGES_QUEUED)
    # What is unsent at the end is sent again by the protocol; the default would wait for dead peers for ever.
    socket.setsockopt(zmq.LINGER, 500)
    # A thousand controllers may come back in the same second.
    socket.setsockopt(zmq.BACKLOG, 1024)
    if keys:
        require_curve()
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
        socket.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
        # Without it, a missing authenticator would let everybody in whose handshake is right, whatever the key.
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    endpoint = endpoints.endpoint(target, port)
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        socket.close()
        if error.errno == zmq.EADDRINUSE:
            raise AlreadyRunning(
                f"port {port} on {target} is taken{port_holder(port)}: is another one running?"
            ) from None
        raise ConfigError(f"[comm] target = {target}, port = {port}: cannot bind {endpoint}: {error}") from None
    if endpoints.is_file(target):
        return socket, 0
    return socket, int(socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])


def controller_socket(
    context: "zmq.Context[zmq.Socket[bytes]]", target: str, port: int, keys: ClientKeys | None = None
) -> tuple["zmq.Socket[bytes]", "zmq.Socket[bytes]"]:
    """A DEALER, of a controller to its master or of a master to a sink: it sets no routing id, ROUTER's own are safe.

    Returns it with its monitor, which tells of each completed or failed handshake, and whether a lost connection is
    being tried again: ``reconnect`` is owed where it is not. The monitor is there before the connection: on loopback
    this is so fast that the first event would be missed now and then.

    Raises ConfigError when the address makes no sense.
    """
    socket = context.socket(zmq.DEALER)
    _common(socket)
    # Messages for a master that is away must not pile up and reach whoever binds the port next.
    socket.setsockopt(zmq.IMMEDIATE, 1)
    # ZMTP's own heartbeat finds what TCP cannot see, a dead process behind a proxy that lives. From this end alone,
    # which tells the other by the TTL, and seldom: every 2 s from both ends would be a ping a second for each of us.
    socket.setsockopt(zmq.HEARTBEAT_IVL, 60_000)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 10_000)
    socket.setsockopt(zmq.HEARTBEAT_TTL, 120_000)
    socket.setsockopt(zmq.SNDHWM, _MESSAGES_QUEUED)
    socket.setsockopt(zmq.RCVHWM, _MESSAGES_QUEUED)
    # Time for the Goodbye, no more.
    socket.setsockopt(zmq.LINGER, 1000)
    socket.setsockopt(zmq.RECONNECT_IVL, 100)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 2000)
    if keys:
        require_curve()
        socket.setsockopt(zmq.CURVE_SERVERKEY, keys.server)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.public)
        socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
    monitor = socket.get_monitor_socket(_MONITORED)
    endpoint = endpoints.endpoint(target, port)
    try:
        socket.connect(endpoint)
    except zmq.ZMQError as error:
        socket.close()
        raise ConfigError(f"[comm] target = {target}, port = {port}: cannot connect to {endpoint}: {error}") from None
    return socket, monitor


def reconnect(socket: "zmq.Socket[bytes]", target: str, port: int, former: str = "") -> None:
    """Connect anew: ZeroMQ never tries again after a peer that broke ZMTP, be it a stranger that held the port.

    ``former`` is the endpoint until now, where it is another one.
    """
    endpoint = endpoints.endpoint(target, port)
    # Unknown here, where ZeroMQ has forgotten it together with the connection.
    with contextlib.suppress(zmq.ZMQError):
        socket.disconnect(former or endpoint)
    socket.connect(endpoint)


class Watching(Protocol):
    """What a poller is told; by whom it is not called, and by zmq.Poller's words."""

    def register(self, what: "zmq.Socket[bytes] | int", flags: int) -> None: ...

    def unregister(self, what: int) -> None: ...


class Poller:
    """Waits for ZeroMQ sockets and plain descriptors at once, as zmq.Poller does.

    That one hands every descriptor to the kernel twice in a turn: with 176 workers 73 us where one is ready and 380 us
    where it sleeps, which this does in 4 and 45.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._sockets: dict[int, zmq.Socket[bytes]] = {}
        # Those that must be asked before we may sleep; and those of them that need it only this time.
        self._asked: dict[zmq.Socket[bytes], None] = {}
        self._monitors: set[zmq.Socket[bytes]] = set()

    def register(self, what: "zmq.Socket[bytes] | int", flags: int) -> None:
        """What to wait for, POLLIN or POLLOUT or both, in the place of what was said before; 0 for nothing.

        Of a ZeroMQ socket it is whether it has messages.
        """
        if isinstance(what, zmq.Socket):
            self._watch(what)
            self._asked[what] = None
            return
        events = (select.EPOLLIN if flags & POLLIN else 0) | (select.EPOLLOUT if flags & POLLOUT else 0)
        try:
            if not events:
                self._epoll.unregister(what)
                return
            self._epoll.modify(what, events)
        except FileNotFoundError:
            if events:
                self._epoll.register(what, events)

    def register_monitor(self, monitor: "zmq.Socket[bytes]") -> None:
        """A socket on which nothing is ever sent: only a turn that has taken a message has to ask it once more."""
        self._watch(monitor)
        self._monitors.add(monitor)
        # Its descriptor tells of nothing before it has been asked in vain.
        self._asked[monitor] = None

    def unregister(self, what: int) -> None:
        """Owed before it is closed. KeyError where it is not registered."""
        try:
            self._epoll.unregister(what)
        except FileNotFoundError:
            raise KeyError(what) from None

    def poll(self, wait_s: float) -> dict[Any, int]:
        """What is ready, after that time at the latest. What has ended is readable too: reading it tells."""
        # The descriptor of a ZeroMQ socket only says that something has changed since it was asked or used the last
        # time.
        ready: dict[Any, int] = {socket: POLLIN for socket in self._asked if _has(socket)}
        for descriptor, events in self._epoll.poll(0.0 if ready else wait_s):
            socket = self._sockets.get(descriptor)
            if socket is None:
                readable = POLLIN if events & ~select.EPOLLOUT else 0
                ready[descriptor] = readable | (POLLOUT if events & select.EPOLLOUT else 0)
            elif _has(socket):
                ready[socket] = POLLIN
        for monitor in self._monitors:
            if monitor in ready:
                self._asked[monitor] = None
            else:
                self._asked.pop(monitor, None)
        return ready

    def close(self) -> None:
        """Give it up; what was registered stays open."""
        self._epoll.close()

    def _watch(self, socket: "zmq.Socket[bytes]") -> None:
        self._sockets[socket.fileno()] = socket
        self._epoll.register(socket.fileno(), select.EPOLLIN)


def _has(socket: "zmq.Socket[bytes]") -> bool:
    return bool(int(socket.get(zmq.EVENTS)) & POLLIN)


def receive_all(socket: "zmq.Socket[bytes]", messages_max: int) -> Iterator[list[bytes]]:
    """The messages that are there, at most so many, so that one busy peer cannot keep a loop from everything else.

    The caller has been told that there is one.
    """
    try:
        frame = socket.recv(_AT_ONCE, copy=False)
    except zmq.Again:
        return
    for number in range(1, messages_max + 1):
        # A frame knows whether it is the last: 5.7 us for three of them, 7.9 by recv_multipart, which asks the socket.
        frames = [_content(frame)]
        while frame.more:
            frame = socket.recv(_AT_ONCE, copy=False)
            frames.append(_content(frame))
        yield frames
        # Asking first is cheap; an empty receive costs an exception, 20 us on the way of every single task.
        if number == messages_max or not _has(socket):
            return
        frame = socket.recv(_AT_ONCE, copy=False)


def send_at_once(socket: "zmq.Socket[bytes]", frames: Sequence[bytes]) -> None:
    """Send a message or raise zmq.Again. pyzmq's own ``send_multipart`` takes 5.7 us for three frames, this 2.0."""
    for frame in frames[:-1]:
        socket.send(frame, _MORE)
    socket.send(frames[-1], _AT_ONCE)


def receive_with_keys(socket: "zmq.Socket[bytes]", messages_max: int) -> Iterator[tuple[str, list[bytes]]]:
    """As ``receive_all`` from a ROUTER, each message with the User-Id that the authenticator gave to its connection."""
    for _ in range(messages_max):
        if not int(socket.get(zmq.EVENTS)) & POLLIN:
            return
        # ROUTER's own frame has the connection's metadata too; the others need not be objects of their own for it.
        first = socket.recv(zmq.DONTWAIT, copy=False)
        frames = [first.bytes]
        if first.more:
            frames += map(_content, socket.recv_multipart(zmq.DONTWAIT, copy=False))
        yield _user_id(first), frames


def handshake_fault(event: int, with_keys: bool, peer: Literal["master", "sink"] = "master") -> str:
    """What a monitor's event says about the keys at both ends, '' where it says nothing. ``peer`` is the other end."""
    if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        return (
            f"the {peer} does not know our key: it was revoked, or added to another {peer}'s folder; "
            f"'cyclone keys list' on the {peer}'s host tells"
        )
    if event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
        if with_keys:
            return f"what listens there has no keys ([comm] keys of the {peer}), or is no {peer}"
        section = "comm" if peer == "master" else "sink"
        return f"what listens there wants a key ([{section}] key_file), or is no {peer}"
    if event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL and with_keys:
        return (
            f"the connection ended in the handshake: our key file names another {peer}'s key, or the {peer} is "
            f"overloaded or not a {peer} at all"
        )
    return ""


def _content(frame: zmq.Frame) -> bytes:
    # As good as bytes for whoever decodes it.
    return frame.bytes if len(frame) < _LARGE_BYTES else frame.buffer  # type: ignore[return-value]


def _user_id(frame: zmq.Frame) -> str:
    try:
        return str(frame.get("User-Id"))
    except zmq.ZMQError:
        # A connection that nobody was asked about.
        return ""


def port_holder(port: int) -> str:
    """Who listens on a port, as far as we may know, to be added to a sentence."""
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            if (
                connection.laddr
                and connection.laddr.port == port
                and connection.status == psutil.CONN_LISTEN
                and connection.pid
            ):
                return f" by pid {connection.pid} ({' '.join(psutil.Process(connection.pid).cmdline())[:200]})"
    except psutil.Error:
        return ""
    return ""
