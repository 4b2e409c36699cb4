"""Runs a task generator in this process as its host and workers would: each task is taken apart and put together again.

Owns no rule of its own: what a task's class, arguments, value and error become on the way is asked of the product.
"""

from collections import deque
from collections.abc import Iterable

from cyclone import BaseTask, BaseTaskGenerator, TaskResult, values
from cyclone.plugins import load_class
from cyclone.protocol import states
from cyclone.protocol.messages import ErrorRecord, ResultColumns
from cyclone.results import OpenBlock, RecordedBlock, encode_columns, pack_seconds
from cyclone.task import TaskSerialiser, builder

Packed = tuple[str, bytes]

_serialisers: dict[type[BaseTask], TaskSerialiser] = {}


def packed(task: BaseTask) -> Packed:
    """The class and the arguments of a task as they travel."""
    serialiser = _serialisers.get(type(task))
    if serialiser is None:
        serialiser = _serialisers[type(task)] = TaskSerialiser(type(task))
    return serialiser.path, serialiser.arguments(task)


def rebuilt(task: BaseTask) -> BaseTask:
    """The task as a worker gets it."""
    path, arguments = packed(task)
    return builder(load_class(path, BaseTask))(*values.decode(arguments))


def executed(first: int, batch: list[Packed]) -> RecordedBlock:
    """What a worker and the master make of tasks with consecutive ids."""
    statuses, outcomes = bytearray(), []
    for path, arguments in batch:
        try:
            outcome = values.encode(builder(load_class(path, BaseTask))(*values.decode(arguments)).execute())
            statuses.append(states.COMPLETED)
        except Exception as error:
            outcome = encode_columns(ErrorRecord(type(error).__name__, str(error)))
            statuses.append(states.FAILED)
        outcomes.append(outcome)
    columns = ResultColumns(outcomes, pack_seconds([0.0] * len(batch)), 0.0, 0)
    return RecordedBlock(
        first=first,
        attempt=1,
        runs=[(path, 1) for path, _ in batch],
        args=[arguments for _, arguments in batch],
        statuses=bytes(statuses),
        accepted=None,
        body=encode_columns(columns),
        controller="drive",
    )


def added_by(generator: BaseTaskGenerator, result: TaskResult) -> list[BaseTask]:
    """The tasks that a generator makes of a result, in whatever form it gives them."""
    added: Iterable[BaseTask] | BaseTask | None = generator.on_result(result)
    if added is None:
        return []
    return [added] if isinstance(added, BaseTask) else list(added)


def drive(generator: BaseTaskGenerator, *, batch: int = 3) -> list[TaskResult]:
    """Run a generator to its end, first come, first served, so many tasks at a time; all results in order."""
    source = generator.generate()
    waiting: deque[Packed] = deque()
    results: list[TaskResult] = []
    pulled_all = False
    while waiting or not pulled_all:
        while len(waiting) < batch and not pulled_all:
            task = next(source, None)
            pulled_all = task is None
            if task is not None:
                waiting.append(packed(task))
        tasks = [waiting.popleft() for _ in range(min(batch, len(waiting)))]
        for result in OpenBlock(executed(len(results) + 1, tasks)) if tasks else ():
            results.append(result)
            waiting.extend(packed(task) for task in added_by(generator, result))
    return results
