import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from geometry import rigid

seeds = st.integers(0, 2**32 - 1)


def random_motion(rng: np.random.Generator, angle: float = 2.0) -> np.ndarray:
    axis = rng.normal(size=3)
    rotation = Rotation.from_rotvec(axis / np.linalg.norm(axis) * angle).as_matrix()
    return rigid.rigid(rotation, rng.normal(size=3))


@given(seeds, st.sampled_from([0.0, 1e-7, 1.0, np.pi - 1e-7]))
def test_group_axioms(seed: int, angle: float) -> None:
    rng = np.random.default_rng(seed)
    a, b, c = (random_motion(rng, angle) for _ in range(3))
    np.testing.assert_allclose((a @ b) @ c, a @ (b @ c), atol=1e-12)
    np.testing.assert_allclose(rigid.inverse(a) @ a, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(rigid.inverse(a @ b), rigid.inverse(b) @ rigid.inverse(a), atol=1e-12)


@given(seeds, st.sampled_from([1e-7, 1.0, np.pi - 1e-7]))
def test_quaternion_round_trip(seed: int, angle: float) -> None:
    motion = random_motion(np.random.default_rng(seed), angle)
    back = rigid.from_quaternion(rigid.quaternion(motion), motion[:3, 3])
    np.testing.assert_allclose(back, motion, atol=1e-12)
    assert rigid.rotation_angle(motion) == pytest.approx(angle, abs=1e-9)


def test_quaternion_is_wxyz() -> None:
    quarter_turn_about_z = np.array([np.sqrt(0.5), 0, 0, np.sqrt(0.5)])
    motion = rigid.from_quaternion(quarter_turn_about_z, np.zeros(3))
    np.testing.assert_allclose(rigid.transform(motion, np.array([1.0, 0, 0])), [0, 1, 0], atol=1e-15)


def test_look_at_uses_opencv_axes() -> None:
    # From 5 m in front of the origin: the origin is 5 m ahead, world up is up (-y), world +X is right.
    pose = rigid.look_at((0, 0, 5), (0, 0, 0))
    np.testing.assert_allclose(rigid.transform(pose, np.array([0.0, 0, 0])), [0, 0, 5], atol=1e-12)
    np.testing.assert_allclose(rigid.transform(pose, np.array([1.0, 2, 0])), [1, -2, 5], atol=1e-12)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)


def test_look_at_refuses_a_view_along_up() -> None:
    with pytest.raises(ValueError, match="parallel to up"):
        rigid.look_at((0, 5, 0), (0, 0, 0))


@given(seeds)
def test_rotation_between_turns_one_direction_into_the_other(seed: int) -> None:
    a, b = np.random.default_rng(seed).normal(size=(2, 3))
    for target in (b, a, -a):
        turned = rigid.rotation_between(a, target) @ a / np.linalg.norm(a)
        np.testing.assert_allclose(turned, target / np.linalg.norm(target), atol=1e-9)


def test_interpolated_camera_centre_moves_on_a_line() -> None:
    a = rigid.look_at((0, 1, 5), (0, 0, 0))
    b = rigid.look_at((2, 1, 5), (0, 0, 0))
    middle = rigid.interpolate(a, b, 0.5)
    np.testing.assert_allclose(rigid.inverse(middle)[:3, 3], [1, 1, 5], atol=1e-12)
    np.testing.assert_allclose(rigid.interpolate(a, b, 0.0), a, atol=1e-12)
    np.testing.assert_allclose(rigid.interpolate(a, b, 1.0), b, atol=1e-12)


@given(seeds, st.floats(0.1, 10))
def test_align_similarity_recovers_the_similarity(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    source = rng.normal(size=(12, 3))
    motion = random_motion(rng)
    target = rigid.transform(motion, scale * source)
    got_scale, got = rigid.align_similarity(source, target)
    assert got_scale == pytest.approx(scale)
    np.testing.assert_allclose(got, motion, atol=1e-9)


def test_align_similarity_needs_three_points() -> None:
    with pytest.raises(ValueError, match="at least 3 points, got 2"):
        rigid.align_similarity(np.zeros((2, 3)), np.zeros((2, 3)))
