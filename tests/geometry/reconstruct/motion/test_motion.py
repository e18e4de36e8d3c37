"""Masks of what moves by itself, against the truth of small clips."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from geometry.camera import Camera
from geometry.reconstruct.motion.flow_votes import both_sides
from geometry.reconstruct.motion.masks import BadClick, Click, MotionFolder, find_motion
from geometry.reconstruct.motion.segment import ObjectTracker, SegmentSettings
from geometry.reconstruct.motion.still_world import Evidence, StillWorld
from geometry.scene import DepthMap
from geometry.trajectory import CameraPath
from tests.geometry.reconstruct.box_room import BoxRoomClip, arc, lens, pan

WH = (240, 144)
FRAMES = 8


@dataclass(frozen=True)
class Stored:
    """A ``FrameSource`` that has its frames in memory, grainy."""

    pictures: tuple[np.ndarray, ...]
    first: int = 0
    rate: Fraction = Fraction(25)

    @property
    def numbers(self) -> range:
        return range(self.first, self.first + len(self.pictures))

    @property
    def hw(self) -> tuple[int, int]:
        return self.pictures[0].shape[:2]

    def read(self, number: int) -> np.ndarray:
        noise = np.random.default_rng([3, number]).normal(scale=1.0, size=(*self.hw, 3))
        return np.clip(np.round(self.pictures[number - self.first] + noise), 0, 255).astype(np.uint8)

    def display(self, number: int, wh: tuple[int, int] | None = None) -> np.ndarray:
        image = self.read(number)
        return image if wh in (None, self.hw[::-1]) else cv2.resize(image, wh, interpolation=cv2.INTER_AREA)

    def linear(self, number: int) -> np.ndarray:
        return (self.read(number).astype(np.float32) / 255) ** 2.2


@dataclass(frozen=True)
class StaticDepth:
    """Depth of the room without what moves; what the mover hides is known less."""

    room: BoxRoomClip

    def read(self, frame: int) -> DepthMap:
        depth = self.room.depth(frame)
        return DepthMap(depth, np.full(depth.shape, 0.8, np.float32))


@dataclass(frozen=True)
class Filmed:
    clip: Stored
    cameras: CameraPath
    truth: dict[int, np.ndarray]  # bool, where the mover is
    depth: StaticDepth


def film(poses: np.ndarray, *, mover: bool = True) -> Filmed:
    room = BoxRoomClip(lens(WH), poses, first=5, mover=mover)
    still = replace(room, mover=False)
    frames = tuple(room.numbers)
    pictures = tuple(room.read(n) for n in frames)
    truth = {n: np.abs(room.depth(n) - still.depth(n)) > 1e-3 for n in frames}
    return Filmed(Stored(pictures, 5), CameraPath(frames, (lens(WH),) * len(frames), poses), truth, StaticDepth(still))


@pytest.fixture(scope="module")
def locked() -> Filmed:
    return film(np.repeat(arc(1), FRAMES, axis=0))


@pytest.fixture(scope="module")
def travelling() -> Filmed:
    return film(arc(FRAMES, degrees=14))


def labels_of(filmed: Filmed, kind: str, folder: Path, **more) -> dict[int, np.ndarray]:
    out = MotionFolder(folder / "motion")
    find_motion(
        filmed.clip, filmed.cameras, kind=kind, depth=filmed.depth if kind == "parallax" else None, seed=0, folder=out,
        workdir=folder / "work", report=lambda done, total: None, **more,
    )
    assert not (folder / "work").exists()
    return {n: out.read(n) for n in filmed.clip.numbers}


def mean_j(labels: dict[int, np.ndarray], truth: dict[int, np.ndarray]) -> float:
    return float(np.mean([((labels[n] > 0) & truth[n]).sum() / ((labels[n] > 0) | truth[n]).sum() for n in truth]))


def test_a_locked_camera_sees_the_mover(locked: Filmed, tmp_path: Path) -> None:
    labels = labels_of(locked, "locked", tmp_path)
    assert mean_j(labels, locked.truth) > 0.85
    assert {int(n) for image in labels.values() for n in np.unique(image)} == {0, 1}


def test_a_turning_camera_sees_it_even_when_its_rotations_are_a_little_wrong(tmp_path: Path) -> None:
    filmed = film(pan(FRAMES, degrees=12))
    wrong = replace(filmed, cameras=replace(filmed.cameras, camera_from_world=pan(FRAMES, degrees=12.3)))
    assert mean_j(labels_of(wrong, "pan", tmp_path), filmed.truth) > 0.8


def test_a_travelling_camera_sees_it(travelling: Filmed, tmp_path: Path) -> None:
    assert mean_j(labels_of(travelling, "parallax", tmp_path), travelling.truth) > 0.7


@pytest.mark.parametrize("kind", ["locked", "pan", "parallax"])
def test_what_stands_still_is_not_labelled(kind: str, tmp_path: Path) -> None:
    poses = {"locked": np.repeat(arc(1), 6, axis=0), "pan": pan(6), "parallax": arc(6, degrees=8)}[kind]
    labels = labels_of(film(poses, mover=False), kind, tmp_path)
    assert np.mean([image > 0 for image in labels.values()]) < 0.002


def test_results_do_not_depend_on_threads(travelling: Filmed, tmp_path: Path) -> None:
    before, found = cv2.getNumThreads(), []
    part = replace(travelling, cameras=travelling.cameras.select(travelling.cameras.frames[:5]))
    try:
        for threads in (1, 2):
            cv2.setNumThreads(threads)
            found.append(labels_of(part, "parallax", tmp_path / str(threads)))
    finally:
        cv2.setNumThreads(before)
    for number in found[0]:
        np.testing.assert_array_equal(found[0][number], found[1][number])


def blob_clip(moves_from: int) -> Stored:
    """A red disc before noise; it stands until ``moves_from``, which is never for a large number."""
    rng = np.random.default_rng(1)
    scene = cv2.resize(rng.uniform(60, 160, (30, 40, 3)).astype(np.float32), (160, 120), interpolation=cv2.INTER_CUBIC)
    pictures = []
    for i in range(8):
        picture = np.clip(scene, 0, 255).astype(np.uint8)
        cv2.circle(picture, (60 + 4 * max(i - moves_from, 0), 60), 14, (230, 30, 30), -1)
        pictures.append(picture)
    return Stored(tuple(pictures))


def locked_path(count: int) -> CameraPath:
    camera = Camera(150.0, 150.0, 80.0, 60.0, (160, 120))
    return CameraPath(tuple(range(count)), (camera,) * count, np.tile(np.eye(4), (count, 1, 1)))


def test_a_click_makes_a_mover_of_what_stands_still(tmp_path: Path) -> None:
    clip = blob_clip(moves_from=100)
    filmed = Filmed(clip, locked_path(8), {}, None)
    assert not any(image.any() for image in labels_of(filmed, "locked", tmp_path / "without").values())
    labels = labels_of(filmed, "locked", tmp_path / "with", clicks=(Click(4, 61.0, 62.0),))
    disc = np.hypot(*(np.mgrid[:120, :160] - np.array([60, 60])[:, None, None])) < 14.5
    assert mean_j(labels, dict.fromkeys(range(8), disc)) > 0.85


@pytest.mark.parametrize("click", [Click(4, 160.0, 3.0), Click(4, -1.0, 3.0), Click(8, 3.0, 3.0)])
def test_a_click_outside_is_refused(click: Click, tmp_path: Path) -> None:
    with pytest.raises(BadClick, match="click: expected"):
        labels_of(Filmed(blob_clip(0), locked_path(8), {}, None), "locked", tmp_path, clicks=(click,))


def test_frames_without_a_camera_get_an_empty_mask(locked: Filmed, tmp_path: Path) -> None:
    part = replace(locked, cameras=locked.cameras.select(locked.cameras.frames[:6]))
    labels = labels_of(part, "locked", tmp_path)
    assert not labels[locked.cameras.frames[-1]].any()
    assert labels[locked.cameras.frames[3]].any()


def test_parallax_needs_depth(locked: Filmed, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="depth: expected"):
        find_motion(locked.clip, locked.cameras, kind="parallax", depth=None, seed=0, folder=MotionFolder(tmp_path),
                    workdir=tmp_path / "work", report=lambda done, total: None)


def test_a_labels_folder_returns_what_was_written(tmp_path: Path) -> None:
    folder = MotionFolder(tmp_path)
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    folder.write(7, labels)
    np.testing.assert_array_equal(folder.read(7), labels)
    assert 7 in folder and (tmp_path / "0007.png").exists()
    with pytest.raises(KeyError, match="frame 8"):
        folder.read(8)


# --- pieces ----------------------------------------------------------------------------------------------------------


def constant(value: float, weight: float) -> Evidence:
    return Evidence(np.full((2, 2), value, np.float32), np.full((2, 2), weight, np.float32))


def test_evidence_adds_up_by_weight() -> None:
    both = constant(1.0, 1.0).plus(constant(-1.0, 3.0))
    assert both.value[0, 0] == pytest.approx(-0.5)
    assert both.weight[0, 0] == 4


@pytest.mark.parametrize(("after", "expected"), [((-1.0, 1.0), -1.0), ((0.6, 1.0), 0.6), ((-1.0, 0.0), 1.0)])
def test_uncovered_background_is_no_mover(after: tuple[float, float], expected: float) -> None:
    assert both_sides(constant(1.0, 1.0), constant(*after)).value[0, 0] == pytest.approx(expected)


def test_depth_nobody_confirms_does_not_lie_behind_the_wall() -> None:
    class Wall:
        def read(self, frame: int) -> DepthMap:
            depth, confidence = np.full((120, 160), 2.0, np.float32), np.full((120, 160), 0.9, np.float32)
            depth[40:70, 60:90], confidence[40:70, 60:90] = 8.0, 0.0
            return DepthMap(depth, confidence)

    world = StillWorld(blob_clip(0), locked_path(8), Wall(), "parallax", 480)
    low, likely, high = world.inverse_depth(3)
    assert likely[55, 75] == pytest.approx(0.5, rel=0.02)
    assert (low <= likely).all() and (likely <= high).all()


def square(x: int, y: int, side: int = 20) -> np.ndarray:
    mask = np.zeros((100, 200), bool)
    mask[y : y + side, x : x + side] = True
    return mask


def painted(*discs: tuple[np.ndarray, tuple[int, int, int]]) -> np.ndarray:
    picture = np.full((100, 200, 3), 90, np.uint8)
    for mask, colour in discs:
        picture[mask] = colour
    return picture


RED, BLUE = (220, 40, 40), (40, 40, 220)


def test_two_that_touch_keep_their_labels() -> None:
    tracker, flow = ObjectTracker(SegmentSettings()), np.zeros((100, 200, 2), np.float32)
    a, b = square(20, 40), square(80, 40)
    first = tracker.step(painted((a, RED), (b, BLUE)), a | b, None)
    near = square(61, 40)
    flow[near] = (19, 0)  # back to where it was
    second = tracker.step(painted((a, RED), (near, BLUE)), a | near, flow)
    met = square(41, 40)
    flow[:] = 0
    flow[met] = (20, 0)
    third = tracker.step(painted((a, RED), (met, BLUE)), a | met, flow)
    assert second[50, 70] == first[50, 90] != first[50, 30] == second[50, 30]
    assert third[50, 30] == first[50, 30] and third[50, 50] == first[50, 90]


def test_one_that_was_hidden_is_known_again_and_another_is_not() -> None:
    tracker, still = ObjectTracker(SegmentSettings()), np.zeros((100, 200, 2), np.float32)
    mask, nothing = square(20, 40), np.zeros((100, 200), bool)
    first = tracker.step(painted((mask, RED)), mask, None)[50, 30]
    for _ in range(5):
        tracker.step(painted(), nothing, still)
    again, other = square(40, 40), square(140, 40)
    found = tracker.step(painted((again, RED), (other, BLUE)), again | other, still)
    assert found[50, 50] == first
    assert found[50, 150] not in (0, first)


def test_what_is_never_seen_alone_is_part_of_the_other_and_short_lives_are_forgotten() -> None:
    tracker, still = ObjectTracker(SegmentSettings()), np.zeros((100, 200, 2), np.float32)
    body, arm, speck = square(20, 30, 40), square(62, 45, 12), square(150, 20, 8)
    away = square(120, 70, 12)
    first = tracker.step(painted((body, RED), (away, BLUE), (speck, BLUE)), body | away | speck, None)
    arrived = np.zeros_like(still)
    arrived[arm] = (58, 25)  # back to where it was away
    tracker.step(painted((body, RED), (arm, BLUE)), body | arm, arrived)
    for _ in range(6):
        tracker.step(painted((body, RED), (arm, BLUE)), body | arm, still)
    final = tracker.final_labels(shortest_life=3)
    assert final[first[75, 125]] == final[first[50, 30]] == 1
    assert final[first[24, 154]] == 0
