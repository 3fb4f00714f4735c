"""An endless stream of training crops: a frame, its rolling median, and the truth.

Crop n of a seed is always the same, so a stream needs no disk, resumes anywhere and can be
drawn by any number of processes.  A crop is made as the paper makes its pairs: spots plus
a background (eq. 1), then Poisson noise (eq. 2)::

    x0 = (I_simu - C_BG) + R_BG I_BG          x = x0 + tau Poisson(x0 / 2)

with everything around it that real frames show and a network must not take for spots:
beam stops, static streaks and columns (in frame and median alike), hot pixels, drift,
cosmic rays, the median's own noise and what crowded spots leave in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ..background import fields
from ..background.fields import log_uniform, smooth_field
from ..shapes import draw, keep_apart, label, measure_shapes, separate
from .settings import SynthesisSettings

SMALLEST_LABEL_PX = 6.0  # label area of the smallest spots, so that "at least 3 px" keeps them
# A label ends where the spot falls to the truth's part of its own peak (as a simulated scan's truth
# does, `SimulateSettings.truth_fraction`), but not below the noise: what nobody can see of a weak
# spot's foot is not asked for. Of spots hardly above the noise it keeps the core.
LABEL_LEVEL = 0.11
CORE_LEVEL = 0.4
GAP_WEIGHT = 5.0  # of the loss, between close spots: neighbours that merge are lost


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
        gaps between close spots (3).
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


SPOT = np.dtype(
    [("row", "f4"), ("col", "f4"), ("snr", "f4"), ("area", "f4"), ("detectability", "f4")]
)


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


@dataclass
class Drawn:
    """The spots of a crop before background and noise; images (crop_px, crop_px), counts of x0.

    ``owner`` numbers the spot that owns each pixel from 1; ``spots`` (a table of `SPOT`) and
    ``height`` (peak) are in that order.
    """

    signal: np.ndarray
    owner: np.ndarray
    spots: np.ndarray
    height: np.ndarray


SpotSource = Callable[[np.random.Generator, np.ndarray, float], Drawn]


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
        drawn = _draw_spots(rng, noise_x0, full / gain, settings, near)
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
    crowded = 0.2 if spots_from is None else 0.5  # spots of whole scans lie closer
    if near or rng.random() < crowded:
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
    _make_large(rng, ghosts, np.arange(len(ghosts)), rng.uniform(0, np.pi))
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


# --- spots ---------------------------------------------------------------------------------


def _spots(rng, n: int, settings: SynthesisSettings, near: bool):
    """Shapes and SNR of one crop's spots: mostly far-field points, or near-field streaks."""
    if rng.random() < 0.05:
        return fields.plain_shapes(rng, 0, (n, n)), np.zeros(0)
    per_pixel = log_uniform(rng, 1e-4, 1e-3) if near else log_uniform(rng, 1.5e-4, 4e-3)
    count = 1 + rng.poisson(per_pixel * n * n)
    shapes = fields.plain_shapes(rng, count, (n, n))
    # Far field: the detector's blur makes all spots much alike.
    blur = log_uniform(rng, 0.8, 1.5)
    shapes["width"] = blur * np.exp(0.08 * rng.standard_normal(count))
    shapes["length"] = shapes["width"] * np.exp(np.abs(rng.normal(0.12, 0.15, count)))
    preferred = rng.uniform(0, np.pi)
    spread = log_uniform(rng, 0.03, 2)
    shapes["angle"] = preferred + spread * rng.standard_normal(count)
    large = rng.random(count) < (rng.uniform(0.3, 1) if near else rng.choice([0, 0.03, 0.3]))
    _make_large(rng, shapes, np.flatnonzero(large), preferred)
    # Close neighbours: some spots stand a few pixels from another one.
    for k in np.flatnonzero(rng.random(count) < log_uniform(rng, 0.02, 0.35)):
        other = shapes[int(rng.integers(count))]
        away = other["width"] * 2.2 + shapes[k]["width"] + rng.uniform(0, 5)
        turn = rng.uniform(0, 2 * np.pi)
        shapes["row"][k] = other["row"] + away * np.sin(turn)
        shapes["col"][k] = other["col"] + away * np.cos(turn)
    snr = log_uniform(rng, settings.snr_min, settings.snr_max, count)
    # A third of them where the decision is hard.
    middle = settings.snr_min ** (1 / 3) * settings.snr_max ** (2 / 3)
    hard = rng.random(count) < 1 / 3
    snr[hard] = log_uniform(rng, middle / 4, middle * 2, hard.sum())
    bright = rng.random(count) < 0.08  # the few that light up a whole neighbourhood
    snr[bright] = log_uniform(rng, settings.snr_max, 12 * settings.snr_max, bright.sum())
    # Small spots: a lower level, so that their label keeps a few pixels.
    gaussian_area = 2 * np.pi * shapes["length"] * shapes["width"]
    shapes["level"] = np.minimum(CORE_LEVEL, np.exp(-SMALLEST_LABEL_PX / gaussian_area))
    return shapes, snr


def _make_large(rng, shapes: np.ndarray, which: np.ndarray, preferred: float) -> None:
    """Turn some shapes into the spots of large grains: ellipses, blocks, bent thick lines."""
    k = len(which)
    width = log_uniform(rng, 1.0, 5.0, k)
    aspect = log_uniform(rng, 1, 8, k)
    shapes["width"][which] = width
    shapes["length"][which] = np.clip(width * aspect, width, 18)
    kind = rng.random(k)
    flat = np.where(kind < 0.4, 2.0, rng.uniform(2, 8, k))
    shapes["flat_u"][which] = flat
    shapes["flat_v"][which] = np.where(kind < 0.7, flat, 2.0)
    shapes["wave"][which] = np.where(rng.random(k) < 0.5, rng.uniform(0, 0.25, k), 0)
    shapes["phase"][which] = rng.uniform(0, 2 * np.pi, k)
    length = shapes["length"][which]
    bend = np.where(rng.random(k) < 0.3, rng.normal(0, 0.5, k) * width / length**2, 0)
    shapes["bend"][which] = bend
    shapes["angle"][which] = preferred + 0.3 * rng.standard_normal(k)


def _draw_spots(rng, noise: np.ndarray, full: float, settings: SynthesisSettings, near: bool):
    """Spots of random shapes with the SNR they were given, labelled one by one."""
    n = len(noise)
    shapes, snr = _spots(rng, n, settings, near)
    streaks = [
        _streak(rng, n) for _ in range(int(near and rng.random() < 0.5) * rng.integers(1, 6))
    ]
    spot_of = np.arange(len(shapes) + len(streaks))  # the spot that each shape belongs to
    spot_of = np.repeat(spot_of, [1] * len(shapes) + [len(s) for s, _ in streaks])
    shapes = np.concatenate([shapes, *(s for s, _ in streaks)])
    snr = np.concatenate([snr, *(s for _, s in streaks)])
    area, mean = np.zeros(len(shapes)), np.zeros(len(shapes))
    measure_shapes(shapes, n, area, mean)
    seen = area > 0
    shapes, snr, area, mean, spot_of = (v[seen] for v in (shapes, snr, area, mean, spot_of))
    at = tuple(np.clip(np.rint(shapes[k]).astype(int), 0, n - 1) for k in ("row", "col"))
    shapes["height"] = snr * noise[at] / mean
    shapes["clip"] = np.minimum(1, full / np.maximum(shapes["height"], 1e-6))
    foot = np.maximum(LABEL_LEVEL, noise[at] / np.maximum(shapes["height"], 1e-6))
    shapes["level"] = np.minimum(shapes["level"], foot)
    measure_shapes(shapes, n, area, mean)
    signal, owner = np.zeros((n, n), np.float32), np.zeros((n, n), np.int32)
    draw(shapes, signal, 0.002)
    label(shapes, owner, np.zeros((n, n), np.float32))
    _add_halos(rng, shapes, snr, signal)
    spots = np.zeros(len(shapes), SPOT)
    for name in ("row", "col"):
        spots[name] = shapes[name]
    spots["snr"], spots["area"] = shapes["height"] * mean / noise[at], area
    height = shapes["height"].astype(np.float32)
    if streaks:  # the shapes of a streak are one spot
        _, first, spot_of = np.unique(spot_of, return_index=True, return_inverse=True)
        owner = np.concatenate([[0], spot_of + 1]).astype(np.int32)[owner]
        whole, tall = spots[first], np.zeros(len(first), np.float32)
        np.maximum.at(tall, spot_of, height)
        whole["snr"] = np.bincount(spot_of, spots["snr"] * area) / np.bincount(spot_of, area)
        # Neighbours in a streak overlap by more than half.
        whole["area"] = np.bincount(spot_of, area) / np.where(np.bincount(spot_of) > 1, 2.2, 1)
        spots, height = whole, tall
    return Drawn(signal, owner, spots, height)


def _streak(rng, n: int) -> tuple[np.ndarray, np.ndarray]:
    """A spot of a deformed grain (paper, Fig. 10d): long, thick, bent, of uneven brightness.

    Returns
    -------
    shapes, snr : ndarray (k,)
        Round pieces along a curve that overlap, and their SNR.
    """
    width = log_uniform(rng, 1.2, 6)
    k = 2 + int(log_uniform(rng, 15, 180) / (1.1 * width))
    angle = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.25) / k + np.zeros(k))
    shapes = fields.plain_shapes(rng, k, (n, n))
    row, col = rng.uniform(-0.2, 1.2, 2) * n
    shapes["row"] = row + 1.1 * width * np.cumsum(np.sin(angle))
    shapes["col"] = col + 1.1 * width * np.cumsum(np.cos(angle))
    shapes["width"] = shapes["length"] = width
    uneven = np.cumsum(rng.standard_normal(k)) * np.sqrt(1.1 * width / 30)
    snr = log_uniform(rng, 0.7, 25) * np.exp(rng.uniform(0.2, 0.8) * (uneven - uneven.max()))
    return shapes, snr


def _add_halos(rng, shapes: np.ndarray, snr: np.ndarray, signal: np.ndarray) -> None:
    """Light scattered around the brightest spots; not part of their labels."""
    halos = shapes[snr > 25].copy()
    if len(halos) == 0 or rng.random() < 0.4:
        return
    for side in ("length", "width"):
        halos[side] *= rng.uniform(1.5, 5)
    halos["height"] *= log_uniform(rng, 0.004, 0.08)
    draw(halos, signal, 0.02)


def drawn_spots(
    signal: np.ndarray, labels: np.ndarray, peaks: np.ndarray, noise: np.ndarray, full: float
) -> Drawn:
    """Simulated spots as a crop has them, their labels without the feet that drown in noise.

    Parameters
    ----------
    signal : float32 array (rows, cols)
        Sum of the spots, counts.
    labels : int array (rows, cols)
        Number of the spot that owns each pixel, 0 for none.
    peaks : array (n,)
        Peak of the spot of each number, counts.
    noise : float32 array (rows, cols)
        Noise sigma of the background, counts.
    full : float
        Level at which the detector saturates, counts.
    """
    height = np.minimum(peaks, full).astype(np.float32)
    height[0] = np.inf
    kept = labels * (signal >= np.minimum(noise, CORE_LEVEL * height[labels]))
    numbers, spots = measure_spots(kept, signal, noise)
    new = np.zeros(len(height), np.int32)
    new[numbers] = np.arange(1, len(numbers) + 1)
    return Drawn(signal, new[kept], spots, height[numbers])


def measure_spots(
    labels: np.ndarray, signal: np.ndarray, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The labels of an image that are there, and their table.

    SNR is the mean signal in the label over the mean noise sigma there, both arrays
    ``(rows, cols)`` in the same counts.

    Returns
    -------
    numbers : int array (n,)
    spots : array of SPOT (n,)
    """
    at = np.flatnonzero(labels)
    number = labels.flat[at]
    area = np.bincount(number)
    found = np.flatnonzero(area)

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(number, values)[found]

    rows, cols = np.divmod(at, labels.shape[1])
    spots = np.zeros(len(found), SPOT)
    spots["area"] = area[found]
    spots["row"], spots["col"] = total(rows) / area[found], total(cols) / area[found]
    spots["snr"] = total(signal.flat[at]) / np.maximum(total(noise.flat[at]), 1e-9)
    spots["detectability"] = spots["snr"] * np.sqrt(spots["area"])
    return found, spots


def truth_of(settings: SynthesisSettings, drawn: Drawn):
    """Labels, loss weight and the spot table of a crop."""
    owner, spots = drawn.owner, drawn.spots
    spots["detectability"] = spots["snr"] * np.sqrt(spots["area"])
    separate(owner, drawn.signal, drawn.height, np.float32(0.9))
    gap = keep_apart(owner, drawn.signal, drawn.height, np.float32(0.6))
    # What each label becomes: 0 background, 1 spot, -1 ignored.
    fate = np.where(spots["detectability"] >= settings.visible_from, 1, -1)
    fate[spots["detectability"] < settings.background_below] = 0
    # A spot of 100 px should not count as much as twenty small ones.
    alike = np.clip(40 / np.maximum(spots["area"], 1), 0.4, 1)
    number = np.concatenate([[0], np.arange(1, len(spots) + 1) * (fate > 0) - (fate < 0)])
    weight = np.concatenate([[1.0], np.where(fate < 0, 0.0, np.where(fate > 0, alike, 1.0))])
    labels = number.astype(np.int32)[owner]
    weight = weight.astype(np.float32)[owner]
    weight[gap] = GAP_WEIGHT
    return labels, weight, spots
