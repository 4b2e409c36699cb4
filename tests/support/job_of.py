"""Tasks of one job as a worker makes and runs them: a class is prepared once, then asked for one after the other."""

from collections.abc import Callable
from typing import Any

from cyclone import BaseTask, values


def job_of(task_class: type[BaseTask], *shared: Any) -> Callable[..., Any]:
    """What sets up and executes a task with its own properties; all travel as they do on the wire."""
    make = task_class.prepared(values.decode_properties(values.encode(list(shared))) if shared else ())

    def run(*own: Any) -> Any:
        task = make(*values.decode_properties(values.encode(list(own))))
        if isinstance(task, BaseTask):
            task.setup()
        return values.decode(values.encode(task.execute()))

    return run
