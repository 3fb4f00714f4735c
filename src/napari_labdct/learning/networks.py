"""The networks, by name. Input: the two channels of `normalise`; output: one logit a pixel.

Every network has ``multiple`` (the sides of its input must be multiples of it), ``margin_px``
(how far a tile must reach beyond what is kept of it) and ``encoder_parameters()`` (what a
frozen stage of a training leaves alone).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ..errors import ModelError
from .imagenet import load_weights
from .paper_network import DynamicUNet


def conv_pair(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3 x 3 convolutions, each with batch norm and ReLU."""
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [
            nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """A U-Net that works at half resolution inside and loses nothing by it.

    A pixel-unshuffle stem moves each 2 x 2 block of pixels into channels, which makes
    every convolution four times cheaper, and a pixel-shuffle head moves it back. The head is
    a 3 x 3 convolution, so that the four sub-pixels see each other (no checkerboard).

    Parameters
    ----------
    channels : int
        Channels of the first level; each deeper one has twice as many.
    levels : int
        Number of poolings.
    inputs : int
        Input channels.
    stem : int
        Pixel-unshuffle factor.
    """

    margin_px = 128  # half the receptive field (106 px with 3 levels), to a multiple of 16

    def __init__(self, channels: int = 16, levels: int = 3, inputs: int = 2, stem: int = 2):
        super().__init__()
        self.stem = stem
        self.multiple = stem * 2**levels  # sides of the input must be multiples of it
        width = [channels * 2**k for k in range(levels + 1)]
        self.down = nn.ModuleList(
            conv_pair(inputs * stem**2 if k == 0 else width[k - 1], width[k])
            for k in range(levels + 1)
        )
        self.reduce = nn.ModuleList(nn.Conv2d(width[k + 1], width[k], 1) for k in range(levels))
        self.up = nn.ModuleList(conv_pair(2 * width[k], width[k]) for k in range(levels))
        self.head = nn.Conv2d(channels, stem**2, 3, padding=1)
        nn.init.constant_(self.head.bias, -3.0)  # spots are rare: start by saying so

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (batch, 1, rows, cols) of ``x`` (batch, inputs, rows, cols)."""
        x = functional.pixel_unshuffle(x, self.stem)
        skips = []
        for k, level in enumerate(self.down):
            x = level(x if k == 0 else functional.max_pool2d(x, 2))
            skips.append(x)
        for k in reversed(range(len(self.up))):
            x = functional.interpolate(self.reduce[k](x), scale_factor=2.0, mode="nearest")
            x = self.up[k](torch.cat([x, skips[k]], dim=1))
        return functional.pixel_shuffle(self.head(x), self.stem)

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """What a frozen stage leaves alone: the convolutions on the way down."""
        return (p for p in self.down.parameters() if p.ndim == 4)


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "compact": UNet,  # 0.45 M parameters
    "accurate": partial(UNet, channels=32),  # 1.8 M
    "paper": DynamicUNet,  # 41 M
}


def build_network(name: str, **options: Any) -> nn.Module:
    """A fresh network by name.

    Raises
    ------
    ModelError
        There is no network of that name, or it does not take these options.
    """
    if name not in NETWORKS:
        raise ModelError(
            f"There is no network called '{name}' in this version; there is "
            f"{', '.join(sorted(NETWORKS))}."
        )
    try:
        return NETWORKS[name](**options)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"Network '{name}' cannot be built with {options}: {error}.") from error


def load_encoder(network: nn.Module, source: str | os.PathLike = "imagenet") -> None:
    """Begin with an encoder that knows images: for ``paper``, before a training.

    Parameters
    ----------
    network : Module
        From `build_network`.
    source : str or path
        ``imagenet``, a file of torchvision's ResNet34 weights, or ``random``: the encoder stays
        as it was built, and then freezing it makes no sense.

    Raises
    ------
    ModelError
        The weights cannot be had, or the network has no such encoder.
    """
    if source == "random":
        return
    if not isinstance(network, DynamicUNet):
        raise ModelError("Only network 'paper' has an encoder trained on ImageNet.")
    load_weights(network.encoder, "resnet34", source)


def fuse_batch_norm(network: nn.Module) -> nn.Module:
    """Fold every batch norm into the convolution registered before it, in place, for inference."""
    for module in list(network.modules()):
        children = list(module.named_children())
        for (name, conv), (next_name, norm) in pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, name, nn.utils.fuse_conv_bn_eval(conv.eval(), norm.eval()))
                setattr(module, next_name, nn.Identity())
    return network
