"""Executors of a running master with keys: one whose key is revoked is told, another goes on."""

import signal
from pathlib import Path

import pytest

from cyclone import Executor
from cyclone.errors import NotAllowed
from cyclone.security.registry import Registry
from tests.support.lab import Lab
from tests.support.procfs import wait_until

WAIT_S = 30


@pytest.fixture
def registry(lab: Lab) -> Registry:
    made = Registry(lab.folder / "keys")
    made.init(f"tcp://127.0.0.1:{lab.port}")
    return made


def config_of(lab: Lab, registry: Registry) -> Path:
    return lab.config(
        {
            "comm": {"keys": str(registry.folder)},
            "journal": {"path": str(lab.folder / "journal")},
            "task_generator": {"class": ""},
        }
    )


def executor_of(lab: Lab, registry: Registry, name: str) -> Executor:
    return Executor(connect=f"tcp://127.0.0.1:{lab.port}", key_file=registry.add(name, "client"))


def test_given_a_key_that_is_revoked_then_its_executor_is_told_and_a_restart_alone_is_survived(
    lab: Lab, registry: Registry
) -> None:
    config = config_of(lab, registry)
    master = lab.master(config)
    with executor_of(lab, registry, "gone") as gone, executor_of(lab, registry, "kept") as kept:
        # Nobody executes it: it is the master that has it, and is asked for it.
        futures = [executor.submit(abs, -1) for executor in (gone, kept)]
        for future in futures:
            wait_until(lambda future=future: future.job_id, "the master has the call")  # type: ignore[misc]
        master.signal(signal.SIGKILL)
        master.exits()
        registry.revoke("gone")
        lab.master(config)
        text = "the master does not know our key: it was revoked"
        with pytest.raises(NotAllowed, match=text):
            futures[0].result(WAIT_S)
        with pytest.raises(NotAllowed, match=text):
            gone.submit(abs, -2)
        assert futures[1].cancel()
        later = kept.submit(abs, -3)
        wait_until(lambda: later.job_id, "the master has the next call, too")
        registry.revoke("kept")
        # The connection stands, and nobody says anything on it but what keeps the job followed.
        assert str(later.exception(WAIT_S)).endswith("refuses: this key was revoked")
