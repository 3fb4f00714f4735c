"""The network of the paper: fastai's dynamic U-Net on ResNet34, with its 54 convolutions.

As ``unet_learner(data, resnet34, blur=True, norm_type=NormType.Weight)`` of the notebook
(fastai 1) builds it, with one difference: weight norm is left out, which changes how it trains
a little and what it can express not at all. With the same weights the output is fastai's to
the last bit (`benchmarks/network_speed.py` checks it).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional

from .imagenet import ResNet34


class PixelShuffleUp(nn.Module):
    """Twice the size: a 1 x 1 convolution, ReLU, pixel shuffle, and a blur if wanted.

    The convolution starts with four equal sub-pixels (ICNR), and the blur averages each pixel
    with its neighbours above and to the left: neither leaves a checkerboard.
    """

    def __init__(self, inputs: int, outputs: int, blur: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, 4 * outputs, 1)
        self.blur = blur
        start = nn.init.kaiming_normal_(torch.empty(outputs, inputs, 1, 1))
        with torch.no_grad():
            self.conv.weight.copy_(start.repeat_interleave(4, dim=0))
            self.conv.bias.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.pixel_shuffle(torch.relu(self.conv(x)), 2)
        if self.blur:
            x = functional.avg_pool2d(functional.pad(x, (1, 0, 1, 0), mode="replicate"), 2, 1)
        return x


class UpBlock(nn.Module):
    """One level up: enlarge, put the encoder's map beside it, two 3 x 3 convolutions."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.up = PixelShuffleUp(inputs, inputs // 2, blur=True)
        self.norm = nn.BatchNorm2d(skip)
        self.conv1 = conv_relu(inputs // 2 + skip, outputs)
        self.conv2 = conv_relu(outputs, outputs)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        x = resized(self.up(x), skip)
        return self.conv2(self.conv1(torch.relu(torch.cat([x, self.norm(skip)], dim=1))))


class DynamicUNet(nn.Module):
    """ResNet34 down, four `UpBlock` up, and the input image beside the last map.

    Parameters
    ----------
    inputs : int
        3 is the paper's. With 2 the encoder, which was made for colour images, sees the frame,
        the median residual and the frame again: its first convolution stays as it was trained.
    outputs : int
        3 in the paper, a colour image; 1 is a logit for each pixel.
    """

    multiple = 32  # any other size works too, with maps resized to the nearest pixel
    margin_px = 256  # of a tile; the network sees farther, but with next to no weight

    def __init__(self, inputs: int = 2, outputs: int = 1) -> None:
        super().__init__()
        if inputs not in (2, 3):
            raise ValueError("the encoder takes 2 or 3 channels")
        self.inputs = inputs
        self.encoder = ResNet34()
        self.middle = nn.Sequential(
            nn.BatchNorm2d(512), nn.ReLU(), conv_relu(512, 1024), conv_relu(1024, 512)
        )
        self.up = nn.ModuleList(
            [UpBlock(512, 256, 512), UpBlock(512, 128, 384),
             UpBlock(384, 64, 256), UpBlock(256, 64, 96)]
        )  # fmt: skip
        self.last_up = PixelShuffleUp(96, 96, blur=False)
        self.residual = nn.Sequential(conv_relu(99, 99), conv_relu(99, 99))
        self.head = nn.Conv2d(99, outputs, 1)
        if outputs == 1:
            nn.init.constant_(self.head.bias, -3.0)  # spots are rare: start by saying so

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Output (batch, outputs, rows, cols) of ``x`` (batch, inputs, rows, cols)."""
        if self.inputs == 2:
            x = torch.cat([x, x[:, :1]], dim=1)
        image = x
        *skips, x = self.encoder(x)
        x = self.middle(x)
        for up, skip in zip(self.up, reversed(skips), strict=True):
            x = up(x, skip)
        x = torch.cat([resized(self.last_up(x), image), image], dim=1)
        return self.head(self.residual(x) + x)

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """What a frozen stage leaves alone: the encoder without its batch norms, as fastai."""
        return (p for p in self.encoder.parameters() if p.ndim == 4)


def conv_relu(inputs: int, outputs: int) -> nn.Sequential:
    """A 3 x 3 convolution and ReLU."""
    conv = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.kaiming_normal_(conv.weight)
    nn.init.zeros_(conv.bias)
    return nn.Sequential(conv, nn.ReLU())


def resized(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """``x`` in the size of another map; only sizes that do not halve evenly need it."""
    if x.shape[-2:] == like.shape[-2:]:
        return x
    return functional.interpolate(x, like.shape[-2:], mode="nearest")
