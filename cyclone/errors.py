"""The one tree of exceptions. Owns the names; every message says what was wrong and what would be right."""


class CycloneError(Exception):
    """Root of everything that Cyclone raises on purpose."""


class ConfigError(CycloneError):
    """A configuration file or a ``--set`` cannot be used. Daemons exit with 78 (sysexits EX_CONFIG)."""


class PluginError(CycloneError):
    """A user's class cannot be found, imported or used as what it was named for."""


class ClassRefused(PluginError):
    """A class that may not be used as what it was named for: not allowed here, or not derived from the right one."""


class ProtocolError(CycloneError):
    """Bytes from a peer are not a message of the protocol. Never raised for our own mistakes."""


class NotSerialisable(CycloneError):
    """A task property or a result value has no msgpack form, or is larger than the protocol's limit."""


class AlreadyRunning(CycloneError):
    """Another process holds the pid file or the port."""


class Unreachable(CycloneError):
    """No master answers. Commands exit with 69 (sysexits EX_UNAVAILABLE)."""


class GeneratorFailed(CycloneError):
    """The generator process raised or died; the message ends with its traceback where there is one."""
