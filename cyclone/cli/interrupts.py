"""The signals that end a command, raised where it waits: what it has begun is tidied up, whichever of them it was."""

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """A signal, ``number``, says that it is enough; ``exit_code`` is what a shell makes of it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.exit_code = 128 + number


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Inside, each of these signals is an Interrupted."""

    def tell(number: int, frame: Any) -> None:
        raise Interrupted(number)

    # What is ignored stays so: that is how nohup(1) and a shell's & work.
    heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, tell) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def repeated(number: int, after_s: float) -> Iterator[None]:
    """Inside, a signal that programs send once, and then kill, is an Interrupted once more after so long.

    At a keyboard somebody repeats it himself.
    """
    if number == signal.SIGINT:
        yield
        return

    def tell(_: int, frame: Any) -> None:
        raise Interrupted(number)

    before = signal.signal(signal.SIGALRM, tell)
    signal.setitimer(signal.ITIMER_REAL, after_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
