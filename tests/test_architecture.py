"""The house rules that a reader would otherwise have to trust. Each test lists every offender with its place.

The rules are explained in CONTRIBUTING.md. Nothing of ours is imported here: all is read from the syntax tree.
"""

import ast
import configparser
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.offenders import refuse

ROOT = Path(__file__).parent.parent
PRODUCT = ("cyclone", "tasks", "task_generators")
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70

# The brains: what decides, and must therefore run the same in a simulation, a replay and a production master.
BRAINS = ("cyclone.master.scheduler", "cyclone.controller.agent")
# All that a brain may import besides other pure modules. An allow-list, because whatever brings a clock, a random
# number, a socket, a file, a process or a log line into a brain is wrong, and there are many such modules.
PURE_MAY_IMPORT = {"abc", "bisect", "collections", "dataclasses", "enum", "functools", "heapq", "itertools", "math"}
PURE_MAY_IMPORT |= {"array", "operator", "re", "typing", "msgspec", "cyclone.errors", "cyclone.lifecycle"}
PURE_MAY_IMPORT |= {"cyclone.error_kinds", "cyclone.moments", "cyclone.results", "cyclone.version"}
# What runs user code in a process of its own. A ZeroMQ context there would be inherited, leaked and slow to start; a
# journal would be open to whatever that code does.
RUNS_USER_CODE = ("cyclone.controller.worker", "cyclone.master.generator.generator_process")
OUT_OF_REACH_OF_USER_CODE = ("zmq", "apsw", "cyclone.journal", "cyclone.client", "cyclone.security")
# What the journal may know of the master: what happens, and what a journal has to be able to do. Not what it means.
JOURNAL_MAY_IMPORT = ("cyclone.master.events", "cyclone.master.journal", "cyclone.master.generator.progress")
# Wall-clock time steps and is for people. Every deadline and duration is monotonic.
MAY_READ_THE_WALL_CLOCK = {
    "cyclone/cli/submit_spec.py": "a deadline that has passed is refused before anything is sent",
    "cyclone/cli/top.py": "what failed within a day is shown to people",
    "cyclone/controller/service.py": "when the attempt had started that a dead worker could not report",
    "cyclone/controller/worker.py": "a result's `started` is Unix time",
    "cyclone/lustre/mail.py": "one mail is enough for a while, whichever process sends it, also after a new start",
    "tasks/lustre_alert_io.py": "a mail says since when an OST hangs",
    "tasks/lustre_io.py": "a record says when its OST was written to and read",
    "cyclone/sinks/spool.py": "how long a block has waited, also while no sink ran",
    "cyclone/journal/sqlite_journal.py": "when a block was finished: `keep` counts days, also those without a master",
    "cyclone/metrics/exporter.py": "Prometheus tells moments in Unix time",
    "cyclone/metrics/loop.py": "the same",
    "cyclone/metrics/master.py": "the same",
    "cyclone/sinks/publisher.py": "records are dated by the nodes that made them, and may come late",
    "cyclone/master/clients/output_relay.py": "a person is told since when a node is away",
    "cyclone/master/service.py": "moments of jobs are Unix time; the brain is told how far its own clock is from that",
    "cyclone/master/journal.py": "without a journal nothing remembers the last epoch; the journal id differs anyway",
}
UNSAFE_MODULES = frozenset({"pickle", "marshal", "cloudpickle", "dill", "shelve"})
# The one module that pickles and unpickles, for jobs by value alone, and the one task that has it do so in a worker.
BY_VALUE = "cyclone.client.byvalue"
BY_VALUE_TASK = "tasks.function"
# The package itself: it names its classes for type checkers, and imports one only when it is asked for it.
FRONT = "cyclone"


@cache
def modules() -> dict[str, Path]:
    """Dotted name to file, of everything that is installed."""
    found = {}
    for package in PRODUCT:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def place(path: Path, node: ast.AST | None = None) -> str:
    name = path.relative_to(ROOT).as_posix()
    return f"{name}:{node.lineno}" if isinstance(node, ast.expr | ast.stmt | ast.excepthandler) else name


def imports(module: str) -> Iterator[tuple[str, ast.stmt]]:
    """Each module that this one imports anywhere, also inside a function or for type checking, with where it does."""
    for node in ast.walk(tree(modules()[module])):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{place(modules()[module], node)}: relative import; the house imports by full name"
            base = node.module or ""
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield (full if full in modules() else base), node


def within(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def is_pure(module: str) -> bool:
    """A module of master or controller that says in its docstring that it is PURE."""
    if not (within(module, "cyclone.master") or within(module, "cyclone.controller")):
        return False
    return re.search(r"\bPURE\b", ast.get_docstring(tree(modules()[module])) or "") is not None


def nodes() -> Iterator[tuple[Path, ast.AST]]:
    for path in modules().values():
        yield from ((path, node) for node in ast.walk(tree(path)))


def refuse_imports(importers: Callable[[str], bool], refused: Callable[[str], bool]) -> None:
    refuse(
        f"{place(modules()[module], node)} imports {imported}"
        for module in sorted(modules())
        if importers(module)
        for imported, node in imports(module)
        if refused(imported)
    )


def test_given_the_protocol_then_it_imports_nothing_of_ours_but_errors() -> None:
    refuse_imports(
        lambda module: within(module, "cyclone.protocol"),
        lambda imported: (
            within(imported, "cyclone") and not within(imported, "cyclone.protocol") and imported != "cyclone.errors"
        ),
    )


def test_given_the_brains_then_they_exist_and_say_that_they_are_pure() -> None:
    refuse(brain for brain in BRAINS if brain not in modules() or not is_pure(brain))


def test_given_a_pure_module_then_it_imports_only_what_cannot_touch_the_world() -> None:
    def refused(imported: str) -> bool:
        if imported in modules():
            allowed = is_pure(imported) or within(imported, "cyclone.protocol") or imported in PURE_MAY_IMPORT
        else:
            allowed = imported.partition(".")[0] in PURE_MAY_IMPORT
        return not allowed

    refuse_imports(is_pure, refused)


def test_given_master_and_controller_then_neither_imports_the_other() -> None:
    refuse_imports(lambda m: within(m, "cyclone.master"), lambda i: within(i, "cyclone.controller"))
    refuse_imports(lambda m: within(m, "cyclone.controller"), lambda i: within(i, "cyclone.master"))


def test_given_a_client_then_it_knows_master_and_controller_by_the_protocol_alone() -> None:
    inner = ("cyclone.master", "cyclone.controller", "cyclone.journal")
    refuse_imports(lambda m: within(m, "cyclone.client"), lambda i: within(i, *inner))
    refuse_imports(
        lambda m: not within(m, "cyclone.client", "cyclone.cli") and m not in (FRONT, BY_VALUE_TASK),
        lambda i: within(i, "cyclone.client"),
    )


def test_given_the_journal_then_it_knows_what_happens_and_not_what_it_means() -> None:
    refuse(name for name in JOURNAL_MAY_IMPORT if name not in modules())
    refuse_imports(
        lambda module: within(module, "cyclone.journal"),
        lambda imported: (
            within(imported, "cyclone.master", "cyclone.controller", "cyclone.client", "cyclone.security")
            and imported not in JOURNAL_MAY_IMPORT
        ),
    )
    # There will be another one behind the same interface.
    refuse_imports(
        lambda module: not within(module, "cyclone.journal", "cyclone.cli"),
        lambda imported: within(imported, "cyclone.journal"),
    )


def test_given_sqlite_then_only_journals_and_sinks_know_it() -> None:
    knowing = ("cyclone.journal", "cyclone.sinks", "cyclone.sqlite_errors", "cyclone.cli")
    refuse_imports(
        lambda module: not within(module, *knowing),
        lambda imported: within(imported, "apsw", "cyclone.sqlite_errors"),
    )


def test_given_a_sink_and_a_master_then_each_knows_the_other_by_the_protocol_alone() -> None:
    inner = ("cyclone.master", "cyclone.controller", "cyclone.client", "cyclone.journal")
    refuse_imports(lambda m: within(m, "cyclone.sinks"), lambda i: within(i, *inner))
    others = (*inner, "cyclone.protocol", "cyclone.security")
    refuse_imports(lambda m: within(m, *others), lambda i: within(i, "cyclone.sinks"))


def test_given_the_rights_of_keys_then_what_asks_for_them_is_not_asked_by_them() -> None:
    asking = ("cyclone.master", "cyclone.controller", "cyclone.client", "cyclone.journal")
    refuse_imports(lambda m: within(m, "cyclone.security"), lambda i: within(i, *asking))


def test_given_the_command_line_then_nothing_below_it_imports_it() -> None:
    refuse_imports(lambda module: not within(module, "cyclone.cli"), lambda imported: within(imported, "cyclone.cli"))


def test_given_metrics_then_who_is_counted_does_not_know_it() -> None:
    counted = ("cyclone.master", "cyclone.controller", "cyclone.journal", "cyclone.protocol", "cyclone.security")
    refuse_imports(lambda m: within(m, *counted), lambda i: within(i, "cyclone.metrics", "prometheus_client"))
    # Its import takes 70 ms, which only those pay who serve something.
    refuse_imports(
        lambda m: within(m, "cyclone.metrics") and m != "cyclone.metrics.exporter",
        lambda imported: within(imported, "prometheus_client"),
    )
    refuse_imports(lambda m: m != "cyclone.cli.metering", lambda i: within(i, "cyclone.metrics.exporter"))


def test_given_tasks_and_generators_then_they_use_only_what_users_have() -> None:
    parts = ("master", "controller", "protocol", "cli", "client", "journal", "security")
    inner = tuple(f"cyclone.{part}" for part in parts)
    refuse_imports(
        lambda module: not within(module, "cyclone") and module != BY_VALUE_TASK,
        lambda imported: within(imported, *inner),
    )
    refuse_imports(lambda m: m == BY_VALUE_TASK, lambda i: within(i, *inner) and i != BY_VALUE)


@pytest.mark.parametrize("start", RUNS_USER_CODE)
def test_given_a_process_that_runs_user_code_then_nothing_it_imports_imports_what_must_be_out_of_its_reach(
    start: str,
) -> None:
    assert start in modules(), f"{start} does not exist"
    reached: dict[str, str] = {start: start}
    waiting = [start]
    while waiting:
        module = waiting.pop()
        parents = [module.rsplit(".", cut)[0] for cut in range(1, module.count(".") + 1)]
        for imported in [*parents, *(imported for imported, _ in imports(module) if module != FRONT)]:
            assert not within(imported, *OUT_OF_REACH_OF_USER_CODE), f"{reached[module]} -> {imported}"
            if imported in modules() and imported not in reached:
                reached[imported] = f"{reached[module]} -> {imported}"
                waiting.append(imported)


def test_given_the_product_then_nothing_that_executes_what_it_reads_is_used() -> None:
    refuse_imports(lambda m: m != BY_VALUE, lambda imported: imported.partition(".")[0] in UNSAFE_MODULES)
    refuse(place(path, n) for path, n in nodes() if isinstance(n, ast.Attribute) and ast.unparse(n) == "yaml.load")


def test_given_the_product_then_only_the_command_line_prints() -> None:
    refuse(
        place(path, node)
        for path, node in nodes()
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
        if ROOT / "cyclone" / "cli" not in path.parents
    )


def test_given_an_exception_handler_then_it_is_neither_bare_nor_silent() -> None:
    def catches_all(kinds: list[ast.expr]) -> bool:
        names = [item for kind in kinds for item in (kind.elts if isinstance(kind, ast.Tuple) else [kind])]
        return any(isinstance(name, ast.Name) and name.id in ("Exception", "BaseException") for name in names)

    def is_silent(body: list[ast.stmt]) -> bool:
        return all(
            isinstance(item, ast.Pass | ast.Continue)
            or (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))
            for item in body
        )

    offenders = []
    for path, node in nodes():
        if isinstance(node, ast.ExceptHandler):
            bad = node.type is None or (catches_all([node.type]) and is_silent(node.body))
        elif isinstance(node, ast.Call):
            bad = ast.unparse(node.func) in ("suppress", "contextlib.suppress") and catches_all(node.args)
        else:
            continue
        if bad:
            offenders.append(place(path, node))
    refuse(offenders)


def test_given_the_wall_clock_then_it_is_read_only_for_people() -> None:
    names = {"time", "time_ns"}
    offenders = []
    for path, node in nodes():
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            reads = node.value.id == "time" and node.attr in names
        elif isinstance(node, ast.ImportFrom):
            reads = node.module == "time" and any(alias.name in names for alias in node.names)
        else:
            continue
        if reads and place(path) not in MAY_READ_THE_WALL_CLOCK:
            offenders.append(place(path, node))
    refuse(offenders)


def test_given_a_file_then_it_can_be_read_in_one_sitting() -> None:
    lengths = {place(path): len(path.read_text(encoding="utf-8").splitlines()) for path in modules().values()}
    refuse(f"{name}: {lines} lines" for name, lines in lengths.items() if lines > FILE_LINES_MAX)


def test_given_a_function_then_it_fits_a_screen() -> None:
    lengths = {
        f"{place(path, node)} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path, node in nodes()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    refuse(f"{name}: {lines} lines" for name, lines in lengths.items() if lines > FUNCTION_LINES_MAX)


def test_given_the_dependencies_then_exactly_those_that_the_product_imports_are_required() -> None:
    imported_as = {
        "mysql-connector-python": "mysql",
        "prometheus-client": "prometheus_client",
        "pyzmq": "zmq",
    }
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    # Of the extras those that the product imports where they are there; `all` and `dev` name nothing else of it.
    extras = setup["options.extras_require"]
    lines = "\n".join((setup["options"]["install_requires"], extras["mysql"], extras["by-value"])).split("\n")
    required = {imported_as.get(name, name) for line in lines if (name := re.split("[<>=!~;]", line)[0].strip())}
    imported = {name.partition(".")[0] for module in modules() for name, _ in imports(module)}
    assert imported - sys.stdlib_module_names - set(PRODUCT) == required
