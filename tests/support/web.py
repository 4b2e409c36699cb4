"""A web server in a thread of the test: it serves what it is given, and notes what it was asked."""

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator


class Web:
    """``pages`` maps paths to bodies, or to functions that answer by themselves; ``asked`` are the paths in order."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes | Callable[[http.server.BaseHTTPRequestHandler], None]] = {}
        self.asked: list[str] = []
        self.url = ""


@contextlib.contextmanager
def serving() -> Iterator[Web]:
    """A server on a free port of this host."""
    web = Web()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            web.asked.append(self.path)
            page = web.pages.get(self.path)
            if callable(page):
                page(self)
                return
            self.send_response(404 if page is None else 200)
            self.send_header("Content-Length", str(len(page or b"")))
            self.end_headers()
            self.wfile.write(page or b"")

        def log_message(self, *_: object) -> None:
            """Nobody wants to read it."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        # Looks for its end more often than it would by itself, twice a second.
        thread = threading.Thread(target=server.serve_forever, args=(0.005,))
        thread.start()
        web.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield web
        finally:
            server.shutdown()
            thread.join()
