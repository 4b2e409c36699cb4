"""The environment of the peers: made when it is missing, each peer installed by itself, so that one fails alone.

It never touches the environment that Cyclone runs in. What was installed is remembered by a file per peer and done
again when requirements.txt is newer; what failed is tried again each time.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.peers.catalogue import Peer

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
_REASON_CHARS_MAX = 200


class Environment:
    """A virtual environment in ``folder``, of the Python that runs this."""

    def __init__(self, folder: Path, say: Callable[[str], None], requirements: Path = REQUIREMENTS) -> None:
        # Not resolved: of a virtual environment's interpreter the path decides where it belongs.
        self._folder = folder.absolute()
        self._say = say
        self._requirements = requirements
        self.python = self._folder / "bin" / "python"

    def make(self) -> None:
        """Make it, if it is not there.

        Raises:
            SystemExit: this Python cannot make one.
        """
        # The last file that venv writes, so that an interrupted attempt is taken up again.
        if not (self._folder / "bin" / "pip").exists():
            self._say(f"making the peers' environment {self._folder.name}")
            if reason := self._failure([sys.executable, "-m", "venv", str(self._folder)]):
                raise SystemExit(f"the peers' environment {self._folder} cannot be made: {reason}")

    def install(self, peer: Peer) -> str | None:
        """Why the peer does not install; None when it is there."""
        stamp = self._folder / f".installed-{peer.module}"
        if not peer.packages or (stamp.exists() and stamp.stat().st_mtime >= self._requirements.stat().st_mtime):
            return None
        self._say(f"installing {peer.title}")
        pip = [str(self.python), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        reason = self._failure([*pip, "--constraint", str(self._requirements), *peer.packages])
        if reason is None:
            stamp.touch()
        return reason

    @staticmethod
    def _failure(command: list[str]) -> str | None:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode == 0:
            return None
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        # pip's first error says what is wrong, those behind it what follows from that.
        errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
        return (errors or lines[-1:] or [f"exit code {done.returncode}"])[0][:_REASON_CHARS_MAX]
