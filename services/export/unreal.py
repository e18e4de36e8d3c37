"""``import_unreal.py``: a script for Unreal's editor that places a Media Plate for each layer and the camera's path.

Unreal's world is in centimetres, left-handed: x forward, y right, z up. A Media Plate is flat, so that reliefs stand at
their median depth; ``scene.usda`` has their shape.
"""

from __future__ import annotations

import pprint
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from geometry import rigid
from geometry.frames import film_back_from_camera
from geometry.layers import LayerStack
from geometry.trajectory import CameraPath

Array = np.ndarray

CM = 100.0
UNREAL_FROM_SOURCE = np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]])  # axes; a mirroring one


def write_unreal(
    file: Path, stack: LayerStack, path: CameraPath, rate: Fraction, pictures: Sequence[str]
) -> None:
    """``pictures``: the layers' files as paths from the script's folder. ``path`` is in the source camera's world."""
    plates = [_plate(stack, i, picture) for i, picture in enumerate(pictures)]
    camera = _camera(path, rate)
    data = f"PLATES = {pprint.pformat(plates, width=110, sort_dicts=False)}\n\n"
    data += f"CAMERA = {pprint.pformat(camera, width=110, compact=True, sort_dicts=False)}\n"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(_SCRIPT.replace("DATA\n", data))


def _plate(stack: LayerStack, i: int, picture: str) -> dict[str, Any]:
    layer, camera = stack.layers[i], stack.camera
    (h, w), depth = layer.hw, layer.median_depth
    middle = camera.rays_from_px(np.array([layer.xy[0] + w / 2, layer.xy[1] + h / 2])) * depth
    return {
        "name": layer.name, "picture": picture, "pixels": [w, h], "depth_cm": _round(depth * CM),
        "location_cm": [_round(v) for v in UNREAL_FROM_SOURCE @ middle * CM],
        "size_cm": [_round(w / camera.fx * depth * CM), _round(h / camera.fy * depth * CM)],
    }  # fmt: skip


def _camera(path: CameraPath, rate: Fraction) -> dict[str, Any]:
    back = film_back_from_camera(path.cameras[0])
    keys = [
        [frame, *location_cm(pose), *rotator_deg(pose), _round(film_back_from_camera(lens).focal_mm)]
        for frame, pose, lens in zip(path.frames, path.camera_from_world, path.cameras, strict=True)
    ]
    return {
        "rate": [rate.numerator, rate.denominator], "sensor_mm": [_round(back.width_mm), _round(back.height_mm)],
        "keys": keys,  # frame, x, y, z, pitch, yaw, roll, focal length
    }


def location_cm(camera_from_world: Array) -> list[float]:
    return [_round(v) for v in UNREAL_FROM_SOURCE @ rigid.inverse(camera_from_world)[:3, 3] * CM]


def rotator_deg(camera_from_world: Array) -> list[float]:
    """Pitch (up), yaw (right) and roll (clockwise), applied in the order roll, pitch, yaw."""
    turned = camera_from_world[:3, :3].T
    yaw, pitch, roll = Rotation.from_matrix(turned).as_euler("YXZ", degrees=True)
    return [_round(pitch), _round(yaw), _round(roll)]


def _round(value: float) -> float:
    return round(float(value), 6)


_SCRIPT = '''"""Places the layers of a plate as Media Plates, and its camera. Made by Backlot.

In Unreal's editor (5.3 or newer; plug-ins Python Editor Script and Media Plate): Tools > Execute Python Script.
Pictures are copied into the project's Content/Movies. Reliefs stand flat at their median depth.
"""

import os
import re
import shutil

import unreal

FOLDER = "/Game/Backlot"
PLANE_CM = 100.0  # side of the plate's own mesh
DATA

def main():
    actors = unreal.get_editor_subsystem(unreal.EditorActorSubsystem)
    with unreal.ScopedEditorTransaction("Import plate"):
        for order, plate in enumerate(PLATES):
            place_plate(actors, order, plate)
        place_camera(actors)


def place_plate(actors, order, plate):
    """A Media Plate that shows a picture, facing the camera at the origin."""
    rotation = unreal.Rotator(roll=0.0, pitch=0.0, yaw=180.0)
    actor = actors.spawn_actor_from_class(unreal.MediaPlate, unreal.Vector(*plate["location_cm"]), rotation)
    actor.set_actor_label(plate["name"])
    width, height = plate["size_cm"]
    actor.set_actor_scale3d(unreal.Vector(1.0, width / PLANE_CM, height / PLANE_CM))
    component = actor.get_editor_property("media_plate_component")
    component.set_editor_property("is_aspect_ratio_auto", False)
    component.set_editor_property("auto_play", True)
    component.select_media_source_asset(media_source(order, plate))
    actor.get_editor_property("static_mesh_component").set_translucent_sort_priority(order)


def media_source(order, plate):
    """The picture as a sequence of one, in a folder of its own."""
    stem = re.sub("[^A-Za-z0-9]+", "_", plate["name"])
    name = "%02d_%s" % (order, stem)
    folder = os.path.join(unreal.Paths.convert_relative_path_to_full(unreal.Paths.project_content_dir()),
                          "Movies", "Backlot", name)
    os.makedirs(folder, exist_ok=True)
    shutil.copy(os.path.join(os.path.dirname(os.path.abspath(__file__)), plate["picture"]), folder)
    tools = unreal.AssetToolsHelpers.get_asset_tools()
    source = tools.create_asset(name, FOLDER, unreal.ImgMediaSource, None)
    source.set_sequence_path(folder)
    unreal.EditorAssetLibrary.save_loaded_asset(source)
    return source


def place_camera(actors):
    """A CineCamera with the path in a level sequence."""
    camera = actors.spawn_actor_from_class(unreal.CineCameraActor, unreal.Vector(*CAMERA["keys"][0][1:4]))
    camera.set_actor_label("Backlot camera")
    lens = camera.get_cine_camera_component()
    filmback = lens.get_editor_property("filmback")
    filmback.set_editor_property("sensor_width", CAMERA["sensor_mm"][0])
    filmback.set_editor_property("sensor_height", CAMERA["sensor_mm"][1])
    lens.set_editor_property("filmback", filmback)
    lens.set_current_focal_length(CAMERA["keys"][0][7])
    tools = unreal.AssetToolsHelpers.get_asset_tools()
    sequence = tools.create_asset("Shot", FOLDER, unreal.LevelSequence, unreal.LevelSequenceFactoryNew())
    sequence.set_display_rate(unreal.FrameRate(*CAMERA["rate"]))
    sequence.set_playback_start(CAMERA["keys"][0][0])
    sequence.set_playback_end(CAMERA["keys"][-1][0] + 1)
    section = section_of(sequence.add_possessable(camera), unreal.MovieScene3DTransformTrack)
    add_keys(section.get_all_channels(), [(0, 1), (1, 2), (2, 3), (3, 6), (4, 4), (5, 5)])
    focal = sequence.add_possessable(lens).add_track(unreal.MovieSceneFloatTrack)
    focal.set_property_name_and_path("CurrentFocalLength", "CurrentFocalLength")
    section = focal.add_section()
    section.set_range(CAMERA["keys"][0][0], CAMERA["keys"][-1][0] + 1)
    add_keys(section.get_all_channels(), [(0, 7)])
    unreal.EditorAssetLibrary.save_loaded_asset(sequence)


def section_of(binding, kind):
    section = binding.add_track(kind).add_section()
    section.set_range(CAMERA["keys"][0][0], CAMERA["keys"][-1][0] + 1)
    return section


def add_keys(channels, columns):
    """Channels of a transform: location x, y, z, then roll, pitch, yaw."""
    for channel, column in columns:
        for key in CAMERA["keys"]:
            channels[channel].add_key(unreal.FrameNumber(key[0]), key[column])


main()
'''
