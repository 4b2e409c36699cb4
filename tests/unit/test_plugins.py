"""From ``module:Class`` to the class, and the messages that save somebody an hour."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cyclone import BaseTask
from cyclone.errors import ClassRefused, PluginError
from cyclone.plugins import add_search_path, class_path, load_allowed, load_allowed_class, load_class, split_path
from tests.support import sample_tasks

Write = Callable[[str, str], None]

TASK = "from cyclone import BaseTask\nclass MyTask(BaseTask):\n    class Inner(BaseTask): pass\n"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a module into a folder of the import path; what was imported from there is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(name: str, text: str) -> None:
        path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize("path", ["plug_tasks:MyTask", "plug_tasks:MyTask.Inner"])
def test_given_a_path_then_the_class_is_loaded_and_has_that_path(write: Write, path: str) -> None:
    write("plug_tasks", TASK)

    assert class_path(load_class(path, BaseTask)) == path


def test_given_a_module_in_a_package_then_its_class_is_loaded(write: Write) -> None:
    write("plug_package.tasks", TASK)

    assert load_class("plug_package.tasks:MyTask", BaseTask).__name__ == "MyTask"


def test_given_no_such_module_then_the_error_tells_where_it_was_looked_for(write: Write, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=f"no module 'plug_nowhere'; looked in {tmp_path}, "):
        load_class("plug_nowhere:MyTask", BaseTask)


def test_given_no_such_module_in_a_package_then_the_error_names_it_whole(write: Write) -> None:
    write("plug_package.tasks", TASK)

    with pytest.raises(PluginError, match=r"no module 'plug_package\.other'; looked in"):
        load_class("plug_package.other:MyTask", BaseTask)


def test_given_a_module_that_needs_a_missing_one_then_the_error_names_the_missing_one(write: Write) -> None:
    write("plug_needy", "import plug_absent\n")

    with pytest.raises(PluginError, match="plug_needy cannot be imported, it needs plug_absent"):
        load_class("plug_needy:MyTask", BaseTask)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n1 / 0\n", r"raised ZeroDivisionError .*division by zero \(.*plug_broken\.py, line 2\)$"),
        ("def f():\n    raise OSError('no')\n\nf()\n", r"raised OSError .*: no \(.*plug_broken\.py, line 2\)$"),
        ("import sys\nsys.exit(3)\n", r"raised SystemExit .*: 3 \(.*plug_broken\.py, line 2\)$"),
        ("x = (\n", r"raised SyntaxError .*was never closed \(plug_broken\.py, line 1\)$"),
    ],
)
def test_given_a_module_that_cannot_be_imported_then_the_error_tells_why_and_where(
    write: Write, text: str, message: str
) -> None:
    write("plug_broken", text)

    with pytest.raises(PluginError, match="plug_broken " + message):
        load_class("plug_broken:MyTask", BaseTask)


def test_given_no_such_class_then_the_error_offers_those_there_are(write: Write, tmp_path: Path) -> None:
    write("plug_tasks", TASK + "class OtherTask(MyTask): pass\n")

    with pytest.raises(
        PluginError, match=rf"\({tmp_path}/plug_tasks\.py\) has no class 'Mytask'; it has MyTask, OtherTask$"
    ):
        load_class("plug_tasks:Mytask", BaseTask)


def test_given_a_module_without_tasks_then_the_error_says_so(write: Write) -> None:
    write("plug_tasks", "class MyTask: pass\n")

    with pytest.raises(PluginError, match="has no class 'YourTask'; it has no subclass of BaseTask"):
        load_class("plug_tasks:YourTask", BaseTask)


@pytest.mark.parametrize("name", ["NoTask", "number", "BaseTask", "MyTask.execute"])
def test_given_something_else_than_a_task_class_then_it_is_refused(write: Write, name: str) -> None:
    write("plug_tasks", TASK + "class NoTask: pass\nnumber = 1\n")

    with pytest.raises(PluginError, match=f"plug_tasks:{name} is not a subclass of BaseTask"):
        load_class(f"plug_tasks:{name}", BaseTask)


@pytest.mark.parametrize(
    ("path", "default", "expected"),
    [
        ("m:C", "", ("m", "C")),
        ("m:C", "D", ("m", "C")),
        ("a.b", "D", ("a.b", "D")),
        ("m:", "D", ("m", "D")),
        ("m:Outer.Inner", "", ("m", "Outer.Inner")),
    ],
)
def test_given_a_path_then_it_is_split(path: str, default: str, expected: tuple[str, str]) -> None:
    assert split_path(path, default) == expected


@pytest.mark.parametrize("path", ["", ":", ":C", "m", "m:"])
def test_given_a_path_without_module_or_class_then_the_error_says_how_to_write_it(path: str) -> None:
    with pytest.raises(PluginError, match="does not name a class: write module:Class"):
        split_path(path)


def test_given_folders_then_they_come_first_in_their_order_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/b", "/c"])

    add_search_path("/a", "/b", "/a/../a")
    add_search_path("/a")

    assert sys.path == ["/a", "/b", "/c"]


def test_given_a_class_of_the_main_module_then_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_tasks.NothingTask, "__module__", "__main__")

    with pytest.raises(PluginError, match="NothingTask is defined in __main__: put it in a module of its own"):
        class_path(sample_tasks.NothingTask)


@pytest.mark.parametrize(
    "path",
    [
        "plug_tasks",
        ":MyTask",
        "plug_tasks:",
        "plug_tasks:MyTask:Inner",
        "plug_tasks:MyTask.__class__",
        "plug_tasks:__builtins__",
        "plug_tasks.__init__:MyTask",
        "__main__:MyTask",
        "plug_tasks:MyTask()",
        "plug_tasks :MyTask",
        "../plug_tasks:MyTask",
        "\0:\n",
    ],
)
def test_given_what_is_no_path_of_a_class_then_it_is_refused_whatever_is_allowed(write: Write, path: str) -> None:
    write("plug_tasks", "raise RuntimeError('imported')\n")

    with pytest.raises(ClassRefused, match="is not the path of a class"):
        load_allowed_class(path, BaseTask, ["*", "plug_tasks"])


@pytest.mark.parametrize(
    ("path", "modules", "line"),
    [
        ("plug_tasks:MyTask", ["tasks"], "task_modules = tasks, plug_tasks"),
        ("plug_tasks:MyTask", ["plug"], "task_modules = plug, plug_tasks"),
        ("plug_tasks:MyTask", ["plug_tasks.inner"], "task_modules = plug_tasks.inner, plug_tasks"),
        ("plug_package.tasks:MyTask", ["tasks"], "task_modules = tasks, plug_package"),
        ("os.path:join", ["tasks"], "task_modules = tasks, os"),
        ("builtins:object", ["tasks"], "task_modules = tasks, builtins"),
        ("plug_tasks:MyTask", [], "task_modules = plug_tasks"),
    ],
)
def test_given_a_module_that_is_not_allowed_then_it_is_refused_unseen_with_the_line_to_add(
    write: Write, path: str, modules: list[str], line: str
) -> None:
    write("plug_tasks", "raise RuntimeError('imported')\n")
    write("plug_package.tasks", "raise RuntimeError('imported')\n")

    with pytest.raises(ClassRefused, match=rf"^{path} may not be executed here: .* \[processing\] {line}$"):
        load_allowed_class(path, BaseTask, modules)


@pytest.mark.parametrize("modules", [["*"], ["plug_package"], ["tasks", "plug_package.tasks"]])
def test_given_an_allowed_module_then_its_class_is_loaded(write: Write, modules: list[str]) -> None:
    write("plug_package.tasks", TASK)

    assert load_allowed_class("plug_package.tasks:MyTask.Inner", BaseTask, modules).__name__ == "Inner"


def test_given_a_class_that_an_allowed_module_has_from_elsewhere_then_it_is_refused(write: Write) -> None:
    write("plug_tasks", "from tasks.command import CommandTask\n")

    with pytest.raises(ClassRefused, match=r"its module tasks\.command is not one of task_modules"):
        load_allowed_class("plug_tasks:CommandTask", BaseTask, ["plug_tasks"])


@pytest.mark.parametrize("name", ["os.PathLike", "NoTask", "function", "instance.attribute"])
def test_given_anything_but_a_task_class_in_an_allowed_module_then_it_is_not_loaded(write: Write, name: str) -> None:
    text = "import os\nclass NoTask: attribute = 1\ndef function(): pass\ninstance = NoTask()\n"
    write("plug_tasks", text)

    with pytest.raises(PluginError):
        load_allowed_class(f"plug_tasks:{name}", BaseTask, ["plug_tasks"])


FUNCTIONS = """
import functools, os
from os import system
class Work:
    @staticmethod
    def do(): return "done"
    instance = 7
class Caller:
    def __call__(self): return "called"
def function(): return "run"
caller, partial, number, path_like = Caller(), functools.partial(function), 7, os
"""


@pytest.mark.parametrize(
    ("name", "value"),
    [("function", "run"), ("Work.do", "done"), ("caller", "called")],
    ids=["function", "method", "object"],
)
def test_given_something_to_call_in_an_allowed_module_then_it_is_loaded(write: Write, name: str, value: str) -> None:
    write("plug_functions", FUNCTIONS)

    assert load_allowed(f"plug_functions:{name}", ["plug_functions"])() == value


@pytest.mark.parametrize(
    ("path", "modules", "reason"),
    [
        pytest.param("plug_functions:function", ["tasks"], "task_modules = tasks, plug_functions$", id="not allowed"),
        pytest.param("plug_functions:system", ["plug_functions"], "its module posix is not one", id="from elsewhere"),
        pytest.param("plug_functions:partial", ["plug_functions"], "its module functools is", id="made by others"),
        pytest.param("plug_functions:number", ["*"], "is a int, which cannot be called", id="a number"),
        pytest.param("plug_functions:Work.instance", ["*"], "is a int, which cannot be called", id="of a class"),
        pytest.param("plug_functions:os.system", ["*"], "has no 'os.system'", id="through a module"),
        pytest.param("plug_functions:none", ["*"], r"\(.*plug_functions.py\) has no 'none'", id="not there"),
        pytest.param("plug_functions:Work.__class__", ["*"], "is not the path of a function", id="Python's own"),
        pytest.param("plug_functions", ["*"], "is not the path of a function", id="a module"),
        pytest.param("__main__:function", ["*"], "is not the path of a function", id="__main__"),
        pytest.param("math:none", ["*"], r"module 'math' \(.*\) has no 'none'", id="of a module in C"),
    ],
)
def test_given_anything_else_then_it_is_not_loaded(write: Write, path: str, modules: list[str], reason: str) -> None:
    write("plug_functions", FUNCTIONS)

    with pytest.raises(PluginError, match=reason):
        load_allowed(path, modules)
