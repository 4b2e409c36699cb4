"""Where a bundle may come from, and how each way to fail reads."""

import hashlib
import http.server
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cyclone.bundles import BundleError, fetching
from cyclone.bundles.fetching import fetch, local_path, shown
from tests.support.web import Web, serving

CONTENT = b"content" * 1000


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as one:
        one.pages["/bundle.zip"] = CONTENT
        yield one


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/a/b.zip", "/a/b.zip"),
        ("file:///a/b%20c.zip", "/a/b c.zip"),
        ("file://localhost/a.zip", "/a.zip"),
        ("http://host/a.zip", None),
        ("https://host:8443/a.zip?version=3", None),
        ("/a/b#c?d.zip", "/a/b#c?d.zip"),
        ("/a:b.zip", "/a:b.zip"),
    ],
)
def test_given_what_names_a_bundle_then_it_is_a_file_or_on_another_host(url: str, path: str | None) -> None:
    assert local_path(url) == (None if path is None else Path(path))


def test_given_a_relative_path_then_it_is_looked_for_in_the_working_directory() -> None:
    assert local_path("b.zip") == Path.cwd() / "b.zip"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://host/a.zip",
        "file://other/a.zip",
        "http:///a.zip",
        "http:/a.zip",
        "http://[::1/a",
        "s3://b/a",
        "/a\0b",
    ],
)
def test_given_what_names_none_then_it_is_refused(url: str) -> None:
    with pytest.raises(BundleError, match="names no bundle: expected a path, or a URL of file, http or https"):
        local_path(url)


def test_given_a_user_in_a_url_then_it_is_refused_and_no_message_has_the_password() -> None:
    with pytest.raises(BundleError, match=r"^https://host/a\.zip has a user in it, which is not understood") as refused:
        local_path("https://user:secret@host/a.zip")

    assert "secret" not in str(refused.value)


def test_given_a_file_then_it_is_copied_and_summed(tmp_path: Path) -> None:
    (tmp_path / "bundle").write_bytes(CONTENT)

    found = fetch(str(tmp_path / "bundle"), tmp_path / "copy", len(CONTENT))

    assert found == hashlib.sha256(CONTENT).hexdigest()
    assert (tmp_path / "copy").read_bytes() == CONTENT


def test_given_a_url_then_it_is_fetched_also_from_where_it_leads(tmp_path: Path, web: Web) -> None:
    def elsewhere(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", "/bundle.zip")
        handler.end_headers()

    web.pages["/moved"] = elsewhere

    assert fetch(f"{web.url}/moved", tmp_path / "copy", len(CONTENT)) == hashlib.sha256(CONTENT).hexdigest()
    assert web.asked == ["/moved", "/bundle.zip"]


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/a"])
def test_given_a_redirection_to_something_else_then_it_is_not_followed(tmp_path: Path, web: Web, location: str) -> None:
    def elsewhere(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", location)
        handler.end_headers()

    web.pages["/moved"] = elsewhere

    with pytest.raises(BundleError, match="/moved cannot be fetched: the server answers 302"):
        fetch(f"{web.url}/moved", tmp_path / "copy", 10_000)


def test_given_a_page_that_is_not_there_then_the_failure_says_what_the_server_answers(tmp_path: Path, web: Web) -> None:
    with pytest.raises(BundleError, match="/nothing cannot be fetched: the server answers 404 Not Found$"):
        fetch(f"{web.url}/nothing?password=1", tmp_path / "copy", 10)


def test_given_more_than_agreed_then_fetching_ends(tmp_path: Path, web: Web) -> None:
    with pytest.raises(BundleError, match="has more than 6999 bytes"):
        fetch(f"{web.url}/bundle.zip", tmp_path / "copy", 6999)


def test_given_a_server_that_falls_silent_then_it_is_given_up(
    tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_SILENCE_S_MAX", 0.05)

    def silent(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.connection.recv(1)

    web.pages["/silent"] = silent

    with pytest.raises(BundleError, match="/silent cannot be fetched: timed out"):
        fetch(f"{web.url}/silent", tmp_path / "copy", 10)


def test_given_a_server_that_is_too_slow_then_it_is_given_up(
    tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "FETCH_S_MAX", 0.0)

    with pytest.raises(BundleError, match="has not come within 0 s, only 7000 bytes of it"):
        fetch(f"{web.url}/bundle.zip", tmp_path / "copy", 10_000)


def test_given_a_server_that_goes_on_for_ever_in_small_pieces_then_it_is_given_up_all_the_same(
    tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "FETCH_S_MAX", 0.0)
    monkeypatch.setattr(fetching, "_SILENCE_S_MAX", 0.2)

    def trickling(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\nx")
        handler.connection.recv(1)

    web.pages["/trickling"] = trickling

    with pytest.raises(BundleError, match="has not come within 0 s, only 1 bytes of it"):
        fetch(f"{web.url}/trickling", tmp_path / "copy", 10_000)


def test_given_a_server_that_hangs_up_early_then_the_failure_says_so(tmp_path: Path, web: Web) -> None:
    def early(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\nabc")

    web.pages["/early"] = early

    with pytest.raises(BundleError, match="/early has ended early, 7 bytes before its end$"):
        fetch(f"{web.url}/early", tmp_path / "copy", 10_000)


def test_given_nobody_there_then_the_failure_says_so(tmp_path: Path) -> None:
    with serving() as web:
        url = web.url

    with pytest.raises(BundleError, match="cannot be fetched: .*Connection refused"):
        fetch(f"{url}/bundle.zip", tmp_path / "copy", 10)


def test_given_a_path_that_is_no_file_then_nothing_hangs(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")

    for path, message in (
        ("fifo", "fifo is no file"),
        (".", "is no file"),
        ("nothing", "nothing cannot be fetched: No such file or directory"),
    ):
        with pytest.raises(BundleError, match=message):
            fetch(str(tmp_path / path), tmp_path / f"copy of {path}".replace("/", ""), 10)


def test_given_secrets_in_a_url_then_no_message_has_them() -> None:
    assert shown("https://user:secret@host/a.zip?token=secret#secret") == "https://host/a.zip"
