"""Objects of a request on the scene's surfaces: where each stands, on what, and how it moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from geometry import rigid
from geometry.mesh import Model
from geometry.placement import height_from_px, matrix, path_on_support, place, upright
from geometry.reconstruct.anchor import Anchor
from geometry.scene import Placement, RigidTrack, Scene4D
from services.errors import InvalidRequest, Unsolvable
from services.media.clip import ClipReader
from services.pipelines.context import Context
from services.pipelines.inputs import Prop
from services.pipelines.requests import InsertedObject
from services.pipelines.solve_scene import SolvedScene
from services.pipelines.stages.find_anchor import AnchorConfig, find_anchor, load_anchor
from services.pipelines.supports import Motion, Support


@dataclass(frozen=True)
class Placed:
    prop: Prop
    anchor: Anchor
    placement: Placement
    track: RigidTrack | None = None  # None: it stands still
    carrier: int = 0  # label of the mover it stands on

    @property
    def middle(self) -> tuple[float, float, float]:
        """Half way up the object, in the world."""
        up = matrix(self.placement)[:3, 1]
        x, y, z = self.anchor.point + 0.5 * self.prop.model.height * up
        return float(x), float(y), float(z)

    def facts(self, scene: Scene4D) -> dict[str, Any]:
        """For the report: enough to check the placement by hand."""
        return {
            "name": self.prop.name, "object_id": self.prop.object_id, "frame": self.placement.frame,
            "at_px": list(self.prop.request.at_px), "anchor": self.anchor.point.tolist(),
            "support_normal": self.anchor.support.normal.tolist(), "support_offset": self.anchor.support.offset,
            "anchor_tracks": self.anchor.tracked, "anchor_residual_px": self.anchor.residual_px,
            "world_from_object": matrix(self.placement).tolist(), "scale": self.placement.scale,
            "height": self.placement.scale * self.prop.model.height, "height_in_metres": scene.scale_known,
            "attach": self.prop.request.attach, "carrier": self.carrier,
        }


def check_scale(prop: Prop, known: bool) -> None:
    """Raises ``InvalidRequest`` for a height in metres in a scene of unknown scale."""
    if prop.request.height_m is not None and not known:
        raise InvalidRequest(
            f"{prop.field}.height_m",
            "a scene of known scale: give known_distance, camera_height_m or metric cameras, or use height_px or scale",
            f"{prop.request.height_m:g} m in a scene of unknown scale",
        )


def place_prop(clip: ClipReader, prop: Prop, solved: SolvedScene, seed: int, context: Context, share: float) -> Placed:
    scene, wanted = solved.scene, prop.request
    if prop.frame not in scene.cameras:
        raise InvalidRequest(f"{prop.field}.frame", "a frame whose camera is known", prop.frame)
    field = prop.field
    label, track = _carrier(scene, prop, f"{field}.attach") if wanted.attach == "mover" else (0, None)
    artifact = context.stage(
        find_anchor, label="find surface", weight=share, config=AnchorConfig(prop.frame, wanted.at_px, seed, label),
        inputs={
            "cameras": solved.cameras, "depth": solved.depth, "motion": solved.motion, "scale": repr(solved.scale),
        },
        clip=clip, scene=scene,
    )
    anchor = load_anchor(artifact)
    placement = placement_of(wanted, field, prop.model, anchor, scene, prop.frame)
    if track is not None:
        return Placed(prop, anchor, placement, track.relative_to(prop.frame), label)
    if prop.path:
        return Placed(prop, anchor, placement, _path(prop, placement, scene, f"{field}.attach"))
    return Placed(prop, anchor, placement)


def _carrier(scene: Scene4D, prop: Prop, field: str) -> tuple[int, RigidTrack]:
    """Label and motion of the stiff mover under the pixel. Raises ``Unsolvable`` where there is none."""
    x, y = np.array(prop.request.at_px) * scene.working_wh / scene.source_wh
    label = 0 if scene.motion is None else int(scene.motion.read(prop.frame)[int(y), int(x)])
    mover = next((m for m in scene.movers if m.label == label), None)
    if mover is None:
        raise Unsolvable(f"{field}: nothing moves at that pixel in frame {prop.frame}", "Point at it with --mover X,Y")
    if mover.track is None or prop.frame not in mover.track.frames:
        raise Unsolvable(
            f"{field}: what moves there bends or shows too little texture to be followed in space",
            "Attach to a stiff, textured thing, or give the way with path:KEYS",
        )
    return label, mover.track


def _path(prop: Prop, placement: Placement, scene: Scene4D, field: str) -> RigidTrack:
    keys = [replace(key, yaw=key.yaw - np.radians(prop.request.yaw_deg)) for key in prop.path]
    try:
        return path_on_support(placement, keys, scene.cameras.scaled(scene.source_wh))
    except ValueError as error:
        raise InvalidRequest(field, "keys on the surface in frames whose camera is known", str(error)) from error


def placement_of(
    wanted: InsertedObject, field: str, model: Model, anchor: Anchor, scene: Scene4D, frame: int
) -> Placement:
    """Stand a model on an anchor as the request says. Raises ``InvalidRequest`` below ``field``."""
    camera, pose = scene.cameras.camera(frame).scaled(scene.source_wh), scene.cameras.pose(frame)
    try:
        if wanted.scale is not None:
            scale = wanted.scale
        elif wanted.height_m is not None:
            scale = wanted.height_m / model.height
        else:
            assert wanted.height_px is not None
            height = height_from_px(camera, pose, anchor.point, upright(anchor.support), wanted.height_px)
            scale = height / model.height
        return place(
            frame=frame, anchor=anchor.point, support=anchor.support, camera_centre=rigid.inverse(pose)[:3, 3],
            yaw=np.radians(wanted.yaw_deg), scale=scale, base_centre=model.base_centre,
        )
    except ValueError as error:
        raise InvalidRequest(field, "a placement that the camera can see", str(error)) from error


def distinct_supports(placed: Sequence[Placed]) -> tuple[tuple[Support, ...], tuple[int, ...]]:
    """The supports, and which of them carries each object.

    Objects whose surfaces were measured alike share one: two coincident receivers would shade each other. Supports
    that move by themselves stay apart.
    """
    supports: list[Support] = []
    support_of = []
    for p in placed:
        foot, reach = p.anchor.point, p.placement.scale * p.prop.model.height
        for index, other in enumerate(supports):
            alike = other.carrier == p.carrier and other.plane.normal @ p.anchor.support.normal > np.cos(np.radians(6))
            if alike and abs(float(other.plane.distance(foot))) < 0.1 * reach:
                support_of.append(index)
                break
        else:
            support_of.append(len(supports))
            supports.append(Support.of(p.anchor.support, p.carrier, Motion.of(p.track) if p.carrier else None))
    return tuple(supports), tuple(support_of)
