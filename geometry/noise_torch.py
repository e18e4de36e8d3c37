"""``noise.warp_noise`` for tensors, on the device where they lie: the same distribution, other draws.

A bridge need not be walked to be drawn: independent normal pieces w_i of variance s_i (the shares of a cell of value
x), of which the cell's last piece goes to nobody, become pieces that add up to x by w_i + s_i (x - sum w), as kriging
conditions a free field on a value. Two sums over requesters take the place of the walk.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import pad

from geometry.noise import LONGEST_PX, SHORTEST_PX


def warp_noise(noise: Tensor, dx_dy: Tensor, visible: Tensor, generator: torch.Generator) -> Tensor:
    """(h, w, C) noise from (H, W, C) ``noise`` along ``dx_dy`` (h, w, 2), from the new picture back to the old one.

    What is not ``visible`` (h, w) bool gets new noise. All on one device, ``generator`` too; sums on a GPU may differ
    in their last digit from run to run.
    """
    rows, columns, channels = noise.shape
    left, right, top, bottom = _footprints(dx_dy, visible, rows, columns)
    requests = list(_requests(left, right, top, bottom, rows, columns))
    cells = noise.reshape(-1, channels)
    asked = torch.zeros(len(cells), device=noise.device)
    for index, area in requests:
        asked.index_add_(0, index, area)
    asked.clamp_(min=1)
    pieces, unused = [], torch.ones_like(asked)
    for index, area in requests:
        share = area / asked[index]
        pieces.append((index, share, torch.randn(len(share), channels, generator=generator, device=noise.device)))
        pieces[-1][2].mul_(share.sqrt()[:, None])
        unused.index_add_(0, index, -share)
    total = torch.randn(cells.shape, generator=generator, device=noise.device) * unused.clamp(min=0).sqrt()[:, None]
    for index, _, piece in pieces:
        total.index_add_(0, index, piece)
    missing = cells - total
    steps = torch.zeros(visible.numel(), channels, device=noise.device)
    gained = torch.zeros_like(visible, dtype=torch.float32)
    for index, share, piece in pieces:
        steps += piece + share[:, None] * missing[index]
        gained += share.reshape(gained.shape)
    fresh = torch.randn(steps.shape, generator=generator, device=noise.device)
    area = gained.reshape(-1, 1)
    warped = torch.where(area > 0, steps / area.clamp(min=1e-12).sqrt(), fresh)
    return warped.reshape(*visible.shape, channels)


def _requests(
    left: Tensor, right: Tensor, top: Tensor, bottom: Tensor, rows: int, columns: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """(index, area) of the n-th cell of every footprint, for as many cells as the largest one meets."""
    high = int(torch.where(bottom > top, bottom.ceil() - top.floor(), 0).max())
    wide = int(torch.where(right > left, right.ceil() - left.floor(), 0).max())
    for down in range(high):
        row = top.floor() + down
        tall = (torch.minimum(bottom, row + 1) - torch.maximum(top, row)).clamp(min=0)
        for across in range(wide):
            column = left.floor() + across
            area = tall * (torch.minimum(right, column + 1) - torch.maximum(left, column)).clamp(min=0)
            index = row.clamp(0, rows - 1).long() * columns + column.clamp(0, columns - 1).long()
            yield index.reshape(-1), area.reshape(-1)


def _footprints(dx_dy: Tensor, visible: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Left, right, top, bottom (h, w) in the source; boxes without area where nothing is asked for."""
    h, w = visible.shape
    x = torch.arange(w, device=dx_dy.device) + 0.5 + dx_dy[..., 0]
    y = torch.arange(h, device=dx_dy.device)[:, None] + 0.5 + dx_dy[..., 1]
    inside = visible & (x >= 0) & (x < columns) & (y >= 0) & (y < rows)
    along_x, along_y = _slope(dx_dy, visible, 1), _slope(dx_dy, visible, 0)
    half_w = 0.5 * torch.hypot(1 + along_x[..., 0], along_y[..., 0]).clamp(SHORTEST_PX, LONGEST_PX)
    half_h = 0.5 * torch.hypot(along_x[..., 1], 1 + along_y[..., 1]).clamp(SHORTEST_PX, LONGEST_PX)
    box = ((x - half_w).clamp(0, columns), (x + half_w).clamp(0, columns),
           (y - half_h).clamp(0, rows), (y + half_h).clamp(0, rows))  # fmt: skip
    left, right, top, bottom = (torch.where(inside, side, 0) for side in box)
    return left, right, top, bottom


def _slope(dx_dy: Tensor, visible: Tensor, axis: int) -> Tensor:
    """(h, w, 2) change of the flow per pixel along ``axis``: the smaller one of both sides, 0 where neither is
    visible."""
    step = dx_dy.diff(dim=axis)
    known = visible.narrow(axis, 1, visible.shape[axis] - 1) & visible.narrow(axis, 0, visible.shape[axis] - 1)
    step = torch.where(known[..., None], step, torch.inf)
    before, after = ((0, 0, 1, 0), (0, 0, 0, 1)) if axis else ((0, 0, 0, 0, 1, 0), (0, 0, 0, 0, 0, 1))
    back, ahead = pad(step, before, value=torch.inf), pad(step, after, value=torch.inf)
    smaller = torch.where((back.square().sum(-1) < ahead.square().sum(-1))[..., None], back, ahead)
    return torch.where(smaller.isfinite(), smaller, 0)
