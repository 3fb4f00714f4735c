"""What learns: a network, the running average of its weights, and one step of its optimiser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn

from ..core.errors import ModelError, SettingsError
from ..networks.model import Model
from ..networks.registry import NETWORKS, build_network, load_encoder
from .distributed import Ranks
from .losses import build_loss
from .schedules import FROZEN, WHOLE, learning_rate_at, stage_of
from .settings import TrainSettings

NARROW = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Learner:
    """A network in training.

    Parameters
    ----------
    settings : TrainSettings
    device : torch.device
    ranks : Ranks
    start_from : Model, optional
        Weights to begin with instead of random ones.
    resuming : bool
        `load` comes next, so that no pretrained weights are looked for.

    Attributes
    ----------
    network : Module
    average : dict of Tensor
        Running average of weights and batch-norm statistics: the model that comes of it.
    optimiser : Optimizer
    rate : float
        Learning rate of the last step.

    Raises
    ------
    SettingsError
        A stage with a frozen encoder, and no encoder that has learnt something.
    ModelError
        The model to start from is of another network, or pretrained weights cannot be had.
    """

    def __init__(
        self,
        settings: TrainSettings,
        device: torch.device,
        ranks: Ranks | None = None,
        start_from: Model | None = None,
        resuming: bool = False,
    ) -> None:
        self.settings, self.device, self.ranks = settings, device, ranks or Ranks()
        self.parts = self.ranks.share(settings)
        torch.manual_seed(settings.seed)
        self.options = {} if start_from is None else start_from.options
        if start_from is not None and start_from.network != settings.network:
            raise ModelError(
                f"Model '{start_from.name}' is a '{start_from.network}' network and cannot "
                f"start a '{settings.network}' one; choose another model or network."
            )
        self.network = build_network(settings.network, **self.options)
        if start_from is not None:
            self.network.load_state_dict(start_from.weights)
        else:
            encoder = NETWORKS[settings.network].encoder
            pretrained = bool(encoder) and settings.encoder != "random"
            if settings.frozen_iterations and not pretrained:
                raise SettingsError(
                    "Freezing needs a pretrained encoder; train "
                    "the whole network (--frozen-iterations 0), start from a trained model, or "
                    "take network 'paper' with pretrained weights (--encoder)."
                )
            if pretrained and not resuming:
                load_encoder(settings.network, self.network, settings.encoder)
        self.network.to(device, memory_format=torch.channels_last)
        self.network.train()
        self.average = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "float16")
        self.loss_of: Callable[..., torch.Tensor] = build_loss(
            settings.loss, settings.features, device
        )
        self.rate = settings.learning_rate
        self._stage, self._wrapped = "", self.network

    def step(self, batch: tuple[np.ndarray | torch.Tensor, ...], iteration: int) -> torch.Tensor:
        """Learn from one batch (this process's share of it); returns the mean loss, a scalar."""
        self._enter(stage_of(self.settings, iteration))
        self.rate = learning_rate_at(self.settings, iteration)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate
        arrays = [torch.as_tensor(a).to(self.device, non_blocking=True) for a in batch]
        self.optimiser.zero_grad(set_to_none=True)
        loss = self._gradients(*arrays)
        self.scaler.unscale_(self.optimiser)
        nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self._follow(min(self.settings.ema, (1 + iteration) / (10 + iteration)))
        return loss

    def _enter(self, stage: str) -> None:
        """Freeze or unfreeze the encoder where a stage begins."""
        if stage == self._stage:
            return
        self._stage = stage
        if stage != WHOLE:
            for parameter in self.network.encoder_parameters():
                parameter.requires_grad_(stage != FROZEN)
        self._wrapped = self.ranks.wrap(self.network)

    def _gradients(self, x, target, weight) -> torch.Tensor:
        """Gradients and batch-norm statistics, each the mean over all parts of the batch."""
        pieces = zip(*(a.chunk(self.parts) for a in (x, target, weight)), strict=True)
        statistics = [b for b in self.network.buffers() if b.is_floating_point()]
        before = [b.clone() for b in statistics]
        sums = [torch.zeros_like(b) for b in statistics]
        total = torch.zeros((), device=self.device)
        dtype = NARROW[self.settings.precision]
        for number, (x_part, target_part, weight_part) in enumerate(pieces):
            if number:
                _copy(statistics, before)  # every part starts from the same
            narrow = torch.autocast(self.device.type, dtype=dtype) if dtype else nullcontext()
            with self.ranks.without_averaging(self._wrapped, keep=number + 1 < self.parts):
                with narrow:
                    logits = self._wrapped(x_part.contiguous(memory_format=torch.channels_last))
                loss = self.loss_of(logits.float(), target_part, weight_part) / self.parts
                self.scaler.scale(loss).backward()
            total += loss.detach()
            for kept, now in zip(sums, statistics, strict=True):
                kept += now / self.parts
        if self.parts > 1:
            _copy(statistics, sums)
        self.ranks.average_(statistics)
        return total

    def _follow(self, decay: float) -> None:
        """Move the running average of the weights (and batch-norm statistics) towards them."""
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                if value.is_floating_point():
                    self.average[name].lerp_(value, 1 - decay)
                else:
                    self.average[name].copy_(value)

    def loss_anywhere(self, *tensors: torch.Tensor) -> torch.Tensor:
        """The loss of logits, target and weight that may be on another device."""
        return self.loss_of(*(t.to(self.device) for t in tensors))

    def model(self) -> Model:
        """The averaged weights as a model."""
        return Model.of(
            self.settings.network, self.average, self.options, block_px=self.settings.block_px,
            median_window=self.settings.median_window, device=str(self.device),
        )  # fmt: skip

    # ------------------------------------------------------------------- checkpoints

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """All that decides the next steps, by name."""
        for part, values in (("network", self.network.state_dict()), ("average", self.average)):
            yield from ((f"{part}.{name}", value) for name, value in values.items())
        for number, slots in self.optimiser.state_dict()["state"].items():
            yield from ((f"optimiser.{number}.{name}", value) for name, value in slots.items())

    def load(self, tensors: dict[str, torch.Tensor], scaler: dict[str, Any]) -> None:
        """Go on from the `tensors` and the scaler's state of another learner."""
        parts: dict[str, dict[str, torch.Tensor]] = {"network": {}, "average": {}, "optimiser": {}}
        for name, value in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = value
        self.network.load_state_dict(parts["network"])
        for name, value in parts["average"].items():
            self.average[name].copy_(value)
        slots: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in parts["optimiser"].items():
            number, _, slot = name.partition(".")
            slots.setdefault(int(number), {})[slot] = value
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": slots})
        if scaler:
            self.scaler.load_state_dict(scaler)


def check_crop_size(network: str, crop_px: int) -> None:
    """Raise SettingsError if crops of this size do not suit a network."""
    multiple = int(build_network(network).multiple)
    if crop_px % multiple:
        raise SettingsError(
            f"Crops of {crop_px} px do not suit network '{network}'; choose a multiple of "
            f"{multiple} (--crop-px)."
        )


def _copy(to: list[torch.Tensor], of: list[torch.Tensor]) -> None:
    for target, value in zip(to, of, strict=True):
        target.copy_(value)
