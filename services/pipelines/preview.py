"""A placement drawn at once: no path tracing, no tracking, one frame. Kept warm in a process of its own.

The surface under the pixel comes from the scene's depth and points alone; the final job measures it again, better.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from geometry import rigid
from geometry.mesh import MeshError, Model, linear_from_srgb, load_model
from geometry.placement import matrix
from geometry.reconstruct.anchor import Anchor, guess_anchor
from geometry.reconstruct.errors import ReconstructError
from geometry.render import make_renderer
from geometry.render.base import Environment, Instance, Renderer, RenderScene, View
from geometry.scene import GBuffer, Scene4D
from services.errors import InvalidRequest, Unsolvable
from services.executors.preview import PreviewSpec
from services.media.clip import ClipReader, open_clip
from services.media.colour import srgb_from_linear
from services.pipelines.placing import placement_of
from services.pipelines.requests import Clip
from services.pipelines.scene_folder import load_delivered

Array = np.ndarray
WIDTH_PX = 640
KEY = np.array([0.35, 0.8, 0.49])  # towards the light, over the camera's shoulder


def render(scene_dir: str, clip: Clip, spec: PreviewSpec) -> Array:
    """(H, W, 3) uint8 sRGB of one frame with the object in it, hidden by what is in front of it."""
    scene, reader = _scene(scene_dir), _clip(clip)
    wanted = spec.object
    placed_at = reader.numbers[0] if wanted.frame is None else wanted.frame
    frame = placed_at if spec.frame is None else spec.frame
    for name, number in (("object.frame", placed_at), ("frame", frame)):
        if number not in scene.cameras or number not in reader.numbers:
            raise InvalidRequest(name, "a frame of the clip whose camera is known", number)
    model = _model(wanted.path, wanted.object_up)
    anchor = _anchor(scene_dir, placed_at, wanted.at_px)
    placement = placement_of(wanted, "object", model, anchor, scene, placed_at)
    width = min(spec.width_px or WIDTH_PX, scene.working_wh[0])
    wh = (width, round(width * scene.working_wh[1] / scene.working_wh[0]))
    camera = scene.cameras.camera(frame).pinhole().scaled(wh)
    view = View(camera, (scene.cameras.pose(frame),))
    # One instance for each mesh, so that the picture says which material it shows.
    parts = tuple(Instance((mesh,), matrix(placement), i + 1) for i, mesh in enumerate(model.meshes))
    seen = _renderer().gbuffer(RenderScene(parts, _dark()), view)
    depth = cv2.resize(scene.depth.read(frame).depth, wh, interpolation=cv2.INTER_NEAREST)
    shown = (seen.object_id > 0) & ((depth == 0) | (seen.depth < 1.02 * depth))
    picture = reader.display(frame, wh).copy()
    picture[shown] = _shaded(seen, model, view)[shown]
    return picture


def _shaded(seen: GBuffer, model: Model, view: View) -> Array:
    """(H, W, 3) uint8: base colours under one fixed key and an even fill."""
    to_world = rigid.inverse(view.camera_from_world[0])[:3, :3]
    key = to_world @ (KEY * (1, -1, -1))
    light = 0.45 + 0.6 * np.maximum(seen.normal @ (key / np.linalg.norm(KEY)), 0)
    colour = np.zeros((*seen.depth.shape, 3))
    for i, mesh in enumerate(model.meshes):
        mine = seen.object_id == i + 1
        colour[mine] = mesh.material.base_color
        texture = mesh.material.base_texture
        if texture is not None:
            h, w = texture.shape[:2]
            u, v = np.moveaxis(seen.uv[mine], -1, 0)
            texels = texture[((v % 1) * h).astype(int) % h, ((u % 1) * w).astype(int) % w, :3]
            colour[mine] *= linear_from_srgb(texels)
    return (np.clip(srgb_from_linear(colour * light[..., None]), 0, 1) * 255).astype(np.uint8)


@lru_cache(maxsize=1)
def _renderer() -> Renderer:
    return make_renderer()


@lru_cache(maxsize=1)
def _dark() -> Environment:
    return Environment(np.zeros((4, 8, 3), np.float32))


@lru_cache(maxsize=2)
def _scene(folder: str) -> Scene4D:
    return load_delivered(Path(folder))


@lru_cache(maxsize=2)
def _clip(clip: Clip) -> ClipReader:
    return open_clip(clip.path, first_frame=clip.first_frame, last_frame=clip.last_frame, colorspace=clip.colorspace)


@lru_cache(maxsize=4)
def _model(path: str, up: str) -> Model:
    try:
        return load_model(path, up or None)
    except MeshError as error:
        raise InvalidRequest("object.path", "a mesh that can be rendered", str(error)) from error


@lru_cache(maxsize=64)
def _anchor(folder: str, frame: int, at_px: tuple[float, float]) -> Anchor:
    try:
        return guess_anchor(_scene(folder), frame, at_px)
    except ReconstructError as error:
        raise Unsolvable(f"object.at_px: {error.message}", error.hint) from error
