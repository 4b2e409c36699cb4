"""Where the master of a stream is: one that runs already, or one that is only being started.

Owns what a stream asks of it, and the simple case. ``local_cluster`` has the other one.
"""

from typing import Protocol

from cyclone.client.connection import Address


class Server(Protocol):
    """Where the master is; perhaps it is only being started."""

    def address(self) -> Address:
        """Its address: may wait for it. Raises CycloneError where there will be none."""

    def fileno(self) -> int:
        """Becomes readable when it has ended; -1 where nobody can tell."""

    def renew(self) -> None:
        """It has ended: have another one go on, at another address. Raises CycloneError where none does."""

    def close(self) -> None:
        """Nobody needs it any more."""


class Running:
    """It is somebody else's."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def address(self) -> Address:
        """As it was given."""
        return self._address

    def fileno(self) -> int:
        """Nobody can tell."""
        return -1

    def renew(self) -> None:
        """Never asked."""
        raise AssertionError("it is not watched")

    def close(self) -> None:
        """It goes on."""
