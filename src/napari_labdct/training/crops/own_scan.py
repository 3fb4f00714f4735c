"""Training crops of one's own scan: its background under simulated spots of its geometry.

The paper's pairs (eqs 1 and 2) from things measured and things simulated::

    x0 = (I_simu - C_BG) + R_BG I_BG          x = x0 + tau Poisson(x0 / 2)

with I_BG from a background set, and I_simu and the truth of every spot from the projector.  In
8 bit R_BG, I0 and tau are the paper's; in 16 bit the grey level, the drift of the source, the
noise, the hot pixels and the cosmic rays are those that were measured with the background.
Crop n of a seed is always the same, as in `synthesis`.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...background import fields
from ...background.fields import log_uniform
from ...background.sets import BackgroundSet
from ...core.errors import ScanError, SettingsError
from ...scan.geometry import polygon_mask
from ...scan.scan import Scan
from ...simulation import Simulation
from ...simulation.settings import SimulateSettings
from ...spots.label_levels import LABEL_LEVEL
from . import synthesis as syn
from .crop_spots import drawn_spots, measure_spots, truth_of
from .own_scan_settings import MixSettings

if TYPE_CHECKING:
    from ...simulation import Projection

MIX_STREAM = 2  # third number of a crop's seed, see `pairs.PAIRS_STREAM`
#: Projections of a turn, each far from those before it.
GOLDEN_STEP_DEG = 180 * (3 - np.sqrt(5))


@dataclass(frozen=True, eq=False)
class Ground:
    """What is under the spots of a frame, or of a part of it.

    Attributes
    ----------
    level : float32 array (rows, cols)
        Expected background of this frame (R_BG I_BG of eq. 1 with the gain of eq. 2), counts.
    still : float32 array (rows, cols)
        The same without this frame's own brightness: what a rolling median sees.
    tau : float
    readout : float
        Sigma of the noise that does not depend on the level, counts.
    top : int
        Brightest grey level of the output.
    """

    level: np.ndarray
    still: np.ndarray
    tau: float
    readout: float
    top: int

    @property
    def gain(self) -> float:
        """Expected grey level over x0."""
        return 1 + self.tau / 2

    @property
    def noise(self) -> np.ndarray:
        """Noise sigma without spots, counts."""
        return np.sqrt(self.variance(self.level))

    def variance(self, level: np.ndarray) -> np.ndarray:
        """Noise variance where the expected grey level is `level`, counts squared."""
        slope = self.tau**2 / 2 / self.gain
        return np.float32(slope) * level + np.float32(self.readout**2)


class Backdrop:
    """A background set, asked for what is under the spots.

    Parameters
    ----------
    background : BackgroundSet
    settings : MixSettings

    Raises
    ------
    ScanError
        The background is dark everywhere.
    """

    def __init__(self, background: BackgroundSet, settings: MixSettings) -> None:
        if not background.mean.max() > 0:
            raise ScanError(
                f"The background '{background.name}' is dark everywhere; extract another one."
            )
        self.set, self.settings = background, settings
        self.hidden = np.zeros(background.shape, bool)
        for polygon in background.beam_stop_px:
            self.hidden |= polygon_mask(polygon, background.shape)
        self.hot = np.zeros(background.shape, np.float32)
        at = tuple(background.hot_pixels.T)
        self.hot[at] = background.hot_values - background.mean[at]
        self._tops: dict[int, float] = {}

    def with_settings(self, settings: MixSettings) -> Backdrop:
        """The same background, mixed in another way."""
        other = copy.copy(self)
        other.settings = settings
        return other

    def ground(
        self, rng: np.random.Generator, index: int, window: tuple[slice, slice] | None = None
    ) -> Ground:
        """Background and noise of a frame made with projection `index` of the set.

        Parameters
        ----------
        rng : Generator
            Draws R_BG, or the drift of the source.
        index : int
        window : (slice, slice), optional
            Rows and columns of a part of the frame.
        """
        s, background = self.settings, self.set
        paper = s.output == "8-bit"
        if s.tau is not None or paper:
            tau, readout = 1.0 if s.tau is None else s.tau, 0.0
        else:
            tau, readout = syn.tau_of(background.gain), float(np.sqrt(background.offset))
        level = background.level(index, window)
        if not paper:
            level += self.hot if window is None else self.hot[window]
        if s.i0 is None and not paper:
            drift = float(rng.choice(background.drift))
            return Ground(level * np.float32(drift), level, tau, readout, 65535)
        i0 = 110.0 if s.i0 is None else s.i0
        r_bg = rng.uniform(i0 - np.sqrt(i0), i0 + np.sqrt(i0))
        to_one = np.minimum(level / np.float32(self._top(index)), 1)
        gain = np.float32(1 + tau / 2)
        top = 255 if paper else 65535
        return Ground(to_one * np.float32(r_bg) * gain, to_one * np.float32(i0) * gain,
                      tau, readout, top)  # fmt: skip

    def cosmic_rays(self, rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
        """Counts of cosmic rays ``shape``, as many and as bright as were measured."""
        hits, heights = np.zeros(shape, np.float32), self.set.cosmic_heights
        if len(heights):
            part = shape[0] * shape[1] / self.hidden.size
            count = rng.poisson(self.set.cosmic_events * part)
            fields.cosmic_rays(rng, hits, rng.choice(heights, count).astype(np.float32))
        return hits

    def _top(self, index: int) -> float:
        """Level that I_BG divides by."""
        if index not in self._tops:
            level = self.set.level(index)
            percent = self.set.brightest_percent
            top = np.percentile(level, 100 - percent) if percent > 0 else level.max()
            self._tops[index] = max(float(top), 1e-12)
        return self._tops[index]


def expose(
    rng: np.random.Generator, signal: np.ndarray, ground: Ground
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eqs 1 and 2: spots over a background, with noise, not yet rounded.

    Parameters
    ----------
    rng : Generator
    signal : float32 array (rows, cols)
        ``I_simu - C_BG``, in counts of the frame (x0 times the gain of eq. 2).
    ground : Ground

    Returns
    -------
    frame, expected, sigma : float32 arrays (rows, cols)
        ``sigma`` is the noise of the frame, spots included.
    """
    gain = np.float32(ground.gain)
    x0 = syn.mix(signal / gain, 0.0, ground.level / gain, 1.0)
    frame = syn.add_noise(x0, ground.tau, rng)
    if ground.readout > 0:
        frame += np.float32(ground.readout) * rng.standard_normal(frame.shape, np.float32)
    expected = x0 * gain
    return frame, expected, np.sqrt(ground.variance(expected))


def typical_signal(projection: Projection) -> float:
    """Median over the spots of the mean signal in their masks, grey levels."""
    _, spots = measure_spots(projection.labels, projection.image, np.ones_like(projection.image))
    return float(np.median(spots["snr"])) if len(spots) else 0.0


def brightness(
    rng: np.random.Generator, settings: MixSettings, typical: float, ground: Ground
) -> float:
    """Factor from simulated grey levels to those of the frame.

    Eq. 1 adds I_simu to x0, so it is the gain of eq. 2; with a range of SNR in the settings it
    brings the typical spot to an SNR drawn from there.
    """
    if settings.snr_min is None or typical <= 0:
        return ground.gain
    target = log_uniform(rng, settings.snr_min, settings.snr_max)
    return target * float(np.median(ground.noise[::4, ::4])) / typical


class _Spots:
    """A projection kept small: most of its pixels hold nothing."""

    def __init__(self, projection: Projection) -> None:
        from scipy.sparse import csr_array

        self._image = csr_array(projection.image)
        self._labels = csr_array(projection.labels)
        spots = projection.spots[projection.spots["area_px"] > 0]
        self.places = np.column_stack([spots["row"], spots["col"]])
        self.peaks = np.zeros(len(projection.spots) + 1)
        self.peaks[projection.spots["id"]] = projection.spots["peak"]
        self.typical = typical_signal(projection)

    def image(self, window: tuple[slice, slice]) -> np.ndarray:
        return self._image[window].toarray()

    def labels(self, window: tuple[slice, slice]) -> np.ndarray:
        return self._labels[window].toarray()


class MixedScan:
    """Crops with simulated spots over the background of real scans.

    Duck type of `pairs.ReviewedPairs`: a training takes either.  Projections are made when a
    crop first needs them, and kept.

    Parameters
    ----------
    backgrounds : BackgroundSet or sequence of them
        Resampled to the simulated frames if their pixels differ, see `note`.
    simulations : SimulateSettings or sequence of them
        Samples in the geometry of the scan; see `settings_of_scan`.
    settings : MixSettings, optional
    part : float
        Part of the crops of a mixed stream that are made here, above 0, at most 1.
    frames : int
        Projections of each sample that the spots are taken from.
    threads : int, optional
        For projecting; all cores, 8 at most, if None.

    Attributes
    ----------
    recipe : dict
        Everything that decides the crops.
    note : str
        Empty, or sentences on what was resampled.

    Raises
    ------
    ScanError
        A background is dark, or shows another field of view than the simulation.
    SettingsError
        The simulation's settings contradict each other.
    """

    kind = "scan"

    def __init__(
        self,
        backgrounds: BackgroundSet | Sequence[BackgroundSet],
        simulations: SimulateSettings | Sequence[SimulateSettings],
        settings: MixSettings | None = None,
        part: float = 0.5,
        frames: int = 24,
        threads: int | None = None,
    ) -> None:
        sets = [backgrounds] if isinstance(backgrounds, BackgroundSet) else list(backgrounds)
        if isinstance(simulations, SimulateSettings):
            simulations = [simulations]
        self.settings, self.part = settings or MixSettings(), part
        self._arguments = (sets, simulations, self.settings, part, frames, threads)
        self._simulations = [Simulation(s, threads) for s in simulations]
        shapes = {s.geometry.shape for s in self._simulations}
        if not sets or len(shapes) != 1:
            raise SettingsError("Simulate frames of one size, and give at least one background.")
        self.shape = shapes.pop()
        self.note = " ".join(filter(None, (resampling_note(b, self.shape) for b in sets)))
        self._backdrops = [Backdrop(b.resampled(self.shape), self.settings) for b in sets]
        self._spots: dict[int, _Spots] = {}
        self._n_spots = frames * len(self._simulations)
        self._busy = threading.Lock()
        self.recipe: dict[str, Any] = {
            "part": part,
            "mixing": self.settings.to_dict(),
            "simulations": [s.to_dict() for s in simulations],
            "backgrounds": [{"name": b.name, "id": b.identity()} for b in sets],
            "frames": frames,
        }

    def __reduce__(self) -> tuple[type[MixedScan], tuple[Any, ...]]:
        """For worker processes: each projects for itself."""
        return MixedScan, self._arguments

    def check_size(self, crop_px: int) -> None:
        """Raise SettingsError if a frame is smaller than a crop."""
        if min(self.shape) < crop_px:
            rows, cols = self.shape
            raise SettingsError(
                f"The simulated frames are {rows} x {cols} px, smaller than a crop of {crop_px} "
                "px; choose smaller crops (--crop-px)."
            )

    def spots(self, number: int) -> _Spots:
        """Projection `number` of the stock; samples take turns."""
        with self._busy:
            if number not in self._spots:
                turn, sample = divmod(number, len(self._simulations))
                simulation = self._simulations[sample]
                omega_deg = simulation.settings.start_deg + turn * GOLDEN_STEP_DEG
                self._spots[number] = _Spots(simulation.project(omega_deg % 360, turn))
            return self._spots[number]

    def crop(self, synthesis: syn.SynthesisSettings, seed: int, index: int) -> syn.Crop:
        """Crop `index` of a seed: a random place of a random projection over a background.

        Every second crop holds a spot for certain.  The median channel is modelled: its own
        noise, the static structure, and what the spots of other projections leave in it.

        Parameters
        ----------
        synthesis : SynthesisSettings
            Size, median windows and what counts as visible.
        seed, index : int
            Not negative; the pair decides everything.
        """
        rng = np.random.default_rng([seed, index, MIX_STREAM])
        n, paper = synthesis.crop_px, self.settings.output == "8-bit"
        backdrop = self._backdrops[int(rng.integers(len(self._backdrops)))]
        number = int(rng.integers(self._n_spots))
        spots = self.spots(number)
        window = self._place(rng, spots, n)
        ground = backdrop.ground(rng, int(rng.integers(backdrop.set.n_frames)), window)
        noise = ground.noise
        brighter = brightness(rng, self.settings, spots.typical, ground)
        open_here = ~backdrop.hidden[window]
        signal = spots.image(window) * (np.float32(brighter) * open_here)
        labels = spots.labels(window) * open_here
        drawn = drawn_spots(signal, labels, brighter * spots.peaks, noise, ground.top)

        frame, expected, sigma = expose(rng, signal, ground)
        medians = int(np.rint(log_uniform(rng, synthesis.window_min, synthesis.window_max)))
        median = syn.modelled_median(rng, ground.still, frame, expected, sigma, medians)
        self._leave_ghosts(rng, median, number, window, brighter, noise, medians)
        hits = np.zeros((n, n), np.float32)
        if not paper:
            hits = backdrop.cosmic_rays(rng, (n, n))
        frame = np.clip(np.rint(frame + hits), 0, ground.top)
        frame = frame.astype(np.uint8 if ground.top < 256 else np.uint16)
        step = 1 if medians % 2 else 2
        median = np.clip(np.rint(median * step) / step, 0, ground.top).astype(np.float32)

        labels, weight, table = truth_of(synthesis, drawn)
        weight[(hits > 3 * sigma) & (labels == 0)] = 2.0
        if rng.random() < synthesis.no_median:
            median = None
        return _turned(
            rng, syn.Crop(frame, median, labels, weight, table, expected, sigma.astype(np.float32))
        )

    def mixed(self, synthesis: syn.SynthesisSettings, seed: int, index: int) -> syn.Crop:
        """Crop `index` of a seed of the stream in which `part` of the crops are made here.

        The two kinds alternate evenly, so that every batch holds both.
        """
        if int((index + 1) * self.part) > int(index * self.part):
            return self.crop(synthesis, seed, index)
        return syn.make_crop(synthesis, seed, index)

    def stream(
        self, synthesis: syn.SynthesisSettings | None = None, seed: int = 0, start: int = 0
    ) -> Iterator[syn.Crop]:
        """Crops ``start, start + 1, ...`` of a seed, without end and without a disk."""
        synthesis = synthesis or syn.SynthesisSettings()
        self.check_size(synthesis.crop_px)
        while True:
            yield self.crop(synthesis, seed, start)
            start += 1

    def _place(self, rng, spots: _Spots, n: int) -> tuple[slice, slice]:
        room = np.array(self.shape) - n
        corner = rng.integers(0, room + 1)
        if rng.random() < 0.5 and len(spots.places):
            place = spots.places[int(rng.integers(len(spots.places)))]
            corner = np.clip(np.rint(place).astype(int) - rng.integers(0, n, 2), 0, room)
        return tuple(slice(int(c), int(c) + n) for c in corner)

    def _leave_ghosts(self, rng, median, number, window, brighter, noise, medians) -> None:
        """Each other frame of the window that is bright at a pixel moves the median there."""
        samples = len(self._simulations)
        others = [k for k in range(number % samples, self._n_spots, samples) if k != number]
        if not others:
            return
        drawn = rng.choice(others, min(medians - 1, len(others)), replace=False)
        lit, scale = np.zeros(median.shape, np.float32), brighter / np.maximum(noise, 1e-3)
        for k in drawn:
            lit += np.minimum(self.spots(int(k)).image(window) * scale, 1)
        lit *= 1.25 / (len(drawn) + 1)
        median += noise * np.minimum(lit, 3)


def _turned(rng, crop: syn.Crop) -> syn.Crop:
    """The crop turned by quarters and mirrored at random."""
    turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))

    def turn(image: np.ndarray | None) -> np.ndarray | None:
        if image is None:
            return None
        image = np.rot90(image, turns)
        return np.ascontiguousarray(image.T if mirrored else image)

    spots, last = crop.spots.copy(), crop.frame.shape[0] - 1
    for _ in range(turns):
        spots["row"], spots["col"] = last - spots["col"], spots["row"].copy()
    if mirrored:
        spots["row"], spots["col"] = spots["col"].copy(), spots["row"].copy()
    images = (turn(getattr(crop, k)) for k in ("frame", "median", "labels", "weight"))
    return syn.Crop(*images, spots, turn(crop.expected), turn(crop.sigma))


def resampling_note(background: BackgroundSet, shape: tuple[int, int]) -> str:
    """One sentence if a background is resampled to frames of `shape`, else nothing."""
    if background.shape == tuple(shape):
        return ""
    old, new = (f"{rows} x {cols}" for rows, cols in (background.shape, shape))
    return f"The background '{background.name}' was resampled from {old} to {new} px."


def settings_of_scan(scan: Scan, **changes: Any) -> SimulateSettings:
    """Settings that simulate spots in the geometry of a scan, for crops of it.

    A spot's label ends where it does in synthetic crops.

    Parameters
    ----------
    scan : Scan
        Described: pixel size and distances are needed.
    **changes
        Settings that differ, of the sample for example.

    Raises
    ------
    ScanError
        The geometry of the scan is incomplete.
    SettingsError
        Something cannot be simulated.
    """
    geometry, d = scan.geometry(), scan.description
    center = geometry.detector_center_px
    tilt = geometry.detector_tilt_deg
    known = {
        "pixel_um": geometry.pixel_um,
        "rows": geometry.shape[0],
        "cols": geometry.shape[1],
        "source_sample_mm": geometry.source_sample_mm,
        "sample_detector_mm": geometry.sample_detector_mm,
        "center_row_px": center[0],
        "center_col_px": center[1],
        "tilt_x_deg": tilt[0],
        "tilt_y_deg": tilt[1],
        "tilt_z_deg": tilt[2],
        "beam_stop_width_mm": 0.0,  # the background brings its own
        "beam_stop_height_mm": 0.0,
        "truth_min_grey": 0.0,
        "truth_fraction": LABEL_LEVEL,
    }
    for name in ("tube_kv", "material", "exposure_s"):
        if getattr(d, name) is not None:
            known[name] = getattr(d, name)
    return SimulateSettings(**(known | changes))
