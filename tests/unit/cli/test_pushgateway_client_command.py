"""``cyclone-pushgateway-client`` up to where it would start."""

from pathlib import Path

import pytest

from cyclone.cli import common
from cyclone.cli.pushgateway_client import _run

SHIPPED = Path(__file__).parents[3] / "Configuration" / "pushgateway_client.conf"


def run(*arguments: str) -> int:
    return common.guarded("cyclone-pushgateway-client", _run, ["-f", str(SHIPPED), *arguments])


def test_given_the_shipped_file_with_its_one_line_when_checked_then_its_values_are_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("--check-config", "--set", "push.url=http://gateway:9091/metrics/job/cyclone") == 0

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["[push]", "interval", "1m", "default"] in lines
    assert ["[comm]", "port", "5888", "default"] in lines


@pytest.mark.parametrize("check", [["--check-config"], []])
@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        ([], "[push] url: is empty, and so is textfile: write where metrics go, such as http://gateway:9091"),
        (["push.url=http://gateway", "push.user=me"], "[push] password_file: is empty, and there is a user"),
        (["push.interval=never"], "--set: [push] interval: 'never' is not a duration"),
    ],
)
def test_given_what_cannot_be_right_then_it_is_refused_at_once(
    sets: list[str],
    expected: str,
    check: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What it would otherwise do to this process.
    monkeypatch.setattr("cyclone.logs.configure", lambda *_: None)

    assert run(*check, *[word for override in sets for word in ("--set", override)]) == 78

    printed = capsys.readouterr()
    # A check says of which file, too.
    assert printed.err.startswith("cyclone-pushgateway-client: ")
    assert printed.err.removeprefix("cyclone-pushgateway-client: ").removeprefix(f"{SHIPPED}: ").startswith(expected)
    assert printed.out == ""


def test_given_an_open_address_without_keys_then_it_does_not_start(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cyclone.logs.configure", lambda *_: None)

    assert run("--set", "push.url=http://gateway", "--set", "comm.target=*") == 78

    assert "is not loopback alone, and there are no keys" in capsys.readouterr().err
