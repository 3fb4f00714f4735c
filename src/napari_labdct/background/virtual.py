"""Backgrounds of virtual detectors, broad enough to stand for any real one.

`sample_background` draws what stands still (gradients, beam stop, halo, streaks, seams, hot and
dead pixels) and how the detector behaves; the `VirtualBackground` gives any number of
projections with drift, noise and cosmic rays, each decided by the seed and its number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ..core.parameters import Param, Settings
from .fields import (
    Shape,
    columns,
    correlate,
    cosmic_rays,
    dead_pixels,
    direct_beam_halo,
    edge_glow,
    fixed_pattern,
    hot_pixels,
    line_streaks,
    log_uniform,
    one_sided_gradient,
    radial_gradient,
    radial_streaks,
    shadow,
    smooth_field,
    stop_depth,
    tile_seams,
)

_FRAME_STREAM = 3  # second number of the seed of a projection; the still part has none
STOPS = ("any", "none", "square", "round", "double")


@dataclass(frozen=True, kw_only=True)
class FieldSettings(Settings):
    """A virtual detector and its background; what has a range is drawn from it."""

    job: ClassVar[str] = "virtual background"

    level_min: Annotated[float, Param("Lowest grey level", "counts", 1, help="Mean.")] = 40.0
    level_max: Annotated[float, Param("Highest grey level", "counts", 1, help="Mean.")] = 20000.0
    noise_min: Annotated[float, Param("Lowest variance per grey level", "", 0.05, 10)] = 0.5
    noise_max: Annotated[float, Param("Highest variance per grey level", "", 0.05, 10)] = 2.0
    readout_max: Annotated[
        float,
        Param("Read-out noise", "", 0, 5, help="At most, over the noise at the mean level."),
    ] = 0.7
    drift_percent: Annotated[
        float,
        Param("Drift", "%", 0, 30, help="SD of the brightness from projection to projection."),
    ] = 4.0
    stop: Annotated[
        str, Param("Beam stop", choices=STOPS, help="Near the middle, or somewhat off it.")
    ] = "any"
    cosmic_min: Annotated[
        float, Param("Fewest cosmic rays", "per Mpx", 0, 1e4, help="In a projection.")
    ] = 30.0
    cosmic_max: Annotated[float, Param("Most cosmic rays", "per Mpx", 0, 1e4)] = 400.0
    bits: Annotated[
        str, Param("Bits", choices=("any", "8", "16"), help="any: one in five has 8.")
    ] = "any"
    binning: Annotated[
        int | None, Param("Binning", "px", 1, 4, 1, "1, 2 or 4 at random if not given.")
    ] = None


@dataclass(frozen=True, eq=False)
class VirtualBackground:
    """Background of a virtual detector, made by `sample_background`.

    Attributes
    ----------
    still : float32 array (rows, cols)
        What stands still: expected counts of a projection without drift, hot pixels included.
    hidden : bool array (rows, cols)
        More than half way into the shadow of a beam stop that lets nothing through.
    beam_px : (row, col)
        Where the direct beam would be.
    gain, readout : float
        Noise variance is ``gain * level + readout**2``, counts squared.
    correlation : float
        Part of the noise shared with each neighbour, see `correlate`.
    cosmic_events : float
        Of a projection, on average.
    binning : int
    top : int
        Brightest count, 255 or 65535.
    drift_percent : float
    seed : int
    """

    still: np.ndarray
    hidden: np.ndarray
    beam_px: tuple[float, float]
    gain: float
    readout: float
    correlation: float
    cosmic_events: float
    binning: int
    top: int
    drift_percent: float
    seed: int

    @property
    def shape(self) -> Shape:
        """Rows and columns."""
        return self.still.shape

    @property
    def sigma(self) -> float:
        """Noise of a typical pixel, counts."""
        return float(np.sqrt(self.gain * np.median(self.still[::4, ::4]) + self.readout**2))

    def _rng(self, index: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, _FRAME_STREAM, index])

    def drift(self, index: int) -> float:
        """Brightness of a projection over that of `still`: a slow wave, and jitter."""
        rng = np.random.default_rng([self.seed, _FRAME_STREAM])
        wave = np.sin(2 * np.pi * (index / rng.uniform(20, 200) + rng.random()))
        jitter = self._rng(index).standard_normal()
        return float(max(1 + self.drift_percent / 100 * (wave + 0.7 * jitter), 0.2))

    def expected(self, index: int) -> np.ndarray:
        """Projection without spots and noise: drift, uneven by a third of it, smoothly."""
        rng = self._rng(index)
        rng.standard_normal()
        uneven = np.float32(self.drift_percent / 300) * smooth_field(rng, self.shape)
        return np.maximum(self.still * (np.float32(self.drift(index)) + uneven), 0)

    def variance(self, level: np.ndarray) -> np.ndarray:
        """Variance of the noise where so many counts are expected, counts squared."""
        return np.float32(self.gain) * level + np.float32(self.readout**2)

    def cosmic_rays(self, index: int) -> np.ndarray:
        """Counts of the cosmic rays of a projection: their number is Poisson distributed.

        The brightest pixel of each is 4 to 250 times the typical noise.
        """
        rng = np.random.default_rng([self.seed, _FRAME_STREAM + 1, index])
        hits = np.zeros(self.shape, np.float32)
        count = rng.poisson(self.cosmic_events)
        height = self.sigma * log_uniform(rng, 4, 250, count).astype(np.float32)
        cosmic_rays(rng, hits, height, self.binning)
        return hits

    def frame(self, index: int, signal: np.ndarray | float = 0.0) -> np.ndarray:
        """A projection as the detector gives it, uint8 or uint16 ``(rows, cols)``.

        Parameters
        ----------
        index : int
        signal : array (rows, cols), optional
            Expected counts of spots, added before the noise.
        """
        expected = self.expected(index) + np.float32(signal)
        rng = np.random.default_rng([self.seed, _FRAME_STREAM + 2, index])
        noise = rng.standard_normal(self.shape, np.float32) * np.sqrt(self.variance(expected))
        if np.median(expected[::4, ::4]) < 60 * self.gain:  # few quanta: not a normal distribution
            noise = np.float32(self.gain) * rng.poisson(expected / self.gain) - expected
            noise += np.float32(self.readout) * rng.standard_normal(self.shape, np.float32)
        frame = expected + correlate(noise, self.correlation) + self.cosmic_rays(index)
        frame = np.clip(np.rint(frame), 0, self.top)
        return frame.astype(np.uint8 if self.top < 256 else np.uint16)

    def frames(self, count: int) -> Iterator[np.ndarray]:
        """The first `count` projections."""
        for index in range(count):
            yield self.frame(index)


def sample_background(
    shape: Shape, settings: FieldSettings | None = None, seed: int = 0
) -> VirtualBackground:
    """The background of a virtual detector, drawn from the ranges of `settings`.

    Everything else is drawn from the ranges that the functions of `fields` name.

    Parameters
    ----------
    shape : (rows, cols)
    settings : FieldSettings, optional
    seed : int
        Decides everything, together with the settings.
    """
    s = settings or FieldSettings()
    rng = np.random.default_rng(seed)
    binning = s.binning or int(rng.choice([1, 2, 4]))
    eight = s.bits == "8" or (s.bits == "any" and rng.random() < 0.2)
    gain = log_uniform(rng, s.noise_min, max(s.noise_max, s.noise_min))
    level = log_uniform(rng, s.level_min, max(s.level_max, s.level_min))
    middle = (np.array(shape) - 1) / 2
    beam = tuple(float(v) for v in middle + rng.normal(0, 0.02, 2) * shape)

    field = np.exp(log_uniform(rng, 0.01, 0.25) * smooth_field(rng, shape))
    if rng.random() < 0.7:
        field = field * radial_gradient(rng, shape, beam)
    if rng.random() < 0.5:
        field = field * one_sided_gradient(rng, shape)
    if rng.random() < 0.3:
        field = field * tile_seams(rng, shape, binning)
    through, depth = _stops(rng, shape, beam, s.stop)
    if depth is not None and rng.random() < 0.4:
        field = field * (1 + direct_beam_halo(rng, depth, max(shape)))
    field = (field * through).astype(np.float32)
    still = field * np.float32(level / max(float(np.median(field)), 1e-3))

    sigma = float(np.sqrt(gain * level))
    still += _structure(rng, still, sigma, beam)
    dead = dead_pixels(rng, shape)
    np.maximum(still, 0, out=still)
    still[dead[0], dead[1]] = 0
    readout = rng.uniform(0, s.readout_max) * sigma
    top = 65535
    if eight:  # the noise of 8 bit is 0.6 to 6 counts, as far as the brightest parts allow
        scale = log_uniform(rng, 0.6, 6) / np.hypot(sigma, readout)
        scale = min(scale, 150 / float(np.percentile(still[::4, ::4], 95)))
        still, gain, readout, top = still * np.float32(scale), gain * scale, readout * scale, 255
    hidden = np.zeros(shape, bool) if depth is None else (depth > 0) & (through < 0.05)
    rate = log_uniform(rng, max(s.cosmic_min, 1e-3), max(s.cosmic_max, s.cosmic_min, 1e-3))
    return VirtualBackground(
        still=still.astype(np.float32),
        hidden=hidden,
        beam_px=beam,
        gain=float(gain),
        readout=float(readout),
        correlation=rng.uniform(0, 0.08) / binning,
        cosmic_events=float(rate * shape[0] * shape[1] / 1e6),
        binning=binning,
        top=top,
        drift_percent=s.drift_percent,
        seed=seed,
    )


def _stops(rng, shape: Shape, beam: tuple[float, float], kind: str):
    """Transmission of the beam stops, and how deep a pixel is inside them (None without).

    Half a side of 5 to 20 % of the frame, penumbra of 1 to 40 px, off the beam by up to 5 %; the
    second one of a double is larger and lets half of the light through.
    """
    if kind == "any":
        kind = str(rng.choice(STOPS[1:], p=(0.2, 0.4, 0.2, 0.2)))
    if kind == "none":
        return np.float32(1), None
    size = max(shape)
    place = tuple(np.array(beam) + rng.uniform(-0.05, 0.05, 2) * size * (rng.random() < 0.5))
    half, soft = rng.uniform(0.05, 0.2) * size, log_uniform(rng, 0.25, 10)
    is_round = kind == "round" or (kind == "double" and rng.random() < 0.5)
    depth = stop_depth(shape, place, half, rng.uniform(0.7, 1.4), is_round)
    through = shadow(depth, soft, 0.0 if rng.random() < 0.6 else rng.uniform(0, 0.3))
    if kind == "double":
        outer = stop_depth(shape, place, half * rng.uniform(1.3, 2), rng.uniform(0.7, 1.4))
        through = through * shadow(outer, log_uniform(rng, 0.25, 10), rng.uniform(0.3, 0.9))
        depth = np.maximum(depth, outer)
    return through, depth


def _structure(rng, smooth: np.ndarray, sigma: float, beam: tuple[float, float]) -> np.ndarray:
    """What stands still on top of the smooth part, counts: each kind is there or not."""
    shape = smooth.shape
    level = float(np.median(smooth[::4, ::4]))
    light = np.minimum(smooth / max(level, 1e-6), 1)  # none of it shines in the shadow
    static = np.zeros(shape, np.float32)
    there = rng.random(6)
    if there[0] < 0.6:
        for _ in range(max(1, round(shape[0] * shape[1] / 3e5))):
            radial_streaks(rng, static, sigma, beam)
        static *= light
    if there[1] < 0.3:
        static += light * columns(rng, shape, sigma)
    if there[2] < 0.3:
        static += light * line_streaks(rng, shape, sigma)
    if there[3] < 0.3:
        static += smooth * edge_glow(rng, shape)
    if there[4] < 0.7:
        static += light * fixed_pattern(rng, shape, level, sigma)
    if there[5] < 0.9:
        place, height = hot_pixels(rng, shape, sigma)
        static[place[0], place[1]] += height
    return static
