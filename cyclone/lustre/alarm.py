"""Something is done while the main thread hangs in a system call, because it does.

Owns the other thread. What that does must not touch the task's records.
"""

import logging
import threading
from collections.abc import Callable
from types import TracebackType

from cyclone.processes import sigterm_held

_log = logging.getLogger("cyclone.task")


class Alarm:
    """Runs ``action`` once when the ``with`` block takes longer than ``delay_s``.

    At its end an action under way is waited for, ``wait_s`` at most; not where the task itself is told to end. What the
    action raises is logged.
    """

    def __init__(self, delay_s: float, action: Callable[[], None], wait_s: float) -> None:
        self._delay_s = delay_s
        self._action = action
        self._wait_s = wait_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="alarm", daemon=True)

    def __enter__(self) -> "Alarm":
        # SIGTERM ends a task by an exception in the main thread: its system call returns only if the signal meets it.
        with sigterm_held():
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        if kind is None or issubclass(kind, Exception):
            self._thread.join(self._wait_s)

    def _watch(self) -> None:
        if self._over.wait(self._delay_s):
            return
        try:
            self._action()
        except Exception:
            _log.exception("an alarm came to nothing")
