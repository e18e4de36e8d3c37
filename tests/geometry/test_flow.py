from __future__ import annotations

import numpy as np
import pytest

from geometry import rigid
from geometry.camera import Camera, pixel_centres
from geometry.flow import Flow, flow
from geometry.guides import GuideSource
from geometry.mesh import Mesh
from geometry.render.base import Instance
from geometry.sight import look
from geometry.surface import Topology
from geometry.trajectory import CameraPath
from tests.geometry.blockout_scenes import path, street, street_guides
from tests.geometry.render.shapes_for_render import ball, instance, quad


def brute_force_visible(points: np.ndarray, frame: int, camera: Camera, pose: np.ndarray) -> np.ndarray:
    """(N,) bool by casting a ray from the camera to each (N, 3) world point, stopping just before it."""
    import open3d

    o3d = open3d
    caster = o3d.t.geometry.RaycastingScene()
    for moved in street(frame):
        for mesh in moved.meshes:
            vertices = rigid.transform(moved.world_from_object, mesh.vertices).astype(np.float32)
            caster.add_triangles(o3d.core.Tensor(vertices), o3d.core.Tensor(mesh.faces.astype(np.uint32)))
    centre = rigid.inverse(pose)[:3, 3]
    rays = np.concatenate([np.broadcast_to(centre, points.shape), points - centre], 1).astype(np.float32)
    return ~caster.test_occlusions(o3d.core.Tensor(rays), tfar=0.999).numpy()


def moved_points(guides: GuideSource, a: int, b: int) -> np.ndarray:
    """(H, W, 3) where the point that each pixel of a shows is at b, by its object's rigid motion."""
    gbuffer = guides.guides(a).gbuffer
    out = np.zeros(gbuffer.position.shape)
    for before, after in zip(street(a), street(b), strict=True):
        b_from_a = after.world_from_object @ rigid.inverse(before.world_from_object)
        mine = gbuffer.object_id == before.object_id
        out[mine] = rigid.transform(b_from_a, gbuffer.position[mine].astype(np.float64))
    return out


@pytest.mark.parametrize(("a", "b"), [(0, 1), (5, 2), (0, 7)])
def test_flow_of_moving_things_under_a_moving_zooming_camera_is_exact(a: int, b: int):
    guides = street_guides()
    found = guides.flow(a, b)
    in_camera = rigid.transform(guides.cameras.pose(b), moved_points(guides, a, b))
    solid = guides.guides(a).gbuffer.object_id > 0
    expected = (guides.cameras.camera(b).px_from_cam(in_camera) - pixel_centres(guides.cameras.camera(a).wh))[solid]
    assert np.abs(found.dx_dy[solid] - expected).max() < 1e-3  # positions are float32
    assert np.abs(expected).mean() > 0.5


@pytest.mark.parametrize(("a", "b"), [(0, 1), (5, 2), (0, 7)])
def test_occlusion_is_what_rays_say(a: int, b: int):
    guides = street_guides()
    found, camera = guides.flow(a, b), guides.cameras.camera(b)
    solid = guides.guides(a).gbuffer.object_id > 0
    points = moved_points(guides, a, b)[solid]
    px = camera.px_from_cam(rigid.transform(guides.cameras.pose(b), points))
    inside = ((px >= 0) & (px < camera.wh)).all(1)
    expected = inside & brute_force_visible(points, b, camera, guides.cameras.pose(b))
    assert found.visible[solid][expected].mean() > 0.999
    # What a sliver hides that no sample of b meets counts as visible.
    hidden = inside & ~expected
    assert hidden.sum() > 100
    assert found.visible[solid][hidden].mean() < 0.1


def test_a_frame_does_not_move_against_itself():
    still = street_guides().flow(3, 3)
    assert still.visible.all()
    assert np.abs(still.dx_dy).max() < 1e-4


def test_there_and_back_again():
    guides = street_guides()
    there, back = guides.flow(1, 4), guides.flow(4, 1)
    h, w = there.visible.shape
    column, row = np.floor(there.target_px).astype(int).transpose(2, 0, 1)
    ids_a, ids_b = guides.guides(1).gbuffer.object_id, guides.guides(4).gbuffer.object_id
    column, row = column.clip(0, w - 1), row.clip(0, h - 1)
    same = there.visible & (ids_b[row, column] == ids_a) & back.visible[row, column]
    # The nearest pixel of b stands up to half a pixel aside, and a little more after the zoom.
    gap = back.dx_dy[row, column] + there.dx_dy
    assert same.mean() > 0.5
    assert np.quantile(np.abs(gap[same]), 0.99) < 0.2


def test_a_bending_sheet_carries_its_points():
    rest = np.array([[-2, -2, 0], [2, -2, 0], [2, 2, 0], [-2, 2, 0.0]])
    bend = np.array([[0, 0, 0], [0.4, 0.2, 1], [-0.2, 0.1, 0.3], [0, 0, 0.0]])
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)

    def sheet(frame: float) -> tuple[Instance, ...]:
        return (Instance((Mesh(rest + frame * bend, faces),), np.eye(4), 1),)

    camera, pose = Camera(50, 50, 32, 24, (64, 48)), rigid.look_at((0, 0, 6), (0, 0, 0))
    guides = GuideSource(sheet, CameraPath((0, 1), (camera, camera), np.stack([pose, pose])))
    found = guides.flow(0, 1)
    # Pixel (40, 30) shows (8.5, -6.5) / 50 * 6 = (1.02, -0.78, 0), in face 0: weights by hand.
    weights = np.array([(2 - 1.02) / 4, (1.02 + 0.78) / 4, (2 - 0.78) / 4])
    moved = weights @ (rest + bend)[faces[0]]
    expected = camera.px_from_cam(rigid.transform(pose, moved)) - (40.5, 30.5)
    assert found.dx_dy[30, 40] == pytest.approx(expected, abs=1e-4)


def test_sky_turns_with_the_camera_and_does_not_shift():
    ground = (instance(quad((0, -1, 0), (50, 0, 0), (0, 0, -50))),)
    camera = Camera(60, 60, 40, 30, (80, 60))
    turned = rigid.look_at((0, 0, 0), (0.2, 0.05, -1))
    poses = np.stack([rigid.look_at((0, 0, 0), (0, 0, -1)), rigid.look_at((3, 0, 1), (3, 0, 0)), turned])
    guides = GuideSource(lambda _: ground, CameraPath((0, 1, 2), (camera,) * 3, poses))
    sky = guides.guides(0).gbuffer.object_id == 0
    shifted, panned = guides.flow(0, 1), guides.flow(0, 2)
    assert np.abs(shifted.dx_dy[sky]).max() < 1e-4
    assert shifted.visible[sky].mean() > 0.98  # the horizon's last row may fall to the ground
    ray = turned[:3, :3] @ np.array([(20.5 - 40) / 60, -(10.5 - 30) / 60, -1])
    expected = np.array([60 * ray[0] / ray[2] + 40, 60 * ray[1] / ray[2] + 30]) - (20.5, 10.5)
    assert panned.dx_dy[10, 20] == pytest.approx(expected, abs=1e-4)


def test_what_comes_to_lie_behind_the_camera_is_not_visible():
    wall = (instance(quad((0, 0, 0), (9, 0, 0), (0, 9, 0))),)
    camera = Camera(60, 60, 40, 30, (80, 60))
    poses = np.stack([rigid.look_at((0, 0, 2), (0, 0, 0)), rigid.look_at((0, 0, -2), (0, 0, -4))])
    found = GuideSource(lambda _: wall, CameraPath((0, 1), (camera,) * 2, poses)).flow(0, 1)
    assert not found.visible.any()
    assert (found.dx_dy == 0).all()


def test_small_faces_do_not_hide_their_neighbours():
    dense = (instance(ball(1, 200)),)  # faces of half a pixel
    camera = Camera(60, 60, 40, 30, (80, 60))
    poses = np.stack([rigid.look_at((0.02 * i, 0, 3), (0, 0, 0)) for i in range(2)])
    guides = GuideSource(lambda _: dense, CameraPath((0, 1), (camera,) * 2, poses))
    gbuffer = guides.guides(0).gbuffer
    facing = gbuffer.normal[..., 2] > 0.3
    assert facing.sum() > 800
    assert guides.flow(0, 1).visible[facing].mean() > 0.999


def test_bad_input_is_named():
    one, other = (Topology.of([instance(ball(1, 4))]).posed([instance(ball(1, 4))]) for _ in range(2))
    cameras = path(1)
    sights = [look(surface, cameras.cameras[0], cameras.camera_from_world[0]) for surface in (one, other)]
    with pytest.raises(ValueError, match="same scene"):
        flow(*sights)
    with pytest.raises(ValueError, match="dx_dy"):
        Flow(np.zeros((2, 2, 2)), np.zeros((3, 2), bool))


def test_flow_of_some_pixels_is_that_of_all():
    guides = street_guides()
    whole, wanted = guides.flow(0, 3), np.zeros(guides.flow(0, 3).visible.shape, bool)
    wanted[20:50, 30:90] = True
    some = flow(guides.sight(0), guides.sight(3), wanted)
    assert np.array_equal(some.dx_dy, np.where(wanted[..., None], whole.dx_dy, 0))
    assert np.array_equal(some.visible, whole.visible & wanted)
    assert some.visible.any() and (whole.visible & ~wanted).any()
