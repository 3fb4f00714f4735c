"""Networks by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

from torch import nn

from ..core.errors import ModelError
from .dynamic_unet import DynamicUNet
from .imagenet import load_weights
from .unet import UNet

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
