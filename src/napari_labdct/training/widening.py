"""Start a wider network where a narrower one stands, so that it need not learn all over again.

Net2Net (Chen, Goodfellow, Shlens, 2016): every channel is doubled, and what follows takes a random
share of each of the two, so that the sum is what it was: the wide network gives the same answer,
and its twins part ways as soon as it learns.
"""

from __future__ import annotations

import torch

from ..core.errors import ModelError
from ..networks.model import Model
from ..networks.registry import build_network
from ..networks.unet import UNet

SPREAD = 0.3  # of the share of a twin around one half


def widened(model: Model, seed: int = 0, network: str = "accurate") -> Model:
    """A model with twice as many channels everywhere that gives the same output.

    Parameters
    ----------
    model : Model
        Of a U-Net half as wide, as ``compact`` is.
    seed : int
        Of the shares.
    network : str
        What the result is; `networks.NETWORKS`.

    Raises
    ------
    ModelError
        The networks are no such pair.
    """
    narrow = build_network(model.network, **model.options)
    wide = build_network(network)
    pair = isinstance(narrow, UNet) and isinstance(wide, UNet)
    if not pair or wide.head.in_channels != 2 * narrow.head.in_channels:
        raise ModelError(
            f"Network '{network}' is not twice as wide as the '{model.network}' of model "
            f"'{model.name}'; widen a 'compact' model to 'accurate'."
        )
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, like in wide.state_dict().items():
        value = model.weights[name]
        if like.ndim and len(like) != len(value):
            value = torch.cat([value, value])
        if like.shape != value.shape:  # its input is wider too
            halves = name.startswith("up.") and name.endswith(".0.weight")  # two maps side by side
            parts = value.chunk(2 if halves else 1, 1)
            value = torch.cat([_shared_out(part, generator) for part in parts], 1)
        weights[name] = value
    return Model.of(
        network, weights, name=f"{model.name} widened", threshold=model.threshold,
        median_window=model.median_window, block_px=model.block_px, device=str(model.device),
    )  # fmt: skip


def _shared_out(weight: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Weights (outputs, inputs, rows, cols) for inputs that are there twice."""
    share = 0.5 + SPREAD * torch.randn(weight.shape, generator=generator)
    return torch.cat([share * weight, (1 - share) * weight], 1)
