"""What a peer needs to know before it speaks: whether others could listen, and what it proves itself with.

Owns these two questions for whoever connects, so that a command can ask them without all that a daemon is configured
by. Looks at names and files only when it is asked.
"""

import socket
from pathlib import Path
from typing import get_args

from cyclone.errors import ConfigError
from cyclone.protocol import endpoints
from cyclone.protocol.sockets import ClientKeys
from cyclone.security.roles import PeerRole


def openness(target: str) -> str:
    """Why somebody else may be meant by it than this host, or by a socket file than its owner; '' where nobody may."""
    if endpoints.is_file(target):
        return endpoints.opening(target)
    return "" if is_loopback(target) else "is not loopback alone"


def is_loopback(target: str) -> bool:
    """Whether nobody but this host is meant by it. What cannot be resolved now may be anybody later."""
    import ipaddress

    if target == "*":
        return False
    try:
        found = {str(address[0]) for *_, address in socket.getaddrinfo(target, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return False
    return all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in found)


def client_keys(path: Path, *roles: PeerRole) -> ClientKeys:
    """The keys in a key file, which must be of one of these roles (of any where none is given)."""
    from cyclone.security.key_files import read_peer_key

    key = read_peer_key(path)
    if key.role not in (roles or get_args(PeerRole)):
        raise ConfigError(f"{path}: is the key of a {key.role}; here one of a {' or '.join(roles)} is needed")
    return ClientKeys(key.name, *(bytes.fromhex(text) for text in (key.server, key.public, key.secret)))
