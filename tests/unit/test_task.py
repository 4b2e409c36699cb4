"""How a task is named, taken apart and put together, and what it knows while it runs."""

import logging
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest

import cyclone
from cyclone import BaseTask, values
from cyclone.client.options import options_of
from cyclone.errors import NotSerialisable, PluginError
from cyclone.protocol import limits
from cyclone.task import TaskSerialiser, builder, property_names
from cyclone.task_context import TaskContext
from tests.support import sample_tasks
from tests.support.drive import rebuilt


@pytest.mark.parametrize(
    "task",
    [
        sample_tasks.PlainTask(1),
        sample_tasks.PlainTask([1, {"a": None}], second=b"\0"),
        sample_tasks.PlainTask(os.fsdecode(b"caf\xe9")),
        sample_tasks.NothingTask(),
        sample_tasks.KeywordTask("p", depth=3),
        sample_tasks.KeywordTask("p", "w", depth=3, name="n"),
        sample_tasks.InheritingTask(1, 2),
        sample_tasks.OwnAttemptTask(7, "now"),
        sample_tasks.Outer.InnerTask(2**64 - 1),
    ],
    ids=lambda task: type(task).__qualname__,
)
def test_given_a_task_then_a_worker_gets_one_of_the_same_class_and_properties(task: BaseTask) -> None:
    there = rebuilt(task)

    assert type(there) is type(task)
    assert vars(there) == vars(task)


def test_given_a_default_then_it_travels_like_any_property() -> None:
    arguments = TaskSerialiser(sample_tasks.PlainTask).arguments(sample_tasks.PlainTask(1))

    assert values.decode(arguments) == [1, "default"]


def test_given_a_property_that_changed_then_its_value_at_the_end_travels() -> None:
    task = sample_tasks.PlainTask(1)
    task.first = 2

    assert rebuilt(task).execute() == [2, "default"]


def test_given_a_constructor_that_changes_a_property_then_the_changed_value_travels() -> None:
    assert values.decode(TaskSerialiser(sample_tasks.ChangedTask).arguments(sample_tasks.ChangedTask("a"))) == ["A"]


def test_given_keyword_only_parameters_then_they_are_properties_in_order() -> None:
    assert property_names(sample_tasks.KeywordTask) == ("path", "mode", "depth", "name")


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        pytest.param(("p", "w"), "missing 1 required keyword-only argument: 'depth'", id="too few"),
        pytest.param(("p", "w", 3, "n", 5), "KeywordTask takes 4 properties, 5 were given", id="too many"),
    ],
)
def test_given_a_wrong_number_of_properties_then_building_fails(properties: tuple[Any, ...], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        builder(sample_tasks.KeywordTask)(*properties)


def test_given_a_property_less_that_has_a_default_then_the_class_has_it() -> None:
    assert vars(builder(sample_tasks.KeywordTask)("p", "w", 3)) == {"path": "p", "mode": "w", "depth": 3, "name": None}


@pytest.mark.parametrize("name", ["PlainTask", "Outer.InnerTask"])
def test_given_a_class_then_its_path_names_module_and_class(name: str) -> None:
    task_class: Any = sample_tasks
    for part in name.split("."):
        task_class = getattr(task_class, part)

    assert TaskSerialiser(task_class).path == f"tests.support.sample_tasks:{name}"


def test_given_a_property_that_is_not_assigned_then_the_error_names_it() -> None:
    serialiser = TaskSerialiser(sample_tasks.UnassignedTask)

    with pytest.raises(PluginError, match=r"UnassignedTask: .*does not assign its parameter 'lost' to self\.lost"):
        serialiser.arguments(sample_tasks.UnassignedTask(1, 2))


def test_given_a_property_named_as_one_of_base_task_that_is_not_assigned_then_the_error_names_it() -> None:
    serialiser = TaskSerialiser(sample_tasks.UnassignedAttemptTask)

    with pytest.raises(PluginError, match="does not assign its parameter 'attempt' to self.attempt"):
        serialiser.arguments(sample_tasks.UnassignedAttemptTask(3))


@pytest.mark.parametrize(
    ("task_class", "parameter"), [(sample_tasks.StarTask, r"\*args"), (sample_tasks.KeywordStarTask, r"\*\*options")]
)
def test_given_parameters_without_names_then_the_class_is_refused(task_class: type[BaseTask], parameter: str) -> None:
    with pytest.raises(
        PluginError, match=rf"{task_class.__name__}: the constructor takes {parameter}.*name each property"
    ):
        TaskSerialiser(task_class)


def test_given_a_class_defined_in_a_function_then_it_is_refused() -> None:
    with pytest.raises(PluginError, match="LocalTask is defined inside a function: move it to the top of its module"):
        TaskSerialiser(sample_tasks.made_in_a_function())


def test_given_a_class_that_its_module_calls_otherwise_then_it_is_refused() -> None:
    with pytest.raises(PluginError, match="sample_tasks:Original is not what its module calls by this name"):
        TaskSerialiser(sample_tasks.Renamed)


def test_given_a_class_that_is_no_task_then_it_is_refused() -> None:
    with pytest.raises(PluginError, match="int is not a subclass of BaseTask"):
        TaskSerialiser(int)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({1}, "holds a builtins.set"),
        (2**64, "holds an integer of more than 64 bits"),
        (bytes(limits.VALUE_BYTES_MAX), "takes 4194309 bytes, the limit is 4194304"),
        ("\N{SNOWMAN}" * limits.VALUE_BYTES_MAX, "the limit is 4194304"),
    ],
    ids=["set", "large integer", "large bytes", "large text"],
)
def test_given_a_property_that_cannot_travel_then_class_and_property_are_named(value: Any, reason: str) -> None:
    with pytest.raises(NotSerialisable, match=f"sample_tasks:PlainTask: the value of 'second' .*{reason}"):
        TaskSerialiser(sample_tasks.PlainTask).arguments(sample_tasks.PlainTask(1, value))


def test_given_no_execute_then_the_error_names_the_class() -> None:
    with pytest.raises(NotImplementedError, match="KeywordTask does not define execute"):
        sample_tasks.KeywordTask("p", depth=1).execute()


class FakeContext(TaskContext):
    @property
    def task_id(self) -> int:
        return 42


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeContext]:
    fake = FakeContext()
    monkeypatch.setattr(BaseTask, "current", fake)
    yield fake


def test_given_a_running_task_then_it_knows_its_id_and_attempt(context: FakeContext) -> None:
    context.attempt = 3
    task = sample_tasks.NothingTask()

    assert (task.task_id, task.attempt) == (42, 3)


def test_given_properties_of_the_same_name_then_they_hide_what_base_task_offers(context: FakeContext) -> None:
    task = sample_tasks.OwnAttemptTask(7, "now")

    assert (task.attempt, task.task_id, task.time_left_s()) == (7, 42, None)


def test_given_a_time_limit_then_the_time_left_never_is_negative(context: FakeContext) -> None:
    context.time_limit_s, context.started_s = 5.0, 0.0

    assert sample_tasks.NothingTask().time_left_s() == 0.0


def test_given_a_task_then_its_log_lines_carry_its_id(context: FakeContext, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "cyclone.task"):
        sample_tasks.NothingTask().log.info("%d files", 3)

    assert caplog.messages == ["task=42 3 files"]


def test_given_a_scratch_folder_then_it_is_one_per_task_and_writable(context: FakeContext) -> None:
    task = sample_tasks.NothingTask()
    (task.scratch_dir / "file").write_text("x")

    assert sample_tasks.NothingTask().scratch_dir == task.scratch_dir
    assert task.scratch_dir.stat().st_mode & 0o777 == 0o700
    assert context._scratch is not None
    context._scratch.cleanup()


def test_given_a_task_run_by_hand_when_it_makes_records_then_they_are_there_to_be_looked_at(
    context: FakeContext,
) -> None:
    task = sample_tasks.NothingTask()
    task.record("io", ost=1, rates=[0.5, None])
    task.record("a name", name="may be a field, too", self="as well")
    assert [(name, values.decode(packed)) for name, packed in context.records] == [
        ("io", {"ost": 1, "rates": [0.5, None]}),
        ("a name", {"name": "may be a field, too", "self": "as well"}),
    ]


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("", {}, "'' is no name of a record: it has 1 to 255 printable characters"),
        ("n" * 256, {}, "is no name of a record"),
        ("a\nb", {}, "is no name of a record"),
        (os.fsdecode(b"\xff"), {}, "is no name of a record"),
        (b"io", {}, "b'io' is no name of a record"),
        (5, {}, "5 is no name of a record"),
        ("io", {"osts": {1, 2}}, "the record 'io' holds a builtins.set; it may hold None, bool"),
        ("io", {"size": 1 << 64}, "the record 'io' holds an integer of more than 64 bits"),
        ("io", {"content": bytes(4 << 20)}, "the record 'io' takes 41943[0-9]+ bytes, the limit is 4194304"),
    ],
)
def test_given_a_record_that_is_none_then_it_is_refused_where_it_is_made(
    context: FakeContext, name: Any, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message) if "[" not in message else message):
        sample_tasks.NothingTask().record(name, **fields)
    assert context.records == []


def identity(task: BaseTask) -> bytes:
    found = TaskSerialiser(type(task)).identity
    assert found is not None
    return found(task)


def test_given_a_key_then_the_same_is_the_same_task_whatever_its_other_properties() -> None:
    name = "caf\N{LATIN SMALL LETTER E WITH ACUTE}"

    assert identity(sample_tasks.KeyTask(name, "x")) == identity(sample_tasks.KeyTask(name.encode(), "y"))
    assert len(identity(sample_tasks.KeyTask(name))) == 16


@pytest.mark.parametrize(
    "other",
    [
        sample_tasks.KeyTask("b"),
        sample_tasks.KeyTask(""),
        sample_tasks.KeyTask(os.fsdecode(b"a\xff")),
        sample_tasks.OtherKeyTask("a"),
    ],
)
def test_given_another_key_or_class_then_it_is_another_task(other: BaseTask) -> None:
    assert identity(other) not in (b"", identity(sample_tasks.KeyTask("a")))


def test_given_no_key_then_there_is_no_identity() -> None:
    assert identity(sample_tasks.KeyTask(None)) == b""
    assert TaskSerialiser(sample_tasks.PlainTask).identity is None
    assert sample_tasks.PlainTask(1).key() is None


def test_given_a_property_called_key_then_it_is_none() -> None:
    assert TaskSerialiser(sample_tasks.KeyPropertyTask).identity is None
    assert vars(rebuilt(sample_tasks.KeyPropertyTask("a"))) == {"key": "a"}


def test_given_a_key_that_is_none_then_the_class_is_named() -> None:
    with pytest.raises(PluginError, match=r"KeyTask: key\(\) returned a int; expected str, bytes or None"):
        identity(sample_tasks.KeyTask(1))
    with pytest.raises(PluginError, match="KeyAttributeTask: key is a str; it must be a method that returns the key"):
        TaskSerialiser(sample_tasks.KeyAttributeTask)


def test_given_the_decorator_then_it_takes_options_or_none() -> None:
    @cyclone.task
    def bare(number: int) -> int:
        return number

    @cyclone.task()
    def empty(number: int) -> int:
        return number

    @cyclone.task(retries=3)
    def careful(number: int) -> int:
        return number

    assert [function(2) for function in (bare, empty, careful)] == [2] * 3
    assert [options_of(function) for function in (bare, empty, careful)] == [{}, {}, {"retries": 3}]


@pytest.mark.parametrize("function", [len, int, [].append])
def test_given_what_takes_no_options_then_the_decorator_says_where_else_they_may_stand(function: Any) -> None:
    with pytest.raises(TypeError, match=f"{function.__qualname__} takes no options: .* Executor.options"):
        cyclone.task(retries=3)(function)


@pytest.mark.parametrize("wrong", [5, "name"])
def test_given_no_function_then_the_decorator_says_so(wrong: Any) -> None:
    with pytest.raises(TypeError, match=f"a function, or options by name, not {wrong!r}"):
        cyclone.task(wrong)
