"""What the entry points make of settings."""

import socket
from pathlib import Path

import pytest

from cyclone.cli.common import controller_parts
from cyclone.config import load


@pytest.mark.parametrize(
    ("overrides", "kept_as"),
    [
        pytest.param([], socket.gethostname(), id="a name with a process id, which is another one after each start"),
        pytest.param(["control.name=node17"], "node17", id="a name of the configuration"),
        pytest.param(["control.pid_file=/run/c/two.pid"], f"{socket.gethostname()}-two", id="a name of the pid file"),
    ],
)
def test_given_a_controller_when_started_again_then_it_finds_what_its_tasks_have_printed(
    tmp_path: Path, overrides: list[str], kept_as: str
) -> None:
    settings = load(None, [f"control.state_dir={tmp_path}", *overrides], "controller")
    *_, options = controller_parts(settings, debug=False)
    assert options.output.folder == tmp_path / "output" / kept_as
