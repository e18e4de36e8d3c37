"""The real server and its workers, killed at random moments, finish every job and run no finished stage again."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import numpy as np
import pytest

from services.config import Config
from tests.grpc.running import ServerProcess, Stubs
from tests.services.tiny_stages import runs


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_killed_at_random_moments(config: Config, notes: Path, tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng([seed])
    folders = [notes / str(number) for number in range(3)]
    names: list[str] = []
    for attempt in range(12):
        server = await ServerProcess.start(config, tmp_path)
        stubs = Stubs(server.address)
        for number, folder in enumerate(folders[len(names) :], len(names)):
            folder.mkdir(exist_ok=True)
            names.append(await stubs.submit(folder, request_id=str(number), text=f"{number}", files=20))
        if attempt == 11:
            for name in names:
                assert (await stubs.ended(name)).HasField("response")
        else:
            await asyncio.sleep(float(random.uniform(0, 1.2)))
            server.process.send_signal(signal.SIGKILL)
            await server.process.wait()
        if attempt == 11:
            events = [await stubs.events(name) for name in names]
        await stubs.channel.close()
    server.process.terminate()
    assert await server.process.wait() == 0
    for told in events:
        assert [event.seq for event in told] == list(range(1, len(told) + 1))
        paths = [file.relative_path for event in told for file in event.files]
        assert len(paths) == len(set(paths)) == 21
    store = Path(config.store.url)
    committed = list(store.glob("stages/??/*/manifest.json"))
    assert len(committed) == 6  # three first stages of different text, and what follows from each
    assert not list((store / "staging").iterdir())
    assert all(runs(folder, "first") >= 1 for folder in folders)
