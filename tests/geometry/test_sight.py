from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from geometry import rigid
from geometry.camera import Camera
from geometry.mesh import Material, Mesh
from geometry.render.base import Instance, RenderScene, View
from geometry.render.raycast import gbuffer as cast
from geometry.sight import look
from geometry.surface import Topology
from tests.geometry.blockout_scenes import block, path, street
from tests.geometry.render.shapes_for_render import ball, box, constant_light, instance, quad

LOOKING_DOWN_MINUS_Z = rigid.look_at((0, 0, 4), (0, 0, 0))


def sight_of(*instances, camera=None, pose=LOOKING_DOWN_MINUS_Z):
    return look(Topology.of(instances).posed(instances), camera or Camera(80, 80, 40, 30, (80, 60)), pose)


def test_a_square_at_known_place_covers_known_pixels():
    # Half axes of 1 at distance 4 with f = 80: 20 px to each side of (40, 30).
    sight = sight_of(instance(quad((0, 0, 0), (1, 0, 0), (0, 1, 0)), 7))
    seen = np.zeros((60, 80), bool)
    seen[10:50, 20:60] = True
    gbuffer = sight.gbuffer()
    assert np.array_equal(gbuffer.object_id, np.where(seen, 7, 0))
    assert gbuffer.depth[30, 40] == pytest.approx(4, abs=1e-6)
    assert gbuffer.position[10, 20] == pytest.approx((-0.975, 0.975, 0), abs=1e-6)
    assert gbuffer.uv[10, 20] == pytest.approx((0.0125, 0.9875), abs=1e-6)
    assert gbuffer.normal[30, 40] == pytest.approx((0, 0, 1), abs=1e-6)


def test_all_of_the_gbuffer_is_what_a_ray_caster_says():
    cameras = path(2, (200, 150))
    camera, pose = cameras.cameras[1], cameras.camera_from_world[1]
    found = look(Topology.of(street(3)).posed(street(3)), camera, pose).gbuffer()
    expected = cast(RenderScene(street(3), constant_light()), View(camera, (pose,)))
    same = found.object_id == expected.object_id
    assert same.mean() > 0.9995  # a ray through an edge may fall to either side
    for name, tolerance in (("depth", 2e-4), ("position", 2e-4), ("normal", 2e-3), ("uv", 1e-3)):
        error = np.abs(getattr(found, name)[same] - getattr(expected, name)[same])
        assert np.quantile(error, 0.999) < tolerance, name


def test_a_closed_surface_has_no_gaps():
    # A camera inside a ball of small faces: every pixel, at any sampling, sees one.
    sight = sight_of(instance(ball(3, 24)), pose=rigid.look_at((0.3, 0.1, 0.2), (1, 0.4, -2)))
    assert (sight.faces(3) >= 0).all()
    assert sight.seen_from_inside() == (1,)


def test_faces_that_reach_behind_the_camera_need_no_clipping():
    floor = instance(quad((0, -1, 0), (50, 0, 0), (0, 0, -50)))
    gbuffer = sight_of(floor).gbuffer()
    assert (gbuffer.object_id[31:] == 1).all()
    assert (gbuffer.object_id[:29] == 0).all()
    # The row's ray falls (y - 30) / 80 per unit of depth and the floor lies 1 below.
    assert gbuffer.depth[50, 5] == pytest.approx(80 / 20.5, rel=1e-6)


def test_of_faces_at_one_place_the_first_is_seen_everywhere():
    twice = (instance(quad((0, 0, 0), (1, 0, 0), (0, 1, 0)), 1), instance(quad((0.1, 0, 0), (1.1, 0, 0), (0, 1, 0)), 2))
    pose = rigid.look_at((1, 0.7, 4), (0, 0, 0))
    seen = sight_of(*twice, pose=pose).gbuffer().object_id
    alone = sight_of(twice[0], pose=pose).gbuffer().object_id
    assert (seen[alone == 1] == 1).all()


def test_holes_of_a_cut_out_texture_are_looked_through():
    texture = np.full((2, 2, 4), 255, np.uint8)
    texture[0, 0, 3] = 0  # the upper left quarter
    leaf = quad((0, 0, 1), (1, 0, 0), (0, 1, 0), Material(base_texture=texture, alpha_cutoff=0.5))
    ids = sight_of(instance(leaf, 1), instance(quad((0, 0, 0), (3, 0, 0), (0, 3, 0)), 2)).gbuffer().object_id
    assert ids[25, 35] == 2
    assert ids[25, 45] == ids[35, 35] == ids[35, 45] == 1


def test_normals_look_at_the_camera_from_both_sides_of_a_face():
    for right in ((1, 0, 0), (-1, 0, 0)):
        assert sight_of(instance(quad((0, 0, 0), right, (0, 1, 0)))).gbuffer().normal[30, 40, 2] == pytest.approx(1)


def test_a_box_that_is_turned_inside_out_is_not_round_a_camera_outside_it():
    faces_in = instance(replace(box(), faces=box().faces[:, ::-1]))
    assert sight_of(faces_in).seen_from_inside() == ()
    assert sight_of(instance(box()), pose=rigid.look_at((0.05, 0.1, 0.02), (0.4, 0.1, -1))).seen_from_inside() == (1,)


def test_an_open_sheet_has_no_inside():
    assert sight_of(instance(quad((0, 0, 0), (-1, 0, 0), (0, 1, 0)))).seen_from_inside() == ()
    assert sight_of(instance(box())).seen_from_inside() == ()


def test_materials_of_equal_look_share_an_albedo_id():
    red, also_red, blue = (Material(base_color=c) for c in ((1, 0, 0), (1, 0, 0), (0, 0, 1)))
    parts = [quad((x, 0, 0), (0.3, 0, 0), (0, 0.5, 0), m) for x, m in ((-0.7, red), (0, also_red), (0.7, blue))]
    albedo = sight_of(*(instance(part, k + 1) for k, part in enumerate(parts))).albedo_id()
    assert [albedo[30, x] for x in (26, 40, 54, 2)] == [1, 1, 2, 0]


def test_pieces_and_open_edges_of_a_topology():
    two = Mesh(
        np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [5, 0, 0], [6, 0, 0], [5, 1, 0.0]]),
        np.array([[0, 1, 2], [3, 5, 4], [6, 7, 8]], np.int32),
    )
    topology = Topology.of([instance(two)])
    # Faces 0 and 1 share the edge from (1, 0) to (0, 1), though not its vertices.
    assert topology.piece[0] == topology.piece[1] != topology.piece[2]
    assert topology.is_open.tolist() == [[False, True, True], [True, False, True], [True, True, True]]


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="at least one, got none"):
        Topology.of([])
    with pytest.raises(ValueError, match="expected 24 vertices at every time, got 4"):
        Topology.of([instance(box())]).posed([instance(quad((0, 0, 0), (1, 0, 0), (0, 1, 0)))])
    with pytest.raises(ValueError, match="expected a pinhole"):
        sight_of(instance(box()), camera=Camera(80, 80, 40, 30, (80, 60), (0.1, 0, 0, 0, 0)))


def test_a_large_mesh_stays_cheap():
    dense = Instance((ball(1, 160), block(1, 1, 1, 3, 0, 0)), np.eye(4), 1)  # 102,400 faces
    topology = Topology.of([dense])
    surface = topology.posed([dense])
    camera = Camera(600, 600, 320, 240, (640, 480))
    look(surface, camera, LOOKING_DOWN_MINUS_Z)
    start = time.process_time()
    look(surface, camera, LOOKING_DOWN_MINUS_Z)
    assert time.process_time() - start < 1.0
