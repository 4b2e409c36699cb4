"""The HTTP server, over real sockets: what it shows, what it refuses, and what a client cannot do to it."""

import http.client
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cyclone.errors import AlreadyRunning, ConfigError
from cyclone.metrics import exporter, names
from cyclone.metrics.board import Board, Sheet
from cyclone.metrics.exporter import Exporter
from cyclone.metrics.histogram import Histogram


@pytest.fixture
def board() -> Board:
    return Board()


@pytest.fixture
def server(board: Board) -> Iterator[Exporter]:
    with Exporter(board, "127.0.0.1", 0) as exporter:
        yield exporter


def get(server: Exporter, path: str = "/metrics", method: str = "GET") -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def samples(text: str) -> dict[str, float]:
    """Each sample as a query would name it, to its value."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_given_a_snapshot_when_asked_then_it_shows_each_kind_of_metric(server: Exporter, board: Board) -> None:
    lag = Histogram(names.LOOP_LAG.bounds)
    lag.observe(0.003, 2)
    lag.observe(100.0)
    sheet = Sheet()
    sheet.put(names.TASKS, 7, "queued")
    sheet.put(names.FINISHED, 3, 'odd "name"\\\n', "completed")
    sheet.put(names.LOOP_LAG, lag.buckets())
    board.snapshot = sheet.done()
    status, text = get(server)
    found = samples(text)
    assert status == 200
    assert found['cyclone_tasks{state="queued"}'] == 7
    assert 'cyclone_tasks_finished_total{outcome="completed",task="odd \\"name\\"\\\\\\n"} 3.0' in text
    assert [found[f'cyclone_loop_lag_seconds_bucket{{le="{le}"}}'] for le in ("0.001", "0.005", "10.0", "+Inf")] == [
        *(0, 2, 2, 3)
    ]
    assert found["cyclone_loop_lag_seconds_count"] == 3
    assert found["cyclone_loop_lag_seconds_sum"] == pytest.approx(100.006)


def test_given_nothing_yet_when_asked_then_it_says_what_runs_here(server: Exporter) -> None:
    found = samples(get(server)[1])
    assert any(name.startswith("cyclone_build_info{") for name in found)
    assert found["cyclone_start_time_seconds"] == pytest.approx(time.time(), abs=5)
    assert found["process_resident_memory_bytes"] > 0


def test_given_a_new_snapshot_when_asked_again_then_it_is_shown(server: Exporter, board: Board) -> None:
    for value in (1, 2):
        sheet = Sheet()
        sheet.put(names.DUPLICATES, value)
        board.snapshot = sheet.done()
        assert samples(get(server)[1])["cyclone_task_duplicates_total"] == value


@pytest.mark.parametrize(
    ("turned_s_ago", "status"), [(0.0, 200), (exporter.HEALTHY_S - 5, 200), (exporter.HEALTHY_S + 1, 503), (None, 503)]
)
def test_given_the_last_turn_when_asked_for_health_then_it_depends_on_its_age(
    server: Exporter, board: Board, turned_s_ago: float | None, status: int
) -> None:
    if turned_s_ago is not None:
        board.turned_at = time.monotonic() - turned_s_ago
    assert get(server, "/-/healthy")[0] == status


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/metrics", "HEAD", 200),
        ("/metrics?name=x", "GET", 200),
        ("/metrics", "POST", 501),
        ("/metrics", "PUT", 501),
        ("/metrics", "DELETE", 501),
        ("/-/quit", "GET", 404),
        ("/", "GET", 404),
        ("/../etc/passwd", "GET", 404),
    ],
)
def test_given_any_request_then_there_are_two_pages_to_read_and_nothing_to_change(
    server: Exporter, path: str, method: str, status: int
) -> None:
    assert get(server, path, method)[0] == status


@pytest.mark.parametrize("rubbish", [b"\r\n\r\n", b"\0" * 100 + b"\r\n", b"GET " + b"x" * 70000, b"SSH-2.0-x\r\n\r\n"])
def test_given_rubbish_when_sent_then_the_next_client_is_served(server: Exporter, rubbish: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as stranger:
        stranger.sendall(rubbish)
        stranger.shutdown(socket.SHUT_WR)
    assert get(server)[0] == 200


def test_given_clients_that_say_nothing_when_there_are_too_many_then_others_wait_until_their_time_is_over(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "_CONNECTION_S", 0.05)
    monkeypatch.setattr(exporter._Server, "timeout", 0.01)
    monkeypatch.setattr(exporter, "_PER_SECOND", 10000)
    with Exporter(board, "127.0.0.1", 0) as server:
        silent = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(20)]
        # Each of them is ended: those beyond the bound at once, the others when their time is over.
        assert [one.recv(1) for one in silent] == [b""] * 20
        assert get(server)[0] == 200
        for one in silent:
            one.close()


def test_given_a_client_that_drips_when_its_time_is_over_then_it_is_cut(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "_CONNECTION_S", 0.05)
    monkeypatch.setattr(exporter._Server, "timeout", 0.01)
    with Exporter(board, "127.0.0.1", 0) as server:
        started = time.monotonic()
        with socket.create_connection(("127.0.0.1", server.port), timeout=0.005) as slow, pytest.raises(OSError):
            while time.monotonic() - started < 5:
                slow.sendall(b"G")
                try:
                    if slow.recv(1) == b"":
                        raise ConnectionResetError
                except TimeoutError:
                    continue
        assert time.monotonic() - started < 2


def test_given_a_flood_then_only_so_many_are_taken_in_a_second(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter, "_PER_SECOND", 100)
    monkeypatch.setattr(exporter, "_BURST_S", 0.0)
    with Exporter(board, "127.0.0.1", 0) as server:
        started = time.monotonic()
        for _ in range(5):
            assert get(server, "/-/healthy")[0] == 503
        assert time.monotonic() - started > 0.04


def test_given_a_mistake_of_ours_when_asked_then_it_is_logged_and_the_next_is_served(
    board: Board, server: Exporter, caplog: pytest.LogCaptureFixture
) -> None:
    sheet = Sheet()
    sheet.put(names.LOOP_LAG, 1.0)
    board.snapshot = sheet.done()
    with pytest.raises((OSError, http.client.HTTPException)):
        get(server)
    assert "the metrics could not be shown" in caplog.text
    board.snapshot = {}
    assert get(server)[0] == 200


def test_given_a_taken_port_when_started_then_the_holder_is_named(board: Board, server: Exporter) -> None:
    with pytest.raises(AlreadyRunning, match=rf"\[metrics\] port {server.port} on 127.0.0.1 is taken by pid \d+ \("):
        Exporter(board, "127.0.0.1", server.port)


@pytest.mark.parametrize("address", ["203.0.113.7", "a..b", "x" * 70])
def test_given_an_address_that_is_not_ours_when_started_then_that_is_said(board: Board, address: str) -> None:
    with pytest.raises(ConfigError, match=rf"\[metrics\] address = {address}, port = 0: cannot be served: "):
        Exporter(board, address, 0)


@pytest.mark.parametrize("address", ["*", "localhost"])
def test_given_other_addresses_when_started_then_they_are_served(board: Board, address: str) -> None:
    with Exporter(board, address, 0) as server:
        assert get(server)[0] == 200


def test_given_the_end_when_closed_then_the_port_is_free(board: Board) -> None:
    server = Exporter(board, "127.0.0.1", 0)
    server.close()
    Exporter(board, "127.0.0.1", server.port).close()
