"""LineTasks of one job in one worker, as its worker would make and run them."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tasks.line_protocol import LineTask

EXAMPLES = Path(__file__).parents[2] / "Configuration" / "examples" / "line-protocol"
DEADLINE_S = 20.0
# Answers with the line that it got.
ECHO = 'while IFS= read -r line; do printf "%s\\n" "$line"; done'
COUNT = 'while read -r line; do n=$((n + 1)); echo "[$$, $n]"; done'
Ask = Callable[..., Any]


@contextlib.contextmanager
def job(program: str | list[str], **options: bool) -> Iterator[Ask]:
    """Asks tasks of one job in one worker, as its worker would make and run them."""
    make = LineTask.prepared((program, options.get("socket", False), options.get("details", False)))

    def ask(name: str, *arguments: Any) -> Any:
        task = make(name, list(arguments))
        task.setup()
        return task.execute()

    try:
        yield ask
    finally:
        make.close()


def asked(program: str | list[str], *names: str, **options: bool) -> list[Any]:
    """What tasks with these names give."""
    with job(program, **options) as ask:
        return [ask(name) for name in names]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come true in time"
        time.sleep(0.002)


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
