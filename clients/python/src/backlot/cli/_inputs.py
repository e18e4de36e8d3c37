"""What is plainly wrong before any server is asked: inputs that are not there, an output that cannot be written."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from backlot._errors import InvalidRequest
from backlot._requests import Input, Request
from backlot._uploads import local_files

# Field paths of the server that have a flag of their own; the index of an object is cut out before looking here.
_FLAGS = {
    "path": "SCENE",
    "cameras_file": "--cameras",
    "width_px": "--size",
    "height_px": "--size",
    "rate": "--rate",
    "clip.path": "CLIP",
    "clip": "CLIP",
    "clip.range": "--range",
    "clip.first_frame": "--range",
    "clip.last_frame": "--range",
    "clip.colorspace": "--colorspace",
    "scene.cameras_file": "--cameras",
    "scene.scene_dir": "--scene",
    "scene.focal_mm": "--focal-mm",
    "scene.horizon": "--horizon",
    "scene.known_distance": "--known-distance",
    "known_distance.metres": "--known-distance",
    "scene.camera_height_m": "--camera-height-m",
    "scene.kind": "--kind",
    "scene.movers": "--mover",
    "scene.movers.at_px": "--mover",
    "scene.movers.frame": "--mover",
    "objects": "--object",
    "objects.path": "--object",
    "objects.at_px": "--at",
    "objects.frame": "--frame",
    "objects.height": "--height-m",
    "objects.height_m": "--height-m",
    "objects.height_px": "--height-px",
    "objects.scale": "--scale",
    "objects.yaw_deg": "--yaw",
    "objects.object_up": "--object-up",
    "objects.attach": "--attach",
    "lighting.hdri": "--hdri",
    "lighting.hdri_yaw_deg": "--hdri-yaw",
    "lighting.exposure_ev": "--exposure",
    "matching.shutter_deg": "--shutter-deg",
    "holdout": "--holdout",
    "backend": "--backend",
    "seed": "--seed",
    "shot.scene": "SCENE",
    "shot.camera": "--camera",
    "shot.cameras_file": "--camera",
    "shot.first_frame": "--range",
    "shot.last_frame": "--range",
    "shot.frames": "--frames",
    "shot.width_px": "--size",
    "shot.rate": "--rate",
    "shot.up_axis": "--up-axis",
    "shot.move": "--move",
    "shot.animation": "--animation",
    "style.reference": "--reference",
    "style.aligned_frame": "--aligned-frame",
    "style.regions.object": "--region",
    "style.regions.box": "--region",
    "style.prompt": "--prompt",
    "style.adapter": "--style-adapter",
    "anchors.frame": "--anchor",
    "anchors.picture": "--anchor",
    "anchors.redo": "--redo",
    "anchors_backend": "--anchors-backend",
    "inbetween_backend": "--inbetween-backend",
    "source.path": "SOURCE",
    "source.near": "--near",
    "source.far": "--far",
    "source.focal_mm": "--focal-mm",
    "source.alpha": "--alpha",
    "source.depth": "--depth",
    "source.depth_kind": "--depth-kind",
    "source.depth_white": "--depth-white",
    "source.horizon": "--horizon",
    "source.camera_height_m": "--camera-height-m",
    "source.generation.prompt": "--prompt",
    "source.generation.look": "--look",
    "source.generation.aspect": "--aspect",
    "source.generation.controls.kind": "--control",
    "source.generation.controls.picture": "--control",
    "source.generation.concepts.file": "--concept",
    "layers.count": "--layers",
    "layers.bands": "--band",
    "layers.things": "--click",
    "layers.things.name": "--click",
    "layers.things.clicks": "--click",
    "layers.things.box": "--box",
    "layers.outpaint": "--outpaint",
    "layers.separate": "--separate",
    "layers.inpaint": "--inpaint",
    "fluids.mask": "--fluid",
    "fluids.hints": "--hint",
    "fluids.layer": "--fluid-layer",
    "fluids.speed": "--speed",
    "fluids.video": "--fluid-video",
    "camera.move": "--move",
    "camera.cameras_file": "--camera",
    "camera.frames": "--frames",
    "camera.width_px": "--size",
    "camera.rate": "--rate",
    "camera.loop": "--loop",
    "camera.pivot_depth": "--pivot",
    "camera.overscan": "--overscan",
    "camera.focus": "--focus",
    "camera.aperture": "--aperture",
    "camera.shutter_deg": "--shutter",
    "camera.repaint": "--repaint",
    "codec": "--codec",
}


def flag_of(field: str) -> str:
    """The flag that sets a field of the request; the field itself when there is none."""
    return _FLAGS.get(re.sub(r"\[\d+\]", "", field), field)


def check_inputs(request: Request) -> None:
    """Raises ``InvalidRequest`` for the first input that is not there or cannot be read."""
    for field, source in request.inputs:
        _check_input(field, source)


def _check_input(field: str, source: Input) -> None:
    files = local_files(source)
    if not files:
        kind = "a folder with files" if Path(source.path).is_dir() else "an existing file or folder"
        raise _invalid(field, kind, repr(source.path))
    for file in files[:1]:
        if not os.access(file, os.R_OK):
            raise _invalid(field, "a readable file", repr(str(file)))
        if len(files) == 1 and file.stat().st_size == 0:
            raise _invalid(field, "a file with content", f"{str(file)!r}, which is empty")


def check_output(out_dir: str) -> None:
    """Makes the output folder, and raises ``InvalidRequest`` if files cannot be written into it."""
    try:
        os.makedirs(out_dir, exist_ok=True)
        with tempfile.TemporaryFile(dir=out_dir):
            pass
    except OSError as error:
        got = f"{out_dir!r} ({error.strerror})"
        raise InvalidRequest(f"--out: expected a folder that can be written, got {got}", field="--out") from error


def _invalid(field: str, expected: str, got: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: expected {expected}, got {got}", field=field)
