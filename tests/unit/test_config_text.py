"""Configuration as text: syntax, lines, and the files that are shipped."""

import re
from pathlib import Path

import pytest

from cyclone.config import Role, load
from cyclone.config_keys import KEYS, SECTIONS
from cyclone.config_text import read_ini
from tests.support.config_files import failure, separate_folders, write

CONFIGURATION = Path(__file__).parents[2] / "Configuration"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return separate_folders(tmp_path, monkeypatch)


# --- syntax


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = 1\n", "1: 'a = 1' stands before any section: write [section] above it"),
        ("[log\nlevel = info\n", "1: '[log' lacks its ]: write [log]"),
        ("[log]\nlevel = info\n[comm\nport = 1\n", "3: '[comm' lacks its ]: write [comm]"),
        ("[log]\nlevel: info\n", "2: 'level: info' is not understood: write key = value, [section] or # comment"),
        ("[log]\n= info\n", "2: "),
        ("[log]\nlevel\n", "2: "),
        ("[log]\nlevel = info\n# x\nLevel = info\n", "4: [log] level: given twice, keep one"),
        ("[log]\n[comm]\n[log]\n", "3: [log]: given twice, join the two"),
        ("\n[DEFAULT]\nlevel = info\n", "2: [DEFAULT] is not supported: write its keys in their sections"),
    ],
)
def test_given_bad_syntax_when_loaded_then_file_and_line_are_named(folder: Path, text: str, message: str) -> None:
    path = write(folder, text)
    assert failure(path).startswith(f"{path}:{message}")


def test_given_a_file_that_cannot_be_read_when_loaded_then_the_message_says_why(folder: Path) -> None:
    assert failure(folder / "no.conf") == f"{folder / 'no.conf'}: no such configuration file"
    assert "Is a directory" in failure(folder)
    path = folder / "latin.conf"
    path.write_bytes(b"[log]\nfilename = \xe9\n")
    assert "is not UTF-8 text (byte 17)" in failure(path)
    assert failure(Path("/dev/zero")) == "/dev/zero: is larger than 1 MiB, which no configuration is: name another file"


def test_given_indents_comments_and_a_byte_order_mark_when_read_then_the_lines_are_right(folder: Path) -> None:
    text = "\ufeff; first\n[a]\n  x = 1\n    more = of x\n\n    still x\n  # note\n  y = 2\n[b]\nz = \x0b3\n"
    path = folder / "i.conf"
    path.write_bytes(text.replace("\n", "\r\n").encode())
    sections = read_ini(path)
    assert {
        (name, key): value.origin.rpartition(":")[2]
        for name, part in sections.items()
        for key, value in part.keys.items()
    } == {("a", "x"): "3", ("a", "y"): "8", ("b", "z"): "10"}
    assert sections["a"].keys["x"].text == "1\nmore = of x\n\nstill x"
    assert sections["b"].origin == f"{path}:9"


# --- Configuration/


def _documented(path: Path) -> dict[tuple[str, str], tuple[str, bool, str]]:
    """(section, key) -> (value, whether it is commented out, the comment above it)."""
    found: dict[tuple[str, str], tuple[str, bool, str]] = {}
    section, comment = "", ""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if header := re.fullmatch(r"\[(.+)\]", line):
            section = header[1]
        elif key := re.fullmatch(r"(;?)([a-z_]+) =(?: (.*))?", line):
            assert (section, key[2]) not in found, f"{path}:{number}: twice"
            found[section, key[2]] = (key[3] or "", key[1] == ";", comment)
        else:
            assert line == "" or line.startswith("#"), f"{path}:{number}: {line!r}"
        comment = f"{comment} {line[2:]}" if line.startswith("#") else ""
    return found


@pytest.mark.parametrize("role", ["master", "controller", "database_proxy", "pushgateway_client"])
def test_given_the_shipped_file_of_a_role_when_read_then_each_key_stands_there_with_its_true_default(
    role: Role,
) -> None:
    documented = _documented(CONFIGURATION / f"{role}.conf")
    expected = {(key.section, key.name): key for key in KEYS if role in key.roles}
    assert set(expected) == {place for place in documented if place[0] in SECTIONS}
    for place, key in expected.items():
        value, is_comment, comment = documented[place]
        assert re.search(r"\w.*\.", comment), f"{place}: no sentence above it"
        assert key.kind.unit in comment, f"{place}: {key.kind.unit!r} is not named in {comment!r}"
        if place in {("task_generator", "module"), ("task_generator", "class")}:
            assert value and not is_comment, f"{place}: has no default, so an example must stand there"
        else:
            assert (value, is_comment) == (key.default_for(role) or "", True), f"{place}"


def test_given_the_shipped_files_when_loaded_then_they_work_as_they_stand(folder: Path) -> None:
    master = load(CONFIGURATION / "master.conf", [], "master")
    assert master.task_generator.class_path == "task_generators.benchmark:BenchmarkTaskGenerator"
    assert int(master.generator_options["benchmark"]["num_tasks"]) > 0
    load(CONFIGURATION / "master.conf", [], "run")
    controller = load(CONFIGURATION / "controller.conf", [], "controller")
    assert {row.origin for row in controller.rows()} == {"default", "computed"}
