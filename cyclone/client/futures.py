"""Futures of single tasks: what ``Executor.submit`` returns, and how results reach them.

Owns the futures of one job of a stream. ``FutureTasks`` is used by two threads: the user's adds and cancels, the
stream's takes and delivers.
"""

import threading
from collections import deque
from concurrent.futures import Future
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED, PENDING, RUNNING, CancelledError
from typing import TYPE_CHECKING, Any, TypeVar

from cyclone.client import outcomes
from cyclone.client.job_stream import NOT_RUNNING_STATES
from cyclone.protocol.client_messages import Answer
from cyclone.protocol.job_messages import JobBlock

if TYPE_CHECKING:
    from cyclone.client.job_stream import JobStream
    from cyclone.client.stream import Stream

T = TypeVar("T")

# How long ``cancel`` of a task that was sent waits for the master's word.
_CANCEL_WAIT_S = 10.0


class TaskFuture(Future[T]):
    """A Future of the standard kind that knows its task.

    ``index`` is the task's place in its job and ``job_id`` the job's number, None before it was sent; ``task_id`` is
    its number at the master, None before it has ended. ``running()`` is true from the moment when it was sent on.
    """

    def __init__(self, tasks: "FutureTasks", row: bytes) -> None:
        super().__init__()
        self._tasks = tasks
        self.row = row
        self.index: int | None = None
        self.task_id: int | None = None
        self._cancelled_because: BaseException | None = None

    def __reduce__(self) -> Any:
        raise TypeError("a future belongs to the process that has made it: send what its result() is")

    @property
    def job_id(self) -> int | None:
        """See the class."""
        return self._tasks.job_id or None

    def cancel(self) -> bool:
        """Cancel the task, also while it runs; False where it has ended before that. What is granted never completes:
        neither here nor, where it was sent, at the master, which is waited for. It is False, too, where the master does
        not answer within 10 s; then it is asked on, and may grant it later.
        """
        with self._condition:
            was = self._state
            if was == PENDING:
                self._set_cancelled()
        if was == PENDING:
            self._invoke_callbacks()  # type: ignore[attr-defined]
        return was != FINISHED and (was != RUNNING or self._tasks.cancel(self))

    def result(self, timeout: float | None = None) -> T:
        """What the task returned. Raises what it raised, TimeoutError, CancelledError."""
        try:
            return super().result(timeout)
        except CancelledError:
            raise self._why() from None
        finally:
            # What is raised knows this frame: without us in it no cycle keeps both alive.
            del self

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What the task raised, None where it returned. Raises TimeoutError, CancelledError."""
        try:
            return super().exception(timeout)
        except CancelledError:
            raise self._why() from None
        finally:
            del self

    def _why(self) -> BaseException:
        return self._cancelled_because or CancelledError()

    def claim(self, index: int | None = None) -> bool:
        """It is about to be sent as this one of its job; False where it was cancelled before."""
        with self._condition:
            if self._state != PENDING:
                return False
            self._state, self.index = RUNNING, index
            return True

    def end_cancelled(self, why: BaseException | None = None) -> None:
        """It is cancelled, by whomever, unless it has ended."""
        with self._condition:
            if self.done():
                return
            self._cancelled_because = why
            self._set_cancelled()
        self._invoke_callbacks()  # type: ignore[attr-defined]

    def _set_cancelled(self) -> None:
        """Under the lock, and unlike the standard Future at once so that ``wait`` sees it."""
        self._state = CANCELLED_AND_NOTIFIED
        for waiter in self._waiters:
            waiter.add_cancelled(self)
        self._condition.notify_all()

    def forked(self, error: Exception) -> None:
        """See ``job_stream.Tasks``."""
        self._condition = threading.Condition()
        if not self.done():
            self._state = RUNNING
            self.set_exception(error)


class FutureTasks:
    """The tasks of one job that have a future each. See the module."""

    def __init__(self, stream: "Stream", by_value: bool) -> None:
        self._stream = stream
        self._by_value = by_value
        self._lock = threading.Lock()
        self._pending: deque[TaskFuture[Any]] = deque()
        self._sent: dict[int, TaskFuture[Any]] = {}
        self._closed = False
        self.job: JobStream | None = None

    @property
    def job_id(self) -> int:
        """0 before it is known."""
        return self.job.job_id if self.job else 0

    # The user's threads.

    def add(self, row: bytes) -> TaskFuture[Any] | None:
        """A future for a task with these arguments; None where the job takes no more."""
        future: TaskFuture[Any] = TaskFuture(self, row)
        with self._lock:
            if self._closed:
                return None
            self._pending.append(future)
        self._stream.notify()
        return future

    def cancel(self, future: TaskFuture[Any]) -> bool:
        """Have the master cancel a task that was sent; whether it is granted."""
        if self.job is None or future.index is None:
            # It was never sent, and fails at this moment.
            return False
        answered = threading.Event()

        def on_answer(answer: Answer | None) -> None:
            if answer is not None and answer.granted and answer.count:
                future.end_cancelled()
            answered.set()

        self._stream.cancel(self.job, [(future.index, future.index)], on_answer=on_answer)
        if self._stream.is_own_thread():
            # In a callback of a future: the answer comes after it. What is granted here never completes here.
            future.end_cancelled()
        else:
            answered.wait(_CANCEL_WAIT_S)
        return future.cancelled()

    def cancel_waiting(self, slots: int) -> None:
        """Cancel all but the first so many, which run or are about to: a master hears of a start only after a while."""
        with self._lock:
            sent, pending = sorted(list(self._sent)), list(self._pending)
        for future in pending[max(0, slots - len(sent)) :]:
            future.cancel()
        if self.job and len(sent) > slots:
            self._stream.cancel(self.job, [(sent[slots], sent[-1])], NOT_RUNNING_STATES)

    def close(self) -> None:
        """No more tasks than there are."""
        with self._lock:
            self._closed = True

    # The stream's thread: see ``job_stream.Tasks``.

    def take(self, index: int, count_max: int, bytes_max: int) -> list[bytes]:
        """Rows of futures that nobody has cancelled."""
        rows: list[bytes] = []
        size = 0
        while self._pending and len(rows) < count_max:
            future = self._pending[0]
            size += len(future.row)
            if rows and size > bytes_max:
                break
            self._pending.popleft()
            if future.claim(index + len(rows)):
                self._sent[index + len(rows)] = future
                rows.append(future.row)
            future.row = b""
        return rows

    def exhausted(self) -> bool:
        """Closed, and nothing left."""
        return self._closed and not self._pending

    def deliver(self, block: JobBlock) -> int:
        """Hand each result to its future."""
        for segment in outcomes.segments(block, self.job_id, self._by_value):
            for place, value in enumerate(segment.values):
                future = self._sent.pop(segment.first + place, None)
                if future is None or future.done():
                    continue
                future.task_id = segment.task_id + place
                if not segment.failed or type(value) is not outcomes.Raised:
                    future.set_result(value)
                elif value.is_cancelled:
                    future.end_cancelled(value.error)
                else:
                    future.set_exception(value.error)
        return outcomes.count(block)

    def refused(self, count: int, error: Exception) -> None:
        """Those from this index on fail, and the job takes no more."""
        self._fail([future for index, future in self._sent.items() if index >= count], error)
        self._sent = {index: future for index, future in self._sent.items() if index < count}

    def lost(self, error: Exception) -> None:
        """All fail."""
        self._fail(list(self._sent.values()), error)
        self._sent.clear()

    def forked(self, error: Exception) -> None:
        """All fail here, in the child."""
        self._lock = threading.Lock()
        self._closed = True
        for future in [*self._pending, *self._sent.values()]:
            future.forked(error)

    def _fail(self, sent: list[TaskFuture[Any]], error: Exception) -> None:
        with self._lock:
            self._closed = True
            pending, self._pending = self._pending, deque()
        for future in sent:
            if not future.done():
                future.set_exception(error)
        for future in pending:
            # One by one: a callback of the one before may have cancelled it.
            if future.claim():
                future.set_exception(error)
