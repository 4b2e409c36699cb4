"""Scripts of a command line: they travel with the job, whatever runs them, and what they say of themselves counts."""

from pathlib import Path

import pytest

from cyclone.cli.submit_plan import SCRIPT_CLASS
from cyclone.errors import ConfigError
from cyclone.protocol import limits
from tests.support.plans import plan, properties


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("CYCLONE_NAMESPACE", "CYCLONE_SERVER", "CYCLONE_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_given_a_python_script_then_its_text_travels(folder: Path) -> None:
    (folder / "job.py").write_bytes(b"#CYCLONE --cpus 2 --name own --array 1-2\nprint('caf\xe9')\n")
    made = plan("--name", "given", "job.py", "--cpus", "3", "x")
    assert made.spec.task_class == SCRIPT_CLASS
    assert (made.spec.cpus, made.spec.name) == (2, "given")
    source = (folder / "job.py").read_bytes()
    assert properties(made, "name", "source", "arguments", "entry") == [
        ("job.py", source, ["--cpus", "3", "x"], 1),
        ("job.py", source, ["--cpus", "3", "x"], 2),
    ]


def test_given_a_file_without_ending_then_its_first_line_says_that_it_is_python(folder: Path) -> None:
    (folder / "job").write_text("#!/usr/bin/env python3\nprint(1)\n")
    assert plan("job").spec.task_class == SCRIPT_CLASS


def test_given_a_script_for_another_interpreter_then_its_text_travels_too_whatever_its_mode(folder: Path) -> None:
    (folder / "job.sh").write_bytes(b"#!/bin/sh\n#CYCLONE -t 5\n: \xff\n")
    (folder / "in").write_bytes(b"input")
    made = plan("--stdin", "in", "--array", "3", "job.sh", "x", "{}")
    assert made.spec.task_class == SCRIPT_CLASS
    assert (made.spec.time_limit_s, made.spec.name) == (5.0, "job.sh")
    source = (folder / "job.sh").read_bytes()
    assert properties(made, "name", "source", "stdin", "arguments", "entry") == [
        ("job.sh", source, b"input", ["x", "{}"], 3)
    ]


def test_given_a_script_and_several_lists_of_words_then_its_text_is_shared(folder: Path) -> None:
    (folder / "job.sh").write_text("#!/bin/sh\n")
    made = plan("job.sh", ":::", "a", ":::", "b", "c")
    assert made.common["source"] == b"#!/bin/sh\n"
    assert made.names == ("arguments", "entry", "index")
    assert properties(made, "arguments") == [(["a", "b"],), (["a", "c"],)]


@pytest.mark.parametrize(
    ("words", "is_told"),
    [
        (["nofile.sh"], True),
        (["./bin/nofile.R", "x"], True),
        (["nosuchprogram"], False),
        (["python3.99"], False),
        (["--", "nofile.sh"], False),
        (["here.txt"], False),
    ],
)
def test_given_what_is_called_like_a_file_and_is_none_here_then_it_is_said_that_it_is_a_command(
    words: list[str], is_told: bool, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "here.txt").write_text("no script\n")
    assert properties(plan(*words), "command") == [([word for word in words if word != "--"],)]
    told = f"there is no file {words[0]} here: taken for a command, which the nodes have to find\n"
    assert capsys.readouterr().err == (told if is_told else "")


@pytest.mark.parametrize(
    ("name", "word", "is_refused"),
    [
        ("job.sh", "job.sh", True),
        ("job", "./job", True),
        ("job", "job", True),
        ("program", "./program", True),
        # That of the nodes is meant, as there is one here.
        ("program", "program", False),
        ("program.sh", "program.sh", True),
    ],
)
def test_given_an_empty_file_then_it_is_no_command_unless_a_program_has_its_name(
    name: str, word: str, is_refused: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / name).touch()
    (folder / "bin").mkdir()
    for program in ("program", "program.sh"):
        (folder / "bin" / program).write_text("#!/bin/sh\n")
        (folder / "bin" / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder / "bin"))
    assert properties(plan("--", word), "command") == [([word],)]
    if is_refused:
        with pytest.raises(ConfigError, match=f"^{word} is an empty file, .* a program of the nodes stands behind --$"):
            plan(word, "x")
    else:
        assert properties(plan(word, "x"), "command") == [([word, "x"],)]


@pytest.mark.parametrize("word", ["x" * 300, "x" * 300 + ".sh", "file/x.sh"])
def test_given_what_this_host_cannot_look_for_then_it_is_a_command(word: str, folder: Path) -> None:
    (folder / "file").touch()
    assert properties(plan(word), "command") == [([word],)]


def test_given_a_script_behind_the_dashes_then_it_is_a_command_by_its_path(folder: Path) -> None:
    (folder / "job.sh").write_text("#!/bin/sh\n#CYCLONE -t 5\n")
    made = plan("--", "./job.sh", "x")
    assert properties(made, "command") == [(["./job.sh", "x"],)]
    assert made.spec.time_limit_s == 5.0


def test_given_a_job_file_with_a_script_then_its_directives_count_least(folder: Path) -> None:
    (folder / "job.py").write_text("#CYCLONE --cpus 2 --name script --session own\n")
    (folder / "job.toml").write_text("script = 'job.py'\narguments = ['x']\nname = 'file'\n")
    made = plan("--file", "job.toml", "--cpus", "3")
    assert (made.spec.cpus, made.spec.name, made.spec.session) == (3, "file", "own")
    assert properties(made, "arguments") == [(["x"],)]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("job.sh", "#!/bin/sh\r\ntrue\r\n", "^job.sh: its lines end with CR LF"),
        ("job.sh", "true\n", "^job.sh has no first line such as #!/bin/bash, which says what runs it$"),
        (
            "job.sh",
            "#!/bin/sh\n" + " " * limits.VALUE_BYTES_MAX,
            "^the script job.sh has more than .* bytes: put it where the nodes can read it, and submit -- job.sh$",
        ),
        ("job.py", "#!python3\npass\n", "^job.py: its first line, '#!python3', names no interpreter by its full path"),
    ],
)
def test_given_a_script_that_no_node_could_run_then_it_is_not_submitted(
    name: str, content: str, said: str, folder: Path
) -> None:
    (folder / name).write_bytes(content.encode())
    with pytest.raises(ConfigError, match=said):
        plan(name)


def test_given_a_job_file_with_a_script_then_its_first_line_counts_as_well(folder: Path) -> None:
    (folder / "job").write_text("true\n")
    (folder / "job.toml").write_text("script = 'job'\n")
    with pytest.raises(ConfigError, match="job has no first line such as"):
        plan("--file", "job.toml")
    (folder / "job").write_text("#!/bin/sh\n")
    assert plan("--file", "job.toml").spec.task_class == SCRIPT_CLASS


def test_given_what_is_no_script_here_then_it_is_a_command(folder: Path) -> None:
    (folder / "program").write_bytes(b"\x7fELF")
    for word in ("program", "/opt/nodes/job.sh", "hostname"):
        assert properties(plan(word, "x"), "command") == [([word, "x"],)]


@pytest.mark.parametrize("before", [(), ("--",)])
def test_given_lines_for_another_system_alone_then_they_are_told_of(
    before: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = folder / "job.sh"
    script.write_text("#!/bin/sh\n#SBATCH --array=0-3\n")
    assert len(list(plan(*before, "job.sh").tasks())) == 1
    said = "job.sh, line 2: #SBATCH --array=0-3 is not read here: write #CYCLONE --array 0-3\n"
    assert capsys.readouterr() == ("", said)
    script.write_text("#!/bin/sh\n#SBATCH --array=0-3\n#CYCLONE --array 0-3\n")
    assert len(list(plan(*before, "job.sh").tasks())) == 4
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("word", ["./sub", "sub"])
def test_given_a_folder_as_the_script_then_it_is_refused_here_and_not_by_a_node(folder: Path, word: str) -> None:
    (folder / "sub").mkdir()
    with pytest.raises(ConfigError, match=f"{word} is a folder: name a script in it; a program of the nodes stands"):
        plan(word)


def test_given_a_folder_that_is_called_as_a_program_then_the_program_is_meant(folder: Path) -> None:
    (folder / "true").mkdir()
    assert plan("true").spec.name == "true"


def test_given_a_python_script_with_a_nul_then_it_is_refused_here_and_not_by_a_node(folder: Path) -> None:
    (folder / "job.py").write_bytes(b"print(1)\n\0")
    with pytest.raises(ConfigError, match=r"job.py is no Python script: byte 9 of it is NUL"):
        plan("job.py")
