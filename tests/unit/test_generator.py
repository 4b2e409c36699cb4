"""BaseTaskGenerator: what a user's generator is given, and how it reads its options."""

from pathlib import Path

import pytest

from cyclone import BaseTaskGenerator
from cyclone.errors import ConfigError
from tests.support import sample_tasks
from tests.support.drive import added_by, drive


class CountingGenerator(BaseTaskGenerator):
    pass


def reading(folder: Path = Path(), **options: str) -> BaseTaskGenerator:
    return CountingGenerator({"own": options}, folder)


def test_given_an_option_then_it_is_read_from_its_section() -> None:
    assert reading(path="x").option("own", "path") == "x"


def test_given_a_default_then_it_stands_in_for_an_option_that_is_missing_or_empty() -> None:
    assert reading().option("other", "path", "y") == "y"
    assert reading(path="").option("own", "path", "y") == "y"


@pytest.mark.parametrize("options", [{}, {"path": ""}])
def test_given_no_option_and_no_default_then_section_key_and_generator_are_named(options: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"\[own\] path is missing or empty: CountingGenerator needs it"):
        reading(Path(), **options).option("own", "path")


def test_given_a_whole_number_then_it_is_read() -> None:
    assert reading(n="12").integer_option("own", "n") == 12
    assert reading().integer_option("own", "n", 5) == 5


@pytest.mark.parametrize("text", ["x", "1.5", "1", "-3", "1s"])
def test_given_no_whole_number_or_too_small_a_one_then_the_error_says_what_is_right(text: str) -> None:
    with pytest.raises(ConfigError, match=rf"\[own\] n = {text}: expected a whole number of at least 2"):
        reading(n=text).integer_option("own", "n", at_least=2)


def test_given_a_duration_then_it_is_read_in_seconds() -> None:
    assert reading(wait="1m30s").duration_option("own", "wait") == 90.0
    assert reading().duration_option("own", "wait", "500ms") == 0.5


def test_given_no_duration_then_the_error_says_what_is_right() -> None:
    with pytest.raises(ConfigError, match=r"\[own\] wait = soon: .*1h30m"):
        reading(wait="soon").duration_option("own", "wait")


def test_given_a_switch_then_it_is_read_as_true_or_false() -> None:
    assert reading(on="On").switch_option("own", "on", default=False) is True
    assert reading().switch_option("own", "on", default=True) is True
    with pytest.raises(ConfigError, match=r"^\[own\] on = perhaps: 'perhaps' is neither yes nor no"):
        reading(on="perhaps").switch_option("own", "on", default=True)


def test_given_a_range_then_it_is_read_as_its_numbers() -> None:
    assert reading(osts="0-10/5,7").range_option("own", "osts") == [0, 5, 7, 10]
    assert reading(osts="1f").range_option("own", "osts", hexadecimal=True) == [31]
    assert reading().range_option("own", "osts", "0-2") == [0, 1, 2]
    assert reading(osts="").range_option("own", "osts", "") == []


def test_given_no_range_then_the_error_names_the_option_and_says_what_is_right() -> None:
    with pytest.raises(ConfigError, match=r"^\[own\] osts = all: 'all' is not a range of numbers; write 0-2,5"):
        reading(osts="all").range_option("own", "osts")
    with pytest.raises(ConfigError, match=r"\[own\] osts is missing or empty"):
        reading().range_option("own", "osts")


def test_given_a_set_of_nodes_then_it_is_read_as_their_names() -> None:
    assert reading(nodes="node[08-10]").node_option("own", "nodes") == ["node08", "node09", "node10"]
    assert reading().node_option("own", "nodes", "") == []


def test_given_no_set_of_nodes_then_the_error_names_the_option() -> None:
    with pytest.raises(ConfigError, match=r"^\[own\] nodes = node\[1: .*missing bracket"):
        reading(nodes="node[1").node_option("own", "nodes")


def test_given_a_relative_path_then_the_configuration_files_folder_comes_before_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("conf/both", "cwd/both", "cwd/one"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "cwd")
    folder = Path("../conf")

    assert reading(folder, path="both").path_option("own", "path").samefile(tmp_path / "conf" / "both")
    assert reading(folder, path="one").path_option("own", "path") == tmp_path / "cwd" / "one"
    assert reading(folder, path="both").path_option("own", "path").is_absolute()


def test_given_an_absolute_path_then_it_is_taken_as_it_is(tmp_path: Path) -> None:
    assert reading(Path("/nowhere"), path=str(tmp_path)).path_option("own", "path") == tmp_path


def test_given_a_path_that_is_nowhere_then_the_error_tells_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ConfigError, match=rf"\[own\] path = x: there is no /conf/x nor {tmp_path}/x$"):
        reading(Path("/conf"), path="x").path_option("own", "path")
    with pytest.raises(ConfigError, match=r"\[own\] path = /x/y: there is no /x/y$"):
        reading(Path("/conf"), path="/x/y").path_option("own", "path")


def test_given_the_name_of_a_task_class_then_it_is_loaded() -> None:
    generator = reading(task="tests.support.sample_tasks:PlainTask")

    assert generator.task_option("own", "task", "", properties=1) is sample_tasks.PlainTask


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere", "write module:Class"),
        ("tests.support.sample_tasks:NoTask", "has no class 'NoTask'"),
        ("tests.support.sample_tasks:NothingTask", r"takes \(\), CountingGenerator gives it 1 properties"),
        ("tests.support.sample_tasks:KeywordTask", r"takes \(path: str, /, .*\) -> None, CountingGenerator gives it 1"),
    ],
)
def test_given_a_task_class_that_does_not_fit_then_the_error_names_the_option(path: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^\[own\] task = {path}: .*{message}"):
        reading(task=path).task_option("own", "task", "", properties=1)


def test_given_no_generate_then_the_error_names_the_class() -> None:
    with pytest.raises(NotImplementedError, match="CountingGenerator does not define generate"):
        drive(reading())


def test_given_a_generator_without_on_result_then_results_add_nothing() -> None:
    class OneTask(BaseTaskGenerator):
        def generate(self):  # type: ignore[no-untyped-def]
            yield sample_tasks.NothingTask()

    (result,) = drive(OneTask({}))

    assert result.value == "nothing"
    assert added_by(OneTask({}), result) == []
    assert OneTask({}).summary() == {}


def test_given_no_cursor_then_there_is_none_and_no_way_to_go_on_from_one() -> None:
    assert reading().cursor() is None
    with pytest.raises(NotImplementedError, match=r"CountingGenerator does not define resume\(\)"):
        reading().resume(1)


def test_given_no_host_then_waiting_says_where_it_belongs() -> None:
    with pytest.raises(RuntimeError, match=r"wait\(\) is for generate\(\)"):
        reading().wait(1)


def test_given_a_host_then_waiting_is_its_business() -> None:
    waited: list[float] = []
    generator = reading()
    generator._wait = waited.append

    generator.wait(1.5)

    assert waited == [1.5]
