"""The ZeroMQ sockets of the protocol: every option in one place, each with its reason.

Whoever needs a socket of the protocol gets it here. Endpoints are written here too, so that both ends agree on them.
"""

import contextlib
from collections.abc import Iterator

import zmq

from cyclone.errors import AlreadyRunning, ConfigError
from cyclone.protocol import limits

# Plain integers: pyzmq's flag enumerations cost a microsecond for each "and".
POLLIN, POLLOUT = int(zmq.POLLIN), int(zmq.POLLOUT)
# A message is batch-sized; so few of them suffice, and a slow peer costs little memory before it is seen to be slow.
_MESSAGES_QUEUED = 64


def _common(socket: "zmq.Socket[bytes]") -> None:
    # An oversize frame cuts the connection; the sender's own bound keeps well-behaved peers away from it.
    socket.setsockopt(zmq.MAXMSGSIZE, limits.MESSAGE_BYTES_MAX)
    # ZMTP's own heartbeat shows that the network is there and reaps half-open connections; that the peer's loop is
    # alive only State and Pong can show.
    socket.setsockopt(zmq.HEARTBEAT_IVL, 2000)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 6000)
    socket.setsockopt(zmq.HEARTBEAT_TTL, 6000)
    # Where a firewall drops idle connections, or the other host vanished without a word.
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 30)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 5)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, 3)
    # The default of 30 s lets a silent stranger hold a descriptor for half a minute.
    socket.setsockopt(zmq.HANDSHAKE_IVL, 5000)
    socket.setsockopt(zmq.IPV6, 1)


def master_socket(context: "zmq.Context[zmq.Socket[bytes]]", target: str, port: int) -> tuple["zmq.Socket[bytes]", int]:
    """The master's ROUTER, bound; ``port`` 0 takes a free one. Returns it with its port.

    Raises AlreadyRunning when the port is taken, ConfigError when the address cannot be bound.
    """
    socket = context.socket(zmq.ROUTER)
    _common(socket)
    # Without it a message to a vanished peer is dropped in silence; with it we get EHOSTUNREACH.
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.setsockopt(zmq.SNDHWM, _MESSAGES_QUEUED)
    socket.setsockopt(zmq.RCVHWM, _MESSAGES_QUEUED)
    # What is unsent at the end is sent again by the protocol; the default would wait for dead peers for ever.
    socket.setsockopt(zmq.LINGER, 500)
    # A thousand controllers may come back in the same second.
    socket.setsockopt(zmq.BACKLOG, 1024)
    endpoint = f"tcp://{_host(target)}:{port or '*'}"
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        socket.close()
        if error.errno == zmq.EADDRINUSE:
            raise AlreadyRunning(
                f"port {port} on {target} is taken{_holder(port)}: is another master running?"
            ) from None
        raise ConfigError(f"[comm] target = {target}, port = {port}: cannot bind {endpoint}: {error}") from None
    return socket, int(socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])


def controller_socket(
    context: "zmq.Context[zmq.Socket[bytes]]", target: str, port: int
) -> tuple["zmq.Socket[bytes]", "zmq.Socket[bytes]"]:
    """A controller's DEALER, connecting to one master. It sets no routing id: ROUTER's own are the only safe ones.

    Returns it with its monitor, which tells of each completed handshake, and whether a lost connection is being tried
    again: ``reconnect`` is owed where it is not. The monitor is there before the connection: on loopback this is so
    fast that the first event would be missed now and then.

    Raises ConfigError when the address makes no sense.
    """
    socket = context.socket(zmq.DEALER)
    _common(socket)
    # Messages for a master that is away must not pile up and reach whoever binds the port next.
    socket.setsockopt(zmq.IMMEDIATE, 1)
    socket.setsockopt(zmq.SNDHWM, _MESSAGES_QUEUED)
    socket.setsockopt(zmq.RCVHWM, _MESSAGES_QUEUED)
    # Time for the Goodbye, no more.
    socket.setsockopt(zmq.LINGER, 1000)
    socket.setsockopt(zmq.RECONNECT_IVL, 100)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 5000)
    monitor = socket.get_monitor_socket(
        zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECT_RETRIED
    )
    endpoint = f"tcp://{_host(target)}:{port}"
    try:
        socket.connect(endpoint)
    except zmq.ZMQError as error:
        socket.close()
        raise ConfigError(f"[comm] target = {target}, port = {port}: cannot connect to {endpoint}: {error}") from None
    return socket, monitor


def reconnect(socket: "zmq.Socket[bytes]", target: str, port: int) -> None:
    """Connect anew: ZeroMQ never tries again after a peer that broke ZMTP, be it a stranger that held the port."""
    endpoint = f"tcp://{_host(target)}:{port}"
    # Unknown here, where ZeroMQ has forgotten it together with the connection.
    with contextlib.suppress(zmq.ZMQError):
        socket.disconnect(endpoint)
    socket.connect(endpoint)


def receive_all(socket: "zmq.Socket[bytes]", messages_max: int) -> Iterator[list[bytes]]:
    """The messages that are there, at most so many, so that one busy peer cannot keep a loop from everything else."""
    for _ in range(messages_max):
        # Asking first is cheap; an empty receive costs an exception, 20 us on the way of every single task.
        if not int(socket.get(zmq.EVENTS)) & POLLIN:
            return
        yield socket.recv_multipart(zmq.DONTWAIT)


def _host(target: str) -> str:
    return f"[{target}]" if ":" in target else target


def _holder(port: int) -> str:
    """Who listens on a port, as far as we may know."""
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
