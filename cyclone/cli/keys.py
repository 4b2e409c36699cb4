"""``cyclone keys``: who may talk to a master.

Standard output holds only what a script wants: one line for a new key, the list. What a person should do next goes to
standard error.
"""

import argparse
import os
import socket
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace

from cyclone.cli import output
from cyclone.cli.common import EXIT_OK, names
from cyclone.cli.keys_options import LISTING
from cyclone.config_keys import DEFAULT_PORT
from cyclone.errors import ConfigError, CycloneError
from cyclone.security.registry import Registry
from cyclone.security.roles import PeerRole

# Those of people, who name it in client.toml; others have a configuration file.
_OF_USERS = ("client", "monitor", "admin")


def keys(args: argparse.Namespace) -> int:
    """Carry out one of the four."""
    registry = Registry(args.dir or default_folder())
    match args.action:
        case "init":
            _init(registry, args.address)
        case "add":
            _add(registry, names(args.names), args.role)
        case "list":
            _list(registry, args)
        case "revoke":
            _revoke(registry, names(args.names))
    return EXIT_OK


def default_folder() -> Path:
    """Where keys are kept unless --dir says otherwise: with the system's configuration, or with the user's."""
    if os.geteuid() == 0:
        return Path("/etc/cyclone/keys")
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "cyclone" / "keys"


def _init(registry: Registry, address: str | None) -> None:
    key = registry.init(_endpoint(address or socket.getfqdn()))
    print(f"{key.address} server_key={key.public}")
    _say(f"made {registry.folder}; for the master: [comm] keys = {registry.folder.absolute()}")
    _say("next, for each node: cyclone keys add NAME --role controller; for each user: ... NAME --role client")


def _add(registry: Registry, added: Sequence[str], role: PeerRole) -> None:
    server = registry.server_key()
    had = [name for name in added if registry.has(name)]
    if had and len(added) > 1:
        # The set as a whole, so that nobody has to find out which of its keys were made.
        rest = _fold(set(added).difference(had))
        others = f"write {rest} for the others, or " if rest else ""
        raise CycloneError(f"there are keys of {_fold(had)} already: {others}'cyclone keys revoke {_fold(had)}' first")
    path = Path()
    for one in added:
        path = registry.add(one, role).absolute()
        print(f"{server.address} server_key={server.public} key_file={path}")
    target, _, port = server.address.removeprefix("tcp://").rpartition(":")
    file, name = (path.name, added[0]) if len(added) == 1 else ("NAME.key", f"NAME, of {_fold(added)},")
    if role in _OF_USERS:
        _say(f"carry {file} to where {name} works, as that user's own file of mode 0600, and delete it here:")
        _say(f"    install -D -m 600 {file} ~/.config/cyclone/{file}")
        _say("and name it in ~/.config/cyclone/client.toml, or by --connect and --key-file:")
        _say(f'    [default]\n    server = "{server.address}"\n    key_file = "~/.config/cyclone/{file}"')
    else:
        _say(f"carry {file} to where {name} runs, as that user's own file of mode 0600, and delete it here:")
        _say(f"    install -m 600 {file} /etc/cyclone/{file}")
        _say(f"    [comm] target = {target.strip('[]')}, port = {port}, key_file = /etc/cyclone/{file}")
    _say(f"a running master lets {'it' if len(added) == 1 else 'them'} in from now on")


def _revoke(registry: Registry, revoked: Sequence[str]) -> None:
    # A name that has no key keeps none of the others in.
    absent = []
    for name in revoked:
        if not registry.has(name):
            absent.append(name)
            continue
        entry = registry.revoke(name)
        _say(f"revoked: {entry.role} {entry.name}; a running master cuts it off within a second")
    if absent:
        raise CycloneError(f"no key is named {_fold(absent)!r}: 'cyclone keys list' shows those that are")


def _fold(folded: Iterable[str]) -> str:
    from cyclone.ranges import fold_nodes

    return fold_nodes(folded)


def _list(registry: Registry, args: argparse.Namespace) -> None:
    registry.server_key()
    live, revoked = registry.peers(), registry.revoked()
    rows = (
        SimpleNamespace(name=entry.name, role=entry.role, state=state, created=entry.created, public=entry.public)
        for state, reading in (("valid", live), ("revoked", revoked))
        for entry in reading.by_public.values()
    )
    output.print_rows(LISTING, rows, args)
    for fault in live.faults + revoked.faults:
        _say(f"not usable: {fault}")


def _endpoint(address: str) -> str:
    """``tcp://host:port`` from a host with or without a port; an IPv6 address with a port stands in brackets."""
    host, separator, port = address.removeprefix("tcp://").rpartition(":")
    if not separator or ":" in host.strip("[]") and not host.endswith("]"):
        host, port = address.removeprefix("tcp://"), str(DEFAULT_PORT)
    host = host.strip("[]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536 or any(c.isspace() or c in "/*" for c in host):
        raise ConfigError(f"--address {address!r} is not a host, or host:port, by which the nodes find the master")
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def _say(text: str) -> None:
    print(text, file=sys.stderr)
