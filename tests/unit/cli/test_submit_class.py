"""Tasks of a class: what its constructor would refuse on every node is refused before anything is sent."""

import sys
from pathlib import Path

import pytest

from cyclone.errors import ConfigError
from cyclone.values import decode_properties, encode_properties
from tests.support.plans import plan, properties

BUNDLE = "tasks.bundle:BundleTask"
LINE = "tasks.line_protocol:LineTask"
MODULE = """from cyclone import BaseTask

class OnANode(BaseTask):
    def __init__(self, path):
        self.path = path
        self.content = open(path).read()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("CYCLONE_NAMESPACE", "CYCLONE_SERVER", "CYCLONE_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "made_on_nodes.py").write_text(MODULE)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([BUNDLE, "-p", "url="], "'' names no bundle: expected a path, or a URL of file, http or https"),
        ([BUNDLE, "-p", "url=ftp://host/a.zip"], "'ftp://host/a.zip' names no bundle"),
        ([BUNDLE, "-p", "url=http://host/a.zip"], "http://host/a.zip comes over a network: its sha256 must be given"),
        ([BUNDLE, "-p", "url=https://me:secret@host/a.zip"], "https://host/a.zip has a user in it"),
        ([BUNDLE, "-p", "url=/a.zip", "-p", "sha256=abc"], "'abc' is no SHA-256: expected 64 hexadecimal digits"),
        ([BUNDLE, "-p", "url=/a.zip", "-p", "command=[]"], "the command is empty"),
        ([LINE, "-p", "program=x", "-p", "name="], "the name is empty: which task is the program to do?"),
    ],
)
@pytest.mark.parametrize("entries", [[], [":::", "1", "2"]])
def test_given_impossible_properties_of_a_ready_made_class_then_there_is_nothing_to_submit(
    words: list[str], said: str, entries: list[str]
) -> None:
    own = {BUNDLE: "entry={}", LINE: "arguments=[{}]"}[words[0]] if entries else ""

    with pytest.raises(ConfigError) as caught:
        list(plan("--class", *words, *(["-p", own] if own else []), *entries).tasks())

    assert f"{words[0]} refuses its properties: {said}" in str(caught.value)
    assert ("entry 1: " in str(caught.value)) is bool(entries)
    assert "secret" not in str(caught.value)


def test_given_an_entry_that_makes_a_property_impossible_then_the_error_names_it() -> None:
    made = plan("--class", BUNDLE, "-p", "url={}", ":::", "/a.zip", "s3://host/b.zip")

    with pytest.raises(ConfigError, match="entry 2: tasks.bundle:BundleTask refuses its properties: 's3://host/b.zip'"):
        list(made.tasks())


def test_given_a_bundle_that_is_not_there_then_only_its_nodes_can_tell() -> None:
    made = plan("--class", BUNDLE, "-p", "url=/no/such.zip", "-p", "entry={}", ":::", "a")

    assert properties(made, "url", "entry") == [("/no/such.zip", "a")]


def test_given_a_class_of_the_users_then_its_constructor_is_left_to_the_nodes() -> None:
    made = plan("--class", "made_on_nodes:OnANode", "-p", "path=/only/there")

    assert decode_properties(made.spec.shared) == ("/only/there",)
    assert list(made.tasks()) == [encode_properties((), ())]
