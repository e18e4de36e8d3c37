import numpy as np
import pytest

from geometry import placement, rigid
from geometry.camera import Camera
from geometry.scene import Plane

CAMERA = Camera(500.0, 500.0, 320.0, 240.0, (640, 480))
FLOOR = Plane(np.array([0.0, 1.0, 0.0]), 0.0)
POSE = rigid.look_at((0, 1, 4), (0, 0, 0))
CENTRE = np.array([0.0, 1.0, 4.0])


def put(yaw_deg: float, base_centre=(0.0, 0.0, 0.0), scale: float = 2.0) -> np.ndarray:
    placed = placement.place(
        frame=0, anchor=np.zeros(3), support=FLOOR, camera_centre=CENTRE, yaw=np.radians(yaw_deg), scale=scale,
        base_centre=np.array(base_centre),
    )
    return placement.matrix(placed)


def test_yaw_zero_faces_the_camera_and_grows_counter_clockwise_from_above() -> None:
    front = np.array([0.0, 0.0, 1.0])
    np.testing.assert_allclose(rigid.transform(put(0), front), [0, 0, 2], atol=1e-12)
    # Seen from above (+X right, +Z towards the viewer's feet), +Z turned counter-clockwise by 90 degrees is +X.
    np.testing.assert_allclose(rigid.transform(put(90), front), [2, 0, 0], atol=1e-12)


def test_the_base_centre_lands_on_the_anchor_at_any_yaw() -> None:
    for yaw in (0, 33, 210):
        np.testing.assert_allclose(rigid.transform(put(yaw, (0.3, 1.0, -0.2)), np.array([0.3, 1, -0.2])), 0, atol=1e-12)


@pytest.mark.parametrize(
    ("slope_deg", "stands"),
    [(2.4, "upright"), (2.6, "flat"), (7.9, "flat"), (8.1, "upright"), (14, "upright"), (16, "flat")],
)
def test_objects_stand_upright_where_gravity_is_believed_else_flat_on_their_surface(
    slope_deg: float, stands: str
) -> None:
    normal = np.array([np.sin(np.radians(slope_deg)), np.cos(np.radians(slope_deg)), 0.0])
    up = placement.upright(Plane(normal, 0.0))
    np.testing.assert_allclose(up, normal if stands == "flat" else [0, 1, 0])


@pytest.mark.parametrize("height_px", [5.0, 80.0, 200.0])
def test_height_in_px_projects_back_to_itself(height_px: float) -> None:
    base, up = np.array([0.4, 0.0, -0.3]), np.array([0.0, 1.0, 0.0])
    height = placement.height_from_px(CAMERA, POSE, base, up, height_px)
    foot, top = (CAMERA.px_from_cam(rigid.transform(POSE, p)) for p in (base, base + height * up))
    assert np.linalg.norm(top - foot) == pytest.approx(height_px, abs=1e-6)


def test_height_that_no_object_can_have_is_refused() -> None:
    down = rigid.look_at((0, 4, 0), (0, 0, 0), up=(0, 0, -1))
    with pytest.raises(ValueError, match="height_px"):
        placement.height_from_px(CAMERA, down, np.zeros(3), np.array([0.0, 1, 0]), 50.0)


def test_a_camera_straight_above_has_no_yaw() -> None:
    with pytest.raises(ValueError, match="straight down"):
        placement.orientation(np.array([0.0, 1, 0]), np.zeros(3), np.array([0.0, 3, 0]), 0.0)
