"""Profiles: the masters that a user has, by name, each with what it takes to talk to it.

Owns ``client.toml`` in ``$XDG_CONFIG_HOME/cyclone`` and what stands there:

    [default]
    server = "tcp://head:5678"
    key_file = "~/.config/cyclone/me.key"
    namespace = "default"

``[default]`` is taken where nothing names a master, another one where it is named; the key of one also where its server
was named by other means. Knows nothing of sockets.
"""

import os
from pathlib import Path

import msgspec

from cyclone.errors import ConfigError

PROFILE_ENVIRONMENT = "CYCLONE_PROFILE"
DEFAULT_PROFILE = "default"


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of them; empty where it does not say. ``insecure``: talk to another host without a key."""

    server: str = ""
    key_file: str = ""
    namespace: str = ""
    insecure: bool = False

    @property
    def key_path(self) -> Path | None:
        """The key file, None for none."""
        return Path(self.key_file).expanduser() if self.key_file else None


def profiles_file() -> Path:
    """Where they stand."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "cyclone" / "client.toml"


def find_profile(name: str | None = None) -> tuple[Profile, bool]:
    """The profile of this name, else that of ``$CYCLONE_PROFILE``, else the default one; and whether it was named.

    Raises ConfigError where a named one is not there, or the file cannot be used.
    """
    name = name or os.environ.get(PROFILE_ENVIRONMENT)
    profiles = read_profiles()
    wanted = name or DEFAULT_PROFILE
    if name and name not in profiles:
        known = f"it has {', '.join(sorted(profiles))}" if profiles else "there is none"
        raise ConfigError(f"there is no profile {name!r} in {profiles_file()}: {known}")
    return profiles.get(wanted, Profile()), bool(name)


def read_profiles() -> dict[str, Profile]:
    """All of them by name. Raises ConfigError where the file cannot be used."""
    path = profiles_file()
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    import tomllib

    try:
        return msgspec.convert(tomllib.loads(text.decode()), dict[str, Profile])
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(
            f"{path}: {error}; expected tables such as [{DEFAULT_PROFILE}] with {', '.join(Profile.__struct_fields__)}"
        ) from None
