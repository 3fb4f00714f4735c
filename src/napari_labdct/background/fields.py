"""Parametric backgrounds: what real frames show besides spots, each from a documented range.

Training crops are made of these parts; see `training.crops.synthesis`.

Every function takes a NumPy random generator first, draws what it needs from the ranges that
its docstring names, and returns float32 images.  ``sigma`` is the typical noise of a pixel and
sets the scale of what is only seen because it stands out of the noise.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..core.shape_kernels import SHAPE, draw, draw_tracks

Shape = tuple[int, int]


def log_uniform(rng: np.random.Generator, low: float, high: float, size: int | None = None):
    """Numbers between `low` and `high` whose logarithm is uniform."""
    return np.exp(rng.uniform(np.log(low), np.log(high), size))


# --- smooth ---------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def spline_basis(n: int, knots: int) -> np.ndarray:
    """Cubic B-splines (n, knots) over a length: smooth fields as two small matrix products."""
    place = np.linspace(1, knots - 2, n)[:, None] - np.arange(knots)[None]
    t = np.abs(place)
    inner = 2 / 3 - t**2 + t**3 / 2
    outer = np.clip(2 - t, 0, None) ** 3 / 6
    return np.where(t < 1, inner, outer).astype(np.float32)


def smooth_field(rng: np.random.Generator, shape: Shape, knots: int | None = None) -> np.ndarray:
    """Random smooth field of zero mean and unit variance (over many fields).

    `knots` along each side are drawn from 4, 5, 6, 9 if not given.
    """
    knots = knots or int(rng.choice([4, 5, 6, 9]))
    down, across = (spline_basis(n, knots) for n in shape)
    return 2.0 * (down @ rng.standard_normal((knots, knots), np.float32)) @ across.T


def _from(shape: Shape, place: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Rows (rows, 1) and columns (1, cols) relative to a place."""
    row = np.arange(shape[0], dtype=np.float32)[:, None] - np.float32(place[0])
    return row, np.arange(shape[1], dtype=np.float32)[None] - np.float32(place[1])


# --- beam stop ------------------------------------------------------------------------------


def stop_depth(
    shape: Shape,
    place: tuple[float, float],
    half: float,
    aspect: float = 1.0,
    is_round: bool = False,
) -> np.ndarray:
    """How deep each pixel is inside an absorber, px; negative outside."""
    row, col = _from(shape, place)
    half = np.float32(half)
    if is_round:
        return half - np.hypot(row, col)
    return np.minimum(half - np.abs(row), half * aspect - np.abs(col))


def shadow(depth: np.ndarray, soft: float, through: float) -> np.ndarray:
    """Transmission of an absorber with a penumbra: `soft` is a quarter of its width in px."""
    dark = 1 / (1 + np.exp(np.clip(-depth / np.float32(soft), -60, 60)))
    return (1 - (1 - through) * dark).astype(np.float32)


# --- static structure -----------------------------------------------------------------------


def radial_streaks(
    rng: np.random.Generator,
    image: np.ndarray,
    sigma: float,
    beam: tuple[float, float] | None = None,
) -> None:
    """Add 5 to 120 bright streaks that point at the beam, 0.3 to 25 sigma high."""
    draw(radial_shapes(rng, image.shape, sigma, beam), image, 0.01)


def radial_shapes(
    rng: np.random.Generator,
    shape: Shape,
    sigma: float,
    beam: tuple[float, float] | None = None,
) -> np.ndarray:
    """The shapes of `radial_streaks`.

    They are 0.7 to 2 px wide (SD) and 1 to 12 times as long.  If no `beam` is given it is drawn
    from five image sizes around the image.
    """
    rows, cols = shape
    count = int(log_uniform(rng, 5, 120))
    streaks = plain_shapes(rng, count, shape)
    if beam is None:
        beam = rng.uniform(-2, 3, 2) * (rows, cols)
    streaks["angle"] = np.arctan2(streaks["row"] - beam[0], streaks["col"] - beam[1])
    streaks["angle"] += 0.05 * rng.standard_normal(count)
    streaks["width"] = log_uniform(rng, 0.7, 2.0, count)
    streaks["length"] = streaks["width"] * log_uniform(rng, 1, 12, count)
    streaks["height"] = sigma * log_uniform(rng, 0.3, 25, count)
    return streaks


def plain_shapes(rng: np.random.Generator, count: int, shape: Shape) -> np.ndarray:
    """Round shapes of size and height 1 at random places, up to 3 px outside the image."""
    shapes = np.zeros(count, SHAPE)
    shapes["row"] = rng.uniform(-3, shape[0] + 2, count)
    shapes["col"] = rng.uniform(-3, shape[1] + 2, count)
    shapes["length"] = shapes["width"] = shapes["clip"] = shapes["height"] = 1
    shapes["flat_u"] = shapes["flat_v"] = 2
    shapes["level"] = 0.4
    return shapes


def columns(rng: np.random.Generator, shape: Shape, sigma: float) -> np.ndarray:
    """Columns (1, cols) that are brighter or darker all the way down, 0.1 to 2 sigma."""
    n = shape[1]
    image = rng.standard_normal((1, n), np.float32) * (rng.random((1, n)) < rng.random())
    return image * np.float32(sigma * log_uniform(rng, 0.1, 2))


def edge_glow(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Glow towards the left or the right edge, uneven along it: 0.05 to 6 times the level.

    It falls off over 0.7 to 15 px.
    """
    rows, n = shape
    away = np.arange(n, dtype=np.float32)
    away = np.exp(-(away if rng.random() < 0.5 else n - 1 - away) / log_uniform(rng, 0.7, 15))
    uneven = np.exp(rng.uniform(0, 0.7) * rng.standard_normal((rows, 1), np.float32))
    uneven = np.maximum(uneven, np.exp(0.7 * smooth_field(rng, shape, 9)[:, :1]))
    return (away * uneven * log_uniform(rng, 0.05, 6)).astype(np.float32)


def fixed_pattern(rng: np.random.Generator, shape: Shape, level: float, sigma: float):
    """Gain of single pixels: 0 to 3 % of the level, at most 3 sigma."""
    strength = min(rng.uniform(0, 0.03) * level, 3 * sigma)
    return np.float32(strength) * rng.standard_normal(shape, np.float32)


def hot_pixels(rng: np.random.Generator, shape: Shape, sigma: float):
    """Places (2, n) and heights (n,) of hot pixels: 30 to 4000 in a million, 2 to 100 sigma."""
    rows, cols = shape
    hot = rng.poisson(log_uniform(rng, 3e-5, 4e-3) * rows * cols)
    place = np.stack([rng.integers(0, n, hot) for n in shape])
    return place, sigma * log_uniform(rng, 2, 100, hot).astype(np.float32)


# --- what changes from frame to frame --------------------------------------------------------


def cosmic_rays(rng: np.random.Generator, image: np.ndarray, height: np.ndarray, binning=1) -> None:
    """Add a hit of each `height` (its brightest pixel): sharp ones of 1 to 5 px, and short tracks.

    A fifth are straight tracks of 0 to 13 px, 0.6 to 1.3 px wide; of the others about half are
    one pixel.  Where pixels are binned, hits are smaller.
    """
    (row, col, value), tracks = cosmic_parts(rng, image.shape, height, binning)
    np.add.at(image, (row, col), value)
    draw_tracks(image, *tracks)


def cosmic_parts(rng: np.random.Generator, shape: Shape, height: np.ndarray, binning: int = 1):
    """What `cosmic_rays` draws: pixels (row, col, value), and the arguments of `draw_tracks`."""
    rows, cols = shape
    count = len(height)
    kind = rng.random(count)
    # Hits: charge shared unevenly among pixels that touch, half of the time only one pixel.
    size = np.where(kind < 0.45, 1, rng.integers(2, 6, count))
    size[kind > 0.8] = 0
    walk = rng.integers(-1, 2, (2, count, 5)).cumsum(axis=2)
    if binning > 1:
        walk = walk // binning
    row, col = (rng.integers(0, n, count)[:, None] + w for n, w in zip((rows, cols), walk))
    share = rng.random((count, 5), np.float32) ** 2
    share[:, 0] = 1
    lit = (np.arange(5) < size[:, None]) & (np.minimum(row, col) >= 0)
    lit &= (row < rows) & (col < cols)
    pixels = row[lit], col[lit], (height[:, None] * share)[lit]
    straight = kind > 0.8
    k = int(straight.sum())
    row, col = rng.uniform(-0.5, rows - 0.5, k), rng.uniform(-0.5, cols - 0.5, k)
    thickness = rng.choice([0.6, 0.8, 1.3], k)
    angle, length = rng.uniform(0, np.pi, k), rng.uniform(0, 13, k)
    return pixels, (row, col, angle, length / binning, thickness, height[straight])


def correlate(noise: np.ndarray, part: float) -> np.ndarray:
    """Share noise with the neighbours (detector blur): lag-1 correlation about 2 `part`."""
    for axis in (0, 1):
        noise = noise + np.float32(part) * (np.roll(noise, 1, axis) + np.roll(noise, -1, axis))
    return noise / np.float32(1 + 2 * part * part)
