"""One clip of every kind of shot, rendered with everything known.

    render_shot(make_shot("mover", 48, (640, 360)), out, seed=1)

leaves in ``out`` (``%04d.png`` unless said otherwise; geometry is exact at pixel centres in the middle of the shutter):

    plate/     8-bit sRGB                  depth/    .exr, with what moves; of glass and mirrors their surface; 0 = sky
    ids/       object ids, 0 = sky         motion/   uint8 labels of what moves by itself, 0 = stands still
    cameras.json  truth.json (``camera``: what the camera does; ``names`` of the ids; ``movers``: per label a name and a
    ``world_from_mover`` per frame; ``unsure``: ids whose depth no camera can see)

kinds: ``static`` sideways through the room; ``mover`` the same with a tin robot that walks through; ``pan`` a turn on
the spot; ``follow`` a pan that keeps the walking robot in the picture; ``locked`` a tripod, the robot crosses;
``turntable`` a turning stand under a slow camera; ``orbit`` once around a plant; ``glass`` a room of blank walls with a
mirror and a glass screen.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np

from examples import props
from examples.small_scene import FOCAL_PER_WIDTH, STAND_AT, SmallScene, camera_path, heading, make_scene, sky
from examples.solids import turned
from examples.truth import developed, frame_seed, shutter_times
from geometry import frames as camera_files
from geometry import rigid
from geometry.camera import Camera, pixel_centres
from geometry.mesh import Mesh
from geometry.render import make_renderer
from geometry.render.base import Environment, Instance, Renderer, RenderScene, View
from geometry.trajectory import CameraPath
from services.media import exr, images

Array = np.ndarray
ShotKind = Literal["static", "mover", "pan", "follow", "locked", "turntable", "orbit", "glass"]
CameraMove = Literal["parallax", "pan", "locked"]
KINDS: tuple[ShotKind, ...] = get_args(ShotKind)

FIRST_MOVER_ID = 100  # a mover's object id is this plus its label
PANE_ID = 99
MAX_DEPTH, SPP, SHUTTER_SAMPLES, GRAIN = 3, 16, 4, 0.006
GLASS_INDEX = 1.5
FIREFLY = 2.0
GLASS_TINT = np.array([0.88, 0.94, 0.91], np.float32)  # what a pane lets through, reflection apart
STEPS = 9  # of the robot over its way
SWAY = np.deg2rad(5.0)


@dataclass(frozen=True)
class Actor:
    """What moves by itself, stiffly: ``world_from_mover`` of the time, a share 0..1 of the clip."""

    label: int  # 1..255
    name: str
    meshes: tuple[Mesh, ...]
    world_from_mover: Callable[[float], Array]

    @property
    def object_id(self) -> int:
        return FIRST_MOVER_ID + self.label


@dataclass(frozen=True)
class Shot:
    """What is filmed and how. ``pane`` is clear glass: it shows what is behind it, and reflects."""

    kind: ShotKind
    camera: CameraMove
    scene: SmallScene
    path: CameraPath
    actors: tuple[Actor, ...] = ()
    pane: Mesh | None = None
    unsure: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def time(self, frame: float) -> float:
        return frame / (len(self.path) - 1)

    def instances(self, frame: float) -> tuple[Instance, ...]:
        """Everything but the pane as it stands at a fractional frame number."""
        acting = (Instance(a.meshes, a.world_from_mover(self.time(frame)), a.object_id) for a in self.actors)
        return (*self.scene.instances, *acting)

    def solid(self, frame: float) -> tuple[Instance, ...]:
        """``instances`` and the pane, as the perfect mirror that gives its reflections and its depth."""
        pane = () if self.pane is None else (Instance((self.pane,), np.eye(4), PANE_ID),)
        return (*self.instances(frame), *pane)


def make_shot(kind: ShotKind, n_frames: int, wh: tuple[int, int] = (640, 360)) -> Shot:
    """The same move whatever ``n_frames`` is. Raises ``ValueError`` for an unknown kind or fewer than 2 frames."""
    makers = {
        "static": _static, "mover": _mover, "pan": _pan, "follow": _follow, "locked": _locked,
        "turntable": _turntable, "orbit": _orbit, "glass": _glass,
    }
    if kind not in makers:
        raise ValueError(f"kind: expected one of {KINDS}, got {kind!r}")
    if n_frames < 2:
        raise ValueError(f"n_frames: expected >= 2, got {n_frames}")
    return makers[kind](n_frames, wh)


# --- the shots ---------------------------------------------------------------------------------------------------


def _static(n: int, wh: tuple[int, int]) -> Shot:
    return Shot("static", "parallax", make_scene(), camera_path("dolly", n, wh))


def _mover(n: int, wh: tuple[int, int]) -> Shot:
    """The robot passes before the spot, then behind the plant stand."""
    return replace(_static(n, wh), kind="mover", actors=(_robot((-0.71, 0, 0.3), (1.15, 0, 0.8)),))


def _pan(n: int, wh: tuple[int, int]) -> Shot:
    targets = _blend((-1.75, 0.55, -1.2), (1.55, 0.5, -1.1), _eased(np.linspace(0, 1, n)))
    return Shot("pan", "pan", _with_garden(make_scene()), _filmed(np.tile(_TRIPOD, (n, 1)), targets, wh))


def _follow(n: int, wh: tuple[int, int]) -> Shot:
    robot = _robot((-1.7, 0, -0.5), (1.5, 0, 0.2))
    at = np.stack([robot.world_from_mover(t)[:3, 3] for t in np.linspace(0, 1, n)])
    targets = np.stack([at[:, 0] + 0.15, np.full(n, 0.45), at[:, 2]], -1)
    path = _filmed(np.tile(_TRIPOD, (n, 1)), targets, wh)
    return Shot("follow", "pan", _with_garden(make_scene()), path, (robot,))


def _locked(n: int, wh: tuple[int, int]) -> Shot:
    path = _filmed(np.tile(_TRIPOD, (n, 1)), np.tile([0.0, 0.42, -0.1], (n, 1)), wh)
    return Shot("locked", "locked", _with_garden(make_scene()), path, (_robot((-2.1, 0, 0.6), (1.35, 0, -0.1)),))


def _turntable(n: int, wh: tuple[int, int]) -> Shot:
    angle = np.deg2rad(np.linspace(-9, 9, n))
    eyes = np.stack([2.35 * np.sin(angle), np.full(n, 1.2), 2.35 * np.cos(angle)], -1)
    support = Actor(1, "support", props.display(), lambda t: turned(np.deg2rad(75) * t))
    scene = _without(make_scene(), "plant stand", "plant")
    return Shot("turntable", "parallax", scene, _filmed(eyes, np.tile([0, 0.3, 0], (n, 1)), wh), (support,))


def _orbit(n: int, wh: tuple[int, int]) -> Shot:
    """The last frame comes just before the first again."""
    angle = 2 * np.pi * np.arange(n) / n
    eyes = np.stack([2.2 * np.sin(angle), np.full(n, 1.45), 2.2 * np.cos(angle)], -1)
    scene = _shifted(_with_garden(make_scene()), -np.array(STAND_AT), "plant stand", "plant")
    return Shot("orbit", "parallax", scene, _filmed(eyes, np.tile([0, 0.62, 0], (n, 1)), wh))


def _glass(n: int, wh: tuple[int, int]) -> Shot:
    walls = ("back wall", "side wall")
    blank = make_scene("plain")
    kept = _with_garden(_without(make_scene(), *walls, "print", "plant stand", "plant"))
    scene = _with(kept, {name: blank.instances[blank.object_id(name) - 1].meshes for name in walls} | props.glazing())
    t = np.linspace(0, 1, n)[:, None]
    eyes = np.array([-1.0, 1.3, 2.9]) + t * np.array([1.3, 0, -0.25])
    path = _filmed(eyes, np.tile([-0.05, 0.6, -0.6], (n, 1)), wh)
    unsure = {"glass": (PANE_ID,), "mirror": (scene.object_id("mirror"),),
              "blank": tuple(scene.object_id(name) for name in walls)}
    return Shot("glass", "parallax", scene, path, pane=props.pane(), unsure=unsure)


_TRIPOD = np.array([-0.15, 1.3, 3.15])


def _filmed(eyes: Array, targets: Array, wh: tuple[int, int]) -> CameraPath:
    focal = FOCAL_PER_WIDTH * wh[0]
    lens = Camera(focal, focal, wh[0] / 2, wh[1] / 2, wh)
    poses = np.stack([rigid.look_at(eye, target) for eye, target in zip(eyes, targets, strict=True)])
    return CameraPath(tuple(range(len(eyes))), (lens,) * len(eyes), poses)


def _eased(t: Array) -> Array:
    return t * t * (3 - 2 * t)


def _blend(start: tuple[float, ...], end: tuple[float, ...], share: Array) -> Array:
    return np.array(start) + share[:, None] * (np.array(end) - np.array(start))


# --- what stands and moves in them -------------------------------------------------------------------------------


def _with(scene: SmallScene, more: Mapping[str, tuple[Mesh, ...]]) -> SmallScene:
    first = len(scene.names) + 1
    added = (Instance(meshes, np.eye(4), i) for i, meshes in enumerate(more.values(), first))
    return SmallScene((*scene.instances, *added), (*scene.names, *more))


def _without(scene: SmallScene, *names: str) -> SmallScene:
    return _renumbered({n: i for n, i in zip(scene.names, scene.instances, strict=True) if n not in names})


def _shifted(scene: SmallScene, by: Array, *names: str) -> SmallScene:
    here = rigid.rigid(np.eye(3), by)
    return _renumbered({n: replace(i, world_from_object=here) if n in names else i
                        for n, i in zip(scene.names, scene.instances, strict=True)})


def _renumbered(instances: Mapping[str, Instance]) -> SmallScene:
    return SmallScene(tuple(replace(i, object_id=k) for k, i in enumerate(instances.values(), 1)), tuple(instances))


def _with_garden(scene: SmallScene) -> SmallScene:
    return _with(scene, props.garden())


def _robot(start: tuple[float, float, float], end: tuple[float, float, float]) -> Actor:
    """The tin robot on its way, rocking from foot to foot."""
    way = np.array(end) - np.array(start)
    facing = float(np.arctan2(way[0], way[2]))

    def walk(t: float) -> Array:
        sway = SWAY * np.sin(np.pi * STEPS * t)
        lift = 0.09 * np.abs(np.sin(sway))  # so that the feet's outer edges do not sink in
        return turned(facing, np.array(start) + t * way + [0, lift, 0]) @ turned(sway, axis="z")

    return Actor(1, "robot", props.robot(), walk)


# --- filming -----------------------------------------------------------------------------------------------------


def render_shot(
    shot: Shot, out: Path, *, seed: int, spp: int = SPP, renderer: Renderer | None = None,
    report: Callable[[int, int], None] | None = None,
) -> None:
    """Render every frame of ``shot`` into ``out``. ``report(done, total)`` after each."""
    renderer = renderer or make_renderer()
    write_geometry(shot, out, renderer)
    light = _daylight(shot)
    for done, frame in enumerate(shot.path.frames, 1):
        linear = without_fireflies(_exposed(shot, frame, renderer, light, spp, seed))
        images.write_picture(out / "plate" / f"{frame:04d}.png", developed(linear, GRAIN, seed, frame))
        if report is not None:
            report(done, len(shot.path))


def write_geometry(shot: Shot, out: Path, renderer: Renderer) -> None:
    """Everything but the plate."""
    out.mkdir(parents=True, exist_ok=True)
    document = camera_files.cameras_json_from_path(shot.path)
    (out / "cameras.json").write_text(json.dumps(document, indent=1))
    (out / "truth.json").write_text(json.dumps(_facts(shot), indent=1))
    light = _daylight(shot)
    for frame in shot.path.frames:
        still = View(shot.path.camera(frame), (shot.path.pose(frame),))
        seen = renderer.gbuffer(RenderScene(shot.solid(frame), light), still)
        exr.write_depth(out / "depth" / f"{frame:04d}.exr", seen.depth)
        images.write_picture(out / "ids" / f"{frame:04d}.png", seen.object_id.astype(np.uint8))
        if shot.actors:
            images.write_picture(out / "motion" / f"{frame:04d}.png", motion_labels(seen.object_id))


def _daylight(shot: Shot) -> Environment:
    return _sky(heading(shot.path.pose(shot.path.frames[0])))


_sky = cache(sky)  # renderers know a scene again by the identity of its parts


def motion_labels(object_id: Array) -> Array:
    """(H, W) uint8 labels of movers, 0 where nothing moves by itself."""
    return np.where(object_id > FIRST_MOVER_ID, object_id - FIRST_MOVER_ID, 0).astype(np.uint8)


def _facts(shot: Shot) -> dict[str, Any]:
    names = {i.object_id: name for i, name in zip(shot.scene.instances, shot.scene.names, strict=True)}
    names |= {actor.object_id: actor.name for actor in shot.actors}
    movers = {
        actor.label: {
            "name": actor.name,
            "world_from_mover": {f: actor.world_from_mover(shot.time(f)).tolist() for f in shot.path.frames},
        }
        for actor in shot.actors
    }
    return {"kind": shot.kind, "camera": shot.camera, "names": names, "movers": movers, "unsure": dict(shot.unsure)}


def _exposed(
    shot: Shot, frame: int, renderer: Renderer, environment: Environment, spp: int, seed: int
) -> Array:
    """(H, W, 3) linear light through the open shutter; movers stand still in each of its parts."""
    times = shutter_times(frame, SHUTTER_SAMPLES)
    parts = [times[i : i + 1] for i in range(len(times))] if shot.actors else [times]
    total = np.zeros((*shot.path.camera(frame).hw, 3), np.float32)
    for draw, part in enumerate(parts):
        view = View(shot.path.camera(frame), tuple(shot.path.pose_between(time) for time in part))
        scene = RenderScene(shot.instances(part.mean()), environment)
        settings: dict[str, Any] = {"spp": spp // len(parts), "seed": frame_seed(seed, frame, draw),
                                    "max_depth": MAX_DEPTH}
        light = renderer.trace(scene, view, objects=[], **settings).rest_rgb
        if shot.pane is not None:
            glazed = RenderScene(shot.solid(part.mean()), environment)
            mirror = renderer.trace(glazed, view, objects=[PANE_ID], with_rest=False, **settings)
            reflected = pane_reflectance(shot.pane, view)[..., None]
            lost = mirror.object_alpha[..., None] * (1 - GLASS_TINT * (1 - reflected))
            light = light * (1 - lost) + reflected * mirror.object_rgb
        total += light / len(parts)
    return total


def without_fireflies(linear: Array) -> Array:
    """(H, W, 3) where single pixels that outshine all around them (light by way of a mirror) are their neighbours'
    median."""
    around = cv2.medianBlur(linear.astype(np.float32), 3)
    stray = (linear > FIREFLY * around + 0.1).any(-1, keepdims=True)
    return np.where(stray, around, linear)


def pane_reflectance(pane: Mesh, view: View) -> Array:
    """(H, W) what both faces of a thin flat pane reflect of unpolarised light (Fresnel; Born and Wolf 1999, 1.5.2).

    Wherever a pixel's ray would meet the pane's plane, in the view's first pose.
    """
    rays = view.camera.rays_from_px(pixel_centres(view.camera.wh)) @ view.camera_from_world[0][:3, :3]
    assert pane.normals is not None
    cosine = np.abs(rays @ pane.normals[0]) / np.linalg.norm(rays, axis=-1)
    inside = np.sqrt(1 - (1 - cosine**2) / GLASS_INDEX**2)
    across = (cosine - GLASS_INDEX * inside) / (cosine + GLASS_INDEX * inside)
    along = (inside - GLASS_INDEX * cosine) / (inside + GLASS_INDEX * cosine)
    face = (across**2 + along**2) / 2
    return (2 * face / (1 + face)).astype(np.float32)
