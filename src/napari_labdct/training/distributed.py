"""Several processes on one training, one a GPU, started by ``torchrun``.

A batch is made of `TrainSettings.parts` parts. Each part goes through the network alone, its
batch norm seeing that part only; gradients and batch-norm statistics are averaged over the
parts. So the result does not depend on how many processes share them: one process takes the
parts one after the other, two take half of them each.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import distributed, nn

from ..core.errors import SettingsError
from .settings import TrainSettings


class Ranks:
    """The processes of a training: which one this is, and what they do together.

    Attributes
    ----------
    rank, world : int
        Number of this process, and how many there are; 0 and 1 without ``torchrun``.
    world_here : int
        How many of them are on this computer.
    """

    def __init__(self, rank: int = 0, world: int = 1, world_here: int = 1) -> None:
        self.rank, self.world, self.world_here = rank, world, world_here

    @property
    def first(self) -> bool:
        """Whether this is the process that validates and writes."""
        return self.rank == 0

    def share(self, settings: TrainSettings) -> int:
        """How many parts of a batch this process takes.

        Raises
        ------
        SettingsError
            The crops do not divide into the parts, or the parts among the processes.
        """
        if settings.batch % settings.parts:
            raise SettingsError(
                f"A batch of {settings.batch} crops does not divide into {settings.parts} equal "
                "parts; choose another batch (--batch)."
            )
        if settings.parts % self.world:
            raise SettingsError(
                f"{settings.parts} parts do not divide among {self.world} processes; choose a "
                "multiple (--parts)."
            )
        return settings.parts // self.world

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network with gradients that are averaged over the processes.

        Batch-norm statistics are averaged by `average_`, not copied from the first process.
        """
        if self.world == 1:
            return network
        return nn.parallel.DistributedDataParallel(network, broadcast_buffers=False)

    def without_averaging(self, wrapped: nn.Module, keep: bool) -> Any:
        """A context in which gradients pile up here, for all parts but the last one."""
        return wrapped.no_sync() if keep and self.world > 1 else nullcontext()

    def average_(self, tensors: Iterable[torch.Tensor]) -> None:
        """Replace tensors by their mean over the processes."""
        tensors = list(tensors)
        if self.world == 1 or not tensors:
            return
        flat = torch.cat([t.reshape(-1).float() for t in tensors])
        distributed.all_reduce(flat)
        for tensor, mean in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_((mean / self.world).view_as(tensor))

    def agree(self, answer: int, device: torch.device) -> int:
        """What the first process says, said to all."""
        if self.world == 1:
            return answer
        said = torch.tensor([answer], device=device)
        distributed.broadcast(said, 0)
        return int(said.item())


@contextmanager
def ranks_here(device: str) -> Iterator[tuple[Ranks, str]]:
    """The processes that ``torchrun`` started, and the device of this one.

    Without ``torchrun`` there is one process and the device stays as given. With it every
    process takes the GPU of its own number; where there is none they all take the CPU.
    """
    world = processes()
    if world == 1:
        yield Ranks(), device
        return
    on_gpu = torch.cuda.is_available() and device != "cpu"
    if on_gpu:
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if on_gpu else "gloo")
    try:
        here = int(os.environ.get("LOCAL_WORLD_SIZE", world))
        yield Ranks(distributed.get_rank(), world, here), device if on_gpu else "cpu"
    finally:
        distributed.destroy_process_group()


def processes() -> int:
    """How many processes ``torchrun`` started, 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank_here() -> int:
    """The number ``torchrun`` gave this process, 0 without it."""
    return int(os.environ.get("RANK", "0"))
