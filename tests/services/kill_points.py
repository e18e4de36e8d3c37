"""``python -m tests.services.kill_points FOLDER``: SIGKILL at every file system step of the store.

Each step runs in a fork of this small process; the survivor checks what is left. Prints how many points there were.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from services.artifacts.store import Store

KEY, OTHER = "a" * 64, "b" * 64
STEPS = ("open", "os.", "shutil.", "fcntl.")


def write(folder: Path) -> None:
    (folder / "x").write_text("x" * 100)
    (folder / "sub").mkdir()
    (folder / "sub" / "y").write_text("y" * 100)


def produce(root: Path) -> None:
    Store(str(root), 10**6).produce(KEY, write)


def collect(root: Path) -> None:
    Store(str(root), 10**6).collect(0)


def use(root: Path) -> None:
    store = Store(str(root), 10**6)
    store.user().use(KEY)
    store.pin(KEY, "job")
    store.unpin(KEY, "job")


def dies_at(point: int, action: Callable[[Path], None], root: Path) -> bool:
    """Whether ``action`` has so many steps."""
    child = os.fork()
    if child == 0:
        left = [point]

        def count(event: str, arguments: object) -> None:
            if event.startswith(STEPS):
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        action(root)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def check(root: Path, digest: str) -> None:
    """What is found is complete; what is not is made again, the same; nothing else is left."""
    store = Store(str(root), 10**6)
    for key in (KEY, OTHER):
        found = store.find(key)
        assert found is None or found.digest == digest, found
        assert store.produce(key, write)[0].digest == digest
    assert store.collect().kept == 2
    assert store.collect(0).removed == 2
    left = {path.name for path in root.rglob("*") if path.is_file()}
    assert left <= {"uses.lock"}, left


def main(folder: Path) -> None:
    digest = Store(str(folder / "whole"), 10**6).produce(KEY, write)[0].digest
    points = 0
    for action in (produce, collect, use):
        point = 1
        while True:
            root = folder / f"{action.__name__}-{point}"
            store = Store(str(root), 10**6)
            store.produce(OTHER, write)
            if action is not produce:
                store.produce(KEY, write)
            died = dies_at(point, action, root)
            if (pins := root / "pins" / KEY).exists():  # a server that comes back lets go of what it pinned
                store.unpin(KEY, "job")
                assert not pins.exists()
            check(root, digest)
            shutil.rmtree(root)
            if not died:
                break
            points, point = points + 1, point + 1
    sys.stdout.write(f"{points}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
