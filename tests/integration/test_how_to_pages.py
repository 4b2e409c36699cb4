"""The how-to pages: those of the shell as sessions, that of notebooks at a prompt and in a real kernel of Jupyter.

The cells of a page with ``>>>`` are its examples.
"""

import contextlib
import doctest
import importlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.test_docs_commands import session
from tests.support.pages import ROOT
from tests.support.procfs import wait_until

NOTEBOOK_PAGE = ROOT / "docs" / "how-to-notebooks.md"
EXAMPLES_MIN = 10


def notebook_examples() -> doctest.DocTest:
    """As of a prompt, whose functions are of ``__main__``."""
    text = NOTEBOOK_PAGE.read_text(encoding="utf-8")
    page = doctest.DocTestParser().get_doctest(text, {"__name__": "__main__"}, NOTEBOOK_PAGE.name, None, 0)
    assert len(page.examples) >= EXAMPLES_MIN
    return page


@pytest.fixture
def no_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("CYCLONE_SERVER", "CYCLONE_PROFILE", "CYCLONE_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("page", ["docs/how-to-retries.md", "docs/how-to-limits.md"])
def test_given_a_how_to_page_when_its_commands_run_then_they_do_what_it_says(page: str, tmp_path: Path) -> None:
    with session(tmp_path) as opened:
        opened.run(page)
        opened.end(stop=True)


@pytest.mark.usefixtures("no_server")
def test_given_the_page_for_notebooks_when_its_cells_run_at_a_prompt_then_they_do_what_it_says() -> None:
    assert doctest.DocTestRunner().run(notebook_examples()).failed == 0


class Kernel:
    """A kernel of Jupyter, and a notebook that is written as it is run."""

    def __init__(self, client: Any, new_code_cell: Callable[[str], Any]) -> None:
        self._client = client
        self._new_code_cell = new_code_cell

    def run(self, source: str) -> str:
        """What a cell shows, as at a prompt; of an error its type and its words."""
        cell = self._new_code_cell(source)
        self._client.nb.cells.append(cell)
        self._client.execute_cell(cell, len(self._client.nb.cells) - 1)
        shown = ""
        for output in cell.outputs:
            if output.output_type == "error":
                shown += f"{output.ename}: {output.evalue}\n"
            elif output.output_type == "execute_result":
                shown += output.data["text/plain"] + "\n"
            elif output.name == "stdout":
                shown += output.text
        return shown

    @property
    def _process(self) -> Any:
        return self._client.km.provisioner.process

    def cluster(self) -> list[psutil.Process]:
        """What the kernel has started, and what that has."""
        return psutil.Process(self._process.pid).children(recursive=True)

    def kill(self) -> None:
        """As when somebody restarts a kernel that does not answer."""
        self._process.send_signal(signal.SIGKILL)


@pytest.fixture
def kernel(no_server: None) -> Iterator[Kernel]:
    # They have no types.
    nbclient, nbformat = map(importlib.import_module, ("nbclient", "nbformat"))
    notebook = nbformat.v4.new_notebook()
    client = nbclient.NotebookClient(notebook, allow_errors=True, timeout=50, kernel_name="python3")
    with client.setup_kernel():
        yield Kernel(client, nbformat.v4.new_code_cell)


@pytest.mark.slow
def test_given_a_real_notebook_when_the_cells_of_the_page_run_then_they_do_what_it_says(kernel: Kernel) -> None:
    shown = [(example.source, example.want, kernel.run(example.source)) for example in notebook_examples().examples]
    assert [one for one in shown if one[1] != one[2]] == []


@pytest.mark.slow
def test_given_a_cell_that_is_interrupted_then_the_next_goes_on_and_a_killed_kernel_leaves_nothing(
    kernel: Kernel,
) -> None:
    kernel.run("import cyclone, os, signal, threading, time\nexecutor = cyclone.Executor(workers=1)")
    kernel.run("future = executor.submit(time.sleep, 600)")
    # The kernel of Jupyter is interrupted by this very signal.
    interrupt = "threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()"
    assert kernel.run(f"{interrupt}\nfuture.result()") == "KeyboardInterrupt: \n"
    assert kernel.run("future.cancel(), executor.submit(pow, 2, 5).result()") == "(True, 32)\n"
    processes = kernel.cluster()
    assert processes
    kernel.kill()
    wait_until(lambda: not any(map(is_alive, processes)), "nothing of the private cluster is left")


def is_alive(process: psutil.Process) -> bool:
    """Whether it is there, and no zombie."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False
