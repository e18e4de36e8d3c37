"""The store: complete or absent, computed once, shrunk without taking what is in use."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from services.artifacts.gc import main as collect_main
from services.artifacts.store import Store
from services.errors import InvalidRequest, NotFound, ResourceExhausted, Unavailable

KEY, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"), 10**9)


def _write(text: str):
    def write(folder: Path) -> None:
        (folder / "sub").mkdir()
        (folder / "sub" / "x.txt").write_text(text)

    return write


def test_an_output_is_found_again_with_the_same_digest(store: Store) -> None:
    made, was_there = store.produce(KEY, _write("hello"))
    again, was_there_again = store.produce(KEY, lambda folder: pytest.fail("computed twice"))
    assert (was_there, was_there_again) == (False, True)
    assert made == again == store.find(KEY)
    (file,) = store.files(KEY)
    assert (file.path, file.size_bytes) == ("sub/x.txt", 5)
    assert file.sha256 == "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"  # of "hello"
    assert store.path(KEY, file.path).read_text() == "hello"


def test_the_digest_depends_on_the_content_only(store: Store) -> None:
    one, _ = store.produce(KEY, _write("same"))
    two, _ = store.produce(OTHER, _write("same"))
    assert one.digest == two.digest
    assert one.path != two.path


def test_without_a_manifest_an_output_is_not_there(store: Store) -> None:
    made, _ = store.produce(KEY, _write("x"))
    (made.path / "manifest.json").unlink()
    assert store.find(KEY) is None
    again, was_there = store.produce(KEY, _write("x"))
    assert not was_there
    assert again.digest == made.digest


@pytest.mark.parametrize("damage", ["truncated file", "missing file", "truncated manifest"])
def test_a_damaged_output_is_computed_anew(store: Store, damage: str) -> None:
    made, _ = store.produce(KEY, _write("hello"))
    file = made.path / ("manifest.json" if "manifest" in damage else "sub/x.txt")
    file.write_bytes(file.read_bytes()[:2]) if "truncated" in damage else file.unlink()
    assert store.find(KEY) is None
    assert store.produce(KEY, _write("hello")) == (made, False)


def test_a_writer_that_fails_leaves_nothing(store: Store) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("h")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        store.produce(KEY, fail)
    assert store.find(KEY) is None
    assert not list((store.root / "staging").iterdir())


def test_a_full_disk_is_a_typed_error_and_leaves_nothing(store: Store) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("h")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ResourceExhausted, match="full"):
        store.produce(KEY, fail)
    assert not list((store.root / "staging").iterdir())
    assert store.produce(KEY, _write("mended"))[1] is False


def test_a_store_that_cannot_be_written_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "store"):
        with pytest.raises(Unavailable, match="cannot be written"):
            Store(str(place), 1)


def test_other_places_than_local_folders_are_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"store\.url"):
        Store("memory://store", 1)


def test_file_urls_are_folders(tmp_path: Path) -> None:
    assert Store(f"file://{tmp_path}/s", 1).root == tmp_path / "s"


def _produce_slowly(root: str, log: str, seconds: float) -> None:
    def write(folder: Path) -> None:
        with open(log, "a") as stream:
            stream.write(f"{os.getpid()}\n")
        (folder / "x").write_text("x")
        time.sleep(seconds)

    Store(root, 1).produce(KEY, write)


def _spawn(*arguments: object) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("spawn").Process(target=_produce_slowly, args=arguments)
    process.start()
    return process


def test_of_two_processes_one_computes_and_the_other_waits(store: Store, tmp_path: Path) -> None:
    log = tmp_path / "log"
    processes = [_spawn(str(store.root), str(log), 0.5) for _ in range(2)]
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(log.read_text().splitlines()) == 1
    assert store.find(KEY)


def test_the_lock_of_a_killed_process_is_taken_over(store: Store, tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = _spawn(str(store.root), str(log), 60.0)
    while not log.exists():
        time.sleep(0.02)
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.join(10)
    assert list((store.root / "staging").iterdir())  # what it left
    begun = time.monotonic()
    artifact, was_there = store.produce(KEY, _write("mine"))
    assert not was_there
    assert time.monotonic() - begun < 2
    assert not (artifact.path / "x").exists()
    assert not list((store.root / "staging").iterdir())


def test_collect_removes_what_was_used_longest_ago(store: Store) -> None:
    keys = [digit * 64 for digit in "123"]
    for age, key in enumerate(keys):
        artifact, _ = store.produce(key, _write("x" * 1000))
        os.utime(artifact.path / "manifest.json", (1000 + age, 1000 + age))
    store.find(keys[0])  # used just now
    done = store.collect(2500)
    assert (done.removed, done.kept, done.freed_bytes, done.kept_bytes) == (1, 2, 1000, 2000)
    assert store.find(keys[1]) is None
    assert store.find(keys[0])
    assert store.find(keys[2])


def test_collect_spares_what_is_pinned_or_in_use(store: Store) -> None:
    for key in (KEY, OTHER):
        store.produce(key, _write("x"))
    user = store.user()
    user.use(KEY)
    store.pin(OTHER, "job-1")
    store.pin(OTHER, "job-2")
    assert store.collect(0).removed == 0
    user.close()
    store.unpin(OTHER, "job-1")
    assert store.collect(0).removed == 1
    assert store.find(OTHER)
    store.unpin(OTHER, "job-2")
    assert store.collect(0).removed == 1
    with pytest.raises(NotFound):
        store.files(OTHER)
    left = {path.name for path in store.root.rglob("*") if path.is_file()}
    assert left == {"uses.lock"}  # locks and pins go, too


def test_collect_removes_leftovers(store: Store) -> None:
    (store.root / "staging" / KEY).mkdir()
    (store.root / "stages" / "bb" / OTHER).mkdir(parents=True)
    store.collect()
    assert not (store.root / "staging" / KEY).exists()
    assert not (store.root / "stages" / "bb" / OTHER).exists()


def test_the_gc_command(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    store.produce(KEY, _write("x"))
    assert collect_main(["--store", str(store.root), "--cap-bytes", "0", "--json"]) == 0
    assert '"removed": 1' in capsys.readouterr().out
    assert store.find(KEY) is None


@pytest.fixture(params=["memory", "file"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"memory://{tmp_path.name}" if request.param == "memory" else f"file://{tmp_path}/shared"


def test_what_one_machine_has_computed_another_finds(tmp_path: Path, remote: str) -> None:
    here, there = (Store(str(tmp_path / name), 10**9, remote) for name in ("here", "there"))
    made, _ = here.produce(KEY, _write("hello"))
    found, was_there = there.produce(KEY, lambda folder: pytest.fail("computed twice"))
    assert was_there
    assert found.digest == made.digest
    assert (found.path / "sub" / "x.txt").read_text() == "hello"
    here.collect(0)
    here.fetch(KEY)  # removed here, it comes back
    assert here.find(KEY) == made
    with pytest.raises(NotFound):
        here.fetch(OTHER)


def test_two_machines_that_compute_the_same_at_once_agree(tmp_path: Path, remote: str) -> None:
    here, there = (Store(str(tmp_path / name), 10**9, remote) for name in ("here", "there"))

    def write(folder: Path) -> None:
        there.produce(KEY, _write("same"))  # meanwhile
        _write("same")(folder)

    assert here.produce(KEY, write)[0].digest == Store(str(tmp_path / "third"), 10**9, remote).produce(
        KEY, lambda folder: pytest.fail("computed again")
    )[0].digest


def test_what_comes_damaged_is_refused(tmp_path: Path) -> None:
    remote = f"file://{tmp_path}/shared"
    Store(str(tmp_path / "here"), 10**9, remote).produce(KEY, _write("hello"))
    (tmp_path / "shared" / "stages" / KEY[:2] / KEY / "sub" / "x.txt").write_text("jello")
    with pytest.raises(Unavailable, match="damaged"):
        Store(str(tmp_path / "there"), 10**9, remote).produce(KEY, _write("hello"))


def test_a_remote_storage_that_cannot_be_used_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "shared").write_text("no folder")
    with pytest.raises(Unavailable, match="cannot be used"):
        Store(str(tmp_path / "here"), 10**9, f"file://{tmp_path}/shared").produce(KEY, _write("x"))
