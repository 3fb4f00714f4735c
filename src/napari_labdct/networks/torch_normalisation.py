"""`normalisation.normalise` for many crops at once, in torch on any device.

The formula and its reasons stand there; `tests/training/crops/test_torch_synthesis.py` checks
that both agree.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch.nn.functional import pad

from .normalisation import PAIR_MAD_TO_SIGMA, QUANTISATION_SIGMA, SIGMA_FLOOR, interpolation_weights

Tensor = torch.Tensor


def normalise(frame: Tensor, median: Tensor, has_median: Tensor, block_px: int) -> Tensor:
    """Bring frames and their rolling medians to noise units.

    Parameters
    ----------
    frame, median : Tensor (crops, n, n)
        Whole counts.
    has_median : bool Tensor (crops, 1, 1)
        Where not, channel 1 is zero.
    block_px : int
        Side of the blocks.

    Returns
    -------
    Tensor (crops, 2, n, n)
    """
    n = frame.shape[1]
    background = _block_median(frame, block_px)
    z = frame - _spread(background, n, block_px)
    ratio = _intensity_ratio(background, _block_median(median, block_px))
    d = frame - _spread(ratio, n, block_px) * median
    d = d - _spread(_block_median(d, block_px, row_step=2), n, block_px)
    sigma = _spread(_noise(torch.where(has_median, d, z), block_px), n, block_px)
    return torch.asinh(torch.stack([z, has_median * d], dim=1) / (2 * sigma[:, None]))


def _intensity_ratio(background: Tensor, of_median: Tensor) -> Tensor:
    lit = of_median > 0.02 * of_median.abs().amax(dim=(1, 2), keepdim=True)
    lit &= background > 0
    ratio = torch.where(lit, background, 1) / torch.where(lit, of_median, 1)
    return _smooth(torch.where((ratio > 0.5) & (ratio < 2), ratio, 1))


def _noise(deviation: Tensor, block_px: int) -> Tensor:
    differences = deviation.diff(dim=2).abs()
    differences = torch.cat([differences[:, :, :1], differences], dim=2)
    blocks = _blocks(differences, block_px, row_step=2)
    clip = 3 * math.sqrt(2) * PAIR_MAD_TO_SIGMA * _middle(blocks)
    blocks = torch.minimum(blocks, clip.clamp(min=2 * QUANTISATION_SIGMA)[..., None])
    sigma = _smooth(blocks.mean(-1) / (math.sqrt(2) * 0.7971))
    typical = torch.where(sigma > 0, sigma, math.nan).flatten(1).nanquantile(0.5, dim=1)
    floor = (SIGMA_FLOOR * typical.nan_to_num(0)).clamp(min=QUANTISATION_SIGMA)
    return torch.maximum(sigma, floor[:, None, None])


def _blocks(image: Tensor, block_px: int, row_step: int = 1) -> Tensor:
    """The images as (crops, block rows, block cols, pixels), mirrored to fill the last ones."""
    missing = -image.shape[1] % block_px
    if missing:
        # Mirrored again and again, where a crop is smaller than what is missing.
        there = torch.arange(image.shape[1], device=image.device)
        there = torch.cat([there, there.flip(0)]).repeat(1 + missing // len(there))
        there = there[: image.shape[1] + missing]
        image = image[:, there][:, :, there]
    image = image[:, ::row_step]
    height = max(block_px // row_step, 1)
    blocks = image.unflatten(2, (-1, block_px)).unflatten(1, (-1, height))
    return blocks.transpose(2, 3).flatten(3)


def _middle(blocks: Tensor) -> Tensor:
    return blocks.kthvalue(blocks.shape[-1] // 2 + 1).values


def _block_median(image: Tensor, block_px: int, row_step: int = 1) -> Tensor:
    return _smooth(_middle(_blocks(image, block_px, row_step)))


def _smooth(grid: Tensor) -> Tensor:
    padded = pad(grid[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    return padded.unfold(1, 3, 1).unfold(2, 3, 1).flatten(3).median(-1).values


def _spread(grid: Tensor, n: int, block_px: int) -> Tensor:
    weights = _interpolation(n, grid.shape[1], block_px, grid.device)
    return weights @ grid @ weights.T


@lru_cache(maxsize=16)
def _interpolation(n: int, blocks: int, block_px: int, device: torch.device) -> Tensor:
    return torch.from_numpy(interpolation_weights(n, blocks, block_px)).to(device)
