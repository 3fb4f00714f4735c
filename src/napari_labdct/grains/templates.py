"""Predicted spots of one projection as small images, and how much of each a projection holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Predicted", "fit_brightness", "heights"]


@dataclass(frozen=True, eq=False)
class Predicted:
    """Spots in noise sigmas, each a sparse image.

    Attributes
    ----------
    table : ndarray of SIMULATED_DTYPE (n,)
    at : list of (rows, cols)
        Pixels of each.
    light : list of ndarray of float32
        What is expected there.
    """

    table: np.ndarray
    at: list[tuple[np.ndarray, np.ndarray]]
    light: list[np.ndarray]

    @classmethod
    def of(cls, table: np.ndarray, images: list, noise: np.ndarray, scale: float) -> Predicted:
        """From images of grey levels: pixels of at least 2 % of the peak."""
        at, light, kept = [], [], []
        for k, (row, col, image) in enumerate(images):
            peak = image.max(initial=0)
            if not peak > 0:
                continue
            r, c = np.nonzero(image > 0.02 * peak)
            place = (r + row, c + col)
            at.append(place)
            light.append(scale * image[r, c] / noise[place])
            kept.append(k)
        return cls(table[kept], at, light)

    def __len__(self) -> int:
        return len(self.at)

    @property
    def norm(self) -> np.ndarray:
        """Height (n,) of each in a filter of its own shape."""
        return np.array([np.sqrt(float(t @ t)) for t in self.light])

    @property
    def peak(self) -> np.ndarray:
        """Largest value (n,) of each."""
        return np.array([t.max(initial=0) for t in self.light])

    def only(self, keep: np.ndarray) -> Predicted:
        """Those chosen by a boolean array."""
        chosen = np.flatnonzero(keep)
        return Predicted(
            self.table[chosen], [self.at[k] for k in chosen], [self.light[k] for k in chosen]
        )

    def times(self, factors: np.ndarray) -> Predicted:
        """Each brighter by a factor."""
        light = [np.float32(f) * t for f, t in zip(factors, self.light, strict=True)]
        return Predicted(self.table, self.at, light)

    def moved(self, shift: np.ndarray, shape: np.ndarray) -> Predicted:
        """The same shapes (row, col) px away, those that stay on the detector."""
        at = [(r + shift[0], c + shift[1]) for r, c in self.at]
        inside = [
            r.min() >= 0 and c.min() >= 0 and r.max() < shape[0] and c.max() < shape[1]
            for r, c in at
        ]
        kept = np.flatnonzero(inside)
        return Predicted(self.table[kept], [at[k] for k in kept], [self.light[k] for k in kept])

    def dot(self, index: int, image: np.ndarray) -> float:
        """Sum of an image times one spot."""
        return float(image[self.at[index]] @ self.light[index])

    def pixels(self, index: int, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Pixels of at least a part of the peak."""
        light = self.light[index]
        bright = light >= level * light.max()
        rows, cols = self.at[index]
        return rows[bright], cols[bright]

    def values(self, index: int, at: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """What is expected at some of its own pixels."""
        rows, cols = self.at[index]
        own = rows.astype(np.int64) << 32 | cols
        order = np.argsort(own)
        wanted = at[0].astype(np.int64) << 32 | at[1]
        return self.light[index][order[np.searchsorted(own[order], wanted)]]

    def on(self, mask: np.ndarray) -> np.ndarray:
        """Whether the brightest pixel (n,) of each lies in a mask."""
        found = np.zeros(len(self), bool)
        for k, ((rows, cols), light) in enumerate(zip(self.at, self.light, strict=True)):
            top = light.argmax()
            found[k] = mask[rows[top], cols[top]]
        return found


def fit_brightness(spots: Predicted, image: np.ndarray, error: float, rounds: int = 3):
    """All spots together, each as bright as the image and the prediction together make it.

    Coordinate descent on ``|image - sum a_i t_i|^2 + sum ((a_i - 1) / error)^2`` with ``a_i >= 0``.

    Returns
    -------
    model : ndarray of float32 (rows, cols)
        The sum of the fitted spots.
    bright : ndarray (n,)
        Brightness of each over the predicted one.
    """
    model = np.zeros(image.shape, np.float32)
    for at, light in zip(spots.at, spots.light, strict=True):
        model[at] += light
    bright = np.ones(len(spots))
    norm2, stiff = spots.norm**2, 1 / error**2
    for _ in range(rounds):
        for k, (at, light) in enumerate(zip(spots.at, spots.light, strict=True)):
            off = float((image[at] - model[at]) @ light) + bright[k] * norm2[k]
            new = max((off + stiff) / (norm2[k] + stiff), 0.0)
            model[at] += np.float32(new - bright[k]) * light
            bright[k] = new
    return model, bright


def heights(
    spots: Predicted, image: np.ndarray, model: np.ndarray, bright: np.ndarray, error: float
) -> tuple[np.ndarray, np.ndarray]:
    """Expected and observed height (n,) of each spot in a filter of its own shape.

    Where other spots are bright, their uncertain light counts as noise.

    Parameters
    ----------
    model, bright
        From `fit_brightness`; `bright` is 0 for spots that the model does not hold.
    """
    expected, height = np.zeros(len(spots)), np.zeros(len(spots))
    for k, (at, light) in enumerate(zip(spots.at, spots.light, strict=True)):
        others = model[at] - np.float32(bright[k]) * light
        weight = 1 / (1 + (0.5 * error * np.maximum(others, 0)) ** 2)
        norm = np.sqrt(float((weight * light) @ light)) + 1e-9
        expected[k] = norm
        height[k] = float((weight * (image[at] - others)) @ light) / norm
    return expected, height
