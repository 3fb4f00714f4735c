"""From a denoised stack to masks: threshold and smallest size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np

from ..core.jobs import DENOISED, MASK, FrameJob, Output
from ..core.parameters import Param, Settings
from ..core.recipes import recipe, recipe_beside
from ..core.stacks import FrameStack, LazyStack
from ..io.opening import open_scan
from ..scan.scan import Scan
from .components import drop_small
from .stacks import check_stack


@dataclass(frozen=True, kw_only=True)
class SpotSettings(Settings):
    """How a cleaned projection is cut into spots."""

    job: ClassVar[str] = "binarise"

    threshold: Annotated[
        int,
        Param(
            "Threshold",
            "of 255",
            1,
            255,
            1,
            "Pixels of the network result at or above it are spot.",
        ),
    ] = 128
    min_size_px: Annotated[
        int, Param("Minimum spot size", "px", 1, 10000, 1, "Smaller spots are dropped.")
    ] = 3


def binarise(cleaned: np.ndarray, settings: SpotSettings) -> np.ndarray:
    """Spots of one cleaned projection.

    Parameters
    ----------
    cleaned : uint8 array (rows, cols)
        Output of `denoising`, 0 to 255.
    settings : SpotSettings

    Returns
    -------
    bool array (rows, cols)
    """
    return drop_small(np.asarray(cleaned) >= settings.threshold, settings.min_size_px)


#: Under this name a recipe or an entry of it says how masks were cut.
BINARISED = SpotSettings.job
_EARLIER = ("spots", "cut")


def binarised(made: dict[str, Any]) -> dict[str, Any] | None:
    """How the masks of a recipe were cut, under today's name or an earlier one; None if unknown."""
    for name in (BINARISED, *_EARLIER):
        if isinstance(made.get(name), dict):
            return made[name]
    return None


def binary_recipe(made: dict[str, Any], settings: SpotSettings) -> dict[str, Any]:
    """What a file of masks is made of: the recipe of the cleaned stack, and how it was cut."""
    return {
        **made,
        "job": settings.job,  # nobody shall take it for the network's output
        "cleaned_by": made.get("job", ""),
        BINARISED: settings.to_dict(),
    }


class BinaryFrames(LazyStack):
    """The spots of a cleaned stack, cut when a frame is asked for (uint8, 0 or `value`).

    Change `settings` and read again: the network does not run a second time.
    """

    def __init__(self, cleaned: FrameStack, settings: SpotSettings, value: int = 255) -> None:
        super().__init__(cleaned.shape, np.uint8)
        self.cleaned = cleaned
        self.settings = settings
        self.value = value

    def read(self, index: int) -> np.ndarray:
        spot = binarise(np.asarray(self.cleaned[index]), self.settings)
        return spot.astype(np.uint8) * np.uint8(self.value)


class BinariseJob(FrameJob):
    """The masks of a denoised scan: uint8, 0 or 255.

    Parameters
    ----------
    scan : Scan
    denoised : uint8 stack (n, rows, cols)
    settings : SpotSettings
    made : dict, optional
        The recipe of `denoised`; that of a `FrameStore` is known.
    """

    name = SpotSettings.job
    settings_type = SpotSettings
    needs = (DENOISED,)
    makes = MASK
    scan: Scan
    settings: SpotSettings

    def __init__(
        self,
        scan: Scan,
        denoised: FrameStack,
        settings: SpotSettings | None = None,
        made: dict[str, Any] | None = None,
    ) -> None:
        self.scan, self.denoised = scan, denoised
        self.settings = settings or SpotSettings()
        self.made = made if made is not None else getattr(denoised, "recipe", {})
        self._masks = BinaryFrames(denoised, self.settings)

    @classmethod
    def _of(cls, scan: Scan, settings: SpotSettings, files: Mapping[str, Path]) -> Self:
        path = files[DENOISED]
        denoised = open_scan(path).frames
        check_stack(path, denoised, scan, DENOISED, coarse=True)
        return cls(scan, denoised, settings, recipe_beside(path))

    @property
    def output(self) -> Output:
        return Output(self._masks.shape, np.uint8, orientation=self.scan.orientation)

    @property
    def inputs(self) -> tuple[Any, ...]:
        return (self.scan, self.denoised)

    def frame(self, index: int) -> np.ndarray:
        return self._masks.read(index)

    def recipe(self) -> dict[str, Any]:
        """That of the denoised stack, and how it was cut."""
        made = self.made if "input" in self.made else recipe("", {}, self.scan)
        return binary_recipe(made, self.settings)
