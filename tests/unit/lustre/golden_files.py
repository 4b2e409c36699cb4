"""What ``lfs`` prints for a file system of 784 OSTs, made by the fake: ``python -m tests.unit.lustre.golden_files``.

The formats are those of Lustre 2.15, the numbers are nobody's. Where a change of the fake changes them, a test says so,
and the change is seen as one of these files.
"""

import tempfile
from pathlib import Path

from tests.fake_lustre.state import Component
from tests.support.lustre import FakeLustre, fake_lustre

FOLDER = Path(__file__).parent / "golden"
MIB = 1024**2
TIB = 1024**4

LAYOUTS: dict[str, tuple[Component, ...]] = {
    "plain": (Component((542,), 1),),
    "wide": (Component((6, 7, 783), 3, 4 * MIB, pool="flash"),),
    "released": (Component((), 1, pattern="released"),),
    "pfl": (
        Component((1,), 1, end=MIB),
        Component((3, 4), 2, start=MIB, end=64 * MIB),
        Component((), 4, start=64 * MIB),
    ),
    "dom": (Component((), 0, pattern="mdt", end=MIB), Component((9,), 1, start=MIB)),
    "flr": (Component((2,), 1, mirror=1), Component((10,), 1, mirror=2)),
}


def golden(folder: Path) -> dict[str, str]:
    """The text of each file, by name; the file system is made below this folder and shown as mounted at /lustre."""
    fake = fake_lustre(folder, osts=784, ost_bytes=66 * TIB)
    texts = {}
    for name, components in LAYOUTS.items():
        path = fake.lay_out(name, *components)
        texts[f"getstripe_{name}"] = fake.prints("getstripe", path)
        texts[f"getstripe_{name}_yaml"] = fake.prints("getstripe", "-y", path)
        texts[f"getstripe_{name}_some"] = fake.prints("getstripe", "-c", "-i", "-y", path)
    _break(fake)
    texts["check_osts"] = fake.prints("check", "osts")
    texts["df"] = fake.prints("df", str(fake.mount))
    texts["df_verbose"] = fake.prints("df", "-v", str(fake.mount))
    return {f"{name}.txt": text.replace(str(fake.mount), "/lustre") for name, text in texts.items()}


def _break(fake: FakeLustre) -> None:
    for fault in ("ost 5 inactive", "ost 100 degraded", "ost 783 read_only", "ost 783 degraded", "ost 300 missing"):
        fake.set(fault)
    fake.set("ost 12 fill 97")


def write() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in golden(Path(folder)).items():
            (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
