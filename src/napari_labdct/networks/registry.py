"""Networks by name. To add one: docs/architecture.md, "A new network"."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ..core.errors import ModelError, listed, quoted, reason
from ..core.registry import Registry, load

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class NetworkKind:
    """What must be known of a network before torch is loaded.

    Attributes
    ----------
    build : str or callable
        The class, or ``module:class``; called with `options` and those of a model file.
    options : dict
    memory_bytes_per_px : int
        Working memory for a pixel of the projection, as benchmarks/denoise_speed.py measures it.
    encoder : str
        Name of the pretrained encoder it can begin with (`imagenet.URLS`); empty if it has none.
    """

    build: str | Callable[..., nn.Module]
    options: Mapping[str, Any] = field(default_factory=dict)
    memory_bytes_per_px: int = 400
    encoder: str = ""

    def __call__(self, **options: Any) -> nn.Module:
        """A fresh network."""
        build = load(self.build) if isinstance(self.build, str) else self.build
        return build(**{**self.options, **options})


#: Networks by name, the quickest first; other packages add theirs as entry points.
NETWORKS: Registry[NetworkKind] = Registry(
    "network",
    "napari_labdct.networks",
    {
        # 0.45 M parameters
        "compact": NetworkKind("napari_labdct.networks.unet:UNet", memory_bytes_per_px=200),
        # 1.8 M
        "accurate": NetworkKind(
            "napari_labdct.networks.unet:UNet", {"channels": 32}, memory_bytes_per_px=350
        ),
        # 41 M
        "paper": NetworkKind(
            "napari_labdct.networks.dynamic_unet:DynamicUNet",
            memory_bytes_per_px=1900,
            encoder="resnet34",
        ),
    },
)


def build_network(name: str, **options: Any) -> nn.Module:
    """A fresh network by name.

    Raises
    ------
    ModelError
        There is no network of that name, or it does not take these options.
    """
    if name not in NETWORKS:
        raise ModelError(
            f"There is no network called {quoted(name)} in this version; there is "
            f"{listed(sorted(NETWORKS))}."
        )
    try:
        return NETWORKS[name](**options)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"Network '{name}' cannot be built with {quoted(options)} ({reason(error)})."
        ) from error


def load_encoder(name: str, network: nn.Module, source: str | os.PathLike = "imagenet") -> None:
    """Begin with an encoder that knows images: for ``paper``, before a training.

    Parameters
    ----------
    name : str
        What `network` is called in `NETWORKS`.
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
    from .imagenet import load_weights

    kind = NETWORKS[name].encoder
    if not kind:
        having = " and ".join(f"'{n}'" for n, known in NETWORKS.items() if known.encoder)
        raise ModelError(f"Only network {having} has an encoder trained on ImageNet.")
    load_weights(network.encoder, kind, source)


def fuse_batch_norm(network: nn.Module) -> nn.Module:
    """Fold every batch norm into the convolution registered before it, in place, for inference."""
    from torch import nn

    for module in list(network.modules()):
        children = list(module.named_children())
        for (name, conv), (next_name, norm) in pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, name, nn.utils.fuse_conv_bn_eval(conv.eval(), norm.eval()))
                setattr(module, next_name, nn.Identity())
    return network
