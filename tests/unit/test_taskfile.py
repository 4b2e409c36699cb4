"""Task files: what is read, what fits a class, and what every fault says."""

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cyclone import BaseTask
from cyclone.errors import ConfigError
from cyclone.taskfile import Property, TaskTemplate, read_task_file
from cyclone.taskfile_xml import FILE_BYTES_MAX

if TYPE_CHECKING:
    from pathlib import PurePath

CLASS = '<class module="m" name="C"/>'


class Probe(BaseTask):
    """One parameter of each type that a file can write."""

    def __init__(self, ost_idx: int, block_mib: float, sync: bool, target_dir: str, retries_max: int = 3) -> None:
        self.ost_idx = ost_idx
        self.block_mib = block_mib
        self.sync = sync
        self.target_dir = target_dir
        self.retries_max = retries_max


class Loose(BaseTask):
    """Parameters whose types a file can and cannot tell."""

    def __init__(  # type: ignore[no-untyped-def]
        self,
        bare,
        block=False,
        maybe: int | None = None,
        either: int | str = 0,
        listed: list[int] | None = None,
        anything: Any = 1,
    ) -> None:
        self.bare = bare
        self.block = block
        self.maybe = maybe
        self.either = either
        self.listed = listed
        self.anything = anything


class Late(BaseTask):
    """An annotation that is there for type checkers alone."""

    def __init__(self, folder: "PurePath | None" = None, count: "int" = 1) -> None:
        self.folder = folder
        self.count = count


class Wide(BaseTask):
    """More parameters than the original allowed, the last ones by keyword alone."""

    def __init__(
        self, a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int, i: int, j: int, k: int, m: int, n: int,
        o: int, p: int, q: int, *, r: int, s: int
    ) -> None:  # fmt: skip
        vars(self).update({name: value for name, value in locals().items() if name != "self"})


class Picky(BaseTask):
    """A constructor with an opinion."""

    def __init__(self, indices: str) -> None:
        if not indices:
            raise ValueError("indices are empty: write such as 0-7")
        self.indices = indices


class Broken(BaseTask):
    """A constructor with a mistake in it."""

    def __init__(self, indices: str) -> None:
        self.indices = {"": 0}[indices]


class Starred(BaseTask):
    def __init__(self, *names: str) -> None:
        self.names = names


def write(folder: Path, text: str) -> Path:
    path = folder / "tasks.xml"
    path.write_text(text)
    return path


def one_task(folder: Path, class_name: str, *properties: str) -> TaskTemplate:
    """A template; line 4 holds the first property, each of the others a line of its own."""
    lines = "\n".join(properties)
    path = write(
        folder,
        f'<tasks>\n<task name="probe"><class module="{__name__}" name="{class_name}"/>\n'
        f"<property>\n{lines}\n</property></task></tasks>",
    )
    return read_task_file(path)["probe"]


def fault(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read_task_file(path)
    return str(caught.value)


def misfit(template: TaskTemplate, **overrides: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        template.build(**overrides)
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


def test_given_a_template_then_texts_are_what_the_constructor_says_and_the_generator_wins(tmp_path: Path) -> None:
    template = one_task(
        tmp_path,
        "Probe",
        "<ost_idx>7</ost_idx>",
        "<block_mib> 1.5 </block_mib>",
        "<sync>on</sync>",
        "<target_dir>/lustre/a|b</target_dir>",
    )

    assert template.task_class() is Probe
    assert vars(template.build()) == {
        "ost_idx": 7,
        "block_mib": 1.5,
        "sync": True,
        "target_dir": "/lustre/a|b",
        "retries_max": 3,
    }
    assert vars(template.build(ost_idx=8, retries_max=0))["ost_idx"] == 8
    assert template.left_out == ()
    assert template.warnings == ()


@pytest.mark.parametrize("left", [(), ("<ost_idx></ost_idx>",), ("<ost_idx/>",), ("<ost_idx> </ost_idx>",)])
def test_given_a_parameter_that_is_left_to_the_generator_then_only_its_absence_is_a_fault(
    left: tuple[str, ...], tmp_path: Path
) -> None:
    rest = "<block_mib>1</block_mib>", "<sync>no</sync>", "<target_dir></target_dir>"
    template = one_task(tmp_path, "Probe", *left, *rest)

    assert template.left_out == ("ost_idx",)
    assert template.given == {"block_mib": 1.0, "sync": False, "target_dir": ""}
    assert vars(template.build(ost_idx=0))["ost_idx"] == 0
    about = f"{tmp_path}/tasks.xml:2: task 'probe': "
    takes = f"{__name__}:Probe takes ost_idx, block_mib, sync, target_dir, retries_max"
    assert misfit(template) == f"{about}nobody gives 'ost_idx': write <ost_idx>...</ost_idx>; {takes}"
    assert misfit(template, ost=1) == f"{about}its generator gives 'ost', which is no parameter; {takes}"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("bare", "7", "7"),
        ("block", "False", False),
        ("maybe", "7", 7),
        ("anything", "7", 7),
    ],
)
def test_given_no_plain_annotation_then_the_default_or_the_rest_of_it_tells(
    name: str, text: str, expected: object, tmp_path: Path
) -> None:
    template = one_task(tmp_path, "Loose", f"<{name}>{text}</{name}>")

    task = template.build(**{} if name == "bare" else {"bare": ""})

    assert (getattr(task, name), type(getattr(task, name))) == (expected, type(expected))


@pytest.mark.parametrize(
    ("given_type", "text", "expected"), [("int", "7", 7), ("float", "7", 7.0), ("bool", "yes", True), ("str", "7", "7")]
)
def test_given_a_type_in_the_file_then_it_says_what_the_class_does_not(
    given_type: str, text: str, expected: object, tmp_path: Path
) -> None:
    task = one_task(tmp_path, "Loose", f'<listed type="{given_type}">{text}</listed>').build(bare="")

    assert (vars(task)["listed"], type(vars(task)["listed"])) == (expected, type(expected))


def test_given_an_annotation_that_cannot_be_evaluated_then_the_others_still_tell(tmp_path: Path) -> None:
    assert vars(one_task(tmp_path, "Late", "<count>5</count>").build())["count"] == 5


def test_given_more_parameters_than_the_original_allowed_then_all_are_taken(tmp_path: Path) -> None:
    letters = "abcdefghijkmnopqrs"
    template = one_task(tmp_path, "Wide", *(f"<{name}>{number}</{name}>" for number, name in enumerate(letters)))

    assert vars(template.build()) == {name: number for number, name in enumerate(letters)}


TAKES = f"{__name__}:Probe takes ost_idx, block_mib, sync, target_dir, retries_max"


@pytest.mark.parametrize(
    ("class_name", "properties", "expected"),
    [
        (
            "Probe",
            ["<block_mib>1</block_mib>", "<ost_idx>1</ost_idx>", "<sync>on</sync>"],
            f":4: task 'probe': <block_mib> is property 1, where <ost_idx> belongs; {TAKES}",
        ),
        (
            "Probe",
            ["<ost_idx>1</ost_idx>", "<target_dir>/</target_dir>", "<sync>on</sync>"],
            f":5: task 'probe': <target_dir> is property 2, where <sync> belongs; {TAKES}",
        ),
        (
            "Probe",
            ["<ost_idx>1</ost_idx>", "<ost_idx>2</ost_idx>"],
            ":5: task 'probe': <ost_idx> is given twice: keep one",
        ),
        (
            "Probe",
            ["<ost_index>1</ost_index>"],
            f":4: task 'probe': <ost_index> is no parameter; did you mean <ost_idx>? {TAKES}",
        ),
        # Not a class of ours: its author did not lose a parameter to the sinks.
        (
            "Probe",
            ["<db_proxy_port>1</db_proxy_port>"],
            f":4: task 'probe': <db_proxy_port> is no parameter; {TAKES}",
        ),
        (
            "Probe",
            ["<ost_idx>0x7</ost_idx>"],
            ":4: task 'probe': <ost_idx> cannot be read: '0x7' is not a whole number",
        ),
        (
            "Probe",
            [f"<ost_idx>{1 << 64}</ost_idx>"],
            ":4: task 'probe': <ost_idx> cannot be read: '18446744073709551616' is not a whole number",
        ),
        (
            "Probe",
            ["<block_mib>inf</block_mib>"],
            ":4: task 'probe': <block_mib> cannot be read: 'inf' is not a number",
        ),
        ("Probe", ["<sync>maybe</sync>"], ":4: task 'probe': <sync> cannot be read: 'maybe' is neither yes nor no"),
        (
            "Probe",
            ['<ost_idx type="str">1</ost_idx>'],
            ":4: task 'probe': <ost_idx> is given as str, and its class wants int",
        ),
        (
            "Loose",
            ["<either>1</either>"],
            ":4: task 'probe': <either> must say what it is by type=\"...\" (int, str): its class wants int | str",
        ),
        (
            "Loose",
            ["<listed>1</listed>"],
            ":4: task 'probe': <listed> must say what it is by type=\"...\" (int, float, bool, str): "
            "its class wants list[int] | None",
        ),
        (
            "Starred",
            [],
            ":2: task 'probe': " + f"{__name__}:Starred: the constructor takes *names: str; name each property",
        ),
        ("Absent", [], f":2: task 'probe': module '{__name__}'"),
        ("BaseTask", [], f":2: task 'probe': {__name__}:BaseTask is not a subclass of BaseTask"),
        (
            "Picky",
            ["<indices></indices>"],
            f":2: task 'probe': {__name__}:Picky refuses its properties: indices are empty: write such as 0-7",
        ),
        (
            "Broken",
            ["<indices>0-7</indices>"],
            f":2: task 'probe': {__name__}:Broken refuses its properties: KeyError: '0-7'",
        ),
    ],
)
def test_given_what_does_not_fit_the_class_then_the_fault_says_what_and_where(
    class_name: str, properties: list[str], expected: str, tmp_path: Path
) -> None:
    assert misfit(one_task(tmp_path, class_name, *properties)).startswith(f"{tmp_path}/tasks.xml{expected}")


@pytest.mark.parametrize(
    ("module", "class_name", "expected"),
    [
        ("task.empty_task", "EmptyTask", "tasks.empty:EmptyTask"),
        ("task.lustre_io_task", "LustreIOTask", "tasks.lustre_io:LustreIOTask"),
        ("task.lustre_alert_io_task", "LustreAlertIOTask", "tasks.lustre_alert_io:LustreAlertIOTask"),
        ("cyclone.tasks.lustre_io", "LustreIOTask", "tasks.lustre_io:LustreIOTask"),
        (
            "task.lustre_file_creation_check_task",
            "LustreFileCreationCheckTask",
            "tasks.lustre_file_creation_check:LustreFileCreationCheckTask",
        ),
        ("task.ost_migrate_task", "OstMigrateTask", "tasks.lustre_migrate:LustreOstMigrateTask"),
        ("task.lustre_ost_migrate_task", "LustreOstMigrateTask", "tasks.lustre_migrate:LustreOstMigrateTask"),
        # What a site has of its own is not ours to rename.
        ("task.site_task", "SiteTask", "task.site_task:SiteTask"),
        ("acme.task", "EmptyTask", "acme.task:EmptyTask"),
        ("tasks.empty", "EmptyTask", "tasks.empty:EmptyTask"),
    ],
)
def test_given_a_class_as_the_original_called_it_then_ours_is_taken(
    module: str, class_name: str, expected: str, tmp_path: Path
) -> None:
    path = write(tmp_path, f'<tasks><task name="a"><class module="{module}" name="{class_name}"/></task></tasks>')

    template = read_task_file(path)["a"]

    assert template.class_path == expected
    assert template.former_path == ("" if expected == f"{module}:{class_name}" else f"{module}:{class_name}")


def test_given_a_former_name_then_it_is_warned_of_once_however_many_tasks_are_built(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(
        tmp_path,
        '<tasks><task name="a"><class module="task.empty_task" name="EmptyTask"/>'
        "<property><db_proxy_target>here</db_proxy_target><db_proxy_port>5777</db_proxy_port></property></task></tasks>",
    )
    template = read_task_file(path)["a"]

    with caplog.at_level(logging.WARNING):
        assert [type(template.build(value=number)).__name__ for number in range(3)] == ["EmptyTask"] * 3

    assert caplog.messages == [
        f"{path}:1: task 'a': task.empty_task:EmptyTask is tasks.empty:EmptyTask now: write that",
        f"{path}:1: task 'a': remove db_proxy_target, db_proxy_port: records go through the master, to the sinks that "
        "its [sink] targets names",
    ]
    assert template.warnings == tuple(caplog.messages)


# What sites have had in their files since Cyclone 1, down to the last property; the OST is the generator's to give.
IO = """<ost_idx></ost_idx><block_size_bytes>1000000</block_size_bytes><total_size_bytes>1000000</total_size_bytes>
<write_file_sync>on</write_file_sync><target_dir>/lustre/probes</target_dir><lfs_bin>/usr/bin/lfs</lfs_bin>
<lfs_target>lustrefs</lfs_target><db_proxy_target>proxy</db_proxy_target><db_proxy_port>5777</db_proxy_port>"""
MAIL = """<mail_server>localhost</mail_server><mail_sender>a@example.org</mail_sender>
<mail_receiver>b@example.org,c@example.org</mail_receiver><mail_threshold>3600</mail_threshold>"""
CHECK = """<ost_idx></ost_idx><lfs_target>lustrefs</lfs_target><target_base_dir>/lustre/checks</target_base_dir>
<target_mdt_sub_dir>mdt</target_mdt_sub_dir><mdt_index_rangeset>0-2</mdt_index_rangeset>"""
CLIENT = "<{0}name>client</{0}name><{0}port>5888</{0}port><{0}timeout>10000</{0}timeout>"
MIGRATE = "<filename></filename><source_ost></source_ost><target_ost></target_ost>"
MOVE = {"filename": "/l/f", "source_ost": 1, "target_ost": 2}


@pytest.mark.parametrize(
    ("module", "class_name", "properties", "given"),
    [
        ("lustre_io_task", "LustreIOTask", IO, {"ost_idx": 5}),
        ("lustre_alert_io_task", "LustreAlertIOTask", MAIL + IO, {"ost_idx": 5}),
        (
            "lustre_file_creation_check_task",
            "LustreFileCreationCheckTask",
            CHECK + CLIENT.format("pushgateway_"),
            {"ost_idx": 5},
        ),
        (
            "lustre_file_creation_check_task",
            "LustreFileCreationCheckTask",
            CHECK + CLIENT.format("pushgateway_client_"),
            {"ost_idx": 5},
        ),
        ("ost_migrate_task", "OstMigrateTask", "<block>False</block><skip>True</skip>", MOVE),
        ("lustre_ost_migrate_task", "LustreOstMigrateTask", f"{MIGRATE}<block>False</block><skip>True</skip>", MOVE),
        (
            "lustre_ost_migrate_task",
            "LustreOstMigrateTask",
            f"{MIGRATE}<direct_io>True</direct_io><block>False</block><skip>True</skip>",
            MOVE,
        ),
        ("benchmark_task", "BenchmarkTask", "", {}),
        ("empty_task", "EmptyTask", "", {}),
    ],
)
def test_given_a_task_of_the_original_as_it_is_then_ours_is_built_of_it(
    module: str, class_name: str, properties: str, given: dict[str, Any], tmp_path: Path
) -> None:
    path = write(
        tmp_path,
        f'<?xml version="1.0"?><tasks><task name="a"><class module="task.{module}" name="{class_name}"/>'
        f"<property>{properties}</property></task></tasks>",
    )

    task = read_task_file(path)["a"].build(**given)

    assert vars(task).items() >= given.items()
    assert [
        name for name, value in vars(task).items() if name in ("block", "skip") and not isinstance(value, bool)
    ] == []


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "Configuration").glob("*.xml")), ids=lambda p: p.name
)
def test_given_a_shipped_task_file_then_each_task_fits_its_class_without_a_warning(path: Path) -> None:
    for template in read_task_file(path).values():
        template.task_class()
        assert template.warnings == ()
