"""What a user gets who installs Cyclone: all of it, nothing else, and commands that start."""

import configparser
import email
import email.message
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from cyclone import __version__

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parent.parent
COMMANDS = ["cyclone", "cyclone-controller", "cyclone-database-proxy", "cyclone-master", "cyclone-pushgateway-client"]
# What a clone holds besides; neither hidden files nor anything that was made here belongs into a package.
NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "runs", "Runtime")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source package, and the wheel that was built from it and not from this folder."""
    source = tmp_path_factory.mktemp("packaging") / "source"
    shutil.copytree(ROOT, source, ignore=NOT_COPIED)
    shutil.copytree(ROOT / ".ci", source / ".ci")
    subprocess.run([sys.executable, "-m", "build", "--quiet", "--outdir", "../built", "."], cwd=source, check=True)
    return source.parent / "built"


@pytest.fixture(scope="module")
def wheel(packages: Path) -> Path:
    [found] = packages.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        return email.message_from_bytes(archive.read(f"cyclone-{__version__}.dist-info/METADATA"))


def product_files() -> set[str]:
    found = {
        p.relative_to(ROOT).as_posix()
        for name in ("cyclone", "tasks", "task_generators")
        for p in (ROOT / name).rglob("*.py")
    }
    found |= {p.relative_to(ROOT).as_posix() for p in (ROOT / "cyclone" / "sinks" / "layout_files").iterdir()}
    return found | {"cyclone/py.typed"}


def test_given_the_wheel_then_it_holds_every_module_the_layouts_the_type_marker_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == product_files()


def test_given_the_wheel_then_its_licence_travels_with_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [licence] = [name for name in archive.namelist() if name.endswith("/LICENSE")]
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()


def test_given_the_wheel_then_it_is_for_any_python_from_3_11_on(wheel: Path, metadata: email.message.Message) -> None:
    assert wheel.name == f"cyclone-{__version__}-py3-none-any.whl"
    assert metadata["Requires-Python"] == ">=3.11"


def test_given_the_metadata_then_every_dependency_is_named_and_justified(metadata: email.message.Message) -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    required = [line.split(";")[0] for line in metadata.get_all("Requires-Dist") or []]
    names = [line.split(">")[0].strip() for line in required]
    assert names
    assert [name for name in names if f"| {name} |" not in page] == []
    assert [line for line in required if "==" in line or "<" in line] == []


def test_given_the_wheel_then_its_commands_are_the_documented_ones(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(f"cyclone-{__version__}.dist-info/entry_points.txt").decode()
    parser = configparser.ConfigParser()
    parser.read_string(text)
    assert sorted(parser["console_scripts"]) == COMMANDS


def test_given_the_wheel_when_installed_elsewhere_then_each_command_tells_its_version(
    wheel: Path, tmp_path: Path
) -> None:
    # Its dependencies are those of this environment; what is tested is that the wheel itself is complete.
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed"]
    subprocess.run([*install, "--prefix", str(tmp_path), str(wheel)], check=True)
    [site_packages] = tmp_path.glob("lib*/python3*/site-packages")
    for command in COMMANDS:
        shown = subprocess.run(
            [tmp_path / "bin" / command, "--version"],
            env={**os.environ, "PYTHONPATH": str(site_packages)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert __version__ in shown.stdout


def test_given_the_source_package_then_it_holds_what_its_tests_need(packages: Path) -> None:
    [archive] = packages.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    folders = ("Configuration", "benchmarks", "deploy", "docs", "examples", "systemd", "tests")
    expected = {p.relative_to(ROOT).as_posix() for folder in folders for p in (ROOT / folder).rglob("*") if p.is_file()}
    expected = {name for name in expected if "__pycache__" not in name} | product_files()
    expected |= {"Makefile", "LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "setup.cfg"}
    expected |= {"pyproject.toml", ".ci/run"}
    assert expected - names == set()
