"""Task files: what is read, and what every fault in them says."""

import time
from pathlib import Path

import pytest

from cyclone.errors import ConfigError
from cyclone.taskfile import Property, TaskTemplate, read_task_file
from cyclone.taskfile_xml import FILE_BYTES_MAX
from tests.support.task_files import write

CLASS = '<class module="m" name="C"/>'


def fault(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read_task_file(path)
    return str(caught.value)


def test_given_a_file_then_its_tasks_are_there_by_name_and_nothing_is_imported(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """<?xml version="1.0"?>
<!-- what is measured -->
<tasks>
    <task name="io">
        <class module="acme.absent" name="IO"/>
        <property>
            <ost_idx></ost_idx> <!-- set by the generator -->
            <target_dir>
                /lustre/a|b
            </target_dir>
            <prefix type="str" xml:space="preserve"> x </prefix>
        </property>
    </task>
    <task name="nothing"><class module="acme.absent" name="Nothing"/></task>
</tasks>
""",
    )

    templates = read_task_file(path)

    assert list(templates) == ["io", "nothing"]
    assert templates["io"] == TaskTemplate(
        "io",
        "acme.absent:IO",
        (
            Property("ost_idx", "", "", f"{path}:7"),
            Property("target_dir", "/lustre/a|b", "", f"{path}:8"),
            Property("prefix", " x ", "str", f"{path}:11"),
        ),
        f"{path}:4",
    )
    assert templates["nothing"].properties == ()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_given_an_encoding_that_the_file_declares_then_it_is_read(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "tasks.xml"
    text = f'<?xml version="1.0" encoding="{encoding}"?><tasks><task name="Größe">{CLASS}</task></tasks>'
    path.write_bytes(text.encode(encoding))

    assert list(read_task_file(path)) == ["Größe"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<tasks><task></tasks>", ":1: is not well-formed XML: mismatched tag"),
        ("", ":1: is not well-formed XML: no element found"),
        ("<jobs/>", ":1: the root is <jobs>: write <tasks>"),
        ("<tasks/>", ": holds no task: write <task name=...> into <tasks>"),
        ('<tasks version="2"/>', ":1: <tasks> has an attribute 'version': it takes none"),
        ("<tasks>\n<class/></tasks>", ":2: <class> in <tasks>: it holds <task> alone"),
        ("<tasks>probe</tasks>", ":1: text in <tasks>, 'probe': only a property holds text"),
        ("<tasks>\n<task/></tasks>", ':2: <task> has no name: write <task name="...">'),
        ('<tasks><task name=""/></tasks>', ':1: <task> has no name: write <task name="...">'),
        (
            '<tasks><task name="a">\n</task></tasks>',
            ':1: task \'a\' has no class: write <class module="..." name="..."/>',
        ),
        (
            f'<tasks><task name="a">{CLASS}\n{CLASS}</task></tasks>',
            ":2: task 'a' has <class> twice: keep one",
        ),
        (
            f'<tasks><task name="a">{CLASS}\n<properties/></task></tasks>',
            ":2: <properties> in task 'a': it holds <class> and <property> alone",
        ),
        (
            '<tasks><task name="a">\n<class module="m"/></task></tasks>',
            ':2: <class> has no name: write <class name="...">',
        ),
        (
            '<tasks><task name="a">\n<class module="os;" name="C"/></task></tasks>',
            ":2: task 'a': 'os;:C' is not the name of a Python module or class",
        ),
        (
            f'<tasks><task name="a">{CLASS}</task>\n<task name="a">{CLASS}</task></tasks>',
            ":1 already: rename one",
        ),
        (
            f'<tasks><task name="a">{CLASS}<property>\n<x><y/></x></property></task></tasks>',
            ":2: <y> in <x>: a property holds text alone",
        ),
        (
            f'<tasks><task name="a">{CLASS}<property>\n<x unit="s">1</x></property></task></tasks>',
            ":2: <x> has an attribute 'unit': it takes type and xml:space alone",
        ),
        (
            f'<tasks><task name="a">{CLASS}<property>\n<x type="integer">1</x></property></task></tasks>',
            ":2: <x>: 'integer' is not a type: write int, float, bool, str",
        ),
        (
            f'<tasks><task name="a">{CLASS}<property>x = 1</property></task></tasks>',
            ":1: text in <property>, 'x = 1': only a property holds text",
        ),
        ('<?xml version="1.0" encoding="klingon"?><tasks/>', "unknown encoding"),
    ],
)
def test_given_what_is_no_task_file_then_the_fault_has_its_line(text: str, expected: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)

    message = fault(path)

    assert expected in message
    assert message.startswith(f"{path}:")


BOMB = "".join(f'<!ENTITY l{n} "{"".join(f"&l{n - 1};" for _ in range(10))}">' for n in range(1, 9))


@pytest.mark.parametrize(
    "document_type",
    [
        "<!DOCTYPE tasks>",
        '<!DOCTYPE tasks SYSTEM "http://127.0.0.1:1/tasks.dtd">',
        f'<!DOCTYPE tasks [<!ENTITY l0 "lol">{BOMB}]>',
        '<!DOCTYPE tasks [<!ENTITY secret SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE tasks [<!ENTITY % remote SYSTEM "http://127.0.0.1:1/x"> %remote;]>',
    ],
)
def test_given_a_document_type_or_entities_then_the_file_is_refused(document_type: str, tmp_path: Path) -> None:
    path = write(tmp_path, f'<?xml version="1.0"?>\n{document_type}\n<tasks><task name="&l8;&secret;"/></tasks>')

    assert fault(path).startswith(f"{path}:2: a document type (<!DOCTYPE ...>) and entities are refused")


def test_given_a_file_beyond_the_size_then_it_is_refused_and_one_of_that_size_is_not(tmp_path: Path) -> None:
    whole = f'<tasks><task name="a">{CLASS}</task></tasks>'
    path = write(tmp_path, whole + " " * (FILE_BYTES_MAX - len(whole)))
    assert list(read_task_file(path)) == ["a"]

    write(tmp_path, whole + " " * (FILE_BYTES_MAX - len(whole) + 1))
    assert "is larger than 1 MiB, which no task file needs" in fault(path)


def test_given_a_file_of_deep_elements_then_it_is_a_fault_like_others(tmp_path: Path) -> None:
    path = write(tmp_path, "<tasks>" + "<a>" * 100_000 + "</a>" * 100_000 + "</tasks>")

    assert fault(path) == f"{path}:1: <a> in <tasks>: it holds <task> alone"


def test_given_a_file_of_nothing_but_line_ends_then_reading_takes_no_longer_for_that(tmp_path: Path) -> None:
    path = write(tmp_path, "<tasks>" + "\n" * (FILE_BYTES_MAX - 20) + "</tasks>")

    before_s = time.process_time()
    assert "holds no task" in fault(path)

    # Joined one by one they take minutes.
    assert time.process_time() - before_s < 5


def test_given_no_such_file_or_a_folder_then_the_fault_says_so(tmp_path: Path) -> None:
    assert fault(tmp_path / "absent.xml") == f"{tmp_path}/absent.xml: no such task file"
    assert fault(tmp_path) == f"{tmp_path}: the task file cannot be read: Is a directory"
