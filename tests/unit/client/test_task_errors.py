"""From how a task ended to the exception that is raised: the task's own where it can be made, else one of ours."""

from typing import Any

import pytest

from cyclone.client.task_errors import RemoteTraceback, TaskCancelled, task_error
from cyclone.errors import NotSerialisable, SetupFailed, TaskError, TaskRefused, TaskTimeout, WorkerDied
from cyclone.failure import error_record
from cyclone.protocol import states
from cyclone.protocol.messages import ErrorRecord


class OwnError(Exception):
    """Of a module of the user's."""


class Outer:
    class InnerError(OwnError, KeyError):
        pass


class TwoError(Exception):
    def __init__(self, text: str, times: int) -> None:
        super().__init__(text, times)


class NumberError(Exception):
    def __init__(self, number: str) -> None:
        super().__init__(int(number))


class Aloof(BaseException):
    """To be caught by nobody."""


def found(error: BaseException | ErrorRecord, status: int = states.FAILED) -> BaseException:
    record = error if isinstance(error, ErrorRecord) else error_record(error)
    return task_error(status, record, False, 7, 3)


@pytest.mark.parametrize(
    "error",
    [ValueError("text"), OwnError("text"), Outer.InnerError("text"), NumberError("5"), NotSerialisable("text")],
)
def test_given_an_exception_by_name_then_it_is_of_its_own_type(error: Exception) -> None:
    made = found(error)
    assert type(made) is type(error)
    assert str(made) == str(error) or isinstance(error, KeyError)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        pytest.param(TwoError("text", 2), "TwoError: ('text', 2)", id="it takes more than a text"),
        pytest.param(ErrorRecord(f"{__name__}.NumberError", "none"), "NumberError: none", id="it refuses the text"),
        pytest.param(ErrorRecord("no_such_module.E", "text"), "no_such_module.E: text", id="nothing like it is here"),
        pytest.param(ErrorRecord(f"{__name__}.Outer", "text"), "Outer: text", id="no exception"),
        pytest.param(ErrorRecord("os.system", "true"), "os.system: true", id="no class"),
        pytest.param(Aloof("text"), "Aloof: text", id="nothing that except Exception catches"),
        pytest.param(ErrorRecord("SystemExit", "3"), "SystemExit: 3", id="the end of the interpreter"),
        pytest.param(ErrorRecord("", "text"), ": text", id="no name"),
    ],
)
def test_given_what_cannot_be_made_here_then_it_is_a_task_error_that_names_it(error: Any, text: str) -> None:
    made = found(error)
    assert type(made) is TaskError
    assert str(made).endswith(text)
    assert (made.job_id, made.index) == (7, 3)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (states.TIMED_OUT, TaskTimeout),
        (states.QUARANTINED, WorkerDied),
        (states.REFUSED, TaskRefused),
        (states.CANCELLED, TaskCancelled),
    ],
)
def test_given_what_the_cluster_says_then_the_type_says_what(status: int, kind: type[TaskError]) -> None:
    made = found(ErrorRecord("ValueError", "text", "the frames"), status)
    assert type(made) is kind
    assert str(made) == "text"
    assert isinstance(made.__cause__, RemoteTraceback)


def test_given_a_preparation_that_raised_then_it_is_that_or_says_so() -> None:
    assert type(found(OwnError("text"), states.SETUP_FAILED)) is OwnError
    assert type(found(TwoError("text", 2), states.SETUP_FAILED)) is SetupFailed
