"""``python -m tests.parts FOLDER``: the real programs that the tests use, unpacked into a folder of their own.

MariaDB, Prometheus, the Pushgateway, logrotate, sudo's visudo, zsh, fish and groff come as Debian packages, with the
libraries that this host lacks; so do CPython's own tests, where this Python came without them and Debian has those of
its version. Nothing is installed on the host, no root is needed, and nothing is started:
``tests/support/parts.py`` does that. Where there is no apt, the programs must be on PATH already.
"""

import importlib.util
import shutil
import stat
import subprocess
import sys
from pathlib import Path

PACKAGES = (
    "mariadb-server-core", "mariadb-client-core", "prometheus", "prometheus-pushgateway", "logrotate", "sudo",
    "zsh", "fish", "groff-base",
)  # fmt: skip
PROGRAMS = (
    "mariadbd", "mariadb-install-db", "prometheus", "promtool", "prometheus-pushgateway", "logrotate", "visudo",
    "zsh", "fish", "groff",
)  # fmt: skip
# Of Prometheus' packages only the pages that a browser would show need these.
NOT_NEEDED = ("fonts-", "libjs-")


def main() -> None:
    """Entry point."""
    folder = Path(sys.argv[1]).absolute()
    if all(map(shutil.which, PROGRAMS)):
        folder.mkdir(exist_ok=True)
        return
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        missing = ", ".join(program for program in PROGRAMS if not shutil.which(program))
        sys.exit(f"tests.parts: there is no apt here to fetch them with: install {missing}, so that they are on PATH")
    state = folder / "apt"
    options = [f"-oDir::State::lists={state}/lists", f"-oDir::Cache={state}/cache", "-oDebug::NoLocking=1"]
    for name in ("lists/partial", "cache/archives/partial"):
        (state / name).mkdir(parents=True, exist_ok=True)
    # As root apt would give up its rights to download, and then may not write here.
    options.append("-oAPT::Sandbox::User=root")
    _run(["apt-get", "-qq", *options, "update"])
    wanted = _run(["apt-get", "-qq", *options, "-y", "--no-install-recommends", "--print-uris", "install", *PACKAGES])
    # 'address' package_version_arch.deb size hash
    names = [line.split()[1].partition("_")[0] for line in wanted.splitlines() if line.startswith("'")]
    _run(["apt-get", "-qq", *options, "download", *(n for n in names if not n.startswith(NOT_NEEDED))], cwd=state)
    _unpack(state, folder)
    _fetch_tests_of_python(folder / "python", state, options)
    shutil.rmtree(state)
    _take_rights_away(folder)


def _unpack(packages: Path, folder: Path) -> None:
    for package in packages.glob("*.deb"):
        _run(["dpkg-deb", "-x", str(package), str(folder)])
        package.unlink()


def _fetch_tests_of_python(folder: Path, state: Path, options: list[str]) -> None:
    """The package ``test`` alone: on the import path it must not bring the rest of another standard library along."""
    if importlib.util.find_spec("test.test_concurrent_futures"):
        return
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    packages = [f"libpython{version}-testsuite", f"libpython{version}-stdlib"]
    if all(_run(["apt-cache", *options, "search", "--names-only", f"^{package}$"]) for package in packages):
        _run(["apt-get", "-qq", *options, "download", *packages], cwd=state)
        _unpack(state, state / "python")
        folder.mkdir()
        (state / f"python/usr/lib/python{version}/test").rename(folder / "test")


def _take_rights_away(folder: Path) -> None:
    """Nobody becomes root, or anybody else, by a sudo that lies about here and that nobody keeps up to date."""
    for path in folder.rglob("*"):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
            path.chmod(stat.S_IMODE(mode) & ~(stat.S_ISUID | stat.S_ISGID))


def _run(command: list[str], cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"tests.parts: {' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


if __name__ == "__main__":
    main()
