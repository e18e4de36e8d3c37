"""Stages of a shot whose camera only turns: the ground is all the depth there is."""

from __future__ import annotations

import numpy as np

from geometry import rigid
from geometry.camera import Camera
from geometry.reconstruct.depth.estimate import DepthFolder
from geometry.reconstruct.motion.masks import MotionFolder
from geometry.scene import Plane, SparsePoints
from geometry.trajectory import CameraPath
from services.pipelines.context import Artifact
from services.pipelines.scene_folder import MESH, MOTION, load_ply, save_cameras
from services.pipelines.stages.estimate_depth import DepthConfig, estimate_depth
from services.pipelines.stages.fuse_mesh import FuseConfig, fuse_mesh

LENS = Camera(100, 100, 50, 40, (100, 80))


def test_a_pan_gets_its_grounds_depth_at_once_and_a_quad(tmp_path):
    poses = np.stack([rigid.look_at((0, 1, 0), (x, 0.6, -1)) for x in (0.0, 0.1, 0.2)])
    folders = {name: tmp_path / name for name in ("cameras", "motion", "depth", "mesh")}
    for folder in folders.values():
        folder.mkdir()
    nothing = SparsePoints(np.zeros((0, 3)), np.zeros(0), np.zeros(0))
    save_cameras(folders["cameras"], CameraPath((4, 5, 6), (LENS,) * 3, poses), nothing, (100, 80),
                 Plane(np.array([0.0, 1.0, 0.0]), 0.0), {"kind": "pan"})
    labels = np.zeros((80, 100), np.uint8)
    labels[50:, 40:60] = 3
    for frame in (4, 5, 6):
        MotionFolder(folders["motion"] / MOTION).write(frame, labels)
    cameras, motion = (Artifact("0" * 64, folders[name]) for name in ("cameras", "motion"))
    done = []
    estimate_depth(out=folders["depth"], config=DepthConfig(0), report=lambda n, total: done.append((n, total)),
                   clip=None, cameras=cameras, motion=motion)
    found = DepthFolder(folders["depth"]).read(5)
    assert done == [(1, 3), (2, 3), (3, 3)]
    assert (found.depth[labels > 0] == 0).all() and found.depth[79, 5] > 1
    assert found.confidence.max() < 0.21
    fuse_mesh(out=folders["mesh"], config=FuseConfig(), report=lambda *_: None, cameras=cameras,
              depth=Artifact("0" * 64, folders["depth"]), motion=motion)
    mesh = load_ply(folders["mesh"] / MESH)
    assert len(mesh.faces) == 2 and np.abs(mesh.vertices[:, 1]).max() < 1e-6
