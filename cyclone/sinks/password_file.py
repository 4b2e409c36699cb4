"""A password from a file of its own: no listing of the configuration shows it, and systemd can hand it over.

Owns where such a file is looked for. The password is in no message.
"""

import os
from pathlib import Path

from cyclone.errors import ConfigError


def read_password(path: Path, key: str) -> str:
    """What the file holds, without the line's end. ``key`` is how messages call it, as ``[db] password_file``.

    A bare name is looked for in $CREDENTIALS_DIRECTORY first. Raises ConfigError.
    """
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    candidates = [Path(folder) / path, path] if folder and len(path.parts) == 1 else [path]
    for candidate in candidates:
        try:
            password = candidate.read_text(encoding="utf-8").rstrip("\r\n")
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ConfigError(f"{key}: {candidate} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{key}: {candidate} is not UTF-8 text") from None
        if not password:
            raise ConfigError(f"{key}: {candidate} is empty: write the password into it")
        return password
    looked = " and ".join(str(candidate.absolute()) for candidate in candidates)
    raise ConfigError(f"{key}: there is no such file; looked for {looked}")
