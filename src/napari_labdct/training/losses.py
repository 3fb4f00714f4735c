"""The losses, by name. Each takes logits, target and weight, all (batch, 1, rows, cols).

The two losses of the paper look at the output through a network trained on ImageNet, so that
not only pixels but shapes and textures must agree. `eq3` is equation (3) as printed, `lesson7`
what the notebook does that the authors cite. Which of the two trained their model the paper
does not say.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from ..core.errors import ModelError
from ..networks.imagenet import MEAN, STD, VGG16Features, load_weights

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]

LOSSES = ("bce-dice", "eq3", "lesson7")
POSITIVE_WEIGHT = 1.3  # in the cross-entropy: puts the best threshold near one half
CROSS_ENTROPY_PART = 3.0
FEATURE_WEIGHTS = (5.0, 15.0, 2.0)  # of the notebook, for the ReLUs 22, 32 and 42 of VGG16-bn
GRAM_WEIGHT = 5e3


def build_loss(
    name: str,
    features: str | os.PathLike | nn.Module | None = None,
    device: torch.device | str = "cpu",
) -> Loss:
    """A loss by name.

    Parameters
    ----------
    name : str
        One of `LOSSES`.
    features : str, path or Module, optional
        Where the weights of VGG16-bn come from, for ``eq3`` and ``lesson7``: ``imagenet`` (the
        default, downloaded once), a file of torchvision's, or ``random``: untrained features,
        which only compare images on several scales. Or a network that gives three maps.
    device : torch.device or str
        Where the loss is computed.

    Returns
    -------
    callable
        ``loss(logits, target, weight)``, a scalar. The target is 1 in spots and 0 elsewhere,
        the weight 0 where the answer does not count.

    Raises
    ------
    ModelError
        There is no loss of that name, or the weights cannot be had.
    """
    if name not in LOSSES:
        raise ModelError(f"There is no loss called '{name}'; there is {', '.join(LOSSES)}.")
    if name == "bce-dice":
        return bce_dice
    if not isinstance(features, nn.Module):
        network = VGG16Features()
        load_weights(network, "vgg16_bn", features or "imagenet")
    else:
        network = features
    return PerceptualLoss(network, eq3 if name == "eq3" else lesson7).to(device)


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


class PerceptualLoss(nn.Module):
    """Output and target, compared as images and through a frozen network.

    Both become three equal channels in ImageNet's units before anything is compared, as in the
    notebook. Where the weight is 0 the output is replaced by the target: what does not count is
    right. Other weights make no difference here.

    Parameters
    ----------
    features : Module
        Images (batch, 3, rows, cols) to a list of maps.
    formula : callable
        `eq3` or `lesson7`, of the image and the maps of output and target.
    """

    def __init__(self, features: nn.Module, formula: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.features = features.requires_grad_(False)
        self.formula = formula
        self.register_buffer("mean", torch.tensor(MEAN).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).reshape(1, 3, 1, 1))
        self.train(False)

    def train(self, mode: bool = True) -> PerceptualLoss:
        """Stay as it is: the batch norms of the features never learn."""
        return super().train(False)

    def forward(
        self, logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor
    ) -> torch.Tensor:
        output = torch.where(weight > 0, torch.sigmoid(logits), target)
        output, target = ((image - self.mean) / self.std for image in (output, target))
        with torch.no_grad():
            of_target = self.features(target)
        return self.formula(output, target, self.features(output), of_target)


def eq3(
    output: torch.Tensor,
    target: torch.Tensor,
    of_output: list[torch.Tensor],
    of_target: list[torch.Tensor],
) -> torch.Tensor:
    """Pixel, feature and Gram loss of equation (3), averaged over the batch.

    ``|y - yc|^2 / CHW + sum_j (|phi_j y - phi_j yc|^2 + |G_j y - G_j yc|_F^2) / Cj Hj Wj``. The
    Gram matrix is itself divided by C H W, so its part is tiny next to the others.
    """
    loss = functional.mse_loss(output, target)
    for a, b in zip(of_output, of_target, strict=True):
        difference = (gram(a) - gram(b)).square().sum(dim=(1, 2))
        loss = loss + functional.mse_loss(a, b) + (difference / a[0].numel()).mean()
    return loss


def lesson7(
    output: torch.Tensor,
    target: torch.Tensor,
    of_output: list[torch.Tensor],
    of_target: list[torch.Tensor],
) -> torch.Tensor:
    """The notebook's loss: mean absolute differences with weights.

    ``L1(y, yc) + sum_j w_j L1(phi_j) + 5000 sum_j w_j^2 L1(G_j)`` with w = 5, 15, 2.
    """
    loss = functional.l1_loss(output, target)
    for a, b, w in zip(of_output, of_target, FEATURE_WEIGHTS, strict=True):
        loss = loss + w * functional.l1_loss(a, b)
        loss = loss + w**2 * GRAM_WEIGHT * functional.l1_loss(gram(a), gram(b))
    return loss


def gram(maps: torch.Tensor) -> torch.Tensor:
    """Gram matrices (batch, C, C) of maps (batch, C, H, W), divided by C H W."""
    flat = maps.flatten(2)
    return flat @ flat.transpose(1, 2) / maps[0].numel()
