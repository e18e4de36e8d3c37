"""What every backend's G-buffer must show, against analytic geometry."""

from __future__ import annotations

import numpy as np
import pytest

from geometry import rigid
from geometry.camera import Camera, pixel_centres
from geometry.mesh import Material
from geometry.render.base import RenderScene, View
from tests.geometry.render.shapes_for_render import at, ball, box, constant_light, instance, quad

CAMERA = Camera(70.0, 80.0, 30.0, 28.0, (64, 48))  # off-centre, pixels not square


def scene(*instances):
    return RenderScene(tuple(instances), constant_light())


def test_plane_depth_is_that_of_its_equation(any_renderer):
    pose = rigid.look_at((0.3, 2.0, 3.0), (0, 0, 0))
    ground = quad((0, 0, 0), (50, 0, 0), (0, 0, -50))
    seen = any_renderer.gbuffer(scene(instance(ground, 3)), View(CAMERA, (pose,)))
    rays = CAMERA.rays_from_px(pixel_centres(CAMERA.wh)) @ pose[:3, :3]
    expected = -2.0 / rays[..., 1]
    hit = (expected > 0) & (expected < 40)
    assert hit.mean() > 0.9
    np.testing.assert_allclose(seen.depth[hit], expected[hit], rtol=1e-5)
    np.testing.assert_allclose(seen.normal[hit], np.broadcast_to([0, 1, 0], (hit.sum(), 3)), atol=1e-6)
    assert (seen.object_id[hit] == 3).all()


def test_sphere_depth_and_normals(any_renderer):
    pose = rigid.look_at((0, 0, 4.0), (0, 0, 0))
    seen = any_renderer.gbuffer(scene(instance(ball(1.0), 2)), View(CAMERA, (pose,)))
    rays = CAMERA.rays_from_px(pixel_centres(CAMERA.wh))
    a, b, c = (rays**2).sum(-1), -2 * rays[..., 2] * 4.0, 15.0
    inside = b**2 - 4 * a * c > 0.5  # not the silhouette, where facets differ from the sphere
    expected = (-b - np.sqrt(np.maximum(b**2 - 4 * a * c, 0))) / (2 * a)
    np.testing.assert_allclose(seen.depth[inside], expected[inside], atol=4e-3)
    np.testing.assert_allclose(seen.normal[inside], seen.position[inside], atol=5e-3)  # of a unit ball


def test_nothing_is_zero(any_renderer):
    seen = any_renderer.gbuffer(scene(instance(box(0.2), 1)), View(CAMERA, (rigid.look_at((0, 0, 5), (0, 0, 0)),)))
    for name in ("depth", "normal", "position", "object_id", "uv"):
        assert not getattr(seen, name)[0, 0].any(), name


def test_position_reprojects_onto_its_pixel(any_renderer):
    camera = CAMERA.overscanned(5)
    pose = rigid.look_at((0.5, 1.0, 3.0), (0, 0, 0))
    seen = any_renderer.gbuffer(scene(instance(box(0.6), 1)), View(camera, (pose,)))
    mask = seen.object_id == 1
    px = camera.px_from_cam(rigid.transform(pose, seen.position[mask].astype(float)))
    assert mask.sum() > 100
    assert np.abs(px - pixel_centres(camera.wh)[mask]).max() < 0.01


def test_nearer_instance_hides_the_farther_and_scale_counts(any_renderer):
    pose = rigid.look_at((0, 0, 5), (0, 0, 0))
    half_size = at(0, 0, 2.0) @ np.diag([0.5, 0.5, 0.5, 1.0])
    seen = any_renderer.gbuffer(scene(instance(box(1.0), 1), instance(box(0.5), 2, half_size)), View(CAMERA, (pose,)))
    assert seen.object_id[28, 30] == 2
    assert seen.depth[28, 30] == pytest.approx(5 - 2.25, abs=1e-5)
    assert set(np.unique(seen.object_id)) == {0, 1, 2}


def test_uv_runs_right_and_up(any_renderer):
    camera = Camera(64.0, 64.0, 32.0, 32.0, (64, 64))
    wall = quad((0, 0, 0), (1, 0, 0), (0, 1, 0))  # faces +z; fills the picture of a camera 2 away
    seen = any_renderer.gbuffer(scene(instance(wall)), View(camera, (rigid.look_at((0, 0, 2.0), (0, 0, 0)),)))
    np.testing.assert_allclose(seen.uv[0, 0], [0.5 / 64, 1 - 0.5 / 64], atol=1e-5)
    np.testing.assert_allclose(seen.uv[63, 16], [16.5 / 64, 0.5 / 64], atol=1e-5)


def test_holes_of_a_cut_out_texture_show_what_is_behind(any_renderer):
    camera = Camera(64.0, 64.0, 32.0, 32.0, (64, 64))
    texture = np.full((2, 2, 4), 255, np.uint8)
    texture[0, :, 3] = 0  # the upper half is a hole
    leaf = Material(base_texture=texture, alpha_cutoff=0.5)
    front, back = quad((0, 0, 0), (1, 0, 0), (0, 1, 0), leaf), quad((0, 0, -1), (4, 0, 0), (0, 4, 0))
    view = View(camera, (rigid.look_at((0, 0, 2.0), (0, 0, 0)),))
    seen = any_renderer.gbuffer(scene(instance(front, 1), instance(back, 2)), view)
    assert (seen.object_id[:31] == 2).all()
    assert (seen.object_id[33:] == 1).all()


def test_normals_face_the_camera_on_both_sides(any_renderer):
    wall = quad((0, 0, 0), (3, 0, 0), (0, 3, 0))
    for side in (2.0, -2.0):
        view = View(CAMERA, (rigid.look_at((0, 0, side), (0, 0, 0)),))
        seen = any_renderer.gbuffer(scene(instance(wall)), view)
        assert seen.normal[24, 32, 2] == pytest.approx(np.sign(side))
