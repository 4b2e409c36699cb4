"""Whether a daemon may start as it is configured, and with which keys: closed by default.

Owns the rule: off loopback, or at a socket file that others may reach, there are keys, or the configuration says
``insecure = yes`` and the log repeats it at each start. Looks at names and files only when it is asked; the settings
themselves are valid either way, so that they can be checked where neither the network nor the keys are.
"""

import logging

from cyclone.config_key import MASTER, SINKS
from cyclone.errors import ConfigError
from cyclone.protocol import endpoints
from cyclone.protocol.sockets import ClientKeys, ServerKeys
from cyclone.security.peers import client_keys, is_loopback, openness
from cyclone.security.registry import Registry
from cyclone.settings import Settings

log = logging.getLogger("cyclone.security")

_CONSEQUENCE = {
    "master": "whoever reaches {door} can take its tasks, answer them, and read what they hold",
    "controller": "whoever poses as the master, or sits between, can run any command on this host",
    **dict.fromkeys(SINKS, "whoever reaches {door} can store what they like, and read what is on its way"),
}
_REMEDY = {
    "master": "make keys with 'cyclone keys init' and 'cyclone keys add NAME --role controller', and set "
    "[comm] keys to their folder",
    "controller": "on the master's host 'cyclone keys init' and 'cyclone keys add NAME --role controller' make one; "
    "set [comm] key_file to it",
    **dict.fromkeys(
        SINKS,
        "make keys with 'cyclone keys init' and 'cyclone keys add NAME --role master', and set [comm] keys to their "
        "folder",
    ),
}


def exposure(settings: Settings) -> str:
    """What is open to others, and what would close it; '' where nothing is."""
    return "; ".join(filter(None, (_open_door(settings), _open_sinks(settings))))


def master_registry(settings: Settings) -> Registry | None:
    """The keys that a master or a sink asks its peers for; None for none.

    ConfigError where it must not start like this.
    """
    _refuse(_open_door(settings), settings)
    return Registry(settings.comm.keys) if settings.comm.keys else None


def server_keys(registry: Registry) -> ServerKeys:
    """What the socket of a master or a sink needs."""
    return ServerKeys(bytes.fromhex(registry.server_key().secret))


def controller_keys(settings: Settings) -> ClientKeys | None:
    """The controller's own keys; None for none. ConfigError where it must not start like this."""
    _refuse(_open_door(settings), settings)
    return client_keys(settings.comm.key_file, "controller") if settings.comm.key_file else None


def sink_keys(settings: Settings) -> ClientKeys | None:
    """A master's own keys for its sinks; None for none. ConfigError where it must not start like this."""
    _refuse(_open_sinks(settings), settings)
    return client_keys(settings.sink.key_file, "master") if settings.sink.key_file else None


def _open_door(settings: Settings) -> str:
    comm = settings.comm
    if settings.role == "run" or (comm.key_file if settings.role == "controller" else comm.keys):
        return ""
    why = openness(comm.target)
    if not why:
        return ""
    door = "it" if endpoints.is_file(comm.target) else f"port {comm.port}"
    return (
        f"{settings.origin('comm', 'target')}: [comm] target = {comm.target} {why}, and there are no keys: "
        f"{_CONSEQUENCE[settings.role].format(door=door)}; {_REMEDY[settings.role]}"
    )


def _open_sinks(settings: Settings) -> str:
    sink = settings.sink
    if settings.role not in MASTER or sink.key_file:
        return ""
    away = [target for target in sink.targets if not is_loopback(target.rpartition(":")[0].strip("[]"))]
    if not away:
        return ""
    return (
        f"{settings.origin('sink', 'targets')}: [sink] targets: {', '.join(away)} is not loopback, and there is no "
        "key: whoever poses as the sink, or sits between, can read all results and keep them from it; on the sink's "
        "host 'cyclone keys init' and 'cyclone keys add NAME --role master' make one; set [sink] key_file to it"
    )


def _refuse(open_to: str, settings: Settings) -> None:
    if open_to and not settings.comm.insecure:
        raise ConfigError(f"{open_to}; or write insecure = yes, where every host and user that can connect is trusted")
    if open_to:
        log.warning("insecure = yes: %s", open_to)
