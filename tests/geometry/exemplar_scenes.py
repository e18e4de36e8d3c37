"""The street of ``blockout_scenes`` as if it were painted: bricks and stains fixed to the world, under one light."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from geometry.edges import KEY_LIGHT
from geometry.exemplar.painting import Seen
from geometry.guides import GuideSource
from geometry.mesh import srgb_from_linear
from geometry.scene import GBuffer
from tests.geometry.blockout_scenes import path, street

Array = np.ndarray
COLOURS = np.array([(150, 180, 215), (90, 120, 70), (190, 100, 70), (200, 190, 160), (50, 60, 110), (200, 50, 60)])
WH = (180, 120)
FINER = 2  # what is painted has 2 x 2 samples a pixel


def guides(wh: tuple[int, int] = WH) -> GuideSource:
    """The same lenses on any raster."""
    cameras = path(8, WH)
    return GuideSource(street, replace(cameras, cameras=tuple(lens.scaled(wh) for lens in cameras.cameras)), keep=4)


def painted(frame: int, wh: tuple[int, int] = WH) -> Array:
    """(H, W, 3) uint8: the truth, with smooth silhouettes."""
    fine = guides((wh[0] * FINER, wh[1] * FINER)).guides(frame).gbuffer
    return srgb_from_linear(cv2.resize(_radiance(fine), wh, interpolation=cv2.INTER_AREA))


def seen(source: GuideSource, frame: int) -> Seen:
    found = source.guides(frame)
    return Seen(found.gbuffer, found.albedo_id)


def _radiance(gbuffer: GBuffer) -> Array:
    x, y, z = np.moveaxis(gbuffer.position.astype(np.float64), -1, 0)
    nx, ny, nz = np.moveaxis(np.abs(gbuffer.normal), -1, 0)
    u = np.where(nx > nz, z, x)
    v = np.where(ny > 0.7, z, y)
    is_joint = ((u + 0.35 * (np.floor(v / 0.5) % 2)) % 0.7 < 0.07) | (v % 0.5 < 0.07)
    stains = np.sin(6 * u + 2 * np.sin(2.2 * v)) + np.sin(7.8 * v + 1.7 * np.sin(3.2 * u))
    texture = 1 + 0.08 * stains
    texture = np.where(np.isin(gbuffer.object_id, (2, 3)) & is_joint, 1.4, texture)
    texture = np.where(gbuffer.object_id == 0, 1.0, texture)
    colour = COLOURS[gbuffer.object_id] / 255
    light = 0.4 + 0.6 * np.maximum(gbuffer.normal @ KEY_LIGHT, 0)
    light = np.where(gbuffer.object_id > 0, light, 1)
    return np.clip((colour * texture[..., None]) ** 2.2 * light[..., None], 0, 1).astype(np.float32)
