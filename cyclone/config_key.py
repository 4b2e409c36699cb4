"""What a configuration key is: the shape of the lines in the tables of ``config_keys*.py``."""

from dataclasses import dataclass
from typing import Literal

from cyclone.config_kinds import Kind

Role = Literal["master", "controller", "run", "database_proxy", "pushgateway_client"]

MASTER: tuple[Role, ...] = ("master", "run")
CONTROLLER: tuple[Role, ...] = ("controller", "run")
SINKS: tuple[Role, ...] = ("database_proxy", "pushgateway_client")
# cyclone run takes a loopback port of its own and needs no pid file.
DAEMONS: tuple[Role, ...] = ("master", "controller", *SINKS)
ALL: tuple[Role, ...] = ("master", "controller", "run", *SINKS)


@dataclass(frozen=True, slots=True)
class Key:
    """One configuration key. ``default`` is text as in a file, or None where it is computed on each host."""

    section: str
    name: str
    kind: Kind
    default: str | None
    roles: tuple[Role, ...]
    help: str
    # Where a role's default is another one.
    defaults: tuple[tuple[Role, str], ...] = ()
    # Files of the original hold it; it is read and checked, and has no effect.
    accepted_only: bool = False
    # Another section in which files of the original hold the same key.
    former_section: str = ""

    @property
    def attribute(self) -> str:
        """Its name in the settings: durations end in ``_s``, sizes in ``_bytes``; ``class`` is no name in Python."""
        if self.name == "class":
            return "class_name"
        suffix = {"duration": "_s", "size": "_bytes"}.get(self.kind.name, "")
        return self.name.removesuffix(suffix) + suffix

    def default_for(self, role: Role) -> str | None:
        """Its default in this role."""
        return dict(self.defaults).get(role, self.default)
