import numpy as np
import pytest

from geometry import rigid
from geometry.camera import Camera
from geometry.trajectory import CameraPath

CAMERA = Camera(100.0, 100.0, 32.0, 24.0, (64, 48))


def path(frames: tuple[int, ...] = (3, 4, 6)) -> CameraPath:
    poses = np.stack([rigid.look_at((float(f), 1.0, 5.0), (float(f), 0.0, 0.0)) for f in frames])
    return CameraPath(frames, (CAMERA,) * len(frames), poses)


def test_frames_are_looked_up_by_their_number() -> None:
    p = path()
    assert 4 in p
    assert 5 not in p
    np.testing.assert_allclose(p.centres[p.index(6)], [6, 1, 5], atol=1e-12)
    with pytest.raises(KeyError, match="frame 5 has no camera"):
        p.pose(5)


@pytest.mark.parametrize(("time", "x"), [(3.0, 3.0), (3.25, 3.25), (5.0, 5.0), (2.5, 2.5), (6.5, 6.5)])
def test_pose_between_frames_follows_the_move_and_goes_on_at_the_ends(time: float, x: float) -> None:
    centre = rigid.inverse(path().pose_between(time))[:3, 3]
    np.testing.assert_allclose(centre, [x, 1, 5], atol=1e-12)


def test_a_world_change_keeps_every_picture() -> None:
    p = path()
    new_from_old = rigid.rigid(rigid.rotation_between((0, 1, 0), (1, 1, 1)), np.array([1.0, 2, 3]))
    moved = p.in_world(new_from_old, scale=2.5)
    point = np.array([3.2, 0.1, 1.0])
    new_point = rigid.transform(new_from_old, 2.5 * point)
    for frame in p.frames:
        before = CAMERA.px_from_cam(rigid.transform(p.pose(frame), point))
        after = CAMERA.px_from_cam(rigid.transform(moved.pose(frame), new_point))
        np.testing.assert_allclose(after, before, atol=1e-9)


def test_wrong_counts_and_order_are_refused() -> None:
    with pytest.raises(ValueError, match="cameras: expected 3, got 1"):
        CameraPath((1, 2, 3), (CAMERA,), path().camera_from_world)
    with pytest.raises(ValueError, match="ascending"):
        CameraPath((3, 2, 6), (CAMERA,) * 3, path().camera_from_world)
    with pytest.raises(ValueError, match=r"camera_from_world: expected shape \(2, 4, 4\)"):
        CameraPath((1, 2), (CAMERA,) * 2, path().camera_from_world)
