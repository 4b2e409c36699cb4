"""What the fake was asked, and what tests assert of it."""

import ast
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.fake_lustre.program import LOG


@dataclass
class LoggedCall:
    """One call of ``lfs`` or ``lctl``. Times are monotonic; of one that was killed by SIGKILL there is no end."""

    pid: int
    arguments: list[str]
    started_s: float
    ended_s: float | None = None
    code: int | None = None
    streams: list[list[tuple[str, int, int]]] = field(default_factory=list)
    """For each file that it migrated: role, OST, and how many streams that OST had in that role, this one included."""

    @property
    def verb(self) -> str:
        return self.arguments[1] if len(self.arguments) > 1 else ""


def read_log(folder: Path) -> list[LoggedCall]:
    """All calls, in the order in which they began."""
    calls: dict[str, LoggedCall] = {}
    path = folder / LOG
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    for line in lines:
        event, identity, now_s, *values = ast.literal_eval(line)
        if event == "start":
            calls[identity] = LoggedCall(values[0], values[1], now_s)
        elif event == "streams":
            calls[identity].streams.append(values[0])
        else:
            calls[identity].ended_s, calls[identity].code = now_s, values[0]
    return sorted(calls.values(), key=lambda call: call.started_s)


def streams_max(calls: Iterable[LoggedCall]) -> dict[tuple[str, int], int]:
    """The most migrations that each OST had at once, by role ("source", "target") and index."""
    found: dict[tuple[str, int], int] = defaultdict(int)
    for call in calls:
        for seen in call.streams:
            for role, ost, count in seen:
                found[role, ost] = max(found[role, ost], count)
    return dict(found)


def assert_streams(calls: Iterable[LoggedCall], per_source: int = 1, per_target: int = 1) -> None:
    """AssertionError with every OST that had more streams at once than it may; also where nothing was migrated."""
    found = streams_max(calls)
    assert found, "no migration was logged"
    limits = {"source": per_source, "target": per_target}
    over = {key: count for key, count in found.items() if count > limits[key[0]]}
    assert not over, f"more streams at once than {limits}: {over}"


def concurrency_max(calls: Iterable[LoggedCall], verb: str) -> int:
    """The most calls of a verb that ran at once; one without an end counts to the end of the log."""
    edges: list[tuple[float, int]] = []
    for call in calls:
        if call.verb == verb:
            edges.append((call.started_s, 1))
            edges.append((float("inf") if call.ended_s is None else call.ended_s, -1))
    running = most = 0
    for _, step in sorted(edges):
        running += step
        most = max(most, running)
    return most
