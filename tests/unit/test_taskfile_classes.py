"""What a task file says of a class: what fits its constructor, and what the fault says where something does not."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cyclone import BaseTask
from cyclone.errors import ConfigError
from cyclone.taskfile import TaskTemplate, read_task_file
from tests.support.task_files import write

if TYPE_CHECKING:
    from pathlib import PurePath


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


def one_task(folder: Path, class_name: str, *properties: str) -> TaskTemplate:
    """A template; line 4 holds the first property, each of the others a line of its own."""
    lines = "\n".join(properties)
    path = write(
        folder,
        f'<tasks>\n<task name="probe"><class module="{__name__}" name="{class_name}"/>\n'
        f"<property>\n{lines}\n</property></task></tasks>",
    )
    return read_task_file(path)["probe"]


def misfit(template: TaskTemplate, **overrides: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        template.build(**overrides)
    return str(caught.value)


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
