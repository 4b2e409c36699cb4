"""Key files: how a key stands on the disk, who may read it, and what makes two of them a pair.

Owns the format and the checks on files and folders. A file appears whole or not at all, with mode 0600, in a folder of
mode 0700; one that others could have read or written is refused, because a key that somebody else may have is none.
Keys are 64 hexadecimal digits here: unlike ZeroMQ's own form they survive every shell, mail and double click.

Raises ConfigError, which names the file, what is wrong with it, and what would be right. Secrets are in no repr.
"""

import os
import re
import secrets
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import zmq
import zmq.utils.z85

from cyclone.errors import ConfigError
from cyclone.folders import sync_folder
from cyclone.security.roles import PeerRole

_FILE_BYTES_MAX = 4096
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,99}"
_KEY = "[0-9a-f]{64}"
_FIELDS = {
    "name": _NAME,
    "role": "|".join(get_args(PeerRole)),
    "public": _KEY,
    "secret": _KEY,
    "server": _KEY,
    "address": r"tcp://\S{1,255}",
    "created": r"[0-9TZ:-]{1,30}",
}
NAME_HELP = "up to 100 letters, digits, '.', '_', '@' or '-', the first a letter or digit"


@dataclass(frozen=True, slots=True)
class ServerKey:
    """The master's own pair. ``address`` is where its peers find it, as the administrator has said."""

    public: str
    secret: str = field(repr=False)
    address: str
    created: str


@dataclass(frozen=True, slots=True)
class PeerKey:
    """What a controller or a client holds: its own pair, and the master's public key, by which it knows its master."""

    name: str
    role: PeerRole
    public: str
    secret: str = field(repr=False)
    server: str
    created: str


@dataclass(frozen=True, slots=True)
class PeerEntry:
    """What the master knows of a peer: the public key, whose it is, and what it may do. Nothing of it is secret."""

    name: str
    role: PeerRole
    public: str
    created: str


def new_pair() -> tuple[str, str]:
    """A public key and its secret one."""
    public, secret = (zmq.utils.z85.decode(key).hex() for key in zmq.curve_keypair())
    return public, secret


def utc_now() -> str:
    """When a key is made, for people."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def is_name(text: str) -> bool:
    """Whether a peer may be named so: a name is a file's too."""
    return re.fullmatch(_NAME, text) is not None


def make_folder(path: Path) -> None:
    """A folder for this user alone; ConfigError where there is one that others can enter, or that is another's."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: cannot make this folder: {error.strerror}") from None
    check_folder(path)


def check_folder(path: Path) -> None:
    """ConfigError unless it is a folder of this user's that nobody else can enter."""
    try:
        status = path.stat()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; 'cyclone keys init --dir {path}' makes it") from None
    if not stat.S_ISDIR(status.st_mode):
        raise ConfigError(f"{path}: is not a folder of keys; 'cyclone keys init --dir FOLDER' makes one")
    _check_owner(path, status, "700")


def create(path: Path, comment: str, fields: Mapping[str, str]) -> None:
    """A new key file; FileExistsError where the name is taken, also by somebody who was quicker."""
    text = "".join(f"{name} = {value}\n" for name, value in fields.items())
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            # The umask may have taken bits away, never added any.
            os.fchmod(descriptor, 0o600)
            file.write(f"# {comment}\n{text}")
            file.flush()
            os.fsync(descriptor)
        # Unlike a rename this never replaces what is there.
        os.link(temporary, path)
    finally:
        temporary.unlink()
    sync_folder(path.parent)


def read_server_key(path: Path) -> ServerKey:
    """The master's own key."""
    return ServerKey(**_read(path, "public", "secret", "address", "created"))


def read_peer_key(path: Path) -> PeerKey:
    """The key of a controller or a client."""
    return PeerKey(**_read(path, "name", "role", "public", "secret", "server", "created"))  # type: ignore[arg-type]


def read_peer_entry(path: Path) -> PeerEntry:
    """A line of the registry."""
    return PeerEntry(**_read(path, "name", "role", "public", "created"))  # type: ignore[arg-type]


def _read(path: Path, *names: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        name, separator, value = line.partition(" = ")
        # The line itself is not shown: it may be a secret, and error messages go into logs.
        if not separator or name not in names:
            raise ConfigError(f"{path}:{number}: is not 'name = value' with one of {', '.join(names)}")
        if name in found:
            raise ConfigError(f"{path}:{number}: {name} is given twice")
        if not re.fullmatch(_FIELDS[name], value):
            raise ConfigError(f"{path}:{number}: this {name} is none that 'cyclone keys' writes")
        found[name] = value
    if missing := [name for name in names if name not in found]:
        raise ConfigError(f"{path}: has no {' and no '.join(missing)}: it is not the key file that is wanted here")
    return found


def _text(path: Path) -> str:
    try:
        # A symbolic link could name a file that its maker may not read; a pipe would hold us up.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        reason = "is a symbolic link, name the file itself" if path.is_symlink() else error.strerror
        raise ConfigError(f"{path}: this key file cannot be read: {reason}") from error
    try:
        # Asked of what was opened, not of the name, which may mean another file by now.
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{path}: is not a regular file, so not a key")
        _check_owner(path, status, "600")
        content = os.read(descriptor, _FILE_BYTES_MAX + 1)
    finally:
        os.close(descriptor)
    if len(content) > _FILE_BYTES_MAX:
        raise ConfigError(f"{path}: is larger than any key file")
    return content.decode("utf-8", "replace")


def _check_owner(path: Path, status: os.stat_result, right_mode: str) -> None:
    if status.st_uid != os.geteuid():
        raise ConfigError(
            f"{path}: belongs to user {status.st_uid}, not to user {os.geteuid()} who wants to use it: "
            "run this as its owner, or change the owner"
        )
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise ConfigError(
            f"{path}: group or others have access to it (mode {mode:o}): 'chmod {right_mode} {path}', and make a new "
            "key if somebody may have read it"
        )
