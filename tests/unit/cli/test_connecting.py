"""How a command finds its master, and what it says of one that is away."""

import argparse

import pytest

from cyclone.cli import connecting
from tests.support.played_master import PlayedMaster


@pytest.mark.parametrize(
    ("as_json", "said"), [(False, "cyclone: it is away\n"), (True, '{"note":"cyclone: it is away"}\n')]
)
def test_given_a_master_that_is_away_then_it_is_said_as_all_else_is(
    as_json: bool, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with PlayedMaster() as master:
        args = argparse.Namespace(
            connect=master.address, config_file=None, key_file=None, insecure=False, profile=None, connect_timeout=5.0
        )
        if as_json:
            args.json = True
        with connecting.client(args, is_patient=True) as client:
            patience = client._connection.silence.patience
    assert patience
    patience.tell("it is away")
    assert capsys.readouterr().err == said
