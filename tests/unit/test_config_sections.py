"""Configuration: whose a section is, what ``--set`` reaches, and what a slip of the keyboard is answered with."""

from pathlib import Path
from typing import get_args

import pytest

from cyclone.config import Role, load
from tests.support.config_files import GENERATOR, failure, origin, separate_folders, write


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return separate_folders(tmp_path, monkeypatch)


# --- names that are unknown


@pytest.mark.parametrize("role", get_args(Role))
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[control]\ncrash_limt = 3", "2: [control] crash_limt: no such key; did you mean crash_limit?"),
        ("[control]\nport = 3", "2: [control] port: no such key; it belongs into [comm]"),
        (
            "[processing]\nidle_wait = 2s",
            "2: [processing] idle_wait: no such key; a node that idles does not ask for work and so waits for nothing: "
            "the master sends tasks at once when there are any",
        ),
        (
            "[processing]\nexpired_wait = 10s",
            "2: [processing] expired_wait: no such key; a node never gets a task that is too late or too early",
        ),
        ("[log]\nzzz = 3", "2: [log] zzz: no such key; it has filename, format, level"),
        ("\n[procesing]\nworker_count = 3", "2: [procesing]: no such section; did you mean [processing]?"),
        ("[Log]\n", "1: [Log]: no such section; did you mean [log]?"),
        ("[task_generater]\nmodule = x", "1: [task_generater]: no such section; did you mean [task_generator]?"),
    ],
)
def test_given_a_slip_of_the_keyboard_when_loaded_then_each_role_refuses_it(
    folder: Path, role: Role, text: str, message: str
) -> None:
    path = write(folder, f"{text}\n{GENERATOR}")
    assert failure(path, role).startswith(f"{path}:{message}")


def test_given_no_generator_when_a_controller_finds_a_section_then_it_is_an_error(folder: Path) -> None:
    path = write(folder, "[benchmark]\nnum_tasks = 3\n")
    message = failure(path)
    assert message.startswith(f"{path}:1: [benchmark]: no such section; Cyclone has [control], [comm], [log]")
    assert "no generator is named here" in message
    assert "[benchmark]" in failure(None, "controller", "benchmark.num_tasks=3")


def test_given_a_file_of_both_roles_when_each_loads_then_it_accepts_and_checks_the_others_keys(folder: Path) -> None:
    good = write(
        folder, f"[control]\ncrash_limit = 5\nname = n\n[processing]\nworker_count = 2\n[bench]\nn = 1\n{GENERATOR}"
    )
    assert load(good, [], "controller").control.name == "n"
    assert load(good, [], "controller").generator_options == {"bench": {"n": "1"}}
    assert load(good, [], "master").control.crash_limit == 5
    assert "worker_count" in failure(write(folder, f"[processing]\nworker_count = no\n{GENERATOR}"), "master")
    assert "crash_limit" in failure(write(folder, "[control]\ncrash_limit = no\n"), "controller")


# --- the generator


@pytest.mark.parametrize(
    ("text", "class_path"),
    [
        ("module = a.b\nclass = C", "a.b:C"),
        ("class = a.b:C", "a.b:C"),
        ("module = a.b\nclass = a.b:C", "a.b:C"),
    ],
)
def test_given_a_class_when_loaded_then_its_path_is_module_and_class(folder: Path, text: str, class_path: str) -> None:
    settings = load(write(folder, f"[task_generator]\n{text}\n"), [], "master")
    assert settings.task_generator.class_path == class_path


@pytest.mark.parametrize("role", ["master", "run"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "test.conf: [task_generator] class: '' is empty: a "),
        ("[task_generator]\nmodule = a", "test.conf: [task_generator] class: '' is empty"),
        ("[task_generator]\nclass = C", "test.conf: [task_generator] module: '' is empty: name the module of C"),
        ("[task_generator]\nmodule = a:C", "2: [task_generator] module: 'a:C' names a class too"),
        (
            "[task_generator]\nmodule = b\nclass = a:C",
            "3: [task_generator] class: 'a:C' names another module than module = 'b'",
        ),
    ],
)
def test_given_no_usable_class_when_loaded_then_the_message_says_what_to_write(
    folder: Path, role: Role, text: str, message: str
) -> None:
    assert message in failure(write(folder, text), role)


def test_given_no_config_file_when_loaded_then_every_other_section_is_the_generators_as_plain_text(
    folder: Path,
) -> None:
    text = "[bench]\nNum = 3 # not a comment %(x)s\nurl: a = b:c\nlist =\n  one\n  # comment\n  two\n[control.io]\n"
    path = write(folder, GENERATOR + text)
    settings = load(path, [], "master")
    assert settings.generator_options == {
        "bench": {"num": "3 # not a comment %(x)s", "url: a": "b:c", "list": "\none\ntwo"},
        "control.io": {},
    }
    assert settings.generator_options_path == path
    assert settings.search_path == (str(folder), str(Path.cwd()))


def test_given_a_config_file_when_loaded_then_every_section_of_it_is_the_generators(folder: Path) -> None:
    write(folder, "[control]\nnum_tasks = 3\ncrash_limit = x\n[procesing]\na = 1\n", "gen.conf")
    write(Path.cwd(), "[wrong]\n", "gen.conf")
    path = write(folder, f"{GENERATOR}config_file = gen.conf\n")
    settings = load(path, [], "run")
    assert settings.generator_options == {"control": {"num_tasks": "3", "crash_limit": "x"}, "procesing": {"a": "1"}}
    assert settings.control.crash_limit == 3
    assert settings.task_generator.config_file == settings.generator_options_path == folder / "gen.conf"


def test_given_a_config_file_when_the_main_file_has_another_section_then_it_is_an_error(folder: Path) -> None:
    write(folder, "", "gen.conf")
    path = write(folder, f"{GENERATOR}config_file = gen.conf\n[bench]\nn = 1\n")
    message = failure(path, "master")
    assert message.startswith(f"{path}:5: [bench]: no such section;")
    assert f"the generator's sections belong into {folder / 'gen.conf'}" in message


def test_given_a_config_file_that_is_missing_when_loaded_then_only_a_controller_does_without(folder: Path) -> None:
    path = write(folder, f"{GENERATOR}config_file = gen.conf\n")
    message = failure(path, "master")
    assert message == (
        f"{path}:4: [task_generator] config_file: 'gen.conf' is no file; "
        f"looked for {folder / 'gen.conf'} and {Path.cwd() / 'gen.conf'}"
    )
    assert load(path, [], "controller").generator_options == {}


def test_given_a_fault_in_the_config_file_when_loaded_then_that_file_is_named(folder: Path) -> None:
    write(folder, "[a]\nx = 1\nx = 2\n", "gen.conf")
    path = write(folder, f"{GENERATOR}config_file = gen.conf\n")
    assert failure(path, "master") == f"{folder / 'gen.conf'}:3: [a] x: given twice, keep one"


# --- --set


@pytest.mark.parametrize("text", ["", "a", "a.b", "a=b", ".b=c", "a.=c", "=x", "a=b.c"])
def test_given_a_set_of_another_form_when_loaded_then_the_message_shows_the_form(text: str) -> None:
    assert failure(None, "controller", text) == (
        f"--set {text!r}: write section.key=value, such as control.crash_limit=5"
    )


def test_given_sets_when_loaded_then_the_last_overrules_the_file_and_is_the_origin(folder: Path) -> None:
    path = write(folder, f"[control]\ncrash_limit = 5\n{GENERATOR}[bench]\nn = 1\n")
    sets = ["control.crash_limit=6", "control.Crash_Limit = 7", "bench.n=a=b # c", "bench.m=", "other.x=2"]
    settings = load(path, sets, "run")
    assert settings.control.crash_limit == 7
    assert origin(settings, "control", "crash_limit") == "--set"
    assert settings.generator_options == {"bench": {"n": "a=b # c", "m": ""}, "other": {"x": "2"}}


def test_given_only_sets_when_loaded_then_no_file_is_needed(folder: Path) -> None:
    settings = load(None, ["task_generator.class=a:B", "bench.n=3"], "run")
    assert settings.task_generator.class_path == "a:B"
    assert settings.generator_options == {"bench": {"n": "3"}}


def test_given_a_set_of_the_old_place_when_the_file_has_the_new_one_then_the_set_wins(folder: Path) -> None:
    path = write(folder, "[control]\nrequest_retry_wait_duration = 5\n")
    settings = load(path, ["comm.request_retry_wait_duration=7"], "controller")
    assert settings.control.request_retry_wait_duration_s == 7


@pytest.mark.parametrize(
    ("name", "section", "key"),
    [
        ("control.threshold.reload", "control.threshold", "reload"),
        ("control.threshold.fine.reload", "control.threshold.fine", "reload"),
        ("control.threshold.other.reload", "control.threshold", "other.reload"),
        ("control.num_tasks", "control", "num_tasks"),
        ("new.section.key", "new.section", "key"),
    ],
)
def test_given_a_section_with_dots_when_set_then_the_longest_known_one_wins(
    folder: Path, name: str, section: str, key: str
) -> None:
    sections = (
        "" if name.startswith("new") else "[control]\nnum_tasks = 1\n[control.threshold]\n[control.threshold.fine]\n"
    )
    write(folder, sections, "gen.conf")
    path = write(folder, f"{GENERATOR}config_file = gen.conf\n")
    settings = load(path, [f"{name}=9"], "master")
    assert settings.generator_options[section][key] == "9"


def test_given_a_dotted_section_that_the_file_lacks_when_set_then_it_is_not_a_key_of_control(folder: Path) -> None:
    settings = load(write(folder, GENERATOR), ["control.local_mode.num_osts=9"], "master")
    assert settings.generator_options == {"control.local_mode": {"num_osts": "9"}}


def test_given_a_section_that_both_have_when_set_then_cyclones_keys_are_cyclones(folder: Path) -> None:
    write(folder, "[control]\nnum_tasks = 3\n", "gen.conf")
    path = write(folder, f"{GENERATOR}config_file = gen.conf\n")
    settings = load(path, ["control.crash_limit=9", "control.num_tasks=8", "control.poll_time_ms=7"], "master")
    assert settings.control.crash_limit == 9
    assert settings.generator_options == {"control": {"num_tasks": "8", "poll_time_ms": "7"}}
    assert (
        failure(path, "master", "control.crash_limt=9")
        == "--set: [control] crash_limt: no such key; did you mean crash_limit?"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("control.crash_limt=9", "--set: [control] crash_limt: no such key; did you mean crash_limit?"),
        ("procesing.worker_count=9", "--set: [procesing]: no such section; did you mean [processing]?"),
    ],
)
def test_given_a_slip_in_a_set_when_loaded_then_it_is_refused(folder: Path, text: str, message: str) -> None:
    assert failure(write(folder, GENERATOR), "master", text).startswith(message)


def test_given_config_file_by_set_when_loaded_then_its_sections_are_read_and_set(folder: Path) -> None:
    write(folder, "[bench]\nn = 1\nm = 2\n", "gen.conf")
    settings = load(write(folder, GENERATOR), ["bench.n=3", "task_generator.config_file=gen.conf"], "run")
    assert settings.generator_options == {"bench": {"n": "3", "m": "2"}}
