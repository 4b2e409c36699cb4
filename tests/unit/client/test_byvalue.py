"""What travels by value: exactly as it was, plain where that is possible, and never opened by mistake."""

import bisect
import builtins
import functools
import math
import operator
import struct
import sys
import threading
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

import pytest

from cyclone.client import byreference, byvalue
from cyclone.client.executor import TaskExecutor
from cyclone.errors import ClassRefused, NotSerialisable
from cyclone.task import BaseTask
from cyclone.values import decode_properties, encode
from tasks.function import FunctionTask


class Point:
    """Of a module that can be imported."""

    def __init__(self, x: int) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and other.x == self.x

    __hash__ = None  # type: ignore[assignment]


class ShoutingError(Exception):
    """Pickled, it needs both of its arguments."""

    def __init__(self, text: str, times: int) -> None:
        super().__init__(text, times)


def identity(value: Any) -> Any:
    return value


def collect(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


@pytest.fixture(autouse=True)
def allowed() -> Any:
    """As a worker has it for a job by value that it may execute."""
    BaseTask.current.by_value = True
    yield
    BaseTask.current.by_value = False


def executed(shared: bytes, row: bytes) -> Any:
    """What a worker does, and what the client that submitted reads."""
    value = FunctionTask.prepared(decode_properties(shared))(*decode_properties(row)).execute()
    return byvalue.read_values([encode(value)])[0]


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 0, -(1 << 63), (1 << 64) - 1, 1 << 64, -(1 << 63) - 1, 1.5, math.inf, "text", "\udcff", ""),
        *(b"", b"bytes", (), (1, (2,)), [1], {1: (2,)}, {1, 2}, frozenset({3}), 1 + 2j, Point(3), range(3), Point),
        pytest.param([b"x" * 100_000], id="large"),
    ],
)
def test_given_any_value_then_it_comes_back_as_what_it_was(value: Any) -> None:
    found = executed(byvalue.pack_function(identity), byvalue.pack_arguments((value,)))
    assert found == value
    assert type(found) is type(value)


def test_given_arguments_of_all_kinds_then_the_call_gets_them() -> None:
    shared = byvalue.pack_function(collect)
    assert executed(shared, byvalue.pack_call((1, "a", None), {})) == ((1, "a", None), {})
    assert executed(shared, byvalue.pack_call((1, (2,)), {"c": {3}})) == ((1, (2,)), {"c": {3}})
    assert executed(shared, byvalue.pack_call((), {})) == ((), {})


def test_given_plain_arguments_and_results_then_nothing_is_pickled(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = byvalue.pack_function(identity)
    build = FunctionTask.prepared(decode_properties(shared))
    monkeypatch.setattr(byvalue, "dumps", None)
    monkeypatch.setattr(byvalue, "loads", None)
    for value in (None, 5, 1.5, "x", False):
        assert build(*decode_properties(byvalue.pack_arguments((value,)))).execute() == value


def test_given_a_whole_call_then_its_function_is_as_it_was_at_that_moment() -> None:
    counted: list[int] = []
    row = byvalue.pack_whole_call(counted.append, (1,), {})
    counted.append(2)
    assert executed(byvalue.NO_FUNCTION, row) is None
    assert executed(byvalue.NO_FUNCTION, byvalue.pack_whole_call(functools.partial(pow, 2), (5,), {})) == 32


def test_given_what_cannot_be_called_then_the_error_is_that_of_calling_it() -> None:
    for pack in (byvalue.pack_arguments, lambda args: byvalue.pack_call(args, {"end": 1})):
        with pytest.raises(TypeError, match="'NoneType' object is not callable"):
            executed(byvalue.pack_function(None), pack((1,)))  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [lambda: lambda x: x + 1, lambda: functools.partial(lambda x, y: x + y, 1)])
def test_given_what_pickle_cannot_name_then_cloudpickle_takes_it(make: Callable[[], Callable[[int], int]]) -> None:
    assert executed(byvalue.pack_function(make()), byvalue.pack_arguments((4,))) == 5


def test_given_no_cloudpickle_then_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(NotSerialisable, match=r"<lambda> cannot be sent: .*pip install 'cyclone\[all\]'"):
        byvalue.dumps(lambda: 1)
    assert byvalue.loads(byvalue.dumps(identity)) is identity


def test_given_something_of_main_then_it_is_not_sent_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    function = of_main("def of_main(x): return x * factor", factor=3)
    assert executed(byvalue.pack_function(function), byvalue.pack_arguments((5,))) == 15
    monkeypatch.setattr(sys.modules["__main__"], "of_main", function, raising=False)
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(NotSerialisable, match="defined in __main__"):
        byvalue.dumps(function)


def test_given_what_nothing_can_pickle_then_the_reason_is_said() -> None:
    with pytest.raises(NotSerialisable, match="lock cannot be sent: cannot pickle '_thread.lock' object"):
        byvalue.dumps(threading.Lock())
    with pytest.raises(NotSerialisable, match="argument 2, a lock, cannot be sent: cannot pickle"):
        byvalue.pack_arguments((1, threading.Lock()))
    with pytest.raises(NotSerialisable, match="argument 'key', a lock, cannot be sent: cannot pickle"):
        byvalue.pack_whole_call(identity, (1,), {"key": threading.Lock()})
    with pytest.raises(NotSerialisable, match="^cannot be sent: cannot pickle"):
        executed(byvalue.pack_function(threading.Lock), byvalue.pack_arguments(()))


@pytest.mark.parametrize(
    ("source", "chain"),
    [
        pytest.param("def of_main():\n  with lock: of_main()", "'lock'", id="by itself"),
        pytest.param("def one():\n  with lock: 1\ndef of_main(): one()", "'one', which uses 'lock'", id="by another"),
        pytest.param("class C: held = lock\ndef of_main(): C()", "'C', which uses 'held'", id="by a class"),
        pytest.param("@cache\ndef one(): lock\ndef of_main(): one()", "'one', which uses 'lock'", id="by a cached one"),
        pytest.param("def make(it):\n  return lambda: it\nof_main = make(lock)", "'it'", id="by a closure"),
        pytest.param("def of_main(): executor.submit(of_main)", "'executor'", id="the Executor"),
    ],
)
def test_given_a_function_that_uses_what_cannot_be_sent_then_that_is_named(source: str, chain: str) -> None:
    function = of_main(
        source, lock=threading.Lock(), cache=functools.cache, executor=TaskExecutor.__new__(TaskExecutor)
    )
    said = f"{function.__qualname__} cannot be sent: it uses {chain}: .*; put all of it into a module"
    for pack in (byvalue.pack_function, lambda value: byvalue.pack_whole_call(value, (), {})):
        with pytest.raises(NotSerialisable, match=said):
            pack(function)


def test_given_cached_functions_of_main_then_they_are_cached_there() -> None:
    source = "@lru_cache(7)\ndef fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)\ndef of_main(n): return fib(n)"
    function = of_main(source, lru_cache=functools.lru_cache)
    assert executed(byvalue.pack_function(function), byvalue.pack_arguments((30,))) == 832040
    fib = byvalue.loads(byvalue.dumps(function.__globals__["fib"]))
    assert fib(30) == 832040
    assert fib.cache_parameters() == {"maxsize": 7, "typed": False}
    assert (fib.__name__, fib.cache_info().hits > 0) == ("fib", True)


def test_given_a_class_of_main_with_a_cached_property_then_it_travels() -> None:
    source = (
        "class C:\n  @cached_property\n  def it(self): return [self]\ndef of_main():\n  c = C()\n  return c.it is c.it"
    )
    function = of_main(source, cached_property=functools.cached_property)
    assert executed(byvalue.pack_function(function), byvalue.pack_arguments(())) is True


def test_given_an_exception_then_the_worker_sends_it_as_it_is() -> None:
    found = byvalue.loads(FunctionTask.failure(ShoutingError("no", 3)))
    assert type(found) is ShoutingError
    assert found.args == ("no", 3)


def test_given_a_job_that_is_not_by_value_then_nothing_is_opened() -> None:
    BaseTask.current.by_value = False
    with pytest.raises(ClassRefused, match="not by value"):
        FunctionTask.prepared(decode_properties(byvalue.pack_function(identity)))


def of_main(source: str, **names: Any) -> FunctionType:
    """A function as it is defined in a script."""
    module = ModuleType("__main__")
    vars(module).update(names)
    exec(source, vars(module))  # noqa: S102 - our own text
    found = vars(module)["of_main"]
    assert isinstance(found, FunctionType)
    return found


@pytest.mark.parametrize(
    ("source", "names"),
    [
        pytest.param("def of_main(x): return x", {}, id="by itself"),
        pytest.param("def of_main(x, y=2): return x * factor", {"factor": 3}, id="a plain name"),
        pytest.param("def of_main(x): return math.sqrt(x)", {"math": math}, id="a module"),
        pytest.param("def of_main(x): return take(x)", {"take": identity}, id="a function of a module"),
        pytest.param(
            "def helper(x): return x * factor\ndef of_main(x): return helper(x)", {"factor": 3}, id="a helper"
        ),
        pytest.param("def of_main(x): return of_main(x - 1) if x else 0", {}, id="recursion"),
        pytest.param("def of_main(x): return [factor for _ in range(x)]", {"factor": 3}, id="within"),
    ],
)
def test_given_a_function_of_main_that_is_what_it_was_then_it_is_pickled_once(
    source: str, names: dict[str, Any]
) -> None:
    function = of_main(source, **names)
    stamp = byvalue.stamp(function)
    assert stamp is not None
    assert byvalue.is_unchanged(stamp)
    if "factor" in names:
        function.__globals__["factor"] = 4
        assert not byvalue.is_unchanged(stamp)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        pytest.param("def of_main(x): seen.append(x)", {"seen": []}, id="a list"),
        pytest.param("def of_main(x, seen=[]): return seen", {}, id="a default"),
        pytest.param("def of_main(x): return x\nof_main.count = 1", {}, id="an attribute"),
        pytest.param("class C: n = 1\ndef of_main(x): return C.n", {}, id="a class"),
    ],
)
def test_given_a_function_of_main_that_may_change_unseen_then_each_call_brings_it(
    source: str, names: dict[str, Any]
) -> None:
    assert byvalue.stamp(of_main(source, **names)) is None


def test_given_a_closure_then_each_call_brings_it() -> None:
    box = [1]
    assert byvalue.stamp(lambda: box) is None


@pytest.mark.parametrize("function", [identity, math.sqrt, operator.add, Point, builtins.len, Point.__init__])
def test_given_what_can_be_imported_then_it_has_a_path_and_is_never_stale(function: Any) -> None:
    assert byvalue.stamp(function) == ()
    assert byreference.function_path(function)


@pytest.mark.parametrize(
    ("function", "path"),
    [
        (operator.add, "operator:add"),
        (bisect.bisect, "bisect:bisect_right"),
        (struct.pack, "struct:pack"),
        (math.sqrt, "math:sqrt"),
        (Point.__init__, f"{__name__}:Point.__init__"),
    ],
)
def test_given_a_function_of_a_module_in_c_then_its_path_is_the_one_that_people_import(
    function: Any, path: str
) -> None:
    assert byreference.function_path(function) == path


@pytest.mark.parametrize("function", [lambda: 1, [].append, Point(1).__eq__, functools.partial(identity, 1)])
def test_given_anything_else_then_it_has_no_path(function: Any) -> None:
    assert byreference.function_path(function) is None
    with pytest.raises(NotSerialisable, match="cannot be named to another process: put it"):
        byreference.pack_function(function)


def test_given_a_call_by_reference_then_the_worker_imports_the_function() -> None:
    build = FunctionTask.prepared(decode_properties(byreference.pack_function(collect)))
    task = build(*decode_properties(byreference.pack_call((1, [2]), {"c": b"3"})))
    assert task.execute() == ((1, [2]), {"c": b"3"})
    assert build(*decode_properties(byreference.pack_arguments((b"raw",)))).execute() == ((b"raw",), {})


def test_given_an_argument_without_a_plain_form_then_the_error_names_it() -> None:
    with pytest.raises(NotSerialisable, match="the value of 'argument 2' holds a builtins.set"):
        byreference.pack_call((1, {2}), {})
    with pytest.raises(NotSerialisable, match="the value of 'key' holds a"):
        byreference.pack_call((1,), {"key": 1 + 2j})


@pytest.mark.parametrize("value", ["__main__", ["__main__"], {"source": b"if __name__ == '__main__': ..."}])
def test_given_data_that_names_main_then_it_is_pickled_without_more(
    value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(byvalue, "_cloudpickle", lambda: None)
    assert byvalue.loads(byvalue.dumps(value)) == value


def test_given_what_is_defined_in_main_then_only_cloudpickle_can_send_it(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = type("Mine", (), {"__module__": "__main__"})
    monkeypatch.setattr(sys.modules["__main__"], "Mine", mine, raising=False)
    monkeypatch.setattr(byvalue, "_cloudpickle", lambda: None)
    for value in (mine, [mine()], functools.partial(mine)):
        with pytest.raises(NotSerialisable, match="defined in __main__"):
            byvalue.dumps(value)
