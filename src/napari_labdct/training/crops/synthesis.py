"""An endless stream of training crops: a frame, its rolling median, and the truth.

Crop n of a seed is always the same, so a stream needs no disk, resumes anywhere and can be
drawn by any number of processes.  A crop is made as the paper makes its pairs: spots plus
a background (eq. 1), then Poisson noise (eq. 2)::

    x0 = (I_simu - C_BG) + R_BG I_BG          x = x0 + tau Poisson(x0 / 2)

with everything around it that real frames show and a network must not take for spots:
beam stops, static streaks and columns (in frame and median alike), hot pixels, drift,
cosmic rays, the median's own noise and what crowded spots leave in it (invented, or that of the
scan's other projections where they are known).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...background import fields
from ...background.fields import log_uniform, smooth_field
from ...core.shape_kernels import draw, stack_median
from ..settings import SynthesisSettings
from .crop_spots import SpotSource, draw_spots, make_large, truth_of


@dataclass(frozen=True)
class Crop:
    """One training pair and its truth; every image is (crop_px, crop_px).

    Attributes
    ----------
    frame : ndarray
        Counts, uint8 or uint16.
    median : ndarray or None
        Rolling median of the scan at this frame, float32 counts.
    labels : ndarray of int32
        0 background, n the spot ``spots[n - 1]``, -1 ignored (nobody could see it).
    weight : ndarray of float32
        Loss weight: 0 where ignored, less on large spots, more on cosmic rays (2) and on the
        gaps between close spots (5).
    spots : ndarray, structured
        ``row, col, snr, area, detectability`` of every spot drawn; SNR is the mean above the
        background inside the label over the local noise sigma.
    expected : ndarray of float32
        Mean of the frame before noise, cosmic rays and rounding.
    sigma : ndarray of float32
        Noise sigma of the same.
    """

    frame: np.ndarray
    median: np.ndarray | None
    labels: np.ndarray
    weight: np.ndarray
    spots: np.ndarray
    expected: np.ndarray
    sigma: np.ndarray


def stream(
    settings: SynthesisSettings | None = None, seed: int = 0, start: int = 0
) -> Iterator[Crop]:
    """Crops ``start, start + 1, ...`` of a seed, without end."""
    settings = settings or SynthesisSettings()
    while True:
        yield make_crop(settings, seed, start)
        start += 1


def mix(simulated: np.ndarray, constant: float, background: np.ndarray, r_bg: float) -> np.ndarray:
    """Eq. 1: ``x0 = (I_simu - C_BG) + R_BG I_BG``."""
    return (simulated - constant) + r_bg * background


def add_noise(x0: np.ndarray, tau: float, rng: np.random.Generator) -> np.ndarray:
    """Eq. 2: ``x = x0 + tau Poisson(x0 / 2)``, mean ``x0 (1 + tau/2)``, variance ``tau^2 x0/2``.

    Where few counts are expected the Poisson numbers are drawn exactly, elsewhere from the
    normal distribution they have become by then (a mean above 30).
    """
    half = np.maximum(x0, 0) / 2
    if np.median(half) < 30:
        return x0 + np.float32(tau) * rng.poisson(half).astype(np.float32)
    noise = rng.standard_normal(x0.shape, np.float32)
    noise *= np.sqrt(half)
    noise += half
    noise *= np.float32(tau)
    noise += x0
    return noise


def tau_of(variance_per_level: float) -> float:
    """The tau of eq. 2 that gives a frame this variance over mean grey level."""
    v = variance_per_level
    return (v + np.sqrt(v * v + 8 * v)) / 2


def make_crop(
    settings: SynthesisSettings, seed: int, index: int, spots_from: SpotSource | None = None
) -> Crop:
    """Crop number `index` of a seed.

    Parameters
    ----------
    settings : SynthesisSettings
    seed, index : int
        Not negative; the pair decides everything.
    spots_from : callable, optional
        Gives the spots instead of this module: ``spots_from(rng, noise, full) -> Drawn``, with
        the noise sigma of the crop without spots and the saturation level, both in counts of x0.

    Returns
    -------
    Crop
    """
    rng = np.random.default_rng([seed, index])
    n = settings.crop_px
    tau = tau_of(log_uniform(rng, settings.noise_min, settings.noise_max))
    gain = 1 + tau / 2  # of eq. 2, from x0 to grey level
    level = log_uniform(rng, settings.level_min, settings.level_max) / gain
    near = rng.random() < settings.near_field

    smooth = _smooth_background(rng, n) * np.float32(level)
    lit = max(smooth.mean(), 1e-3 * level)  # beam stops may hide the whole crop
    sigma0 = np.sqrt(0.5 * lit) * tau / gain  # typical noise, in counts of x0
    static = _static_structure(rng, n, smooth, sigma0)
    behind = smooth + static

    # This frame's background: the source drifts, and not all static structure with it.
    drift = 1 + 0.05 * rng.standard_normal() + 0.015 * smooth_field(rng, (n, n))
    uneven = 0.03 * rng.standard_normal() + 0.02 * smooth_field(rng, (n, n))
    in_frame = (smooth + static * (1 + uneven)) * drift
    if rng.random() < 0.3:  # the beam stop shakes by a few hundredths of a pixel
        in_frame += 0.05 * rng.standard_normal() * np.gradient(behind, axis=int(rng.integers(2)))
    in_frame = np.maximum(in_frame, 0).astype(np.float32)

    noise_x0 = np.sqrt(0.5 * in_frame + 0.05) * np.float32(tau / gain)
    full = 65535 if rng.random() < 0.9 else level * gain + 100 * sigma0  # saturation, counts
    if spots_from is None:
        drawn = draw_spots(rng, noise_x0, full / gain, settings, near)
    else:
        drawn = spots_from(rng, noise_x0, full / gain)

    x0 = mix(drawn.signal, 0.0, in_frame, 1.0)
    frame = add_noise(x0, tau, rng)
    expected = x0 * np.float32(gain)
    variance = np.float32(0.5 * tau * tau) * x0
    if rng.random() < 0.4:
        readout = rng.uniform(0, 0.7) * sigma0 * gain
        variance = variance + np.float32(readout**2)
        frame = frame + np.float32(readout) * rng.standard_normal((n, n), np.float32)
    sigma = np.sqrt(variance)
    if rng.random() < 0.7:
        frame = expected + fields.correlate(frame - expected, rng.uniform(0, 0.08))

    window = int(np.rint(log_uniform(rng, settings.window_min, settings.window_max)))
    median = modelled_median(rng, behind * np.float32(gain), frame, expected, sigma, window)
    if drawn.others is not None and len(drawn.others):
        others = drawn.others * np.float32(gain)
        noise = noise_x0 * np.float32(gain)
        stack_median(
            median, frame, behind * np.float32(gain), noise, others, window, rng.integers(2**31)
        )
    elif near or rng.random() < 0.2:
        _leave_ghosts(rng, median, n, sigma0 * gain)

    hits = cosmic_rays(rng, n, sigma0 * gain)
    frame = frame + hits
    offset = 0.0 if rng.random() < 0.6 else log_uniform(rng, 1, 3) * 0.3 * level
    frame, median = _digitise(
        rng, frame + offset, median + offset, sigma0 * gain, full + offset, window
    )
    labels, weight, spots = truth_of(settings, drawn)
    weight[(hits > 3 * sigma) & (labels == 0)] = 2.0

    if rng.random() < 0.5:  # columns and rows are not alike to a detector, but either may streak
        frame, median, labels, weight = (a.T for a in (frame, median, labels, weight))
        expected, sigma = expected.T, sigma.T
        spots["row"], spots["col"] = spots["col"].copy(), spots["row"].copy()
    if rng.random() < settings.no_median:
        median = None
    return Crop(frame, median, labels, weight, spots, expected, sigma)


# --- backgrounds ---------------------------------------------------------------------------


def _smooth_background(rng, n: int) -> np.ndarray:
    """Positive smooth background of mean about 1, with a beam stop in some crops."""
    field = np.exp(log_uniform(rng, 0.01, 0.35) * smooth_field(rng, (n, n)))
    if rng.random() < 0.15:
        field = field * np.exp(0.3 * log_uniform(rng, 0.1, 1) * smooth_field(rng, (n, n), 14))
    if rng.random() < 0.3:
        for _ in range(1 + (rng.random() < 0.4)):
            field = field * _beam_stop(rng, n)
    return field.astype(np.float32)


def _beam_stop(rng, n: int) -> np.ndarray:
    """Transmission of a square or round absorber with a penumbra of 1 to 40 px."""
    place = rng.uniform(-0.2, 1.2) * n, rng.uniform(-0.2, 1.2) * n
    half, soft = rng.uniform(0.1, 0.7) * n, log_uniform(rng, 0.4, 12)
    is_round = rng.random() < 0.5
    aspect = 1.0 if is_round else rng.uniform(0.5, 2)
    depth = fields.stop_depth((n, n), place, half, aspect, is_round)
    return fields.shadow(depth, soft, 0.0 if rng.random() < 0.4 else rng.uniform(0, 0.9))


def _static_structure(rng, n: int, smooth: np.ndarray, sigma: float) -> np.ndarray:
    """What stays the same in every frame, in counts on top of the smooth background."""
    static = np.zeros((n, n), np.float32)
    there = rng.random(5)
    if there[0] < 0.4:
        fields.radial_streaks(rng, static, sigma)
    if there[1] < 0.2:
        static += fields.columns(rng, (n, n), sigma)
    if there[2] < 0.12:
        static += smooth * fields.edge_glow(rng, (n, n))
    if there[3] < 0.6:
        static += fields.fixed_pattern(rng, (n, n), float(smooth.mean()), sigma)
    if there[4] < 0.7:
        place, height = fields.hot_pixels(rng, (n, n), sigma)
        static[place[0], place[1]] += height
    return static


def modelled_median(
    rng: np.random.Generator,
    behind: np.ndarray,
    frame: np.ndarray,
    expected: np.ndarray,
    sigma: np.ndarray,
    window: int,
) -> np.ndarray:
    """The median of `window` frames, this one among them, without drawing them all.

    Of normal noise it keeps sigma sqrt(pi / 2 / window), of which sigma^2 / window is shared
    with this frame; a spot in this frame moves it by about one order statistic.
    """
    own = (frame - expected) / window
    spread = np.sqrt(max(np.pi / 2 / window - 1 / window**2, 0))
    noise = rng.standard_normal(frame.shape, np.float32)
    moved = (1.25 / window) * np.clip((expected - behind) / np.maximum(sigma, 1e-3), 0, 1)
    return behind + own + sigma * (np.float32(spread) * noise + moved)


def _leave_ghosts(rng, median: np.ndarray, n: int, sigma: float) -> None:
    """What is left in the median where spots crowd: broad faint copies of other frames' spots."""
    ghosts = fields.plain_shapes(rng, int(log_uniform(rng, 2, 40)), (n, n))
    make_large(rng, ghosts, np.arange(len(ghosts)), rng.uniform(0, np.pi))
    ghosts["height"] = sigma * log_uniform(rng, 0.1, 2.5, len(ghosts))
    draw(ghosts, median, 0.02)


def cosmic_rays(rng: np.random.Generator, n: int, sigma: float) -> np.ndarray:
    """Hits and tracks, from barely seen to very bright, in counts (n, n)."""
    hits = np.zeros((n, n), np.float32)
    count = rng.poisson(log_uniform(rng, 3e-5, 8e-4) * n * n)
    fields.cosmic_rays(rng, hits, sigma * log_uniform(rng, 4, 250, count).astype(np.float32))
    return hits


def _digitise(rng, frame, median, sigma: float, full: float, window: int):
    """Round to 16 bit, or to 8 bit with the noise at 0.6 to 6 counts, and clip where full."""
    limit = 65535.0
    if rng.random() < 0.2:
        scale = np.float32(log_uniform(rng, 0.6, 6) / sigma)
        # A crop far brighter than its noise does not fit in 8 bit: the camera's offset goes.
        shift = max(float(median.mean()) * scale - 120, 0) * (rng.random() < 0.9)
        frame, median, full = frame * scale - shift, median * scale - shift, 255.0
        limit = 255.0
    frame = np.clip(np.rint(frame), 0, min(full, limit))
    # The median of an odd number of whole counts is whole, of an even number at least half.
    step = 1 if window % 2 else 2
    median = np.clip(np.rint(median * step) / step, 0, min(full, limit)).astype(np.float32)
    return frame.astype(np.uint8 if limit < 256 else np.uint16), median
