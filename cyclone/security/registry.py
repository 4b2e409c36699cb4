"""The folder of keys on the master's host: the master's own key, and whom it lets in.

    server.key            the master's pair, secret
    peers/NAME.pub        one file per peer that is let in: its public key and its role
    revoked/NAME-KEY.pub  those that are not any more; kept for the record
    outgoing/NAME.key     the peers' secret keys, to be carried to them and deleted here

Owns what stands there, and is used by ``cyclone keys`` and by the master alike: the folder is the only state, so that a
master need not be told what was changed. Raises ConfigError where the folder or a file of it cannot be used, as
key_files does, and CycloneError where only what was asked for cannot be done.
"""

import errno
from dataclasses import dataclass
from pathlib import Path

from cyclone.errors import ConfigError, CycloneError
from cyclone.folders import sync_folder
from cyclone.security import key_files
from cyclone.security.key_files import PeerEntry, ServerKey
from cyclone.security.roles import PeerRole

Signature = frozenset[tuple[str, int, int]]

# What the machine cannot do at this moment says nothing about a key: whoever asked keeps what it knows.
_MACHINE_ERRORS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO)


@dataclass(frozen=True, slots=True)
class Reading:
    """The peers at one moment. ``faults`` are the files that cannot be used, and so let nobody in."""

    by_public: dict[str, PeerEntry]
    faults: list[str]


class Registry:
    """See the module. Nothing is looked at before a method is called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._peers = folder / "peers"
        self._revoked = folder / "revoked"
        self._outgoing = folder / "outgoing"
        self._server = folder / "server.key"

    def init(self, address: str) -> ServerKey:
        """Make the folder and the master's key; an existing key is never replaced."""
        for folder in (self.folder, self._peers, self._revoked, self._outgoing):
            key_files.make_folder(folder)
        public, secret = key_files.new_pair()
        key = ServerKey(public, secret, address, key_files.utc_now())
        comment = "The master's key. Whoever reads this file can pose as the master."
        fields = {"public": public, "secret": secret, "address": address, "created": key.created}
        try:
            key_files.create(self._server, comment, fields)
        except FileExistsError:
            raise CycloneError(
                f"{self._server}: is there already; every peer knows the master by it, so remove it only to start anew"
            ) from None
        return key

    def server_key(self) -> ServerKey:
        """The master's key."""
        key_files.check_folder(self.folder)
        if not self._server.exists():
            raise ConfigError(f"{self.folder}: has no server.key; 'cyclone keys init --dir {self.folder}' makes it")
        return key_files.read_server_key(self._server)

    def has(self, name: str) -> bool:
        """Whether there is a key of this name that is not revoked."""
        return key_files.is_name(name) and (self._peers / f"{name}.pub").exists()

    def add(self, name: str, role: PeerRole) -> Path:
        """Let a new peer in; the file with its secret key, which is to be carried to it."""
        if not key_files.is_name(name):
            raise CycloneError(f"{name!r} is not a name for a key: {key_files.NAME_HELP}")
        server = self.server_key()
        for folder in (self._peers, self._outgoing):
            key_files.make_folder(folder)
        public, secret = key_files.new_pair()
        entry = {"name": name, "role": role, "public": public, "created": key_files.utc_now()}
        outgoing = self._outgoing / f"{name}.key"
        if self.has(name):
            raise CycloneError(f"{name} has a key already: 'cyclone keys revoke {name}' first, or use another name")
        try:
            key_files.create(
                outgoing,
                f"The key of the {role} {name}. Whoever reads this file can act as {name}.",
                entry | {"secret": secret, "server": server.public},
            )
            # The entry comes last: nobody is let in before there is a file that says with which key.
            key_files.create(self._peers / f"{name}.pub", f"Lets the {role} {name} in.", entry)
        except FileExistsError as error:
            raise CycloneError(f"{error.filename2}: is there already: remove it, or use another name") from None
        return outgoing

    def revoke(self, name: str) -> PeerEntry:
        """Let it in no more. A running master sees it by itself."""
        self.server_key()
        if not self.has(name):
            raise CycloneError(f"no key is named {name!r}: 'cyclone keys list' shows those that are")
        path = self._peers / f"{name}.pub"
        entry = key_files.read_peer_entry(path)
        key_files.make_folder(self._revoked)
        path.rename(self._revoked / f"{name}-{entry.public[:16]}.pub")
        for folder in (self._revoked, self._peers):
            sync_folder(folder)
        (self._outgoing / f"{name}.key").unlink(missing_ok=True)
        return entry

    def peers(self) -> Reading:
        """Those that are let in. A file that cannot be used is a fault and not an error: it must not lock out others.

        Raises OSError where the folder or a file cannot be read for a reason of the machine's.
        """
        return _read_all(self._peers)

    def revoked(self) -> Reading:
        """Those that were."""
        return _read_all(self._revoked)

    def signature(self) -> Signature:
        """Differs when anybody was let in or revoked, or a file's mode or content was changed. Raises OSError."""
        found = set()
        for path in self._peers.iterdir():
            status = path.lstat()
            found.add((path.name, status.st_ino, status.st_ctime_ns))
        return frozenset(found)


def _read_all(folder: Path) -> Reading:
    reading = Reading({}, [])
    key_files.check_folder(folder)
    # Hidden ones are being written at this moment.
    for path in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
        try:
            entry = key_files.read_peer_entry(path)
        except ConfigError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in _MACHINE_ERRORS:
                raise error.__cause__ from None
            reading.faults.append(str(error))
            continue
        if not path.stem.startswith(entry.name):
            reading.faults.append(f"{path}: is the entry of {entry.name}: give it its name back")
            continue
        reading.by_public[entry.public] = entry
    return reading
