"""What is taken out of the spool, and what is published where."""

import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from cyclone.sinks.gateway import Address
from tests.support.lab import free_port
from tests.support.metrics_records import check, probe
from tests.support.publishers import CHECK, JOURNAL, OK_0_5, Bench
from tests.support.pushgateway import StubGateway, answering, labels, read_metrics


def test_given_records_then_each_target_is_put_as_a_group_of_its_own(bench: Bench, gateway: StubGateway) -> None:
    bench.take(check(0, 5), check(0, 6, target="nyx/2"), probe("OST0005"))

    bench.publisher.publish()

    hebe, nyx = gateway.asked
    # The label's value has a slash, so it is encoded.
    assert (hebe.method, hebe.group) == ("PUT", "cyclone/target/hebe")
    assert (nyx.method, nyx.group) == ("PUT", "cyclone/target@base64/bnl4LzI=")
    assert hebe.metrics[CHECK] == OK_0_5
    assert hebe.metrics["cyclone_lustre_ost_write_bytes_per_second"] == {labels(target="hebe", ost="OST0005"): 1.5e9}
    assert nyx.metrics[CHECK] == {labels(target="nyx/2", mdt_index="0", ost_index="6"): 1.0}
    assert bench.publisher.counts.stored == {"lustre_file_creation_check": 2, "lustre_ost_io": 1}
    assert bench.publisher.counts.buffered == 0
    assert bench.publisher.state == "3 series of 2 targets published"


def test_given_nothing_that_was_measured_then_nobody_is_asked(bench: Bench, gateway: StubGateway) -> None:
    bench.take(("lustre_migration", {"path": "/l/f"}))

    bench.publisher.publish()

    assert gateway.asked == []
    assert bench.publisher.take() is False
    # Blocks without a metric are forgotten as well.
    assert bench.spool.waiting_blocks == 0


def test_given_an_ost_that_vanished_then_the_next_group_is_without_it(bench: Bench, gateway: StubGateway) -> None:
    for _ in range(2):
        bench.take(check(0, 5), check(0, 6))
        bench.now += 60
    for _ in range(3):
        bench.take(check(0, 5))
        bench.now += 60

    bench.publisher.publish()

    assert gateway.asked[-1].metrics[CHECK] == OK_0_5


def test_given_a_user_then_each_request_says_who_we_are(gateway: StubGateway, alone: Callable[..., Bench]) -> None:
    bench = alone(gateway=Address(gateway.url, "cyclone", 5.0, "me", "pä:ss"))
    bench.take(check(0, 5))

    bench.publisher.publish()
    bench.publisher.withdraw()

    # Base64 of "me:pä:ss" in UTF-8.
    assert [asked.authorisation for asked in gateway.asked] == ["Basic bWU6cMOkOnNz"] * 2


def test_given_a_group_that_is_refused_then_the_others_are_put_and_the_reason_is_said_once(
    bench: Bench, gateway: StubGateway, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.refused["cyclone/target/hebe"] = "pushed metrics are invalid\nand more"
    bench.take(check(0, 5), check(0, 5, target="nyx"))
    fault = f"target 'hebe': {gateway.url} answers 400 Bad Request: pushed metrics are invalid"

    for _ in range(3):
        bench.publisher.publish()
    assert [asked.group for asked in gateway.asked] == ["cyclone/target/hebe", "cyclone/target/nyx"] * 3
    assert caplog.messages == [f"pushing fails, it is tried again at each interval: {fault}"]
    assert bench.publisher.state == f"pushing fails since 0s: {fault}"
    assert (bench.publisher.counts.errors, bench.publisher.counts.buffered) == (3, 2)

    gateway.refused.clear()
    with caplog.at_level(logging.INFO):
        bench.publisher.publish()
        bench.publisher.publish()
    assert caplog.messages[1:] == ["pushing works again, after 0s"]
    assert bench.publisher.counts.buffered == 0


def test_given_no_gateway_there_then_what_matters_is_kept_and_the_spool_is_not(
    alone: Callable[..., Bench], caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    bench = alone(f"http://127.0.0.1:{port}")
    for outcome in ("OK", "FAILED", "OK"):
        bench.take(check(0, 5, outcome), check(0, 5, outcome, target="nyx"))
        bench.publisher.publish()

    assert bench.spool.waiting_blocks == 0
    # The second target is not tried where the first has got no answer.
    reason = f"http://127.0.0.1:{port} does not answer: [Errno 111] Connection refused"
    assert caplog.messages == [f"pushing fails, it is tried again at each interval: {reason}"]


def test_given_a_gateway_that_does_not_answer_in_time_then_it_is_let_go(
    gateway: StubGateway, alone: Callable[..., Bench]
) -> None:
    bench = alone(gateway=Address(gateway.url, "cyclone", 0.02))
    gateway.may_answer.clear()
    bench.take(check(0, 5))

    bench.publisher.publish()

    assert "does not answer: timed out" in bench.publisher.state


@pytest.mark.parametrize(
    ("answer", "hangs", "expected"),
    [
        (b"", False, "does not answer: Remote end closed connection without response"),
        (b"", True, "does not answer: timed out"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", False, "does not answer as a gateway does: BadStatusLine: SSH-2.0-OpenSSH_9.2"),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 999\r\n\r\nno disk\n", False, "answers 500 Oops: no disk"),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 999\r\n\r\nno disk\n", True, "answers 500 Oops"),
        (b"HTTP/1.1 502 Bad\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", False, "answers 502 Bad"),
        (
            b"HTTP/1.1 302 Found\r\nLocation: https://other/login\r\nContent-Length: 0\r\n\r\n",
            False,
            "answers 302 Found, and points to https://other/login: write where the gateway itself is",
        ),
        (b"HTTP/1.1 308 \r\nContent-Length: 0\r\n\r\n", False, "answers 308"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\nwelcome", True, "does not answer: timed out"),
    ],
)
def test_given_something_else_than_a_gateway_then_what_it_answers_is_said_and_it_is_tried_again(
    answer: bytes, hangs: bool, expected: str, alone: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with answering(answer, hangs) as url:
        bench = alone(gateway=Address(url, "cyclone", 0.02))
        bench.take(check(0, 5))
        bench.publisher.publish()

        state = bench.publisher.state
        assert expected in state
        assert url in state
        bench.publisher.publish()
        assert bench.publisher.counts.errors == 2


@pytest.mark.parametrize("proxy", ["http://proxy:port", "http://a..b:1"])
def test_given_a_proxy_in_the_environment_that_is_none_then_that_is_said(
    proxy: str, alone: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    bench = alone("http://gateway.example.org")
    bench.take(check(0, 5))

    bench.publisher.publish()

    assert "http://gateway.example.org cannot be asked: " in bench.publisher.state


def test_given_a_stop_that_deletes_then_each_group_is_deleted(bench: Bench, gateway: StubGateway) -> None:
    bench.take(check(0, 5), check(0, 5, target="nyx"))

    bench.publisher.withdraw()

    assert [(asked.method, asked.group) for asked in gateway.asked] == [
        ("DELETE", "cyclone/target/hebe"),
        ("DELETE", "cyclone/target/nyx"),
    ]
    assert bench.spool.waiting_blocks == 0


def test_given_a_stop_that_cannot_delete_then_it_says_that_the_groups_stay(
    bench: Bench, gateway: StubGateway, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.refused["cyclone/target/hebe"] = "no"
    bench.take(check(0, 5))

    bench.publisher.withdraw()

    assert caplog.messages == [
        f"what was published stays, against delete_on_stop: target 'hebe': {gateway.url} answers 400 Bad Request: no"
    ]


def test_given_no_time_then_no_further_group_is_put(bench: Bench, gateway: StubGateway) -> None:
    bench.take(check(0, 5), check(0, 5, target="nyx"))

    bench.publisher.publish(lambda: len(gateway.asked) < 1)

    assert [asked.group for asked in gateway.asked] == ["cyclone/target/hebe"]


def test_given_records_that_are_no_metrics_then_they_are_counted_and_said_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.take(*[check(0, 5, "MAYBE")] * 50, check(0, 5))
    bench.spool.put(JOURNAL, 2, [b"no block, though it names lustre_ost_io"])
    assert bench.publisher.take()

    assert bench.publisher.counts.rejected == {"lustre_file_creation_check": 50}
    assert bench.publisher.counts.stored == {"lustre_file_creation_check": 1}
    assert caplog.messages == [
        "a record lustre_file_creation_check of task 1 on node1 is no metric: its outcome is 'MAYBE', not one of OK, "
        "FAILED, ERROR, IGNORED"
    ]


def test_given_a_textfile_then_it_is_replaced_as_a_whole_for_all_to_read(
    tmp_path: Path, alone: Callable[..., Bench]
) -> None:
    textfile = tmp_path / "collector" / "cyclone.prom"
    textfile.parent.mkdir()
    bench = alone(textfile=textfile)
    former = os.umask(0o077)
    try:
        bench.take(check(0, 5), check(0, 5, target="nyx"))
        bench.publisher.publish()
        first = textfile.stat().st_ino
        bench.take(check(0, 5, "FAILED"))
        bench.publisher.publish()
    finally:
        os.umask(former)

    found = read_metrics(textfile.read_text())
    assert found[CHECK] == {
        labels(target="hebe", mdt_index="0", ost_index="5"): 0.0,
        labels(target="nyx", mdt_index="0", ost_index="5"): 1.0,
    }
    assert stat.S_IMODE(textfile.stat().st_mode) == 0o644
    assert textfile.stat().st_ino != first
    assert list(textfile.parent.iterdir()) == [textfile]

    bench.publisher.withdraw()
    assert list(textfile.parent.iterdir()) == []


def test_given_a_textfile_that_cannot_be_written_then_it_is_said_once_and_works_again(
    tmp_path: Path, alone: Callable[..., Bench], caplog: pytest.LogCaptureFixture
) -> None:
    textfile = tmp_path / "collector" / "cyclone.prom"
    bench = alone(textfile=textfile)
    bench.take(check(0, 5))

    bench.publisher.publish()
    bench.publisher.publish()
    assert caplog.messages == [
        f"writing the textfile fails, it is tried again at each interval: {textfile}: No such file or directory"
    ]
    textfile.parent.mkdir()
    with caplog.at_level(logging.INFO):
        bench.publisher.publish()

    assert caplog.messages[1:] == ["writing the textfile works again, after 0s"]
    assert read_metrics(textfile.read_text())[CHECK] == OK_0_5
