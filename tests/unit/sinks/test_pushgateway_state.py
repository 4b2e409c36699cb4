"""What a publisher of metrics still knows after a restart, and when the spool may forget it."""

import stat

import pytest

from cyclone.errors import ConfigError
from cyclone.sinks import publisher as module
from cyclone.sinks.publisher import STATE_NAME
from tests.support.metrics_records import check
from tests.support.publishers import CHECK, OK_0_5, Bench
from tests.support.pushgateway import StubGateway


def test_given_a_restart_then_what_was_known_is_published_before_it_is_measured_again(
    bench: Bench, gateway: StubGateway
) -> None:
    bench.take(check(0, 5))
    bench.publisher.publish()
    assert stat.S_IMODE((bench.folder / STATE_NAME).stat().st_mode) == 0o600

    bench.restart()
    assert bench.publisher.take() is False
    bench.publisher.publish()

    assert [asked.metrics[CHECK] for asked in gateway.asked] == [OK_0_5, OK_0_5]


def test_given_a_kill_before_the_state_was_saved_then_the_spool_gives_it_again(
    bench: Bench, gateway: StubGateway
) -> None:
    bench.take(check(0, 5))
    bench.publisher.publish()
    bench.take(check(0, 5, "FAILED"))

    bench.restart()
    assert bench.publisher.take() is True
    bench.publisher.publish()

    assert list(gateway.asked[-1].metrics[CHECK].values()) == [0.0]
    assert bench.spool.waiting_blocks == 0


def test_given_a_state_that_cannot_be_saved_then_the_spool_forgets_nothing_until_it_can(
    bench: Bench, gateway: StubGateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, "replace_file", full)
        bench.take(check(0, 5))
        bench.publisher.publish()
        bench.publisher.publish()
        assert bench.spool.waiting_blocks == 1
        assert caplog.messages == [
            "saving the state fails, it is tried again at each interval: "
            f"{bench.folder}/{STATE_NAME}: No space left on device"
        ]
    # What is known is published all the same.
    assert gateway.asked[0].metrics[CHECK] == OK_0_5

    bench.publisher.publish()
    assert bench.spool.waiting_blocks == 0


def test_given_much_within_an_interval_then_the_spool_is_relieved_before_its_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_UNSAVED_BYTES_MAX", 1000)
    for _ in range(20):
        bench.take(check(0, 5))

    assert 0 < bench.spool.waiting_blocks < 10


def test_given_a_state_file_that_is_none_then_it_is_put_aside_and_the_start_goes_on(
    bench: Bench, gateway: StubGateway, caplog: pytest.LogCaptureFixture
) -> None:
    state = bench.folder / STATE_NAME
    state.write_text("{}")

    bench.restart()
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"{state} cannot be read, it is {state.with_suffix('.unreadable')} now")
    bench.take(check(0, 5))
    bench.publisher.publish()

    assert gateway.asked[-1].metrics[CHECK] == OK_0_5
    assert state.with_suffix(".unreadable").read_text() == "{}"


def test_given_a_state_file_that_may_not_be_read_then_the_start_is_refused(bench: Bench) -> None:
    (bench.folder / STATE_NAME).mkdir()

    with pytest.raises(ConfigError, match=rf"{STATE_NAME}: what was known before cannot be read: Is a directory"):
        bench.restart()
