"""The HTTP server of a daemon: ``/metrics`` for Prometheus, and ``/-/healthy``.

Owns a few threads of its own, which read the board and nothing else, so that no client can do more to the main loop
than take a bounded share of the interpreter: so many connections at once, so many in a second, each for so long, and
what the board shows is rendered once, however often it is asked for. The caller owes ``close``.

prometheus-client is imported here and nowhere else; who has no port must not import this module.
"""

import contextlib
import errno
import logging
import platform
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Self

import zmq
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from cyclone.errors import AlreadyRunning, ConfigError
from cyclone.metrics.board import Board, Sheet, Value
from cyclone.metrics.histogram import Buckets
from cyclone.metrics.names import BUILD_INFO, METRICS, START_TIME, Metric
from cyclone.protocol.sockets import port_holder
from cyclone.version import __version__

log = logging.getLogger("cyclone.metrics")

HEALTHY_S = 10.0
"""A main loop that had no turn for so long is not well; the metrics make it turn once a second."""

_CONNECTIONS_MAX = 8
# All that a client gets from its connection to the last byte of the answer, however slowly it reads or writes.
_CONNECTION_S = 10.0
# A flood waits in the kernel, where it costs this process nothing: at most so many connections are taken in a second,
# which are some 5 % of a core. Those of half a second may come at once.
_PER_SECOND = 20
_BURST_S = 0.5
_BACKLOG = 64
# How often the server looks at those that are open.
_LOOK_S = 1.0


class Exporter:
    """Serves a board from now on. Raises AlreadyRunning where the port is taken, ConfigError for a bad address.

    ``port`` 0 takes a free one; ``port`` tells which.
    """

    def __init__(self, board: Board, address: str, port: int) -> None:
        self._server = _Server(_listen(address, port), _Page(board))
        self.port: int = self._server.socket.getsockname()[1]
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="metrics", daemon=True)
        self._thread.start()
        log.info("metrics at %s port %d", address, self.port)

    def close(self) -> None:
        """Serve nobody any more."""
        self._closing = True
        # Whoever waits for a connection is told that there will be none.
        self._server.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._server.server_close()

    def _serve(self) -> None:
        while not self._closing:
            self._server.handle_request()
            self._server.end_the_late()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _listen(address: str, port: int) -> socket.socket:
    every = address == "*"
    try:
        if every and socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True)
        family, *_, where = socket.getaddrinfo("0.0.0.0" if every else address, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(where[:2], family=family, backlog=_BACKLOG)
    except UnicodeError:
        reason = "that is no name of a host"
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            holder = port_holder(port)
            raise AlreadyRunning(f"[metrics] port {port} on {address} is taken{holder}: name another, or 0") from None
        reason = error.strerror or str(error)
    raise ConfigError(f"[metrics] address = {address}, port = {port}: cannot be served: {reason}")


class _Page(Collector):
    """The text of a board, and whether its main loop is well."""

    def __init__(self, board: Board) -> None:
        self._board = board
        about = Sheet()
        about.put(BUILD_INFO, 1.0, __version__, platform.python_version(), zmq.zmq_version())
        about.put(START_TIME, time.time())
        self._constant = about.done()
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        self._lock = threading.Lock()
        self._shown: object = None
        self._text = b""

    def text(self) -> bytes:
        """Rendered when the board has changed, and then for all who ask."""
        with self._lock:
            snapshot = self._board.snapshot
            if snapshot is not self._shown:
                self._text, self._shown = generate_latest(self._registry), snapshot
            return self._text

    def is_healthy(self) -> bool:
        """Whether the main loop had a turn not long ago."""
        return time.monotonic() - self._board.turned_at < HEALTHY_S

    def describe(self) -> Iterable[Family]:
        """Nothing ahead of time: the registry need not ask."""
        return ()

    def collect(self) -> Iterator[Family]:
        """What the board shows, in the order of the table."""
        snapshot = {**self._board.snapshot, **self._constant}
        for metric in METRICS:
            if metric in snapshot:
                yield _family(metric, snapshot[metric])


def _family(metric: Metric, values: Mapping[tuple[str, ...], Value]) -> Family:
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, buckets in values.items():
            assert isinstance(buckets, Buckets)
            histogram.add_metric(labels, list(_cumulative(buckets)), buckets.total)
        return histogram
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    for labels, value in values.items():
        assert isinstance(value, int | float)
        family.add_metric(labels, value)
    return family


def _cumulative(buckets: Buckets) -> Iterator[tuple[str, float]]:
    so_far = 0
    for bound, count in zip([*map(str, map(float, buckets.bounds)), "+Inf"], buckets.counts, strict=True):
        so_far += count
        yield bound, so_far


class _Server(HTTPServer):
    """See the module: a thread for each connection, of which there are only so many."""

    timeout = _LOOK_S

    def __init__(self, listening: socket.socket, page: _Page) -> None:
        super().__init__(listening.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.page = page
        self._open: dict[socket.socket, float] = {}
        self._may_accept_at = 0.0

    def get_request(self) -> tuple[socket.socket, Any]:
        """The next connection, but not sooner than it is its turn."""
        now = time.monotonic()
        if now < self._may_accept_at:
            time.sleep(self._may_accept_at - now)
        self._may_accept_at = max(now - _BURST_S, self._may_accept_at) + 1 / _PER_SECOND
        return super().get_request()

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread; where there are too many already, it is closed instead."""
        if len(self._open) >= _CONNECTIONS_MAX:
            self.shutdown_request(request)
            return
        self._open[request] = time.monotonic() + _CONNECTION_S
        threading.Thread(target=self._serve, args=(request, client_address), name="metrics-client", daemon=True).start()

    def _serve(self, request: socket.socket, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except OSError as error:
            log.debug("a client of the metrics left: %s", error)
        except Exception:
            self.handle_error(request, client_address)
        finally:
            # First, so that nobody shuts down a descriptor that is somebody else's by then.
            self._open.pop(request, None)
            self.shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A mistake of ours, or no thread to be had: whoever asked gets no answer, and the daemon goes on."""
        log.exception("the metrics could not be shown")

    def end_the_late(self) -> None:
        """End those that take too long: their thread wakes up from whatever it waits for."""
        now = time.monotonic()
        for request in [request for request, until in list(self._open.items()) if until < now]:
            self._open.pop(request, None)
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """GET and HEAD of two pages. The base class answers HTTP/1.0, so that a connection has one request."""

    timeout = _CONNECTION_S
    server: _Server

    def do_GET(self) -> None:
        """The page, or that there is none."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(200, self.server.page.text(), CONTENT_TYPE_LATEST)
        elif path == "/-/healthy":
            healthy = self.server.page.is_healthy()
            self._answer(200 if healthy else 503, b"ok\n" if healthy else b"the main loop is stuck\n")
        else:
            self._answer(404, b"there are /metrics and /-/healthy\n")

    do_HEAD = do_GET

    def _answer(self, status: int, text: bytes, content_type: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(text)

    def version_string(self) -> str:
        """What the header Server says: not which Python."""
        return "cyclone"

    def log_message(self, format: str, *args: Any) -> None:
        """What others do is not news."""
        log.debug(format, *args)
