"""What a worker process finds around it: its environment, and what it and its tasks may use up.

Owns what is passed on to workers and the limits that they set for themselves. The controller owes ``environment`` to
each worker that it starts; a worker calls ``protect_others`` and makes its ``MemoryBound`` before it runs user code.
"""

import contextlib
import resource
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

# What programs need to find each other, their user and their language; secrets of the controller's have other names.
KEPT = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_*", "TZ", "TMPDIR"),
    *("XDG_RUNTIME_DIR", "RUNTIME_DIRECTORY", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "PYTHON*", "CYCLONE_*"),
)
# What tasks write is their user's alone, unless they say otherwise.
UMASK = 0o077
# Half of the range: where memory runs out, the kernel takes a worker before a daemon.
_OOM_SCORE = 500
_OOM_SCORE_MAX = 1000
# The report of a MemoryError has to be made of something.
_RESERVE_BYTES = 32 << 20


def environment(given: Mapping[str, str], keep: Iterable[str], scratch: Path) -> dict[str, str]:
    """What a worker gets of our variables: KEPT and ``keep``, names or ``PREFIX*``. Its temporary files are its own."""
    wanted = (*KEPT, *keep)
    names = frozenset(wanted)
    prefixes = tuple(name[:-1] for name in wanted if name.endswith("*"))
    kept = {name: value for name, value in given.items() if name in names or name.startswith(prefixes)}
    return kept | {"TMPDIR": str(scratch)}


def protect_others() -> None:
    """No core dump for each task that crashes, and out of memory before any process that did not ask to be."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    file = Path("/proc/self/oom_score_adj")
    # A container may have it read-only.
    with contextlib.suppress(OSError):
        score = int(file.read_text(encoding="ascii")) + _OOM_SCORE
        file.write_text(str(min(score, _OOM_SCORE_MAX)), encoding="ascii")


class MemoryBound:
    """RLIMIT_DATA for this process, and as much for each of its children; 0 is none.

    It counts private writable memory, so that an allocation beyond it fails and the task can be told. RLIMIT_AS would
    count reserved addresses and mapped files too, of which some programs have more than the machine has memory.
    """

    def __init__(self, bytes_max: int) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        allowed = float("inf") if hard == resource.RLIM_INFINITY else hard
        self._soft = int(min(bytes_max, allowed))
        self._hard = int(min(bytes_max + _RESERVE_BYTES, allowed))
        self._bounded = bytes_max > 0
        if self._bounded:
            resource.setrlimit(resource.RLIMIT_DATA, (self._soft, self._hard))

    @contextlib.contextmanager
    def reserve(self) -> Iterator[None]:
        """Some more for a moment, to tell that a task had none left."""
        if not self._bounded:
            yield
            return
        resource.setrlimit(resource.RLIMIT_DATA, (self._hard, self._hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, (self._soft, self._hard))
