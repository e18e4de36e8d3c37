"""Small clips with exact truth, rendered once per test run."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import cv2
import numpy as np
import pytest

from geometry.reconstruct.cameras.solve import CameraSolve, solve_cameras
from tests.geometry.reconstruct.box_room import BoxRoomClip, arc, lens, pan

WH = (320, 192)


@dataclass(frozen=True)
class Rendered:
    """A ``FrameSource`` that keeps what ``room`` rendered, with a little sensor noise."""

    room: BoxRoomClip

    @property
    def numbers(self):
        return self.room.numbers

    @property
    def rate(self) -> Fraction:
        return self.room.rate

    @property
    def hw(self) -> tuple[int, int]:
        return self.room.hw

    @cached_property
    def _frames(self) -> dict[int, np.ndarray]:
        return {}

    def read(self, number: int) -> np.ndarray:
        if number not in self._frames:
            noise = np.random.default_rng([3, number]).normal(scale=1.0, size=(*self.hw, 3))
            self._frames[number] = np.clip(np.round(self.room.read(number) + noise), 0, 255).astype(np.uint8)
        return self._frames[number]

    def display(self, number: int, wh: tuple[int, int] | None = None) -> np.ndarray:
        image = self.read(number)
        return image if wh in (None, self.room.camera.wh) else cv2.resize(image, wh, interpolation=cv2.INTER_AREA)

    def linear(self, number: int) -> np.ndarray:
        return (self.read(number).astype(np.float32) / 255) ** 2.2


@pytest.fixture(scope="session")
def arc_clip() -> Rendered:
    """18 frames, numbered from 100, that travel on an arc."""
    return Rendered(BoxRoomClip(lens(WH), arc(18), first=100))


@pytest.fixture(scope="session")
def pan_clip() -> Rendered:
    return Rendered(BoxRoomClip(lens(WH), pan(10)))


@pytest.fixture(scope="session")
def locked_clip() -> Rendered:
    """The camera stands; a box crosses the room."""
    return Rendered(BoxRoomClip(lens(WH), np.repeat(arc(1), 8, axis=0), mover=True))


@pytest.fixture(scope="session")
def arc_solve(arc_clip: Rendered, tmp_path_factory: pytest.TempPathFactory) -> CameraSolve:
    return solve_cameras(arc_clip, frames=None, focal_px=None, seed=0, workdir=tmp_path_factory.mktemp("solve"),
                         report=lambda done, total: None)
