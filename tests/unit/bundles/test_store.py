"""The bundles of a host: brought once, shared, replaced, and removed when nobody uses them."""

import fcntl
import hashlib
import http.server
import os
import tarfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cyclone.bundles import BundleError, store
from cyclone.bundles.store import BundleStore, Lease
from tests.support.archives import Entry, make_tar, make_zip
from tests.support.web import Web, serving

DEADLINE_S = 20.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "bundles"


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as one:
        yield one


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def bundle(path: Path, content: bytes = b"x") -> Path:
    """One whose content takes so many bytes, unpacked."""
    return make_tar(path, Entry("content", content))


def content(lease: Lease) -> bytes:
    """What is in it; it is given back."""
    try:
        return (lease.folder / "content").read_bytes()
    finally:
        lease.release()


def there(folder: Path) -> set[str]:
    """The bundles, and whatever else there is besides locks."""
    return {place.name for place in folder.iterdir() if place.suffix != ".lock" and place.name != "room"}


def test_given_a_url_then_it_is_fetched_once_for_all_who_share_the_folder(
    tmp_path: Path, folder: Path, web: Web
) -> None:
    archive = bundle(tmp_path / "a")
    web.pages["/a.tar"] = archive.read_bytes()

    for spelling in (sha256(archive), f"sha256:{sha256(archive).upper()}", f" {sha256(archive)}\n"):
        assert content(BundleStore(folder).lend(f"{web.url}/a.tar", spelling)) == b"x"

    assert web.asked == ["/a.tar"]
    assert there(folder) == {sha256(archive)}


def test_given_many_workers_at_once_then_one_fetches_and_the_others_wait(
    tmp_path: Path, folder: Path, web: Web
) -> None:
    archive = bundle(tmp_path / "a")
    web.pages["/a.tar"] = archive.read_bytes()

    def work(_: int) -> bytes:
        return content(BundleStore(folder).lend(f"{web.url}/a.tar", sha256(archive)))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(32))) == [b"x"] * 32

    assert web.asked == ["/a.tar"]


def test_given_a_fetch_that_fails_then_it_fails_for_all_who_waited_and_is_tried_again_for_the_next(
    tmp_path: Path, folder: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers, waiting = 4, threading.Semaphore(0)
    take: Callable[[Any, int], bool] = store._Lock.take

    def noting(lock: Any, how: int) -> bool:
        if how == fcntl.LOCK_SH:
            waiting.release()
        return take(lock, how)

    def fail(handler: http.server.BaseHTTPRequestHandler) -> None:
        for _ in range(workers):
            assert waiting.acquire(timeout=DEADLINE_S)
        handler.send_error(503)

    monkeypatch.setattr(store._Lock, "take", noting)
    archive = bundle(tmp_path / "a")
    web.pages["/a.tar"] = fail

    def work(_: int) -> str:
        with pytest.raises(BundleError) as caught:
            BundleStore(folder).lend(f"{web.url}/a.tar", sha256(archive))
        return str(caught.value)

    with ThreadPoolExecutor(workers) as pool:
        errors = list(pool.map(work, range(workers)))

    assert errors == [f"{web.url}/a.tar cannot be fetched: the server answers 503 Service Unavailable"] * workers
    assert web.asked == ["/a.tar"]

    web.pages["/a.tar"] = archive.read_bytes()
    assert content(BundleStore(folder).lend(f"{web.url}/a.tar", sha256(archive))) == b"x"
    assert there(folder) == {sha256(archive)}


def test_given_another_checksum_than_was_meant_then_both_are_named_and_nothing_is_kept(
    tmp_path: Path, folder: Path
) -> None:
    archive, meant = bundle(tmp_path / "a"), "0" * 64

    with pytest.raises(BundleError, match=f"has the SHA-256 {sha256(archive)}, where {meant} was expected"):
        BundleStore(folder).lend(str(archive), meant)

    assert there(folder) == {f"{meant}.failed"}


@pytest.mark.parametrize(
    ("url", "checksum", "message"),
    [
        ("http://host/a.zip", "", "http://host/a.zip comes over a network: its sha256 must be given"),
        ("/a.zip", "abc", "'abc' is no SHA-256: expected 64 hexadecimal digits"),
        ("/a.zip", "g" * 64, "is no SHA-256"),
        ("ftp://host/a.zip", "", "names no bundle"),
        ("/no/such.zip", "", "No such file or directory"),
    ],
)
def test_given_what_cannot_be_a_bundle_then_it_is_refused(folder: Path, url: str, checksum: str, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        BundleStore(folder).lend(url, checksum)


def test_given_a_file_without_a_checksum_when_it_changes_then_the_next_task_has_the_new_one(
    tmp_path: Path, folder: Path
) -> None:
    shared = BundleStore(folder)
    archive = bundle(tmp_path / "a", b"old")
    before = shared.lend(str(archive), "")
    make_zip(tmp_path / "new", Entry("content", b"new")).replace(archive)

    assert content(shared.lend(str(archive), "")) == b"new"
    assert content(before) == b"old"


def test_given_an_archive_that_must_not_be_unpacked_then_nothing_of_it_is_kept(tmp_path: Path, folder: Path) -> None:
    archive = make_tar(tmp_path / "a", Entry("good", b"x"), Entry("../evil", b"x"))

    with pytest.raises(BundleError, match=f"^{archive}: '../evil' in it leads .* out of its folder"):
        BundleStore(folder).lend(str(archive), "")

    assert there(folder) == {f"{sha256(archive)}.failed"}


def test_given_more_than_there_is_room_for_then_the_longest_unused_goes_and_none_in_use(
    tmp_path: Path, folder: Path
) -> None:
    archives = [make_zip(tmp_path / str(n), Entry("content", bytes([n]) * 1000)) for n in range(4)]
    names = [sha256(archive) for archive in archives]
    shared = BundleStore(folder, bytes_max=3000)
    used = shared.lend(str(archives[0]), "")
    for archive in archives[1:3]:
        content(shared.lend(str(archive), ""))
    assert there(folder) == set(names[:3])
    for age_s, name in zip((300, 100, 200), names[:3], strict=True):
        os.utime(folder / f"{name}.lock", (1e9 - age_s, 1e9 - age_s))

    content(shared.lend(str(archives[3]), ""))

    assert there(folder) == {names[0], names[1], names[3]}
    assert not (folder / f"{names[2]}.lock").exists()
    assert content(used) == bytes(1000)
    (folder / f"{names[1]}.lock").unlink()
    assert content(shared.lend(str(archives[2]), "")) == bytes([2]) * 1000
    assert names[1] not in there(folder)


def test_given_a_bundle_that_takes_more_than_all_may_then_it_is_refused(tmp_path: Path, folder: Path) -> None:
    archive = make_zip(tmp_path / "a", Entry("content", bytes(3001)))

    with pytest.raises(BundleError, match="unpacked it has 3,001 bytes or more, and may have 3,000"):
        BundleStore(folder, bytes_max=3000).lend(str(archive), "")


def test_given_a_bundle_with_links_then_it_is_found_whole(tmp_path: Path, folder: Path) -> None:
    here = Entry("here", kind=tarfile.SYMTYPE, target=".")
    archive = make_tar(tmp_path / "a", Entry("d/content", b"x"), Entry("content", b"x"), here)
    content(BundleStore(folder).lend(str(archive), ""))
    before = (folder / sha256(archive)).stat().st_ino

    assert content(BundleStore(folder).lend(str(archive), "")) == b"x"
    assert (folder / sha256(archive)).stat().st_ino == before


@pytest.mark.parametrize("missing", ["content", "about.json", "all"])
def test_given_a_bundle_that_somebody_has_cleaned_up_then_it_is_brought_again(
    tmp_path: Path, folder: Path, missing: str
) -> None:
    archive = bundle(tmp_path / "a")
    content(BundleStore(folder).lend(str(archive), ""))
    kept = folder / sha256(archive)
    store._remove({"content": kept / "files", "about.json": kept, "all": folder}[missing])

    assert content(BundleStore(folder).lend(str(archive), "")) == b"x"


def test_given_what_a_killed_worker_has_left_then_it_goes_with_the_next_bundle(tmp_path: Path, folder: Path) -> None:
    archive = bundle(tmp_path / "a")
    for name in (f"{'0' * 64}.new", f"{'1' * 64}.old", f"{sha256(archive)}.new"):
        (folder / name / "files").mkdir(parents=True)
    (folder / f"{'2' * 64}.telling").touch()
    (folder / f"{'3' * 64}.failed").touch()
    folder.chmod(0o700)

    assert content(BundleStore(folder).lend(str(archive), "")) == b"x"

    assert {place.name for place in folder.iterdir()} == {sha256(archive), f"{sha256(archive)}.lock", "room"}


def test_given_a_folder_with_files_of_somebody_elses_in_it_then_they_stay(tmp_path: Path, folder: Path) -> None:
    (folder / "photos").mkdir(parents=True)
    (folder / "photos" / "cat.jpg").touch()
    (folder / "thesis.old").mkdir()
    (folder / "thesis.lock").touch()
    folder.chmod(0o700)

    content(BundleStore(folder).lend(str(bundle(tmp_path / "a")), ""))

    assert (folder / "photos" / "cat.jpg").exists()
    assert (folder / "thesis.old").exists()
    assert (folder / "thesis.lock").exists()


def test_given_a_folder_that_others_may_write_to_then_it_is_not_used(tmp_path: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o755)

    with pytest.raises(BundleError, match=f"cannot be used: {folder}: .*has mode 755, not to us alone"):
        BundleStore(folder).lend(str(bundle(tmp_path / "a")), "")


def test_given_the_environment_then_it_says_where_and_how_much(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = bundle(tmp_path / "a", bytes(2000))
    monkeypatch.setenv("CYCLONE_BUNDLES", str(folder))
    monkeypatch.setenv("CYCLONE_BUNDLES_MAX", "1 KiB")
    with pytest.raises(BundleError, match="has more than 1024 bytes"):
        BundleStore().lend(str(archive), "")
    monkeypatch.setenv("CYCLONE_BUNDLES_MAX", "1 MiB")
    assert content(BundleStore().lend(str(archive), "")) == bytes(2000)
    monkeypatch.setenv("CYCLONE_BUNDLES_MAX", "much")
    with pytest.raises(BundleError, match="CYCLONE_BUNDLES_MAX: 'much' is not a size"):
        BundleStore()
    monkeypatch.setenv("CYCLONE_BUNDLES", "rel/x")
    with pytest.raises(BundleError, match="CYCLONE_BUNDLES = rel/x: write an absolute path"):
        BundleStore()


def test_given_nothing_in_the_environment_then_it_is_a_folder_of_this_user_on_a_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CYCLONE_BUNDLES", raising=False)

    assert store._folder() == Path(f"/var/tmp/cyclone-bundles-{os.geteuid()}")


def test_given_a_file_that_is_not_there_then_it_is_named_and_not_the_folder(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"^/.*/nope\.tgz cannot be read: No such file or directory$"):
        BundleStore(folder).lend(str(tmp_path / "nope.tgz"), "")
