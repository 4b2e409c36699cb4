"""Where metrics are asked for, and where not."""

import sys
from pathlib import Path

import pytest

from cyclone.cli import common, metering
from cyclone.config import load
from cyclone.config_key import Role
from cyclone.errors import ConfigError
from cyclone.master.journal import NoJournal
from cyclone.metrics.loop import PUBLISH_S
from tests.support.lab import free_port

GENERATOR = "task_generator.class=tests:Generator"
DAEMONS: tuple[Role, ...] = ("master", "database_proxy", "pushgateway_client")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def test_given_no_port_then_nothing_is_served_counted_or_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cyclone.metrics.exporter", None)
    monkeypatch.setitem(sys.modules, "cyclone.metrics.master", None)
    settings = load(None, [GENERATOR, "comm.poll_timeout=1h"], "master")
    with metering.served(settings) as board:
        assert board is None
        assert metering.of_master(settings, board, NoJournal()) is None
        assert metering.of_controller(board, "c1") is None
    assert common.loop_wait_s(settings) == 3600.0


def test_given_a_port_then_there_is_a_board_a_meter_and_a_turn_a_second() -> None:
    settings = load(None, [GENERATOR, f"metrics.port={free_port()}", "comm.poll_timeout=1h"], "master")
    with metering.served(settings) as board:
        assert metering.of_master(settings, board, NoJournal())
        assert metering.of_controller(board, "c1")
    assert common.loop_wait_s(settings) == PUBLISH_S


@pytest.mark.parametrize("role", DAEMONS)
def test_given_the_port_of_the_daemon_itself_when_loaded_then_it_must_be_another(role: Role) -> None:
    sets = [*([GENERATOR] if role == "master" else []), "comm.port=4711"]
    with pytest.raises(ConfigError, match=r"--set: \[metrics\] port: '4711' is the port in \[comm\], too"):
        load(None, [*sets, "metrics.port=4711"], role)
    assert load(None, [*sets, "metrics.port=4712"], role).metrics.port == 4712


def test_given_the_port_of_the_master_when_a_controller_loads_then_that_is_another_hosts() -> None:
    assert load(None, ["comm.port=4711", "metrics.port=4711"], "controller").metrics.port == 4711
