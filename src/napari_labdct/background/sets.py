"""A background as a thing of its own: one small file, measured from a scan, used by others.

It holds the mean background at full resolution, how it changes from projection to projection
as a few smooth images, and what else a detector does: noise, drift, hot pixels, cosmic rays.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import InputsChangedError, OutputError, ScanError
from ..core.files import atomic_hdf5, make_folder
from ..core.frame_store import FrameStore, spare_inputs, state_of_inputs
from ..core.hdf5 import attribute, data_set, item, open_hdf5, recipe_of, values
from ..core.jobs import BACKGROUND_SET, IMAGE, Job, Output, Progress
from ..core.locks import alone
from ..core.outputs import as_before, taken
from ..core.reading import check_regular
from ..core.schema import NUMBER, Mismatch, check, parse_json
from ..scan.beam_stop import guess_beam_stop
from ..scan.description import MOST_CORNERS, Polygon
from ..scan.scan import Scan
from .extraction import Extraction
from .steps import ExtractionSettings, add_spread, bin_cells, fit_noise, normalised, resize

FORMAT = "napari-labdct background"
VERSION = 1
#: Cells of the changing part, px; what changes is smooth.
CELL_PX = 8
#: Most images that the changing part is made of.
MAX_RANK = 16
# Share of the change that the images must explain.
_EXPLAINED = 0.999
_THUMBNAIL_PX = 96
_MAX_HEIGHTS = 4096
# A file that asks for more than this was not written by us.
_MAX_PIXELS = 1 << 28
_COPIES = 4  # of the mean, while it is read
_MOST_RANK = 4 * MAX_RANK
_LONGEST_EDGE = 65_535
_LONGEST_NAME = 500


@dataclass(frozen=True, eq=False)
class BackgroundSet:
    """Background of a scan, and its noise.

    Parameters
    ----------
    name : str
    mean : float32 array (rows, cols)
        Mean background at drift 1, counts; without hot pixels.
    components : float32 array (r, h, w)
        What changes, counts, in cells of `cell_px` pixels.
    coefficients : float32 array (n, r)
        How much of each component a projection has.
    drift : float32 array (n,)
        Brightness of each projection; 1 is that of `mean`.
    gain, offset : float
        Noise variance is ``gain * level + offset``, counts squared.
    noise_levels, noise_variances : float32 array (k,)
        What that line was fitted to.
    hot_pixels : int32 array (m, 2)
        Row and column of single pixels that stand out of every projection.
    hot_values : float32 array (m,)
        Their level at drift 1, counts.
    cosmic_events, cosmic_pixels : float
        Cosmic-ray events of a projection, and the pixels they cover; counted outside spots too
        small to tell apart.
    cosmic_heights : float32 array
        Largest height over the background of single events, counts.
    beam_stop_px : tuple of polygons
    brightest_percent : float
        See `ExtractionSettings`.
    recipe : dict
    """

    name: str
    mean: np.ndarray
    components: np.ndarray
    coefficients: np.ndarray
    cell_px: int
    drift: np.ndarray
    gain: float
    offset: float
    noise_levels: np.ndarray
    noise_variances: np.ndarray
    hot_pixels: np.ndarray
    hot_values: np.ndarray
    cosmic_events: float
    cosmic_pixels: float
    cosmic_heights: np.ndarray
    beam_stop_px: tuple[Polygon, ...]
    brightest_percent: float
    recipe: dict[str, Any]

    @property
    def n_frames(self) -> int:
        return len(self.drift)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.mean.shape

    def level(self, index: int, window: tuple[slice, slice] | None = None) -> np.ndarray:
        """Background of a projection, or of a `window` of it, at drift 1, counts, float32."""
        if window is None:
            window = tuple(slice(0, n) for n in self.shape)
        # Whole cells, one beyond the window: within it nothing differs from the whole frame.
        cells = tuple(
            slice(max(w.start // self.cell_px - 1, 0), w.stop // self.cell_px + 2) for w in window
        )
        first = [c.start * self.cell_px for c in cells]
        out = self.mean[tuple(slice(f, c.stop * self.cell_px) for f, c in zip(first, cells))].copy()
        if len(self.components):
            change = self.components[(slice(None), *cells)]
            add_spread(out, np.tensordot(self.coefficients[index], change, axes=1), self.cell_px)
        out = out[tuple(slice(w.start - f, w.stop - f) for w, f in zip(window, first))]
        return np.maximum(out, 0, out=out)

    def background(self, index: int) -> np.ndarray:
        """I_BG of projection `index`, 0 to 1, float32 ``(rows, cols)``."""
        return normalised(self.level(index), self.brightest_percent)

    def noise_variance(self, level: np.ndarray | float) -> np.ndarray | float:
        """Variance of the noise at a grey level, counts squared."""
        return self.gain * np.maximum(level, 0) + self.offset

    def resampled(self, shape: tuple[int, int]) -> BackgroundSet:
        """The same background on a detector with larger or smaller pixels.

        Noise, drift and cosmic rays of a projection stay as they are.

        Raises
        ------
        ScanError
            Rows and columns differ by other factors: it is another field of view.
        """
        from scipy.ndimage import map_coordinates

        if tuple(shape) == self.shape:
            return self
        factors = np.divide(shape, self.shape)
        if abs(factors[0] / factors[1] - 1) > 0.01:
            raise ScanError(
                f"The background '{self.name}' has {self.shape} pixels and the simulated frames "
                f"have {tuple(shape)}; simulate frames of the same proportions."
            )
        grid = [-(-n // self.cell_px) for n in shape]
        # Cells keep their size in pixels, so they do not lie where the old ones did.
        places = ((np.arange(n) + 0.5) / f - 0.5 for n, f in zip(grid, factors))
        at = np.meshgrid(*places, indexing="ij")
        cells = [map_coordinates(c, at, order=1, mode="nearest") for c in self.components]
        moved = np.minimum(self.hot_pixels * factors, np.subtract(shape, 1)).astype(np.int32)
        return replace(
            self,
            mean=resize(self.mean, shape),
            components=np.reshape(cells, (len(cells), *grid)).astype(np.float32),
            hot_pixels=moved,
            beam_stop_px=tuple(
                tuple((r * factors[0], c * factors[1]) for r, c in polygon)
                for polygon in self.beam_stop_px
            ),
        )

    def identity(self) -> str:
        """Hash of everything in it that pixels depend on."""
        digest = hashlib.sha256()
        for name in _SHAPES:
            digest.update(np.ascontiguousarray(getattr(self, name)))
        numbers = [self.cell_px, *(getattr(self, name) for name in _NUMBERS), self.beam_stop_px]
        digest.update(repr(numbers).encode())
        return digest.hexdigest()[:16]

    def thumbnail(self) -> np.ndarray:
        """A small picture of the mean, uint8."""
        step = max(1, -(-max(self.shape) // _THUMBNAIL_PX))
        rows, cols = (max(1, n // step) for n in self.shape)
        cells = self.mean[: rows * step, : cols * step]
        small = cells.reshape(rows, min(step, self.shape[0]), cols, min(step, self.shape[1]))
        small = small.mean((1, 3))
        low, high = np.percentile(small, (0.5, 99.5))
        return np.clip(255 * (small - low) / max(high - low, 1e-9), 0, 255).astype(np.uint8)

    # ------------------------------------------------------------------------- files

    def save(
        self, path: str | Path, *, overwrite: bool = False, inputs: Sequence[Any] = ()
    ) -> Path:
        """Write the set; a crash leaves no half file.

        Parameters
        ----------
        path : path
        overwrite : bool
            Replace a file that is there.
        inputs : sequence, optional
            What it was measured from, for `is_there`.

        Raises
        ------
        OutputError
            The place is not writable, or taken.
        """
        path = Path(path).expanduser().absolute()
        if path.suffix.lower() not in (".h5", ".hdf5"):
            raise OutputError(f"{path.name} must end in .h5; give such a name.")
        if path.exists() and not overwrite:
            raise OutputError(f"{path} exists; choose another name or allow overwriting.")
        with atomic_hdf5(path) as file:
            self._write(file)
            if inputs:
                file.attrs["inputs"] = json.dumps(state_of_inputs(*inputs))
        return path

    def _write(self, file: Any) -> None:
        small = {"compression": "gzip", "shuffle": True}
        step = float(self.mean.max()) / 65535 or 1.0
        file.attrs.update(
            {
                "format": FORMAT,
                "version": VERSION,
                "name": self.name,
                "recipe": json.dumps(self.recipe),
                "beam_stop_px": json.dumps(self.beam_stop_px),
                "cell_px": self.cell_px,
                "gain": self.gain,
                "offset": self.offset,
                "cosmic_events": self.cosmic_events,
                "cosmic_pixels": self.cosmic_pixels,
                "brightest_percent": self.brightest_percent,
            }
        )
        mean = file.create_dataset("mean", data=np.rint(self.mean / step).astype("<u2"), **small)
        mean.attrs["counts"] = step
        for name in ("components", "coefficients", "drift", "noise_levels", "noise_variances",
                     "hot_values", "cosmic_heights"):  # fmt: skip
            file.create_dataset(name, data=np.asarray(getattr(self, name), "<f4"))
        file.create_dataset("hot_pixels", data=np.asarray(self.hot_pixels, "<i4"))
        file.create_dataset("thumbnail", data=self.thumbnail())

    @classmethod
    def load(cls, path: str | Path) -> BackgroundSet:
        """Read a set.

        Raises
        ------
        ScanError
            The file is not there, damaged, or not a background set.
        """
        path = Path(path).expanduser()
        with _opened(path) as file:
            numbers = {name: _array(file, name, path) for name in _SHAPES}
            mean = item(file, "mean")
            step = float(attribute(mean, "counts")) if "counts" in mean.attrs else 1.0
            made = cls(
                **{**numbers, "mean": numbers["mean"].astype(np.float32) * np.float32(step)},
                name=str(attribute(file, "name")),
                cell_px=int(attribute(file, "cell_px")),
                **{k: float(attribute(file, k)) for k in _NUMBERS},
                beam_stop_px=_polygons(attribute(file, "beam_stop_px")),
                recipe=recipe_of(file),
            )
        made._check(path)
        return made

    def _check(self, path: Path) -> None:
        rank, cells = len(self.components), self.components.shape[1:]
        rows, cols = self.shape
        fits = (
            self.cell_px > 0
            and self.coefficients.shape == (self.n_frames, rank)
            and (rank == 0 or cells == (-(-rows // self.cell_px), -(-cols // self.cell_px)))
            and self.hot_pixels.shape == (len(self.hot_values), 2)
            and self.n_frames > 0
            and self.gain >= 0
            and 0 <= self.brightest_percent < 100
            and min(self.cosmic_events, self.cosmic_pixels) >= 0
            and np.isfinite([self.gain, self.offset, self.cosmic_events, self.cosmic_pixels]).all()
            and (self.drift > 0).all()
            and np.isfinite(self.mean).all()
            and self.mean.min(initial=0) >= 0
            and rank <= _MOST_RANK
            and max(rows, cols) <= _LONGEST_EDGE
            and len(self.noise_levels) == len(self.noise_variances)
            and (self.noise_variances >= 0).all()
            and len(self.name) <= _LONGEST_NAME
        )
        if fits and len(self.hot_pixels):
            fits = self.hot_pixels.min() >= 0 and (self.hot_pixels < self.shape).all()
        if not fits:
            raise _damaged(path, "its parts do not fit together")


_SHAPES = {
    "mean": 2, "components": 3, "coefficients": 2, "drift": 1, "noise_levels": 1,
    "noise_variances": 1, "hot_pixels": 2, "hot_values": 1, "cosmic_heights": 1,
}  # fmt: skip
_NUMBERS = ("gain", "offset", "cosmic_events", "cosmic_pixels", "brightest_percent")


def _damaged(path: Path, why: object) -> ScanError:
    return ScanError(f"{path} is damaged ({why}); extract the background again.")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """An HDF5 file of ours; whatever goes wrong inside becomes one sentence."""
    import h5py

    if not path.exists() or path.is_dir():
        raise ScanError(f"There is no background set {path}.")
    check_regular(path)
    if not h5py.is_hdf5(path):
        raise ScanError(
            f"{path} is not a background set; choose a file that labdct background made."
        )
    with open_hdf5(path, lambda why: _damaged(path, why)) as file:
        if "format" not in file.attrs or attribute(file, "format") != FORMAT:
            raise ScanError(
                f"{path} is another kind of HDF5 file; choose one that labdct background made."
            )
        if int(attribute(file, "version")) > VERSION:
            raise ScanError(f"{path} was written by a newer napari-labdct; update to open it.")
        yield file


def _array(file: Any, name: str, path: Path) -> np.ndarray:
    if data_set(file, name, _SHAPES[name]).size > _MAX_PIXELS:
        raise _damaged(path, f"{name} is too large")
    found = values(file, name, _SHAPES[name], working=_COPIES)
    if not np.all(np.isfinite(found)):
        raise _damaged(path, f"{name} is not finite")
    return found


def _polygons(text: str) -> tuple[Polygon, ...]:
    shapes = check(parse_json(text), [[[NUMBER]]])
    if sum(map(len, shapes)) > MOST_CORNERS:
        raise Mismatch("the beam stop has too many corners")
    return tuple(tuple((float(r), float(c)) for r, c in shape) for shape in shapes)


@dataclass(frozen=True, eq=False)
class Card:
    """What a list shows of a set, read without its pixels."""

    path: Path
    name: str
    n_frames: int
    shape: tuple[int, int]
    gain: float
    thumbnail: np.ndarray
    created: str


def read_card(path: str | Path) -> Card:
    """Name, size and picture of a set.

    Raises
    ------
    ScanError
        The file is not there, damaged, or not a background set.
    """
    path = Path(path).expanduser()
    with _opened(path) as file:
        picture = data_set(file, "thumbnail", 2)
        if picture.size > 1 << 20 or picture.dtype != np.uint8:
            raise _damaged(path, "its picture is no small grey image")
        return Card(
            path,
            str(attribute(file, "name"))[:_LONGEST_NAME],
            int(data_set(file, "drift", 1).shape[0]),
            tuple(int(n) for n in data_set(file, "mean", 2).shape),
            float(attribute(file, "gain")),
            values(file, "thumbnail", 2),
            str(recipe_of(file).get("created", ""))[:_LONGEST_NAME],
        )


def is_there(path: Path, measurement: Measurement, name: str, overwrite: bool) -> bool:
    """Whether a file is the very set that a measurement will give; anything else is refused.

    Raises
    ------
    OutputError
        Something else is there, and may not be replaced.
    InputsChangedError
        The projections have changed since it was measured.
    """
    if not path.exists():
        return False
    try:
        with _opened(path) as file:
            made, inputs = (json.loads(file.attrs.get(k, "null")) for k in ("recipe", "inputs"))
            called = str(file.attrs["name"])
        same = called == (name or measurement.scan.name)
        same = same and as_before(made, measurement.extraction.recipe()) is not None
    except ScanError:  # not one of ours, or damaged
        same, inputs = False, None
    changed = inputs not in (None, json.loads(json.dumps(state_of_inputs(measurement.scan))))
    if same and not changed:
        return True
    if not overwrite:
        if not same:
            raise taken(path)
        raise InputsChangedError(
            f"The projections have changed since {path} was made of them; make it anew with "
            "--overwrite."
        )
    return False


class Measurement(Job):
    """Measures a set while the background is extracted.

    Parameters
    ----------
    scan : Scan
    settings : ExtractionSettings
    store : FrameStore, optional
        Of `extraction`: I_BG is written there too.
    called : str
        Name of the set; the scan's if not given.
    """

    name = Extraction.name
    settings_type = ExtractionSettings
    makes = BACKGROUND_SET
    ending = ".h5"
    scan: Scan
    settings: ExtractionSettings

    def __init__(
        self,
        scan: Scan,
        settings: ExtractionSettings,
        store: FrameStore | None = None,
        called: str = "",
    ) -> None:
        self.called = called
        self.scan = scan
        self.settings = settings
        self.store = store
        self.extraction = Extraction(scan, settings, measure=True)
        self._cells: list[np.ndarray] = []
        self._total: np.ndarray | None = None
        self._recipe: dict[str, Any] = {}

    @property
    def output(self) -> Output:
        return Output(self.scan.shape, np.float32, IMAGE)

    def recipe(self) -> dict[str, Any]:
        return self.extraction.recipe()

    def make(self, path: str | Path, *, overwrite: bool = False) -> Iterator[Progress]:
        """As `Job.make`; frames that `store` lacks are made even if the set is there."""
        output = Path(path).expanduser()
        spare_inputs([output], self.scan)
        make_folder(output.parent)
        with alone(output):
            there = is_there(output, self, self.called, overwrite)
            if there and (self.store is None or self.store.complete):
                yield Progress(1, 1, f"{output} holds this background already.")
                return
            yield from self.run()
            if not there:
                made = self.result(self.called)
                made.save(output, overwrite=overwrite, inputs=[self.scan])

    def run(self) -> Iterator[Progress]:
        """Go through the scan once; `result` holds the set afterwards.

        Yields
        ------
        Progress
            Counts readings of projections: for the static image, for the window, for the result.

        Raises
        ------
        ScanError
            Too few projections, or one that is constant.
        """
        try:
            yield from self._run()
        finally:
            if self.store is not None:
                self.store.let_go()

    def _run(self) -> Iterator[Progress]:
        ours, n = self.extraction, self.scan.n_frames
        self._recipe = ours.recipe()
        done, total = 0, ours.static_steps + 2 * n
        yield Progress(done, total, ours.note)
        for _ in ours.prepare():
            done += 1
            yield Progress(done, total)
        factor = max(1, CELL_PX // ours.pitch)
        for index in range(n):
            for _ in ours.load(index):
                # a window that goes round the scan reads some projections twice
                done = min(done + 1, total - (n - index))
                yield Progress(done, total)
            median = ours.coarse_median(index)
            self._total = median.astype(np.float64) if index == 0 else self._total + median
            self._cells.append(bin_cells(median, factor))
            if self.store is not None and not self.store.done[index]:
                self.store.write(index, ours.frame(index))
            done = min(done + 1, total - (n - 1 - index))
            yield Progress(total if index == n - 1 else done, total, frame=index)

    def result(self, name: str = "") -> BackgroundSet:
        """The set; `run` must have gone to its end."""
        ours, n, scan = self.extraction, self.scan.n_frames, self.scan
        if len(self._cells) < n:
            raise ValueError("run() has not gone to its end")
        static, quantum = ours.static, ours.quantum
        mean = static.image.copy()
        add_spread(mean, self._total / n, ours.pitch, quantum)
        np.maximum(mean, 0, out=mean)
        cells = np.stack(self._cells) * np.float32(quantum)
        components, coefficients = _low_rank(cells, 0.01 * np.sqrt(np.median(static.variance)))
        # a repeated last view has no numbers of its own in a window that goes round
        numbers = [ours.numbers[i % scan.unique_frames] for i in range(n)]
        levels = np.median([x.levels for x in numbers], axis=0)
        variances = np.median([x.variances / x.drift for x in numbers], axis=0)
        seen = levels > 0
        levels, variances = levels[seen] / np.median([x.drift for x in numbers]), variances[seen]
        gain, offset = fit_noise(levels, variances)
        heights = np.concatenate([x.cosmic_heights for x in numbers])
        stop = scan.description.beam_stop_px or guess_beam_stop(Scan(static.image[None]))
        return BackgroundSet(
            name=name or scan.name,
            mean=mean,
            components=components,
            coefficients=coefficients,
            cell_px=factor_px(ours.pitch),
            drift=np.array([x.drift for x in numbers], np.float32),
            gain=gain,
            offset=offset,
            noise_levels=levels.astype(np.float32),
            noise_variances=variances.astype(np.float32),
            hot_pixels=static.hot_pixels,
            hot_values=np.median([x.hot_values for x in numbers], axis=0).astype(np.float32),
            cosmic_events=len(heights) / n,
            cosmic_pixels=sum(x.cosmic_pixels for x in numbers) / n,
            cosmic_heights=np.sort(heights)[:: max(1, -(-len(heights) // _MAX_HEIGHTS))],
            beam_stop_px=stop,
            brightest_percent=self.settings.brightest_percent,
            recipe=self._recipe,
        )


def factor_px(pitch: int) -> int:
    """Size of the cells of the changing part, whole cells of the coarse grid."""
    return pitch * max(1, CELL_PX // pitch)


def _low_rank(frames: np.ndarray, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """Components and coefficients of what changes, by singular value decomposition.

    Parameters
    ----------
    frames : array (n, h, w)
    floor : float
        A component weaker than this, root mean square, is left out.
    """
    n = len(frames)
    flat = (frames - frames.mean(0)).reshape(n, -1).astype(np.float32)
    values, vectors = np.linalg.eigh(flat.astype(np.float64) @ flat.T)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    strong = np.sqrt(values / flat.size) > floor
    explained = np.cumsum(values) / max(values.sum(), 1e-30)
    rank = min(int(np.searchsorted(explained, _EXPLAINED)) + 1, MAX_RANK, int(strong.sum()))
    sizes = np.sqrt(values[:rank])
    coefficients = (vectors[:, :rank] * sizes).astype(np.float32)
    components = (vectors[:, :rank] / np.maximum(sizes, 1e-30)).T @ flat
    return components.reshape(rank, *frames.shape[1:]).astype(np.float32), coefficients
