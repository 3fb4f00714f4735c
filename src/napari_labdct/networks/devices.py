"""Where networks run: CPU, CPU in bfloat16, CUDA, MPS.

Some processors multiply bfloat16 numbers (8 bits of mantissa in place of 24) several times as
fast as float32; others only pretend to, and are slower. So ``cpu:bf16`` is there only where the
processor says that it has the instructions.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from ..core.errors import ModelError

if TYPE_CHECKING:
    import torch


BFLOAT16 = "cpu:bf16"
MOST_THREADS = 8  # beyond, one frame gains little and the rest of the computer suffers


def devices() -> dict[str, str]:
    """The devices torch has here, as ``{name: description}``; ``cpu`` is always there."""
    import torch

    cores = available_cores()
    cpu = f"CPU, {cores} core{'s' if cores != 1 else ''}"
    found = {"cpu": cpu}
    if has_bfloat16():
        found[BFLOAT16] = f"{cpu}, bfloat16"
    for k in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        found[f"cuda:{k}"] = torch.cuda.get_device_name(k)
    if torch.backends.mps.is_available():
        found["mps"] = "Apple GPU"
    return found


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 numbers itself (x86 with AMX or AVX512-BF16)."""
    import torch

    try:
        can = torch.cpu.get_capabilities()
    except AttributeError:  # an older torch does not say it in public
        return False
    return bool(can.get("amx_bf16") or can.get("avx512_bf16"))


def quickest(there: Iterable[str]) -> str:
    """What ``auto`` means when a network is run on one of these `devices`."""
    return next((d for d in ("cuda:0", "mps", BFLOAT16) if d in there), "cpu")


def resolve_device(name: str = "auto") -> torch.device:
    """The torch device of a name, whatever the precision; ``auto`` is a GPU, or else the CPU.

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
    name = "cpu" if name == BFLOAT16 else name
    if name == "cpu":  # fewer, never more, than somebody set before
        torch.set_num_threads(min(torch.get_num_threads(), available_cores(), MOST_THREADS))
    return torch.device(name)


@contextlib.contextmanager
def shared_threads(parts: int) -> Iterator[Callable[[], None]]:
    """While networks run in so many threads at once: gives what each of them begins with.

    torch has a number of threads for every thread that calls it, and one that new threads take over
    at their first call; the latter is put back at the end.
    """
    import torch

    before = torch.get_num_threads()

    def enter() -> None:
        torch.get_num_threads()  # the first call, which would undo the next one
        torch.set_num_threads(max(1, before // parts))

    try:
        yield enter
    finally:
        torch.set_num_threads(before)


def available_cores() -> int:
    """Cores this process may use, which in a container are fewer than the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
