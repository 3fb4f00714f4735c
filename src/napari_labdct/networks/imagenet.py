"""The two networks trained on ImageNet that the paper builds on: ResNet34 and VGG16-bn.

Their weights have the names they have in torchvision, so its files fit; torchvision itself is
not needed. A *source* of weights is a word or a file:

``imagenet``
    torchvision's file, from torch's cache of downloads or from the internet.
a path
    The same file (``.pth``, read without running code from it) or its weights as safetensors.
``random``
    No training at all; the same numbers each time.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import torch
from torch import nn

from ..core.errors import ModelError

URLS = {
    "resnet34": "https://download.pytorch.org/models/resnet34-b627a593.pth",
    "vgg16_bn": "https://download.pytorch.org/models/vgg16_bn-6c64b313.pth",
}
MEAN = (0.485, 0.456, 0.406)  # of ImageNet's images, red, green, blue, 0 to 1
STD = (0.229, 0.224, 0.225)
RESNET34_BLOCKS = (3, 4, 6, 3)  # at 64, 128, 256, 512 channels
VGG16_CHANNELS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions around a shortcut, ``relu(f(x) + x)``."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(x)) + shortcut)


class ResNet34(nn.Module):
    """The convolutions of ResNet34: what is left without its last pooling and classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        inputs = 64
        for k, blocks in enumerate(RESNET34_BLOCKS):
            width = 64 * 2**k
            layer = [ResidualBlock(inputs, width, 1 if k == 0 else 2)]
            layer += [ResidualBlock(width, width, 1) for _ in range(blocks - 1)]
            setattr(self, f"layer{k + 1}", nn.Sequential(*layer))
            inputs = width
        he_initialise(self)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Maps of 64, 64, 128, 256, 512 channels at 1/2, 1/4, 1/8, 1/16, 1/32 of the size."""
        x = torch.relu(self.bn1(self.conv1(x)))
        maps = [x]
        x = nn.functional.max_pool2d(x, 3, 2, 1)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            maps.append(x)
        return maps


class VGG16Features(nn.Module):
    """The convolutions of VGG16 with batch norm, up to the ReLU before its last pooling.

    Parameters
    ----------
    taps : tuple of int
        Numbers of the layers whose output `forward` gives.
    """

    def __init__(self, taps: tuple[int, ...] = (22, 32, 42)) -> None:
        super().__init__()
        self.taps = taps
        layers: list[nn.Module] = []
        inputs = 3
        for widths in VGG16_CHANNELS:
            for width in widths:
                layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
                inputs = width
            layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers[:-1])
        he_initialise(self)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Outputs of the tapped layers, of images (batch, 3, rows, cols)."""
        outputs = []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in self.taps:
                outputs.append(x)
        return outputs


def he_initialise(network: nn.Module) -> None:
    """Normal weights of variance 2 / fan-out and no bias, as torchvision has it."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def load_weights(network: nn.Module, name: str, source: str | os.PathLike) -> None:
    """Fill a `ResNet34` or a `VGG16Features` with weights.

    Parameters
    ----------
    network : Module
    name : str
        ``resnet34`` or ``vgg16_bn``.
    source : str or path
        ``imagenet``, ``random`` or a file; see above.

    Raises
    ------
    ModelError
        The weights cannot be downloaded or read, or belong to another network.
    """
    if source == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            he_initialise(network)
        return
    weights = _download(name) if source == "imagenet" else _read(Path(source).expanduser(), name)
    # torchvision's files are older than batch norms that count their batches; torch adds that.
    wanted = {k: v for k, v in network.state_dict().items() if "num_batches_tracked" not in k}
    if not all(key in weights and weights[key].shape == wanted[key].shape for key in wanted):
        raise ModelError(
            f"'{source}' does not hold the weights of {name}; get {URLS[name].rsplit('/')[-1]}, "
            "which torchvision uses."
        )
    network.load_state_dict({key: weights[key] for key in wanted})


def _download(name: str) -> dict[str, torch.Tensor]:
    try:
        return torch.hub.load_state_dict_from_url(
            URLS[name], map_location="cpu", progress=False, check_hash=True, weights_only=True
        )
    except (OSError, RuntimeError) as error:  # no network, no such host; a broken download
        raise ModelError(
            f"The ImageNet weights of {name} cannot be downloaded ({error}); get {URLS[name]} on "
            "another computer and give the file, or do without by choosing 'random'."
        ) from error


def _read(path: Path, name: str) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise ModelError(
            f"There is no file '{path}' with weights of {name}; choose 'imagenet', 'random' or the "
            f"file from {URLS[name]}."
        )
    if path.suffix == ".safetensors":
        from ..io.safetensors import read_file

        return read_file(path)[0]
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise ModelError(
            f"'{path.name}' is no file of weights; get it again from {URLS[name]}."
        ) from error
    return weights if isinstance(weights, dict) else {}
