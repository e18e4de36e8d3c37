from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from benchmarks.noise import moran, swirl, whiteness
from geometry.camera import pixel_centres
from geometry.flow import Flow
from geometry.noise import fresh_noise, pooled_noise, warp_noise
from tests.geometry.blockout_scenes import street_guides


def shift(hw: tuple[int, int], dx: float, dy: float) -> Flow:
    return Flow(np.full((*hw, 2), (dx, dy), np.float32), np.ones(hw, bool))


def test_new_noise_is_white_and_belongs_to_its_seed_frame_and_pixel():
    noise = fresh_noise((200, 300, 2), seed=5, frame=7)
    assert stats.kstest(noise.ravel(), "norm").pvalue > 0.01
    assert moran(noise[..., 0])[1] > 0.01
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.02
    assert np.array_equal(noise, fresh_noise((200, 300, 2), seed=5, frame=7))
    for other in (fresh_noise((200, 300, 2), seed=6, frame=7), fresh_noise((200, 300, 2), seed=5, frame=8)):
        assert abs(np.corrcoef(noise.ravel(), other.ravel())[0, 1]) < 0.02


def test_tails_are_those_of_the_normal_distribution():
    noise = fresh_noise((1000, 1000, 1), seed=1, frame=0).ravel()
    for level in (2.0, 3.0, 4.0):
        expected = 2e6 * stats.norm.sf(level)
        assert (np.abs(noise) > level).sum() == pytest.approx(expected, abs=4 * np.sqrt(expected))


def test_a_shift_by_whole_pixels_moves_the_noise_itself():
    noise = fresh_noise((40, 50, 3), seed=1, frame=0)
    warped = warp_noise(noise, shift((40, 50), -2, 3), seed=1, frame=1)
    assert np.allclose(warped[:37, 2:], noise[3:, :48], atol=1e-5)


def test_a_cell_that_is_cut_in_parts_keeps_its_sum():
    # Twice as large: each cell goes to 2 x 2 pixels, whose sum over 2 is the cell again (pooling).
    noise = fresh_noise((32, 32, 1), seed=1, frame=0)
    place = pixel_centres((64, 64))
    zoom = Flow((place / 2 - place).astype(np.float32), np.ones((64, 64), bool))
    large = warp_noise(noise, zoom, seed=1, frame=1)
    assert large.std() == pytest.approx(1, abs=0.05)
    assert moran(large[..., 0])[1] > 0.01
    assert np.allclose(pooled_noise(large, 2), noise, atol=1e-4)


def test_pixels_that_cover_many_cells_gather_them_all():
    noise = fresh_noise((64, 64, 1), seed=1, frame=0)
    place = pixel_centres((32, 32))
    small = warp_noise(noise, Flow((2 * place - place).astype(np.float32), np.ones((32, 32), bool)), seed=1, frame=1)
    assert np.allclose(small, pooled_noise(noise, 2), atol=1e-5)


def test_half_a_pixel_aside_shares_each_cell_between_four():
    noise = fresh_noise((120, 120, 1), seed=1, frame=0)[..., 0]
    warped = warp_noise(noise[..., None], shift((120, 120), 0.5, 0.5), seed=1, frame=1)[..., 0]
    mean = (noise[:-1, :-1] + noise[1:, :-1] + noise[:-1, 1:] + noise[1:, 1:]) / 2
    # A quarter of each of four cells: correlation 4 x 1/4 x 1/2.
    assert np.corrcoef(mean.ravel(), warped[:-1, :-1].ravel())[0, 1] == pytest.approx(0.5, abs=0.03)


def test_noise_follows_the_surfaces_of_a_scene():
    guides = street_guides(3, (320, 240))
    noise = fresh_noise((240, 320, 1), seed=1, frame=0)
    back = guides.flow(2, 0)
    warped = warp_noise(noise, back, seed=1, frame=2)
    column, row = np.floor(back.target_px[back.visible]).astype(int).T
    assert np.corrcoef(noise[row, column, 0], warped[back.visible, 0])[0, 1] > 0.45
    assert np.corrcoef(noise[back.visible, 0], warped[back.visible, 0])[0, 1] < 0.1
    assert moran(warped[..., 0])[1] > 0.01


def test_what_was_not_seen_gets_new_noise():
    hidden = shift((60, 60), 0, 0)
    hidden.visible[20:40] = False
    noise = fresh_noise((60, 60, 1), seed=1, frame=0)
    warped = warp_noise(noise, hidden, seed=1, frame=1)
    assert np.allclose(warped[:20], noise[:20], atol=1e-5)
    assert abs(np.corrcoef(noise[20:40].ravel(), warped[20:40].ravel())[0, 1]) < 0.1


def test_the_result_does_not_depend_on_threads():
    noise = fresh_noise((150, 130, 2), seed=3, frame=0)
    one, many = (warp_noise(noise, swirl((150, 130), 1), seed=3, frame=1, threads=n) for n in (1, 7))
    assert np.array_equal(one, many)


def test_channels_are_independent():
    same = np.repeat(fresh_noise((100, 100, 1), seed=3, frame=0), 2, axis=2)
    warped = warp_noise(same, shift((100, 100), 0.5, 0.5), seed=3, frame=1)
    assert 0.1 < np.corrcoef(warped[..., 0].ravel(), warped[..., 1].ravel())[0, 1] < 0.4  # what both inherit: 1/4


def test_noise_stays_white_for_a_while():
    found = whiteness(seeds=4, side=128, warps=15)
    assert found.not_normal == found.not_white == 0
    assert found.index < 0.01


@pytest.mark.slow
def test_noise_stays_white_and_gaussian_after_100_warps():
    found = whiteness(seeds=40, side=192, warps=100)
    assert found.not_normal <= 3
    assert found.not_white <= 3
    assert found.index < 0.005


def test_pooling_wants_whole_blocks():
    with pytest.raises(ValueError, match="divisor of 30 x 20, got 7"):
        pooled_noise(np.zeros((20, 30, 1), np.float32), 7)


def test_noise_without_channels_is_named():
    with pytest.raises(ValueError, match="noise"):
        warp_noise(np.zeros((4, 4), np.float32), shift((4, 4), 0, 0), seed=0, frame=0)


def test_tensors_get_noise_of_the_same_distribution():
    torch = pytest.importorskip("torch")
    from geometry import noise_torch

    generator = torch.Generator().manual_seed(4)
    noise = torch.randn(128, 128, 2, generator=generator)
    for time in range(4):
        found = swirl((128, 128), 0.4 * time)
        dx_dy, visible = torch.from_numpy(found.dx_dy), torch.from_numpy(found.visible)
        warped = noise_torch.warp_noise(noise, dx_dy, visible, generator)
        numpy = warp_noise(noise.numpy(), found, seed=1, frame=time)[..., 0]
        column, row = np.floor(found.target_px[found.visible]).clip(0, 127).astype(int).T
        source = noise.numpy()[row, column, 0]
        follows = [np.corrcoef(source, warp[found.visible])[0, 1] for warp in (warped[..., 0].numpy(), numpy)]
        assert follows[0] == pytest.approx(follows[1], abs=0.03)
        assert follows[0] > 0.4
        noise = warped
    assert stats.kstest(noise.numpy().ravel(), "norm").pvalue > 0.01
    assert moran(noise[..., 0].numpy())[1] > 0.001


def test_tensors_shift_by_whole_pixels():
    torch = pytest.importorskip("torch")
    from geometry import noise_torch

    noise, found = torch.randn(20, 24, 2), shift((20, 24), 3, -1)
    dx_dy, visible = torch.from_numpy(found.dx_dy), torch.from_numpy(found.visible)
    warped = noise_torch.warp_noise(noise, dx_dy, visible, torch.Generator())
    assert torch.allclose(warped[1:, :21], noise[:19, 3:], atol=1e-5)


def test_noise_needs_no_torch():
    check = "import sys, geometry.noise, geometry.guides; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True, timeout=120)
