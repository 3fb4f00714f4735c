"""The networks, by name. Input: the two channels of `normalise`; output: one logit a pixel.

Every network has ``multiple`` (the sides of its input must be multiples of it), ``margin_px``
(how far a tile must reach beyond what is kept of it) and ``encoder_parameters()`` (what a
frozen stage of a training leaves alone).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional


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
