"""Sparse appearance guidance, late classifier-free guidance, start noise and windows: the arithmetic alone."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from models.anchors.guidance import AppearanceGuidance, guided_from, unknown_mask  # noqa: E402
from models.errors import InputRefused  # noqa: E402
from models.inbetween.noise import degraded, start_noise  # noqa: E402
from models.inbetween.wan_vace import inverse_depth_shown  # noqa: E402
from models.inbetween.windows import spans, weights, windowed  # noqa: E402
from tests.models import tiny_checkpoints as tiny  # noqa: E402


def test_before_a_step_the_known_part_is_what_it_would_be_there() -> None:
    """By hand: at t = 0.25, E(I_w) = 8, eps = 4: 0.75 x 8 + 0.25 x 4 = 7; what is unknown stays."""
    pipeline = SimpleNamespace(scheduler=SimpleNamespace(sigmas=torch.tensor([1.0, 0.25, 0.1, 0.0])))
    unknown = torch.tensor([[[0.0], [1.0]]])
    guidance = AppearanceGuidance(torch.full((1, 2, 1), 8.0), torch.full((1, 2, 1), 4.0), unknown, until=2)

    def after(step: int) -> list[float]:
        return guidance(pipeline, step, None, {"latents": torch.full((1, 2, 1), -1.0)})["latents"].flatten().tolist()

    assert after(0) == [7.0, -1.0]
    assert after(1) == [-1.0, -1.0]  # step 2 is the first that is left alone


def test_what_is_unknown_is_dilated_and_brought_to_the_latents() -> None:
    known = np.ones((32, 48), np.float32)
    assert not unknown_mask(known, 24, 8).any()
    known[:, 40:] = 0.2  # not seen
    # The latent columns' centres lie at 4, 12, 20, 28, 36, 44 px, the nearest unknown pixel at 40.
    assert unknown_mask(known, 12, 8).tolist() == [[0, 0, 0, 1, 1, 1]] * 4
    assert unknown_mask(known, 11.5, 8).tolist() == [[0, 0, 0, 0, 1, 1]] * 4


def test_the_negative_prompt_has_no_say_before_its_step() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(2.0)
    with torch.no_grad(), guided_from(layer, 1):
        heard = [float(layer(torch.tensor([value]))) for value in (1.0, 5.0, 1.0, 5.0)]
    assert heard == [2.0, 2.0, 2.0, 10.0]
    assert "forward" not in vars(layer)


# --- noise of clips


@pytest.mark.parametrize("gamma", [0.0, 0.3, 0.5, 1.0])
def test_degraded_noise_keeps_its_variance(gamma: float) -> None:
    one, other = torch.randn(2, 200_000, generator=torch.Generator().manual_seed(1))
    mixed = degraded(one, other, gamma)
    assert float(mixed.std()) == pytest.approx(1, abs=0.01)
    expected = (1 - gamma) / (gamma**2 + (1 - gamma) ** 2) ** 0.5
    assert float((mixed * one).mean()) == pytest.approx(expected, abs=0.01)


def test_each_latent_takes_the_noise_of_its_last_frame() -> None:
    warped = np.arange(6, dtype=np.float32).reshape(6, 1, 1, 1)
    taken = start_noise(warped, (3, 1, 1, 1), 4, 0.0, tiny.on_cpu(), [1])
    assert taken.flatten().tolist() == [0, 4, 5]  # beyond the clip it is the last frame's


def test_noise_of_another_raster_is_refused() -> None:
    with pytest.raises(InputRefused, match=r"noise: expected .* \(T, 4, 2, 3\), got \(6, 4, 3, 3\)"):
        start_noise(np.zeros((6, 4, 3, 3), np.float32), (3, 4, 2, 3), 4, 0.5, tiny.on_cpu(), [1])


# --- windows


def test_short_clips_take_one_window() -> None:
    assert spans(21, 21, 6) == [(0, 21)] and weights((0, 21), 21, 6).tolist() == [1] * 21


def test_windows_overlap_and_cover() -> None:
    assert spans(36, 21, 6) == [(0, 21), (15, 36)]
    assert spans(37, 21, 6) == [(0, 21), (8, 29), (16, 37)]
    assert weights((15, 36), 36, 1).tolist() == [0.5] + [1] * 20
    assert weights((0, 4), 8, 3).tolist() == [1, 0.75, 0.5, 0.25]


def test_windows_are_one_clip_again() -> None:
    """A layer without memory answers the same in windows as at once; every window sees its own part of both inputs."""

    class Sum(torch.nn.Module):
        longest = 0

        def forward(self, hidden_states, control, return_dict, scale):
            self.longest = max(self.longest, hidden_states.shape[2])
            return (scale * hidden_states + control,)

    layer = Sum()
    values, control = torch.randn(2, 1, 3, 17, 2, 2, generator=torch.Generator().manual_seed(2))
    with windowed(layer, 5, 2, also="control"):
        (found,) = layer(hidden_states=values, control=control, return_dict=False, scale=2)
    torch.testing.assert_close(found, 2 * values + control)
    assert layer.longest == 5


def test_depth_is_shown_near_white_on_one_scale() -> None:
    depth = np.array([[[1.0, 2.0, 0.0]], [[4.0, 4.0, 1.0]]], np.float32)
    shown = inverse_depth_shown(depth)
    assert shown[0, 0, 0] == shown[1, 0, 2] == 255 and shown[0, 0, 2] == 0
    assert shown[1, 0, 0] == 0 and 80 <= shown[0, 0, 1] <= 90  # (1/2 - 1/4) / (1 - 1/4) of 255
    assert not inverse_depth_shown(np.zeros((2, 3, 4), np.float32)).any()
