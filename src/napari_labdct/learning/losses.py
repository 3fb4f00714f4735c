"""The losses, by name. Each takes logits, target and weight, all (batch, 1, rows, cols)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

POSITIVE_WEIGHT = 1.3  # in the cross-entropy: puts the best threshold near one half
CROSS_ENTROPY_PART = 3.0


def bce_dice(logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Weighted binary cross-entropy plus soft Dice.

    Parameters
    ----------
    logits : Tensor
    target : Tensor
        1 in spots, 0 elsewhere.
    weight : Tensor
        Weight of each pixel; 0 where the answer does not count.

    Returns
    -------
    Tensor
        ``3 BCE + (1 - Dice)``, a scalar. Both are means over the whole batch, so a crop
        without spots does not make Dice jump.
    """
    positive = torch.tensor(POSITIVE_WEIGHT, device=logits.device)
    entropy = functional.binary_cross_entropy_with_logits(
        logits, target, weight=weight, pos_weight=positive, reduction="sum"
    ) / weight.sum().clamp_min(1)
    p = torch.sigmoid(logits) * weight
    overlap = (p * target).sum()
    dice = (2 * overlap + 1) / (p.sum() + (weight * target).sum() + 1)
    return CROSS_ENTROPY_PART * entropy + 1 - dice


LOSSES: dict[str, Callable[..., torch.Tensor]] = {"bce-dice": bce_dice}
