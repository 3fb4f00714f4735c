"""What is drawn into the crops of a training batch, as a small table: no pixels yet.

`rendering` turns a `Scene` into images where a network learns.  Spots, their halos, streaks,
ghosts and cosmic rays are all shapes here, drawn from the ranges that `synthesis` uses; it needs
no torch, so that other processes draw scenes without loading it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...background import fields
from ...background.fields import log_uniform
from ...core.shape_kernels import SHAPE
from ..settings import SynthesisSettings
from .crop_spots import make_large, random_shapes

# What a shape is drawn into, and the part of its peak where it ends there.
STATIC, GHOST, COSMIC, SPOT, HALO = range(5)
LOWEST = np.array([0.01, 0.02, 0.1, 0.002, 0.02])

ROW = np.dtype([*SHAPE.descr, ("layer", "i8"), ("crop", "i8"), ("snr", "f8"), ("owner", "i8")])
FLOATS = (
    "row", "col", "length", "width", "cosine", "sine", "flat_u", "flat_v", "bend", "wave", "phase",
    "lowest", "far", "level", "height", "snr",
)  # fmt: skip
WHOLES = ("crop", "top", "left", "tall", "wide", "first", "centre", "owner")


@dataclass(frozen=True)
class Scene:
    """The shapes of some crops, sorted by layer, then by crop.

    Attributes
    ----------
    seed : int
        Of everything that is drawn pixel by pixel.
    floats : float32 array (len(FLOATS), shapes)
        ``height`` is the peak in noise sigmas, of a halo the part of its spot's; that of a spot
        follows from ``snr``.
    wholes : int64 array (len(WHOLES), shapes)
        The box of each shape inside its crop and the number of the box's ``first`` pixel among all
        boxes; flat index of the pixel at its ``centre``; ``owner`` is the spot a shape belongs to
        (from 0 over all crops), of a halo the place of its shape among those of the spots.
    ends : tuple of int
        Where each layer ends in the table; of its pixels, see `pixels_before`.
    spots : int
    crops : int
    """

    seed: int
    floats: np.ndarray
    wholes: np.ndarray
    ends: tuple[int, ...]
    spots: int
    crops: int

    def pixels_before(self, shape: int) -> int:
        """How many box pixels come before a shape; of the number of shapes: all of them."""
        tall, wide, first = (self.wholes[WHOLES.index(k)] for k in ("tall", "wide", "first"))
        if shape < len(first):
            return int(first[shape])
        return int(first[-1] + tall[-1] * wide[-1]) if shape else 0


def draw_scene(settings: SynthesisSettings, crops: int, seed: int, number: int) -> Scene:
    """Scene `number` of a seed, with so many crops; the same wherever it is drawn."""
    # The third number keeps it apart from the crops of `synthesis`, whose seeds are pairs.
    rng = np.random.default_rng([seed, number, 1])
    pixel_seed = int(rng.integers(2**63 - 1))
    tables = [np.zeros(0, ROW)]
    spots = shapes = 0
    for crop in range(crops):
        for table in _crop(rng, settings):
            table["crop"] = crop
            if table["layer"][0] == SPOT:
                table["owner"] += spots
                spots, before, shapes = table["owner"][-1] + 1, shapes, shapes + len(table)
            elif table["layer"][0] == HALO:
                table["owner"] += before
            tables.append(table)
    table = np.concatenate(tables)
    table = table[np.argsort(table["layer"], kind="stable")]
    ends = tuple(int(k) for k in np.searchsorted(table["layer"], np.arange(5), side="right"))
    floats, wholes = _columns(table, settings.crop_px)
    return Scene(pixel_seed, floats, wholes, ends, int(spots), crops)


def _crop(rng: np.random.Generator, settings: SynthesisSettings) -> Iterator[np.ndarray]:
    """The layers of one crop that hold any shapes; the halos after the spots."""
    n = settings.crop_px
    near = rng.random() < settings.near_field
    shapes, snr, owner = random_shapes(rng, n, settings, near)
    yield from _rows(SPOT, shapes, snr, owner)
    bright = np.flatnonzero(snr > 25)
    if len(bright) and rng.random() >= 0.4:
        halos = shapes[bright]
        for side in ("length", "width"):
            halos[side] *= rng.uniform(1.5, 5)
        halos["height"] = log_uniform(rng, 0.004, 0.08)
        yield from _rows(HALO, halos, 0, bright)
    if rng.random() < 0.4:
        yield from _rows(STATIC, fields.radial_shapes(rng, (n, n), 1.0))
    if near or rng.random() < 0.2:
        ghosts = fields.plain_shapes(rng, int(log_uniform(rng, 2, 40)), (n, n))
        make_large(rng, ghosts, np.arange(len(ghosts)), rng.uniform(0, np.pi))
        ghosts["height"] = log_uniform(rng, 0.1, 2.5, len(ghosts))
        yield from _rows(GHOST, ghosts)
    count = rng.poisson(log_uniform(rng, 3e-5, 8e-4) * n * n)
    yield from _rows(COSMIC, _cosmic_shapes(rng, n, log_uniform(rng, 4, 250, count)))


def _rows(layer: int, shapes: np.ndarray, snr=0.0, owner=0) -> Iterator[np.ndarray]:
    """A table of shapes, if there are any."""
    if len(shapes):
        table = np.zeros(len(shapes), ROW)
        for name in SHAPE.names:
            table[name] = shapes[name]
        table["layer"], table["snr"], table["owner"] = layer, snr, owner
        yield table


def _cosmic_shapes(rng: np.random.Generator, n: int, height: np.ndarray) -> np.ndarray:
    """Cosmic rays as shapes: pixels are narrow points on their centre, tracks sharp-ended lines."""
    (row, col, value), tracks = fields.cosmic_parts(rng, (n, n), height)
    pixels, lines = (fields.plain_shapes(rng, len(k), (n, n)) for k in (row, tracks[0]))
    pixels["row"], pixels["col"], pixels["height"] = row, col, value
    pixels["length"] = pixels["width"] = 0.3
    lines["row"], lines["col"], lines["angle"], length, thickness, lines["height"] = tracks
    lines["length"], lines["flat_u"] = 0.48 * length + 0.3, 8
    lines["width"] = 0.25 + 0.2 * thickness
    lines["height"] *= np.minimum(0.5 + 0.5 * thickness, 1)  # a thin one does not fill its pixels
    return np.concatenate([pixels, lines])


def _columns(table: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """`FLOATS` and `WHOLES` of a table; boxes and limits are those of `shapes.draw`."""
    lowest = LOWEST[table["layer"]]
    extent = -2 * np.log(lowest)
    u = table["length"] * extent ** (1 / table["flat_u"])
    v = table["width"] * extent ** (1 / table["flat_v"]) + np.abs(table["bend"]) * u * u
    reach = (1 + table["wave"]) * np.maximum(u, v) + 1
    low, high = (
        [np.clip(np.trunc(table[k] + sign * reach) + 2 * (sign > 0), 0, n) for k in ("row", "col")]
        for sign in (-1, 1)
    )
    tall, wide = (np.maximum(b - a, 0) for a, b in zip(low, high))
    row, col = (np.clip(np.rint(table[k]), 0, n - 1) for k in ("row", "col"))
    more = {
        "cosine": np.cos(table["angle"]), "sine": np.sin(table["angle"]), "lowest": lowest,
        "far": (1 + table["wave"]) * np.sqrt(extent),
        "top": low[0], "left": low[1], "tall": tall, "wide": wide,
        "first": np.cumsum(tall * wide) - tall * wide,
        "centre": (table["crop"] * n + row) * n + col,
    }  # fmt: skip
    floats, wholes = (
        np.stack([more[k] if k in more else table[k] for k in names]) for names in (FLOATS, WHOLES)
    )
    return floats.astype(np.float32), wholes.astype(np.int64)
