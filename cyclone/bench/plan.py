"""What one ``cyclone bench`` measures: its parameters, and what follows from them.

Owns which options the benchmark generator gets for a mode, what its summary must then be, and by what name a
measurement is found again. Two runs with the same name may be compared, two others may not.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

Mode = Literal["throughput", "latency", "busy", "mixed", "payload"]
Durations = Literal["equal", "mixed", "one_long"]

# By default. The mixed ones take 10 s, and first come, first served at no cost would be 0.4 % behind the best schedule.
# Of the round trips, the first dozen meet cold caches: in a thousand they alone would be the slowest hundredth.
TASKS: dict[Mode, int] = {"throughput": 1_000_000, "latency": 5_000, "busy": 2_000, "mixed": 400, "payload": 4_000}
# They sleep, so that there may be more of them than cores.
MIXED_WORKERS = 4
# By default 10,000, one of them long.
_SHORT_FOR_EACH_MIXED = 25


@dataclass(frozen=True, slots=True)
class Plan:
    """``workers`` are those of each controller. ``listen`` is where controllers of other nodes come to, '' where the
    controllers are our own. ``durations`` concern busy and mixed tasks. ``overrides`` are of the configuration.
    """

    mode: Mode
    tasks: int
    workers: int
    controllers: int = 1
    durability: Literal["full", "off"] = "off"
    curve: bool = False
    task_ms: float = 1.0
    payload_bytes: int = 100_000
    listen: str = ""
    durations: Durations = "equal"
    overrides: tuple[str, ...] = ()

    @property
    def in_flight(self) -> int:
        """How many tasks there are at a time; 0 for no bound."""
        return 1 if self.mode == "latency" else 0

    @property
    def slots(self) -> int:
        """The workers of all controllers."""
        return self.workers * self.controllers

    def generator_options(self) -> list[str]:
        """The benchmark generator's, as ``--set`` takes them."""
        tasks = {"busy": "busy", "mixed": "sleep", "payload": "payload"}
        return [
            "task_generator.class=task_generators.benchmark:BenchmarkTaskGenerator",
            f"benchmark.num_tasks={self.tasks}",
            f"benchmark.task={tasks.get(self.mode, 'empty')}",
            f"benchmark.milliseconds={self.task_ms}",
            f"benchmark.payload_bytes={self.payload_bytes}",
            f"benchmark.durations={self.durations}",
            f"benchmark.in_flight={self.in_flight}",
        ]

    def summary(self) -> dict[str, int]:
        """What the generator must say in the end: the number of the results, and the sum of their values."""
        total = self.tasks * (self.tasks - 1) // 2
        if self.mode in ("busy", "mixed"):
            total = 0
        elif self.mode == "payload":
            total = self.tasks * self.payload_bytes
        return {"returned": self.tasks, "sum": total}

    def one_long(self) -> "Plan":
        """The second half of the mixed mode: one long task among short ones."""
        return replace(self, durations="one_long", tasks=self.tasks * _SHORT_FOR_EACH_MIXED)

    def parameters(self) -> dict[str, Any]:
        """Those that matter to this mode."""
        found: dict[str, Any] = {
            "mode": self.mode,
            "tasks": self.tasks,
            "controllers": self.controllers,
            "durability": self.durability,
            "curve": self.curve,
        }
        if self.mode == "busy":
            found["task_ms"] = self.task_ms
        if self.mode == "payload":
            found["payload_bytes"] = self.payload_bytes
        if self.overrides:
            found["set"] = list(self.overrides)
        # How many workers others have, only they know.
        found |= {"listen": self.listen} if self.listen else {"workers": self.workers}
        return found

    def name(self) -> str:
        """The parameters as the name of a file."""
        parts = [
            self.mode,
            f"{self.tasks}-tasks",
            f"{self.controllers}-elsewhere" if self.listen else f"{self.controllers}x{self.workers}-workers",
            f"{self.task_ms:g}-ms" if self.mode == "busy" else "",
            f"{self.payload_bytes}-bytes" if self.mode == "payload" else "",
            "journal" if self.durability == "full" else "",
            "keys" if self.curve else "",
            *(text.replace("/", "_") for text in self.overrides),
        ]
        return "-".join(filter(None, parts))
