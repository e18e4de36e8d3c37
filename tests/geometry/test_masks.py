"""Visibility against scenes whose occluders are known, with the depth errors of a real reconstruction."""

import time

import cv2
import numpy as np
import pytest

from geometry import rigid
from geometry.camera import Camera
from geometry.masks import (
    Contact,
    Evidence,
    MaskFrame,
    closed_form_alpha,
    depth_evidence,
    holdout,
    stabilise,
    visibility,
    visibility_from_evidence,
)
from geometry.scene import DepthMap, Plane

H, W = 240, 320


def _paint(seed, base, hw=(H, W), amplitude=40.0):
    rng = np.random.default_rng(seed)
    h, w = hw
    layers = [
        cv2.resize(rng.standard_normal((h // s, w // s, 3)), (w, h), interpolation=cv2.INTER_CUBIC) * share
        for s, share in ((40, 0.6), (10, 0.4), (3, 0.3))
    ]
    return np.clip(np.array(base) + amplitude * sum(layers), 0, 255)


def _occluders(shift_px=0.0, hw=(H, W), scale=1.0):
    """(H, W) coverage of a wavy post, a disc and a slanting 3 px rod; antialiased."""
    ss = 4
    y, x = np.mgrid[0 : hw[0] * ss, 0 : hw[1] * ss] / (ss * scale)
    x = x - shift_px
    post = (x > 110) & (x < 130 + 8 * np.sin(y / 15))
    disc = np.hypot(x - 200, y - 140) < 25
    rod = (np.abs(x - 160 - 0.2 * (y - 100)) < 1.5) & (y < 170)
    return cv2.resize((post | disc | rod).astype(np.float32), hw[::-1], interpolation=cv2.INTER_AREA)


def _plate(coverage, seed=0, background=5):
    rng = np.random.default_rng(seed)
    hw = coverage.shape
    mixed = _paint(background, (120, 110, 100), hw) * (1 - coverage[..., None])
    mixed += _paint(6, (60, 80, 140), hw) * coverage[..., None]
    return np.clip(mixed + 2.5 * rng.standard_normal(mixed.shape), 0, 255).astype(np.uint8)


def _measured_depth(coverage, seed=1):
    """Occluder at 2, background at 4: contours off by up to ~5 px, 2 % noise, 3 % outliers, unknown patches."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:H, 0:W].astype(np.float32)
    wobble = [cv2.resize(rng.standard_normal((H // 12, W // 12)).astype(np.float32), (W, H)) * 2.5 for _ in range(2)]
    steps = np.where(coverage > 0.5, 2.0, 4.0).astype(np.float32)
    depth = cv2.remap(steps, x + wobble[0], y + wobble[1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    depth *= np.exp(0.02 * rng.standard_normal((H, W)))
    wild = rng.random((H, W)) < 0.03
    depth[wild] *= rng.uniform(0.4, 1.5, wild.sum())
    confidence = np.full((H, W), 0.8, np.float32)
    unknown = cv2.resize(rng.standard_normal((H // 20, W // 20)).astype(np.float32), (W, H)) > 1
    depth[unknown], confidence[unknown] = 0, 0
    return DepthMap(depth, confidence)


def _object(hw=(H, W), scale=1.0):
    """(depth, alpha) of an ellipse at depth 3."""
    alpha = np.zeros(hw, np.float32)
    centre, axes = (int(160 * scale), int(125 * scale)), (int(70 * scale), int(80 * scale))
    cv2.ellipse(alpha, centre, axes, 0, 0, 360, 1.0, -1, cv2.LINE_AA)
    return np.where(alpha > 0, 3.0, 0).astype(np.float32), alpha


def _jaccard(a, b):
    return (a & b).sum() / (a | b).sum()


def _contour_error_px(got, truth, inside):
    """95th percentile distance from the found contour to the true one, well inside the object."""

    def contour(mask):
        return (cv2.dilate(mask.astype(np.uint8), np.ones((3, 3))) > 0) & ~mask

    core = cv2.erode(inside.astype(np.uint8), np.ones((13, 13))) > 0
    away = cv2.distanceTransform((~contour(truth)).astype(np.uint8), cv2.DIST_L2, 5)
    return np.percentile(away[contour(got) & core], [50, 95])


def test_noisy_depth_still_gives_the_true_silhouette():
    coverage = _occluders()
    depth, alpha = _object()
    visible = visibility(depth, alpha, _measured_depth(coverage), _plate(coverage))
    truth = alpha * (1 - coverage)
    assert _jaccard(alpha * visible > 0.5, truth > 0.5) > 0.96
    median, worst = _contour_error_px(visible < 0.5, coverage > 0.5, alpha > 0.5)
    assert median <= 1.0 and worst <= 4.0


def test_contours_snap_to_the_picture_when_only_the_contour_of_depth_is_wrong():
    coverage = _occluders()
    fat = cv2.dilate((coverage > 0.5).astype(np.uint8), np.ones((5, 5))) > 0
    scene = DepthMap(np.where(fat, 2.0, 4.0).astype(np.float32), np.full((H, W), 0.9, np.float32))
    depth, alpha = _object()
    visible = visibility(depth, alpha, scene, _plate(coverage))
    median, worst = _contour_error_px(visible < 0.5, coverage > 0.5, alpha > 0.5)
    assert median <= 1.0 and worst <= 2.0
    assert np.abs(alpha * (visible - (1 - coverage))).sum() / alpha.sum() < 0.025


def test_plate_raster_larger_than_the_working_raster():
    scale = 3
    coverage = _occluders()
    large = _occluders(hw=(H * scale, W * scale), scale=scale)
    depth, alpha = _object((H * scale, W * scale), scale)
    scene = DepthMap(np.where(coverage > 0.5, 2.0, 4.0).astype(np.float32), np.full((H, W), 0.9, np.float32))
    visible = visibility(depth, alpha, scene, _plate(large))
    assert visible.shape == (H * scale, W * scale)
    assert _jaccard(alpha * visible > 0.5, alpha * (1 - large) > 0.5) > 0.97
    median, _ = _contour_error_px(visible < 0.5, large > 0.5, alpha > 0.5)
    assert median <= 1.5


def _standing(noise, seed=0, confidence=0.6):
    """A ball on a floor seen from above: (object depth, alpha, scene, contact)."""
    rng = np.random.default_rng(seed)
    camera = Camera(300, 300, W / 2, H / 2, (W, H))
    pose = rigid.look_at((0, 1.2, 2.0), (0, 0.1, 0))
    floor = Plane(np.array([0.0, 1, 0]), 0.0)
    y, x = np.mgrid[0:H, 0:W] + 0.5
    rays = camera.rays_from_px(np.stack([x, y], -1))
    origin, towards = rigid.inverse(pose)[:3, 3], rays @ pose[:3, :3]
    floor_depth = np.where(towards[..., 1] < 0, floor.intersect(origin, towards), 20.0)
    to_centre, radius = np.array([0, 0.25, 0]) - origin, 0.25
    a, b = (towards**2).sum(-1), towards @ to_centre
    root = b**2 - a * (to_centre @ to_centre - radius**2)
    ball_depth = np.where(root > 0, (b - np.sqrt(np.maximum(root, 0))) / a, 0).astype(np.float32)
    # Errors of a flow-based depth: smooth, several pixels wide, and biased towards the camera.
    error = cv2.GaussianBlur(rng.standard_normal((H, W)), (0, 0), 6)
    measured = floor_depth * np.exp(noise * (error / error.std() - 0.5))
    scene = DepthMap(measured.astype(np.float32), np.full((H, W), confidence, np.float32))
    return ball_depth, (ball_depth > 0).astype(np.float32), scene, Contact(floor, camera, pose)


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.04])
def test_ground_noise_does_not_eat_what_stands_on_it(noise):
    depth, alpha, scene, contact = _standing(noise)
    plate = _paint(3, (128, 128, 128)).astype(np.uint8)
    visible = visibility(depth, alpha, scene, plate, contact=contact)
    assert visible[alpha > 0].min() > 0.9


def test_a_low_box_in_front_still_hides_the_foot():
    depth, alpha, scene, contact = _standing(0.01, confidence=0.85)
    rows = np.flatnonzero(alpha.any(1))
    foot = slice(rows[-1] - 16, rows[-1] + 8)
    box = np.zeros((H, W), bool)
    box[foot, W // 2 - 20 : W // 2 + 20] = True
    nearer = np.where(box, depth.max() * 0.82, scene.depth).astype(np.float32)
    plate = np.where(box[..., None], (40, 60, 170), (150, 140, 120)).astype(np.uint8)
    visible = visibility(depth, alpha, DepthMap(nearer, scene.confidence), plate, contact=contact)
    assert visible[box & (alpha > 0)].mean() < 0.1
    assert visible[~box & (alpha > 0)].mean() > 0.95


def test_unconfident_or_unknown_depth_does_not_hide():
    depth, alpha = _object()
    plate = _paint(3, (128, 128, 128)).astype(np.uint8)
    near = np.full((H, W), 1.5, np.float32)
    assert visibility(depth, alpha, DepthMap(near, np.full((H, W), 0.1, np.float32)), plate).min() == 1
    assert visibility(depth, alpha, DepthMap(np.zeros_like(near), np.ones_like(near)), plate).min() == 1
    sure = visibility(depth, alpha, DepthMap(near, np.full((H, W), 0.8, np.float32)), plate)
    assert sure[alpha > 0].max() == 0


def test_unknown_patch_inside_an_occluder_takes_its_side():
    depth, alpha = _object()
    coverage = np.zeros((H, W), np.float32)
    coverage[:, 130:190] = 1
    plate = np.where(coverage[..., None] > 0, (40, 60, 170), (170, 150, 90)).astype(np.uint8)
    scene_depth = np.where(coverage > 0, 2.0, 4.0).astype(np.float32)
    scene_depth[100:140, 140:180] = 0
    visible = visibility(depth, alpha, DepthMap(scene_depth, np.full((H, W), 0.9, np.float32)), plate)
    assert visible[100:140, 140:180].max() < 0.05


def test_speckles_go_and_holes_are_filled():
    depth, alpha = _object()
    scene_depth = np.full((H, W), 4.0, np.float32)
    scene_depth[120:123, 150:153] = 2.0
    plate = _paint(3, (128, 128, 128)).astype(np.uint8)
    assert visibility(depth, alpha, DepthMap(scene_depth, np.full((H, W), 0.9, np.float32)), plate).min() == 1


def test_no_object_in_the_frame():
    plate = np.zeros((H, W, 3), np.uint8)
    empty = np.zeros((H, W), np.float32)
    scene = DepthMap(np.ones((H, W), np.float32), np.ones((H, W), np.float32))
    assert (visibility(empty, empty, scene, plate) == 1).all()


def test_matting_recovers_a_linear_ramp_between_two_colours():
    truth = np.clip((np.arange(40) - 15) / 10, 0, 1)[None].repeat(20, 0)
    image = truth[..., None] * np.array([0.9, 0.2, 0.1]) + (1 - truth[..., None]) * np.array([0.1, 0.3, 0.8])
    unknown = np.zeros((20, 40), bool)
    unknown[:, 12:28] = True
    alpha = closed_form_alpha(image, (truth > 0.5).astype(float), unknown, prior=np.full((20, 40), 0.5),
                              prior_weight=1e-5, epsilon=1e-6)  # fmt: skip
    np.testing.assert_allclose(alpha, truth, atol=0.03)


def _clip(bad=()):
    """Five frames of occluders moving 3 px a frame before a still background; frames in ``bad`` have useless depth."""
    for number in range(5):
        coverage = _occluders(shift_px=3.0 * number)
        plate = _plate(coverage, seed=number)
        depth, alpha = _object()
        scene = _measured_depth(coverage, seed=10 + number)
        if number in bad:
            scene = DepthMap(scene.depth, np.where(np.arange(W) < 150, 0, scene.confidence).astype(np.float32))
        yield MaskFrame(number, plate, depth_evidence(depth, alpha, scene)), alpha * (1 - coverage)


def test_neighbours_carry_a_frame_whose_depth_failed():
    frames, truths = zip(*_clip(bad=(2,)), strict=True)
    _, alpha = _object()

    def scores(sequence):
        masks = [alpha * visibility_from_evidence(frame.evidence, frame.plate) for frame in sequence]
        return np.array([_jaccard(m > 0.5, t > 0.5) for m, t in zip(masks, truths, strict=True)])

    alone, together = scores(frames), scores(stabilise(frames))
    assert alone[2] < 0.93
    assert together.min() > 0.95
    assert together.mean() > alone.mean()


@pytest.mark.parametrize(("code", "hidden"), [(100, True), (190, False)])
def test_a_neighbour_that_looks_otherwise_is_not_asked(code: int, hidden: bool) -> None:
    """Flow between even pictures agrees with itself whatever they show."""
    box, ones = (40, 60), np.ones((40, 60), np.float32)

    def frame(number: int, code: int, sigmas: float, weight: float) -> MaskFrame:
        plate = np.full((H, W, 3), code, np.uint8)
        evidence = Evidence(100, 80, (H, W), np.full(box, sigmas, np.float32), weight * ones, ones)
        return MaskFrame(number, plate, evidence)

    first = next(stabilise([frame(0, 100, 1.0, 0.2), frame(1, code, -4.0, 1.0)]))
    assert bool((first.evidence.sigmas < 0).all()) == hidden
    assert bool((first.evidence.sigmas > 0.9).all()) != hidden


def test_stabilise_keeps_numbers_and_order_and_radius_0_changes_nothing():
    frames = [frame for frame, _ in _clip()]
    same = list(stabilise(iter(frames), radius=0))
    assert [frame.number for frame in same] == [0, 1, 2, 3, 4]
    for a, b in zip(frames, same, strict=True):
        sure = a.evidence.weight > 0
        np.testing.assert_allclose(b.evidence.sigmas[sure], a.evidence.sigmas[sure], rtol=1e-5)
    with pytest.raises(ValueError, match="radius"):
        next(stabilise(frames, radius=9))


def test_the_same_mask_at_one_and_two_threads():
    frames = [frame for frame, _ in _clip()][:3]
    before = cv2.getNumThreads()
    results = []
    try:
        for threads in (1, 2):
            cv2.setNumThreads(threads)
            results.append([visibility_from_evidence(f.evidence, f.plate) for f in stabilise(frames)])
    finally:
        cv2.setNumThreads(before)
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


def test_holdout_literal():
    np.testing.assert_allclose(holdout(np.array([[1.0, 0.5, 1.0]]), np.array([[0.0, 0.5, 1.0]])), [[1, 0.25, 0]])


def test_a_200_px_object_costs_little():
    coverage = _occluders()
    depth, alpha = _object()
    scene, plate = _measured_depth(coverage), _plate(coverage)
    visibility(depth, alpha, scene, plate)
    start = time.process_time()
    visibility(depth, alpha, scene, plate)
    assert time.process_time() - start < 1.0  # 0.1 s alone on a core; wide margin for busy machines
