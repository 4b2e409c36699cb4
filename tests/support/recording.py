"""Tasks that make records, and a generator that yields so many of them, as plug-ins of real processes."""

import time
from collections.abc import Iterator
from typing import Any

from cyclone import BaseTask, BaseTaskGenerator
from tests.support.workload import await_file

RECORDING = {"class": "tests.support.recording:RecordingGenerator"}


class RecordingTask(BaseTask):
    """Makes as many records as its number says, modulo three; a large value where that is wanted."""

    def __init__(self, number: int, nap_s: float, value_bytes: int, gate: str) -> None:
        self.number = number
        self.nap_s = nap_s
        self.value_bytes = value_bytes
        self.gate = gate

    def execute(self) -> bytes:
        for ordinal in range(self.number % 3):
            self.record("sample", number=self.number, ordinal=ordinal)
        if self.gate:
            await_file(self.gate)
        time.sleep(self.nap_s)
        return bytes(self.value_bytes)


class RecordingGenerator(BaseTaskGenerator):
    """``count`` tasks; the one with the number ``gate_at`` waits until the test opens the gate."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._count = self.integer_option("recording", "count")
        self._value_bytes = self.integer_option("recording", "value_bytes", 0)
        self._gate_at = self.integer_option("recording", "gate_at", 0)
        self._nap_s = self.duration_option("recording", "nap", "0s")
        self._made = 0

    def generate(self) -> Iterator[BaseTask]:
        while self._made < self._count:
            self._made += 1
            gate = "gate" if self._made == self._gate_at else ""
            yield RecordingTask(self._made, self._nap_s, self._value_bytes, gate)

    def cursor(self) -> int:
        return self._made

    def resume(self, cursor: int) -> None:
        self._made = cursor
