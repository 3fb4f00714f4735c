"""Reviewed pairs as training crops: what somebody accepted and corrected, mixed with synthesis.

`io.spot_exports.write_training_pairs` leaves a folder of frames with their true masks.  Here
crops are cut from them; crop n of a seed is always the same, as in `synthesis`, so a
fine-tuning resumes along the same curve.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from ...core.errors import ScanError, SettingsError
from ...core.parameters import Param, Settings
from ...spots.measurement import spot_pixels

if TYPE_CHECKING:
    from ..settings import SynthesisSettings
    from .synthesis import Crop

PAIRS_STREAM = 1  # third number of a crop's seed, where a synthetic crop has none


@dataclass(frozen=True, kw_only=True)
class FineTuneSettings(Settings):
    """How a trained network goes on learning from reviewed pairs; small enough for a CPU."""

    job = "fine-tuning"

    pairs_part: Annotated[
        float,
        Param(
            "Part of reviewed crops",
            min=0.01,
            max=1,
            help="The rest is synthetic, so that the network forgets nothing.",
        ),
    ] = 0.5
    iterations: Annotated[int, Param("Iterations", min=1, help="Steps of the optimiser.")] = 300
    learning_rate: Annotated[float, Param("Learning rate", min=0, help="Peak.")] = 3e-4
    warmup: Annotated[int, Param("Warm-up", unit="iterations", min=0)] = 20
    batch: Annotated[int, Param("Batch", unit="crops", min=1)] = 8
    crop_px: Annotated[
        int, Param("Crop size", unit="px", min=32, max=2048, step=16, help="Side.")
    ] = 192
    validation_crops: Annotated[int, Param("Validation crops", min=1)] = 32
    validate_every: Annotated[int, Param("Validate every", unit="iterations", min=1)] = 100
    checkpoint_every: Annotated[int, Param("Checkpoint every", unit="iterations", min=1)] = 25
    seed: Annotated[int, Param("Seed", min=0)] = 0


class ReviewedPairs:
    """The pairs of a folder, from which crops are cut; images stay on disk until needed.

    Parameters
    ----------
    folder : path
        Made by `io.spot_exports.write_training_pairs`.
    part : float
        Part of the crops of a mixed stream that are cut from these pairs, above 0, at most 1.

    Attributes
    ----------
    recipe : dict
        ``part``, the number of pairs, and the hash of their pixels.

    Raises
    ------
    ScanError
        The folder holds no pairs, or images of a pair are missing or of different sizes.
    """

    kind = "pairs"

    def __init__(self, folder: str | Path, part: float = 0.5) -> None:
        from ...io.training_pairs import read_training_pairs

        self.folder, self.part = Path(folder), part
        self._pairs = list(read_training_pairs(folder))
        if not self._pairs:
            raise ScanError(f"{folder} holds no training pairs; review some spots first.")
        digest = hashlib.sha256()
        for pair in self._pairs:
            images = {k: v for k, v in pair.items() if k != "index"}
            if not {"frame", "mask"} <= set(images) or len({v.shape for v in images.values()}) > 1:
                raise ScanError(
                    f"Pair {pair['index']} in {folder} lacks its frame or mask, or they differ in "
                    "size; save the pairs again."
                )
            for name in {"mask", "ignore"} & set(images):
                spot_pixels(images[name])  # refuses what is neither mask nor labels
            for name in sorted(images):
                digest.update(f"{name}{images[name].shape}{images[name].dtype}".encode())
                digest.update(np.ascontiguousarray(images[name]))
        self.recipe: dict[str, Any] = {
            "part": part, "pairs": len(self._pairs), "sha256": digest.hexdigest(),
        }  # fmt: skip

    def __len__(self) -> int:
        return len(self._pairs)

    def check_size(self, crop_px: int) -> None:
        """Raise SettingsError if a frame is smaller than a crop."""
        for pair in self._pairs:
            rows, cols = pair["frame"].shape
            if min(rows, cols) < crop_px:
                raise SettingsError(
                    f"Pair {pair['index']} in {self.folder} is {rows} x {cols} px, smaller than "
                    f"a crop of {crop_px} px; choose smaller crops (--crop-px)."
                )

    def crop(self, crop_px: int, seed: int, index: int) -> Crop:
        """Crop `index` of a seed: a random place of a random pair, turned or mirrored at random.

        Every second crop holds a spot for certain, so that sparse frames teach spots as well.

        Parameters
        ----------
        crop_px : int
            Side, at most the frames' (see `check_size`).
        seed, index : int
            Not negative; together with the pairs they decide everything.

        Returns
        -------
        Crop
            ``expected``, ``sigma`` and the SNR of the spots, which nobody knows, are NaN.
        """
        rng = np.random.default_rng([seed, index, PAIRS_STREAM])
        pair = self._pairs[int(rng.integers(len(self._pairs)))]
        shape = np.array(pair["frame"].shape)
        corner = rng.integers(0, shape - crop_px + 1)
        if rng.random() < 0.5:
            spots = np.flatnonzero(pair["mask"])
            if spots.size:
                place = np.array(np.unravel_index(spots[rng.integers(spots.size)], shape))
                corner = np.clip(place - rng.integers(0, crop_px, 2), 0, shape - crop_px)
        here = tuple(slice(c, c + crop_px) for c in corner)
        turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))

        def cut(name: str) -> np.ndarray | None:
            if name not in pair:
                return None
            image = np.rot90(pair[name][here], turns)
            return np.ascontiguousarray(image.T if mirrored else image)

        mask, ignore = cut("mask") > 0, cut("ignore")
        ignore = np.zeros(mask.shape, bool) if ignore is None else ignore > 0
        return _as_crop(cut("frame"), cut("median"), mask & ~ignore, ignore)

    def mixed(self, synthesis: SynthesisSettings, seed: int, index: int) -> Crop:
        """Crop `index` of a seed of the stream in which `part` of the crops are reviewed.

        The two kinds alternate evenly, so that every batch holds both.
        """
        from .synthesis import make_crop

        if int((index + 1) * self.part) > int(index * self.part):
            return self.crop(synthesis.crop_px, seed, index)
        return make_crop(synthesis, seed, index)


def _as_crop(frame, median, mask: np.ndarray, ignore: np.ndarray) -> Crop:
    """Labels and loss weight of a reviewed crop, weighted as synthetic ones are."""
    from scipy import ndimage

    from .crop_spots import SPOT
    from .synthesis import Crop

    labels, count = ndimage.label(mask, np.ones((3, 3)))
    labels = labels.astype(np.int32)
    area = np.bincount(labels.ravel(), minlength=count + 1)
    alike = np.clip(40 / np.maximum(area, 1), 0.4, 1).astype(np.float32)
    alike[0] = 1
    weight = alike[labels]
    # The gaps between close spots: background that sees two of them.
    lowest = ndimage.minimum_filter(np.where(labels > 0, labels, count + 1), 3)
    highest = ndimage.maximum_filter(labels, 3)
    weight[(labels == 0) & (highest > 0) & (lowest != highest)] = 3
    labels[ignore], weight[ignore] = -1, 0
    spots = np.full(count, np.nan, SPOT)
    numbers = np.arange(1, count + 1)
    places = ndimage.center_of_mass(mask, np.where(ignore, 0, labels), numbers)
    spots["row"], spots["col"] = np.reshape(places, (count, 2)).T
    spots["area"] = area[1:]
    unknown = np.full(mask.shape, np.nan, np.float32)
    return Crop(frame, median, labels, weight, spots, unknown, unknown)
