"""Stacks of earlier jobs: whether one belongs to a scan and is of the kind that is needed."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import LabDCTWarning, SettingsError
from ..core.jobs import DENOISED, MASK
from ..core.recipes import recipe_beside
from ..core.stacks import FrameStack
from ..io.opening import open_scan
from ..scan.scan import Scan

#: Either kind of stack, for `check_stack`.
EITHER = "either"
_CLEANED_BY = ("denoise", "track")
_MASKS_BY = ("binarise", "routine", "spots")


def check_stack(
    path: str | Path, stack: FrameStack, scan: Scan, kind: str, coarse: bool = False
) -> None:
    """Refuse a stack that cannot belong to the scan, or is of another kind than asked for.

    Parameters
    ----------
    path : path
        Where it was read from; its recipe may lie beside it.
    stack : array-like (n, rows, cols)
    scan : Scan
    kind : str
        `DENOISED`, `MASK` (labels, too), or `EITHER`.
    coarse : bool
        Another size is taken if the recipe says that it was made of this scan.

    Raises
    ------
    SettingsError
        Number of projections, size or kind differ; the message says what to do.
    """
    made = recipe_beside(path)
    made_of = made.get("input", {}).get("id")
    same = bool(made_of) and made_of == scan.identity()
    wanted, has = (scan.n_frames, *scan.shape), tuple(stack.shape)
    if len(has) != 3 or has[0] != scan.n_frames:
        raise SettingsError(
            f"{path} has shape {has}, but the scan has {scan.n_frames} projections; give a stack "
            "of this scan."
        )
    if has != wanted and not (coarse and same):
        raise SettingsError(
            f"{path} has {has[1]} x {has[2]} pixels, but the projections of '{scan.name}' have "
            f"{wanted[1]} x {wanted[2]}; give a stack of this scan at full size."
        )
    _check_kind(path, stack, made, kind)
    if made_of and not same:
        text = f"{path} was made of other projections than '{scan.name}'."
        warnings.warn(text, LabDCTWarning, stacklevel=2)


def _check_kind(path: str | Path, stack: FrameStack, made: dict[str, Any], kind: str) -> None:
    """Refuse masks where a cleaned stack belongs, and the other way round."""
    by_network = made.get("job") in _CLEANED_BY
    if kind == MASK and by_network:
        raise SettingsError(
            f"{path} is a network result of 'labdct {made['job']}', not a mask; give it as "
            "--denoised, or cut it with 'labdct spots --write-mask'."
        )
    if kind != DENOISED:
        return
    if np.dtype(stack.dtype) != np.uint8:
        raise SettingsError(
            f"{path} holds {np.dtype(stack.dtype)} values, not the network's 0 to 255; give the "
            "output of 'labdct denoise'."
        )
    # a job of another package may make either kind; its values tell
    if not by_network and (made.get("job") in _MASKS_BY or _only_two_values(stack)):
        raise SettingsError(f"{path} is a mask; give the network result of 'labdct denoise'.")


def _only_two_values(stack: FrameStack) -> bool:
    """Whether some frames spread over the stack hold 0 and 255, or 0 and 1, and nothing else."""
    values: set[int] = set()
    for index in np.unique(np.linspace(0, stack.shape[0] - 1, 8).astype(int)):
        values |= set(np.unique(np.asarray(stack[index])).tolist())
        if len(values) > 2:
            return False
    return values in ({0, 1}, {0, 255})


def fit(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """An image brought to `shape` by nearest neighbours (masks and labels keep their values)."""
    if image.shape == shape:
        return image
    rows, cols = (
        np.minimum(((np.arange(n) + 0.5) * m / n).astype(int), m - 1)
        for n, m in zip(shape, image.shape)
    )
    return image[np.ix_(rows, cols)]


class Enlarged:
    """A stack of masks as another size would show it; frames are made when asked for."""

    def __init__(self, stack: FrameStack, shape: tuple[int, int]) -> None:
        self._stack = stack
        self.shape, self.dtype = (stack.shape[0], *shape), np.dtype(stack.dtype)

    def __getitem__(self, index: int) -> np.ndarray:
        return fit(np.asarray(self._stack[index]), (self.shape[1], self.shape[2]))


def open_mask(path: str | Path, scan: Scan) -> Enlarged:
    """The binary stack of a scan, at its size: enlarged if its recipe says it was made of it."""
    stack = open_scan(path).frames
    check_stack(path, stack, scan, MASK, coarse=True)
    return Enlarged(stack, scan.shape)
