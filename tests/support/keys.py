"""Keys for tests with real processes: a registry made by the command line, and what of it goes where."""

import socket
from pathlib import Path

import pytest

from cyclone.security.registry import Registry
from tests.support.lab import Lab, Started


def own_address() -> str:
    """An address of this machine that is not loopback; skips the test where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Nothing is sent: this asks which address would be used.
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        address: str = probe.getsockname()[0]
        return address


class Keys:
    """The keys of a lab's master, which binds every interface with them."""

    def __init__(self, lab: Lab, name: str = "keys") -> None:
        self._lab = lab
        self.folder = lab.folder / name
        self.registry = Registry(self.folder)
        self.does("init", "--address", f"{own_address()}:{lab.port}")

    def does(self, action: str, *arguments: str) -> Started:
        """``cyclone keys``, which must succeed."""
        started = self._lab.start("cyclone", "keys", action, *arguments, "--dir", self.folder)
        assert started.exits() == 0, started.stderr()
        return started

    def add(self, name: str, role: str = "controller") -> Path:
        """A new key file."""
        self.does("add", name, "--role", role)
        return self.folder / "outgoing" / f"{name}.key"

    def config(self, *tasks: dict[str, object]) -> Path:
        """A configuration of a master with these keys, and of tasks."""
        return self._lab.script(*tasks, comm={"target": "0.0.0.0", "keys": str(self.folder)})

    def controller(self, config: Path, name: str, key_file: Path, *sets: str, welcomed: bool = True) -> Started:
        """A controller of this name that has this key, and finds the master off loopback."""
        target = f"comm.target={own_address()}"
        return self._lab.controller(config, name, target, f"comm.key_file={key_file}", *sets, welcomed=welcomed)
