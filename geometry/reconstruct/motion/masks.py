"""Masks of what moves by itself, with labels that stay with each object, streamed over clips of any length.

    gather evidence (background.py, flow_votes.py, still_looks.py) -> with parallax, let stiff things and the still
    world compete (stiff_things.py, stiff.py) -> carry it along the flow, backwards with a first look at what there is,
    then forwards -> segment (segment.py), cut rims off (still_looks.py), hand labels on -> draw contours on the working
    raster -> forget what hardly lived

Between the passes evidence lies in files, so that memory does not grow with the clip. A user's click says that what is
under it moves: its region is found by colour, followed both ways, and joins the evidence.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from geometry.masks import agreed_flow, one_thread
from geometry.reconstruct.motion.background import gather
from geometry.reconstruct.motion.segment import Looks, ObjectTracker, SegmentSettings, segment
from geometry.reconstruct.motion.stiff import StiffSettings, StiffVotes, stiff_votes
from geometry.reconstruct.motion.stiff_things import find_stiff_things
from geometry.reconstruct.motion.still_looks import Looks as StillLooks
from geometry.reconstruct.motion.still_looks import LooksSettings, without_rims
from geometry.reconstruct.motion.still_points import StillPoints
from geometry.reconstruct.motion.still_world import Evidence, EvidenceSettings, Kind, StillWorld, sampled
from geometry.scene import DepthSource, FrameSource, SparsePoints
from geometry.trajectory import CameraPath

Array = np.ndarray
Report = Callable[[int, int], None]

BLOCK = 48  # frames that are read forwards, to be visited backwards
MOST_WEIGHT = 3.0  # of carried evidence
MOST_LABELS = 255
SURE_STILL = 0.5  # weight of evidence that even a click does not outweigh, where what is clicked is seen to move:
SEEN_TO_MOVE = 0.4  # share of its region


class BadClick(ValueError):
    """A click that shows nothing: outside the picture, or in a frame without a camera."""


@dataclass(frozen=True)
class Click:
    """A pixel of the displayed picture, from its top-left corner, that shows a mover."""

    frame: int
    x: float
    y: float


@dataclass(frozen=True)
class MotionSettings:
    evidence: EvidenceSettings = field(default_factory=EvidenceSettings)
    segment: SegmentSettings = field(default_factory=SegmentSettings)
    stiff: StiffSettings = field(default_factory=StiffSettings)
    still_looks: LooksSettings = field(default_factory=LooksSettings)
    memory: float = 0.6  # of evidence, from frame to frame
    own_word: float = 0.8  # of a frame that is sure itself: so much less its neighbours count
    shortest_life: int = 5  # frames; what lives less was noise, unless the clip is no longer


@dataclass(frozen=True)
class MotionFolder:
    """Label pictures ``%04d.png``: a ``MotionSource`` that can be written to."""

    path: Path

    def write(self, frame: int, labels: Array) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(self._file(frame)), labels.astype(np.uint8)):
            raise OSError(f"cannot write {self._file(frame)}")

    def read(self, frame: int) -> Array:
        """Raises ``KeyError`` for a frame that has no mask."""
        labels = cv2.imread(str(self._file(frame)), cv2.IMREAD_GRAYSCALE)
        if labels is None:
            raise KeyError(f"frame {frame} has no motion mask")
        return labels

    def __contains__(self, frame: int) -> bool:
        return self._file(frame).exists()

    def _file(self, frame: int) -> Path:
        return self.path / f"{frame:04d}.png"


def find_motion(
    clip: FrameSource,
    cameras: CameraPath,
    *,
    kind: Kind,
    depth: DepthSource | None,
    seed: int,
    folder: MotionFolder,
    workdir: Path,
    report: Report,
    clicks: Sequence[Click] = (),
    points: SparsePoints | None = None,
    settings: MotionSettings | None = None,
) -> None:
    """Write the labels of every frame of ``clip`` on the working raster; frames without a camera stay empty.

    ``points`` are what the cameras were solved from. ``depth`` of what stands still is needed for parallax.
    Raises ``ValueError`` without it, ``BadClick``.
    """
    if kind == "parallax" and depth is None:
        raise ValueError("depth: expected the depth of the scene for a shot with parallax, got None")
    s = settings or MotionSettings()
    world = StillWorld(clip, cameras, depth, kind, s.evidence.side_px)
    search = _Search(world, s, seed, workdir, report)
    search.gather()
    if kind == "parallax":
        search.ask_stiff_things()
    for click in clicks:
        search.follow(click)
    search.look_back()
    search.write_labels(folder, None if points is None else StillPoints(points, cameras), clicks)
    empty = np.zeros(cameras.cameras[0].hw, np.uint8)
    for frame in clip.numbers:
        if frame not in folder:
            folder.write(frame, empty)
    shutil.rmtree(workdir)


@dataclass(frozen=True)
class _EvidenceFolder:
    """Evidence as 8-bit pictures."""

    path: Path

    def write(self, frame: int, evidence: Evidence) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        value = np.round(evidence.value * 127 + 128)
        weight = np.round(np.minimum(evidence.weight / MOST_WEIGHT, 1) * 255)
        packed = np.dstack([value, weight, np.zeros_like(value)]).astype(np.uint8)
        cv2.imwrite(str(self.path / f"{frame:06d}.png"), packed, [cv2.IMWRITE_PNG_COMPRESSION, 1])

    def read(self, frame: int) -> Evidence:
        packed = _read_png(self.path / f"{frame:06d}.png", cv2.IMREAD_COLOR).astype(np.float32)
        return Evidence((packed[..., 0] - 128) / 127, packed[..., 1] * np.float32(MOST_WEIGHT / 255))


class _Search:
    """The passes over one clip."""

    def __init__(self, world: StillWorld, s: MotionSettings, seed: int, workdir: Path, report: Report) -> None:
        self.world, self.s, self.seed, self.report = world, s, seed, report
        self.frames = world.cameras.frames
        self.own, self.ahead = _EvidenceFolder(workdir / "own"), _EvidenceFolder(workdir / "ahead")
        self.alike = workdir / "alike"  # how far each frame looks as if it stood still
        self.first, self.looks = MotionFolder(workdir / "first"), Looks(s.segment.colour_bins)
        self.names = np.zeros(1, np.uint8)

    def gather(self) -> None:
        for done, (frame, evidence) in enumerate(gather(self.world, self.frames, self.s.evidence)):
            if self.world.kind == "parallax":
                looks = StillLooks.of(self.world, frame, self.s.still_looks)
                evidence = looks.joined(evidence, self.world.inverse_depth(frame), self.s.still_looks)
                _write_share(self.alike / f"{frame:06d}.png", looks.alike)
            self.own.write(frame, evidence)
            self.report(done + 1, 2 * len(self.frames))

    def look_back(self) -> None:
        """What later frames know of each frame; and a first look: which objects there are, and their colours."""
        tracker, self.looks = ObjectTracker(self.s.segment), Looks(self.s.segment.colour_bins)
        later: tuple[Array, Evidence] | None = None
        for frame, picture in self._backwards(self.frames):
            evidence, flow = self.own.read(frame), None
            known = Evidence(np.zeros_like(evidence.value), np.zeros_like(evidence.value))
            if later is not None:
                flow, agree = agreed_flow(picture, later[0])
                known = _moved(later[1], flow, agree, self.s.memory)
            self.ahead.write(frame, known)
            both = self._with(evidence, known)
            labels = tracker.step(picture, segment(picture, both, self.s.segment) > 0, flow)
            self.looks.add(picture, labels, (evidence.value > 0) & (evidence.weight > self.s.segment.still_weight))
            _write_wide(self.first, frame, labels.astype(np.uint16))
            later = picture, both
        self.names = self._names(tracker)
        self.looks = self.looks.renamed(self.names)

    def _names(self, tracker: ObjectTracker) -> Array:
        """(labels,) uint8: what becomes of each label of ``tracker``."""
        final = tracker.final_labels(min(self.s.shortest_life, len(self.frames)))
        table = np.zeros(max(final, default=0) + 1, np.uint8)
        for label, number in final.items():
            table[label] = number if number <= MOST_LABELS else 0
        return table

    def _with(self, own: Evidence, carried: Evidence) -> Evidence:
        """What neighbours say counts most where a frame says nothing itself: flow bleeds over contours."""
        both = own.plus(carried, 1 - self.s.own_word * np.minimum(own.weight, 1))
        return Evidence(both.value, np.minimum(both.weight, np.float32(MOST_WEIGHT)))

    def _backwards(self, frames: Sequence[int]) -> Iterator[tuple[int, Array]]:
        """Frames and pictures from the last to the first; videos are read forwards, block by block."""
        for begin in range((len(frames) - 1) // BLOCK * BLOCK, -1, -BLOCK):
            block = [(n, self.world.picture(n)) for n in frames[begin : begin + BLOCK]]
            yield from reversed(block)

    # -- clicks

    def follow(self, click: Click) -> None:
        """Add what is under a click to the evidence of all frames that it can be followed through."""
        if click.frame not in self.frames:
            raise BadClick(f"click: expected a frame with a camera, got {click.frame}")
        picture, at = self.world.picture(click.frame), self._small_px(click)
        region = _region_at(picture, at, self.own.read(click.frame), self.s.segment, self.seed)
        self._believe(click.frame, region)
        index = self.frames.index(click.frame)
        after = ((n, self.world.picture(n)) for n in self.frames[index + 1 :])
        for way in (after, self._backwards(self.frames[:index])):
            self._follow(way, picture, region)

    def _follow(self, way: Iterator[tuple[int, Array]], picture: Array, region: Array) -> None:
        for frame, here in way:
            flow, agree = agreed_flow(here, picture)
            prior = Evidence(np.where(region, np.float32(1), np.float32(-1)), np.ones(region.shape, np.float32))
            known = _moved(prior, flow, np.maximum(agree, 0.2), 1.0)
            own = self.own.read(frame)
            # It may stand still: then only evidence that it moves is asked.
            asked = (own.value > 0) | _moves(own, known.value > 0)
            soft = segment(here, known.plus(own, asked.astype(np.float32)), self.s.segment)
            reach = cv2.dilate((known.value > 0).astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
            region, picture = (soft > 0) & reach, here
            if region.sum() < self.s.segment.smallest_share * region.size:
                return
            self._believe(frame, region)

    def _believe(self, frame: int, region: Array) -> None:
        """What a user said weighs more than what was seen, but for the contour of what is seen to move."""
        own = self.own.read(frame)
        if _moves(own, region):
            region = region & ~((own.value < 0) & (own.weight > SURE_STILL))
        value, weight = np.where(region, 1, own.value), np.where(region, MOST_WEIGHT, own.weight)
        self.own.write(frame, Evidence(value, weight))

    def _small_px(self, click: Click) -> tuple[int, int]:
        """(column, row) of the small pinhole raster."""
        warp, (h, w) = self.world.warp(click.frame), self.world.clip.hw
        if not (0 <= click.x < w and 0 <= click.y < h):
            raise BadClick(f"click: expected a pixel of the picture of {w}x{h}, got ({click.x}, {click.y})")
        column, row = int(click.x * warp.lens.wh[0] / w), int(click.y * warp.lens.wh[1] / h)
        x, y = warp.pinhole_px_from_lens[row, column]
        return int(x), int(y)

    # -- objects

    def ask_stiff_things(self) -> None:
        """Let each stiff thing and the still world compete for every pixel."""
        s = self.s.stiff
        for stiff in find_stiff_things(self.world.clip, self.world.cameras, seed=self.seed):
            votes: StiffVotes | None = None
            for i, frame in enumerate(stiff.frames):
                if i % s.every == 0:
                    votes = stiff_votes(self.world, stiff, frame, s)
                if votes is not None:
                    self.own.write(frame, votes.joined(self.own.read(frame), s, here=i % s.every == 0))

    def first_labels(self, frame: int) -> Array:
        """(h, w) labels of the first look, small."""
        return self.names[_read_wide(self.first, frame)]

    def write_labels(self, folder: MotionFolder, still: StillPoints | None, clicks: Sequence[Click]) -> None:
        clicked: set[int] = set()
        tracker = ObjectTracker(self.s.segment)
        before: tuple[Array, Evidence] | None = None
        for done, frame in enumerate(self.frames):
            picture, own = self.world.picture(frame), self.own.read(frame)
            known, flow = own, None
            if before is not None:
                flow, agree = agreed_flow(picture, before[0])
                known = self._with(own, _moved(before[1], flow, agree, self.s.memory))
            everything = self._with(known, self.ahead.read(frame))
            soft = segment(picture, everything, self.s.segment, (self.first_labels(frame), self.looks))
            if self.world.kind == "parallax":
                soft = without_rims(soft, _read_share(self.alike / f"{frame:06d}.png"), self.s.still_looks)
            labels = tracker.step(picture, soft > 0, flow)
            drawn = self._on_lens(frame, soft, labels)
            _write_wide(folder, frame, drawn)
            if still is not None:
                still.add(frame, drawn)
            clicked |= {self._label_at(click, drawn) for click in clicks if click.frame == frame}
            before = picture, known
            self.report(len(self.frames) + done + 1, 2 * len(self.frames))
        table = self._names(tracker)
        for label in set(still.standing() if still is not None else ()) - clicked:
            table[label] = 0
        for frame in self.frames:
            folder.write(frame, table[_read_wide(folder, frame)])

    def _label_at(self, click: Click, labels: Array) -> int:
        (h, w), (rows, columns) = self.world.clip.hw, labels.shape
        return int(labels[int(click.y * rows / h), int(click.x * columns / w)])

    def _on_lens(self, frame: int, soft: Array, labels: Array) -> Array:
        """(H, W) labels of the working raster, contours drawn after the full picture."""
        lens, warp = self.world.cameras.camera(frame), self.world.warp(frame)
        nearest = cv2.INTER_NEAREST
        soft, labels = warp.distort(soft), warp.distort(labels.astype(np.float32), interpolation=nearest)
        if lens.wh != warp.lens.wh:
            picture = self.world.clip.display(frame, lens.wh)
            soft = _sharpened(cv2.resize(soft, lens.wh, interpolation=cv2.INTER_LINEAR), picture)
            labels = cv2.resize(_grown(labels), lens.wh, interpolation=nearest)
        return np.where(soft > 0, labels, 0).astype(np.uint16)


def _region_at(
    picture: Array, at: tuple[int, int], evidence: Evidence, s: SegmentSettings, seed: int
) -> Array:
    """(h, w) bool: what is under the click, by GrabCut around it; evidence of motion is believed where it is."""
    h, w = picture.shape[:2]
    moving = segment(picture, evidence, s) > 0
    _, regions = cv2.connectedComponents(moving.astype(np.uint8))
    found = (regions == regions[at[1], at[0]]) & moving
    reach, core = int(0.15 * max(h, w)), max(3, round(0.01 * max(h, w)))
    mask = np.full((h, w), cv2.GC_BGD, np.uint8)
    if found.any():
        ring = cv2.dilate(found.astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
        mask[ring] = cv2.GC_PR_BGD
        mask[found] = cv2.GC_PR_FGD
    else:
        cv2.circle(mask, at, reach, cv2.GC_PR_BGD, -1)
        cv2.circle(mask, at, reach // 3, cv2.GC_PR_FGD, -1)
    cv2.circle(mask, at, core, cv2.GC_FGD, -1)
    cv2.setRNGSeed(seed)
    with one_thread():
        whole = (0, 0, w, h)  # not looked at: the mask says it all
        cv2.grabCut(picture, mask, whole, np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_MASK)
    inside = ((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)).astype(np.uint8)
    _, parts = cv2.connectedComponents(inside)
    return parts == parts[at[1], at[0]]


def _moves(own: Evidence, region: Array) -> bool:
    """Whether evidence sees a fair part of (h, w) bool ``region`` move."""
    seen = (own.value > 0) & (own.weight > SURE_STILL)
    return bool(region.any() and seen[region].mean() > SEEN_TO_MOVE)


def _moved(evidence: Evidence, flow: Array, agree: Array, share: float) -> Evidence:
    weight = sampled(evidence.weight, flow, border=0) * agree * np.float32(share)
    return Evidence(sampled(evidence.value, flow, border=0), weight)


def _sharpened(soft: Array, picture: Array) -> Array:
    """``soft`` with its zero line moved to the picture's edges: near it only the picture is asked."""
    inside = (soft > 0).astype(np.uint8)
    kernel = np.ones((7, 7), np.uint8)
    band = cv2.dilate(inside, kernel) != cv2.erode(inside, kernel)
    weight = np.where(band, np.float32(0.05), np.float32(1))
    value = np.clip(4 * soft, -1, 1)
    with one_thread():
        smoother = cv2.ximgproc.createFastGlobalSmootherFilter(picture, 30.0, 8.0)
        return smoother.filter(value * weight) / smoother.filter(weight)


def _grown(labels: Array) -> Array:
    """``labels`` a few pixels wider, so that a sharpened contour finds one."""
    wider = cv2.dilate(labels, np.ones((7, 7), np.uint8))
    return np.where(labels > 0, labels, wider)


def _write_wide(folder: MotionFolder, frame: int, labels: Array) -> None:
    """16 bits, as long as nobody knows which labels stay."""
    folder.path.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder.path / f"{frame:04d}.png"), labels)


def _read_wide(folder: MotionFolder, frame: int) -> Array:
    return _read_png(folder.path / f"{frame:04d}.png", cv2.IMREAD_UNCHANGED)


def _write_share(path: Path, share: Array) -> None:
    """(h, w) in [0, 1] as 8 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.round(share * 255).astype(np.uint8), [cv2.IMWRITE_PNG_COMPRESSION, 1])


def _read_share(path: Path) -> Array:
    return _read_png(path, cv2.IMREAD_GRAYSCALE).astype(np.float32) / 255


def _read_png(path: Path, how: int) -> Array:
    """A picture that an earlier pass wrote."""
    picture = cv2.imread(str(path), how)
    if picture is None:
        raise OSError(f"cannot read {path}")
    return picture
