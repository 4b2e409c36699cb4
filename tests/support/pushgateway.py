"""A Pushgateway for tests: the real one as a process, or one that only writes down what it is asked.

Metrics are read as Prometheus reads them.
"""

import base64
import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.lab import free_port
from tests.support.parts import program, running

Labels = frozenset[tuple[str, str]]
Metrics = dict[str, dict[Labels, float]]

USER, PASSWORD = "probe", "pssst"
# By bcrypt, at its least cost.
_PASSWORD_HASH = "$2b$04$abcdefghijklmnopqrstuuIprIsYj1V6Hmg/jF.5YYGwsndnrPBAi"


def labels(**values: str) -> Labels:
    """The key of a series."""
    return frozenset(values.items())


def read_metrics(text: str) -> Metrics:
    """The values of Cyclone's metrics, by their labels."""
    return {
        family.name: {frozenset(sample.labels.items()): sample.value for sample in family.samples}
        for family in text_string_to_metric_families(text)
        if family.name.startswith("cyclone_")
    }


class Pushgateway:
    """A real one, started and stopped as often as the test likes: its port stays, its metrics do not.

    With ``is_closed`` it speaks TLS alone, by the certificate ``ca``, and lets nobody in but ``USER``.
    """

    def __init__(self, folder: Path, is_closed: bool = False) -> None:
        self._folder = folder
        self._port = free_port()
        self.url = f"{'https' if is_closed else 'http'}://127.0.0.1:{self._port}"
        self.ca = folder / "gateway.pem"
        self._options: list[str] = []
        # What the environment says of proxies is for others.
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if is_closed:
            self._options = [f"--web.config.file={_make_closed(folder, self.ca)}"]
            handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=self.ca)))
        self._opener = urllib.request.build_opener(*handlers)
        if is_closed:
            token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            self._opener.addheaders.append(("Authorization", f"Basic {token}"))

    @contextlib.contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """There while the block lasts."""
        command = [program("prometheus-pushgateway"), f"--web.listen-address=127.0.0.1:{self._port}"]
        log = self._folder / "pushgateway.log"
        with running([*command, "--persistence.file=", *self._options], log, self._is_ready) as process:
            yield process

    def metrics(self) -> Metrics:
        """What Prometheus would find now."""
        with self._opener.open(f"{self.url}/metrics", timeout=10) as response:
            return read_metrics(response.read().decode())

    def _is_ready(self) -> bool:
        try:
            with self._opener.open(f"{self.url}/-/ready", timeout=1):
                return True
        except OSError:
            return False


def _make_closed(folder: Path, certificate: Path) -> Path:
    """The web configuration of a gateway that lets nobody in but ``USER``, with a certificate made for it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.fail("openssl is not installed: the certificate of a Pushgateway with TLS is made by it")
    key = folder / "gateway.key"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    about = ["-days", "2", "-subj", "/CN=gateway", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, *about, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    web = folder / "web.yml"
    web.write_text(
        f"tls_server_config:\n  cert_file: {certificate}\n  key_file: {key}\n"
        f"basic_auth_users:\n  {USER}: {_PASSWORD_HASH}\n"
    )
    return web


@contextlib.contextmanager
def answering(answer: bytes, hangs: bool) -> Iterator[str]:
    """The address of what answers whoever connects with these bytes, and then closes the connection, or ``hangs``."""
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as connections:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection = server.accept()[0]
                    if hangs:
                        connections.enter_context(connection)
                    with contextlib.nullcontext() if hangs else connection:
                        connection.recv(1 << 16)
                        connection.sendall(answer)
                        if not hangs:
                            # To close it with something unread would be a reset to the other end.
                            connection.shutdown(socket.SHUT_WR)
                            while connection.recv(1 << 16):
                                pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


class Asked(NamedTuple):
    """A request: its path behind ``/metrics/job/``, and what it brought."""

    method: str
    group: str
    metrics: Metrics
    authorisation: str


class StubGateway:
    """Writes down what it is asked. ``refused`` are groups that it answers 400; it holds answers back while told to."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.refused: dict[str, str] = {}
        self.may_answer = threading.Event()
        self.may_answer.set()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                group = self.path.removeprefix("/metrics/job/")
                authorisation = self.headers.get("Authorization", "")
                stub.asked.append(Asked(self.command, group, read_metrics(body), authorisation))
                stub.may_answer.wait()
                reason = stub.refused.get(group, "")
                self.send_response(400 if reason else 202)
                self.end_headers()
                self.wfile.write(reason.encode())

            do_DELETE = do_PUT

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """It answers nobody any more."""
        self.may_answer.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
