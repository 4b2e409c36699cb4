"""``cyclone-master`` and ``cyclone-controller`` without a configuration: what they show is one that does."""

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from cyclone.cli import common, controller, master

DAEMONS = pytest.mark.parametrize("run", [master._run, controller._run], ids=["master", "controller"])
Run = Callable[[Sequence[str] | None], int]


@DAEMONS
def test_given_no_configuration_then_one_that_does_is_shown(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run([])
    assert ended.value.code == common.EXIT_USAGE
    assert common.NO_CONFIG_FILE in capsys.readouterr().err


@DAEMONS
def test_given_the_configuration_that_is_shown_then_it_does(run: Run, tmp_path: Path) -> None:
    _, shown, _ = common.NO_CONFIG_FILE.split("\n\n")
    path = tmp_path / "first.conf"
    path.write_text(textwrap.dedent(shown), encoding="utf-8")
    assert run(["-f", str(path), "--check-config"]) == common.EXIT_OK
