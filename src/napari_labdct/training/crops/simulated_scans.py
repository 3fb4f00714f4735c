"""Spots of simulated scans as a source of training crops.

The shapes `synthesis` draws are free inventions; these come from the physics: virtual polycrystals
of many sizes and materials, in Laue focusing, magnified and far-field geometries, projected by the
package's own simulator; some of the grains are bent, as in a deformed metal.  Windows of their
noise-free frames are kept in one file, made once; crops are cut from them, turned, given a
brightness, and put under the synthetic backgrounds and noise of `synthesis`.  Several projections
of the turn are kept at the same place, so that the rolling median of a crop is really that of a
stack, with the ghosts that crowded spots leave in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from ...core.errors import ModelError, SettingsError, reason
from ...core.files import atomic
from ...core.jobs import Progress
from ...core.npz import read_npz
from ...core.parameters import Param, Settings
from ...core.schema import Mismatch, parse_json
from ...simulation import SimulateSettings, Simulation
from ...simulation.deformed import bend, whole_spots
from ...spots.label_levels import LABEL_LEVEL
from ..settings import SynthesisSettings
from .crop_spots import Drawn, drawn_spots
from .synthesis import Crop, make_crop

MATERIALS = ("Al", "Fe", "Ti", "Ni", "Cu")
TABLE = np.dtype([("window", "i4"), ("label", "i4"), ("peak", "f4")])
PIECES = 16  # slices of a bent grain
#: What the file holds, and of which kinds.
_CONTENT = {
    "images": "f", "labels": "iu", "scan": "iu", "place": "iu", "spots": "V", "recipe": "U",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SimulatedScansSettings(Settings):
    """Which virtual scans the training windows are cut from."""

    job = "simulated scans"

    scans: Annotated[int, Param("Scans", min=1, help="Samples and geometries.")] = 120
    frames: Annotated[int, Param("Frames of each", min=1, help="Over a full turn.")] = 9
    windows: Annotated[int, Param("Windows of each frame", min=1, help="Same places in all.")] = 4
    window_px: Annotated[int, Param("Window", unit="px", min=64, max=1016, help="Side.")] = 256
    part: Annotated[
        float, Param("Part of the crops", min=0, max=1, help="The others are drawn freely.")
    ] = 0.4
    bent: Annotated[float, Param("Part of deformed samples", min=0, max=1)] = 0.12
    seed: Annotated[int, Param("Seed", min=0, help="Of samples and geometries.")] = 5


def random_scan(rng: np.random.Generator, seed: int, frames: int) -> SimulateSettings:
    """A virtual scan as laboratories make them, at random.

    Six in ten are Laue focusing (equal distances of 10 to 20 mm), two in ten magnified, two in ten
    far field (100 mm); grains of 8 to 130 um, a few tens to a few hundred of them in the beam.
    """

    def between(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    geometry = rng.random()
    binning = int(rng.choice([1, 2, 2, 4]))
    side = 1016 * binning  # the same 1016 pixels, over more or less of the detector
    pixel_um = 3.3623
    if geometry < 0.6:
        source = detector = between(10, 20)
        side = min(side, 2032)
    elif geometry < 0.8:
        source = between(8, 14)
        detector = source * rng.uniform(1.3, 3)
        side = min(side, 2032)
    else:
        source, detector, pixel_um, binning, side = between(20, 60), between(90, 110), 50.0, 1, 1016
    # A sample of at most 110 sub-cells of the projector across, or it takes minutes.
    cell_um = 2.1 * pixel_um * binning * source / (source + detector)
    grain = between(12, 130)
    diameter = min(grain * between(3.5, 9), 110 * cell_um)
    grain = min(grain, diameter / 2.5)
    return SimulateSettings(
        sample="cylinder" if rng.random() < 0.7 else "box",
        diameter_um=diameter,
        height_um=diameter * rng.uniform(0.8, 1.8),
        mean_grain_um=grain,
        spread=rng.uniform(0.12, 0.5),
        material=str(rng.choice(MATERIALS)),
        tube_kv=rng.uniform(60, 160),
        source_sample_mm=source,
        sample_detector_mm=detector,
        pixel_um=pixel_um,
        rows=side,
        cols=side,
        binning=binning,
        psf_px=between(0.65, 1.7),
        source_um=float(rng.choice([0, 5, 20])),
        frames=frames,
        start_deg=rng.uniform(0, 90),
        step_deg=360 / frames,
        beam_stop_width_mm=0.0,
        truth_min_grey=1e-6,
        truth_fraction=LABEL_LEVEL,
        seed=seed,
    )


def make_windows(
    settings: SimulatedScansSettings, path: Path | str, threads: int | None = None
) -> Iterator[Progress]:
    """Simulate the scans and write their windows to `path`, an ``.npz`` file.

    Places without any spot in any frame are left out.

    Yields
    ------
    Progress
        One a scan.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    # opened first: a folder that takes no file is found now, not at the end
    with atomic(path, new_folder=False) as part, open(part, "wb") as file:
        images, labels, scans, places, tables = [], [], [], [], []
        for number in range(settings.scans):
            for place in _windows_of(settings, number, threads):
                for image, label, table in place:
                    table["window"] = len(images)
                    images.append(image)
                    labels.append(label)
                    scans.append(number)
                    tables.append(table)
                places += [len(places) // settings.frames] * settings.frames
            yield Progress(number + 1, settings.scans, f"simulated scan {number + 1}")
        np.savez(
            file, images=np.stack(images), labels=np.stack(labels), scan=np.array(scans),
            place=np.array(places), spots=np.concatenate(tables),
            recipe=np.array(json.dumps(settings.to_dict(), sort_keys=True)),
        )  # fmt: skip


def _windows_of(settings: SimulatedScansSettings, number: int, threads: int | None):
    """Places of scan `number`: for each frame the window (image over the scan's median peak,
    labels, table).
    """
    n = settings.window_px
    rng = np.random.default_rng([settings.seed, number])
    bent = rng.random() < settings.bent
    simulation = None
    while simulation is None:
        scan = random_scan(rng, int(rng.integers(2**31)), settings.frames)
        try:
            simulation = Simulation(scan, threads)
            if bent:
                # Labels of slices must reach the foot of the whole.
                scan = scan.replace(truth_fraction=LABEL_LEVEL / 2)
                spread_deg = float(np.exp(rng.uniform(np.log(0.15), np.log(1.5))))
                grains = bend(simulation.grains, PIECES, spread_deg, scan.seed)
                simulation = Simulation(scan, threads, grains=grains)
        except SettingsError:  # this light reaches no reflection of this material: try another
            continue
    frames = []
    for index, omega in enumerate(scan.omega_deg):
        projection = simulation.project(omega, index)
        if bent:
            labels, peaks = whole_spots(projection, PIECES, LABEL_LEVEL)
        else:
            labels, spots = projection.labels, projection.spots
            peaks = np.zeros(int(spots["id"].max(initial=0)) + 1)
            peaks[spots["id"]] = spots["peak"]
        frames.append((projection.image, labels, peaks))
    seen = np.concatenate([peaks[np.unique(labels)[1:]] for _, labels, peaks in frames])
    typical = float(np.median(seen)) if seen.size else 1.0
    for _ in range(settings.windows):
        row, col = (int(rng.integers(0, s - n + 1)) for s in frames[0][0].shape)
        here = np.s_[row : row + n, col : col + n]
        place = [
            _window(image[here], labels[here], peaks, typical) for image, labels, peaks in frames
        ]
        if any(len(table) for *_, table in place):
            yield place


def _window(image: np.ndarray, labels: np.ndarray, peaks: np.ndarray, typical: float):
    """One window as it is kept: image, labels numbered from 1, and their table."""
    names, index = np.unique(labels, return_inverse=True)
    first = int(names[0] != 0)  # no pixel without a spot: numbers begin at 1
    table = np.zeros(int((names > 0).sum()), TABLE)
    table["label"] = np.arange(1, len(table) + 1)
    table["peak"] = peaks[names[names > 0]] / typical
    index = (index.reshape(labels.shape) + first).astype(np.uint16)
    return (image / typical).astype(np.float16), index, table


def _check_windows(content: dict[str, np.ndarray]) -> None:
    """Raise Mismatch if the parts of a file of windows do not fit together."""
    images, labels, spots = (content[k] for k in ("images", "labels", "spots"))
    if spots.dtype.names != TABLE.names or spots.ndim != 1:
        raise Mismatch("the table of spots has other columns")
    spots = content["spots"] = spots.astype(TABLE)
    fits = (
        images.ndim == 3
        and len(images) > 0
        and labels.shape == images.shape
        and content["scan"].shape == content["place"].shape == (len(images),)
        and len(spots) > 0
        and np.isfinite(images).all()
        and np.isfinite(spots["peak"]).all()
        and np.all(np.diff(spots["window"]) >= 0)
        and 0 <= spots["window"][0] <= spots["window"][-1] < len(images)
        and content["recipe"].shape == ()
    )
    if fits:
        of_window = np.bincount(spots["window"], minlength=len(images))
        fits = bool(np.all(labels.max(axis=(1, 2)) <= of_window)) and labels.min() >= 0
    if not fits:
        raise Mismatch("its parts do not fit together")


class SimulatedScans:
    """Crops of simulated scans' spots under synthetic backgrounds; see `make_windows`.

    Parameters
    ----------
    path : path
        File written by `make_windows`.

    Attributes
    ----------
    recipe : dict
        What decides the crops besides seed and synthesis settings.

    Raises
    ------
    ModelError
        The file cannot be read or is something else.
    """

    kind = "simulated_scans"

    def __init__(self, path: Path | str) -> None:
        def refuse(why: str) -> ModelError:
            return ModelError(
                f"'{path}' is no file of training windows, or cut short ({why}); delete it, and "
                "'labdct train --simulated-scans' makes it again."
            )

        content = read_npz(path, _CONTENT, refuse)
        try:
            _check_windows(content)
            settings = parse_json(str(content["recipe"]))
            self.settings = SimulatedScansSettings.from_dict(settings)
            if content["images"].shape[1:] != (self.settings.window_px,) * 2:
                raise Mismatch("the windows are of another size than its recipe says")
        except ValueError as error:  # Mismatch, SettingsError
            raise refuse(reason(error)) from error
        self._images, self._labels, self._scan, self._place, self._spots = (
            content[k] for k in list(_CONTENT)[:-1]
        )
        self._first = np.searchsorted(self._spots["window"], np.arange(len(self._images) + 1))
        self._filled = np.flatnonzero(np.diff(self._first))  # windows with spots
        digest = hashlib.sha256()
        for array in (self._images, self._labels, self._spots):
            digest.update(np.ascontiguousarray(array))
        self.recipe: dict[str, Any] = {
            "settings": self.settings.to_dict(), "windows": len(self._images),
            "sha256": digest.hexdigest(),
        }  # fmt: skip

    def check_size(self, crop_px: int) -> None:
        """Raise SettingsError if the windows are smaller than a crop."""
        if crop_px > self.settings.window_px:
            raise SettingsError(
                f"The windows are {self.settings.window_px} px, smaller than a crop of {crop_px} "
                "px; choose smaller crops."
            )

    def mixed(self, synthesis: SynthesisSettings, seed: int, index: int) -> Crop:
        """Crop `index` of the stream in which `part` of the crops have simulated spots."""
        part = self.settings.part
        if int((index + 1) * part) == int(index * part):
            return make_crop(synthesis, seed, index)
        return make_crop(synthesis, seed, index, lambda *given: self.draw(synthesis, *given))

    def draw(
        self, synthesis: SynthesisSettings, rng: np.random.Generator, noise: np.ndarray, full: float
    ) -> Drawn:
        """Spots of a random window, turned, at a random brightness (a `SpotSource`).

        The brightness is that of the scan: its median spot peaks at 0.4 to 40 noise sigmas.
        """
        n = len(noise)
        scans = self._scan[self._filled]
        scan = rng.choice(np.unique(scans))  # every scan as often, however many windows it has
        window = int(rng.choice(self._filled[scans == scan]))
        row, col = rng.integers(0, self.settings.window_px - n + 1, 2)
        turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))

        def cut(stack: np.ndarray) -> np.ndarray:
            images = np.rot90(stack[..., row : row + n, col : col + n], turns, (-2, -1))
            return np.ascontiguousarray(images.swapaxes(-2, -1) if mirrored else images)

        sigma = float(np.median(noise))
        brightness = np.float32(sigma * np.exp(rng.uniform(np.log(0.4), np.log(40))))
        signal = cut(self._images[window]).astype(np.float32) * brightness
        peaks = self._spots[self._first[window] : self._first[window + 1]]["peak"] * brightness
        peaks = np.concatenate([[np.inf], peaks]).astype(np.float32)
        labels = cut(self._labels[window]).astype(np.int32)
        drawn = drawn_spots(signal, labels, peaks, noise, full)
        others = np.flatnonzero(self._place == self._place[window])
        others = self._images[others[others != window]]
        drawn.others = cut(others).astype(np.float32) * brightness
        return drawn
