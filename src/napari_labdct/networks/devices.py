"""Where networks run: CPU, CUDA, MPS."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..core.errors import ModelError

if TYPE_CHECKING:
    import torch


MOST_THREADS = 8  # beyond, one frame gains little and the rest of the computer suffers


def devices() -> dict[str, str]:
    """The devices torch has here, as ``{name: description}``; ``cpu`` is always there."""
    import torch

    cores = available_cores()
    found = {"cpu": f"CPU, {cores} core{'s' if cores != 1 else ''}"}
    for k in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        found[f"cuda:{k}"] = torch.cuda.get_device_name(k)
    if torch.backends.mps.is_available():
        found["mps"] = "Apple GPU"
    return found


def resolve_device(name: str = "auto") -> torch.device:
    """The torch device of a name; ``auto`` is the first GPU, or else the CPU.

    Raises
    ------
    ModelError
        This computer has no such device.
    """
    import torch

    there = devices()
    if name == "auto":
        name = next((d for d in ("cuda:0", "mps") if d in there), "cpu")
    name = "cuda:0" if name == "cuda" else name
    if name not in there:
        raise ModelError(f"This computer has no device '{name}'; it has {', '.join(there)}.")
    if name == "cpu":  # fewer, never more, than somebody set before
        torch.set_num_threads(min(torch.get_num_threads(), available_cores(), MOST_THREADS))
    return torch.device(name)


def available_cores() -> int:
    """Cores this process may use, which in a container are fewer than the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
