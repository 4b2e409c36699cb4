"""EmptyTask: no work at all, to measure what Cyclone itself costs, and to try things out."""

from typing import Any

from cyclone import BaseTask


class EmptyTask(BaseTask):
    """Returns the value that it was made with."""

    def __init__(self, value: Any = None) -> None:
        self.value = value

    def execute(self) -> Any:
        return self.value
