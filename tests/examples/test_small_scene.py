"""The scene, its light, the camera moves and the hero."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from examples import small_scene
from examples.hero import HEIGHT_M, hero_object, write_hero_glb
from examples.truth import place_hero
from geometry import rigid
from geometry.mesh import load_model


def test_variants_differ_in_texture_only() -> None:
    textured, plain = small_scene.make_scene("textured"), small_scene.make_scene("plain")
    assert textured.names == plain.names
    wall = textured.object_id("back wall") - 1
    paints = [s.instances[wall].meshes[0].material.base_texture for s in (textured, plain)]
    contrast = [float(np.std(paint)) for paint in paints if paint is not None]
    assert contrast[0] > 2 * contrast[1]
    with pytest.raises(ValueError, match="variant: expected one of"):
        small_scene.make_scene("empty")


def test_everything_in_the_room_stands_on_or_above_the_yard() -> None:
    points = np.concatenate([m.vertices for i in small_scene.make_scene().instances for m in i.meshes])
    assert points[:, 1].min() == pytest.approx(-0.03)


def test_heading_is_counter_clockwise_from_minus_z() -> None:
    assert small_scene.heading(rigid.look_at((0, 1, 0), (0, 0.5, -1))) == pytest.approx(0)
    assert small_scene.heading(rigid.look_at((0, 1, 0), (-1, 1, 0))) == pytest.approx(np.pi / 2)


def test_the_sky_holds_the_sun_where_it_is_whatever_the_cut() -> None:
    for yaw in (0.0, 0.7):
        radiance = small_scene.sky(yaw, (256, 512)).radiance
        row, column = np.unravel_index(radiance.sum(-1).argmax(), radiance.shape[:2])
        elevation = np.pi * (0.5 - (row + 0.5) / 256)
        turn = yaw - 2 * np.pi * ((column + 0.5) / 512 - 0.5)  # counter-clockwise from -Z; columns run clockwise
        direction = [-np.cos(elevation) * np.sin(turn), np.sin(elevation), -np.cos(elevation) * np.cos(turn)]
        assert np.degrees(np.arccos(np.clip(direction @ small_scene.SUN_DIRECTION, -1, 1))) < 1


def test_the_suns_irradiance_is_what_it_says() -> None:
    bare = small_scene.sky(0.0, (512, 1024)).radiance.astype(np.float64)
    solid_angle = (np.pi / 512) * (2 * np.pi / 1024) * np.cos(np.pi * (0.5 - (np.arange(512) + 0.5) / 512))
    near = bare[..., 0] > 2  # the sun's disc, in red, which has its full strength
    total = (bare[..., 0] * near * solid_angle[:, None]).sum()
    assert total == pytest.approx(small_scene.SUN_IRRADIANCE, rel=0.05)


@pytest.mark.parametrize("kind", ["dolly", "arc", "handheld", "orbit"])
def test_paths_move_smoothly_and_keep_the_hero_in_view(kind: small_scene.PathKind) -> None:
    path = small_scene.camera_path(kind, 48, (320, 180))
    steps = np.linalg.norm(np.diff(path.centres, axis=0), axis=1)
    assert steps.min() > 0
    assert steps.max() < 3.5 * np.median(steps)
    px = np.array([path.camera(f).px_from_cam(rigid.transform(path.pose(f), small_scene.SPOT)) for f in path.frames])
    assert (px > 10).all()
    assert (px < (310, 170)).all()


def test_an_orbit_comes_back() -> None:
    path = small_scene.camera_path("orbit", 36, (64, 36))
    steps = np.linalg.norm(path.centres - np.roll(path.centres, 1, axis=0), axis=1)
    np.testing.assert_allclose(steps, steps[0])


def test_unknown_moves_and_single_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="kind: expected one of"):
        small_scene.camera_path("jump", 5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="n_frames: expected >= 2, got 1"):
        small_scene.camera_path("dolly", 1)


def test_the_hero_stands_on_its_base_centre() -> None:
    points = np.concatenate([mesh.vertices for mesh in hero_object()])
    lower, upper = points.min(0), points.max(0)
    np.testing.assert_allclose((lower + upper)[[0, 2]], 0, atol=1e-12)
    assert lower[1] == 0
    assert upper[1] == pytest.approx(HEIGHT_M)


def test_the_hero_file_is_the_hero(tmp_path: Path) -> None:
    model = load_model(write_hero_glb(tmp_path / "hero.glb"))
    parts = {part.name: part for part in hero_object()}
    assert sum(len(m.faces) for m in model.meshes) == sum(len(m.faces) for m in parts.values())
    points = np.concatenate([m.vertices for m in model.meshes])
    truth = np.concatenate([m.vertices for m in parts.values()])
    np.testing.assert_allclose(points.min(0), truth.min(0), atol=1e-6)
    np.testing.assert_allclose(points.max(0), truth.max(0), atol=1e-6)
    for mesh in model.meshes:
        wanted = parts[mesh.name].material
        np.testing.assert_allclose(mesh.material.base_color, wanted.base_color, atol=1e-6)
        assert (mesh.material.metallic, mesh.material.roughness) == (wanted.metallic, wanted.roughness)
        if wanted.base_texture is not None:
            np.testing.assert_array_equal(mesh.material.base_texture[..., :3], wanted.base_texture)  # type: ignore[index]


def test_placing_follows_the_command_lines_words() -> None:
    path = small_scene.camera_path("dolly", 8, (640, 360))
    hero = place_hero(path, frame=2, yaw_deg=0)
    base = small_scene.SPOT
    to_camera = path.centres[2] - base
    forward = hero.world_from_object[:3, 2]
    np.testing.assert_allclose(np.cross(forward, [to_camera[0], 0, to_camera[2]]), 0, atol=1e-12)
    assert forward @ to_camera > 0
    np.testing.assert_allclose(hero.at_px, path.camera(2).px_from_cam(rigid.transform(path.pose(2), base)))
    turned = place_hero(path, frame=2, yaw_deg=90).world_from_object
    # Counter-clockwise from above: +Z goes to where +X was.
    np.testing.assert_allclose(turned[:3, 2], hero.world_from_object[:3, 0], atol=1e-12)
