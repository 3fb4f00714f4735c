"""A scan: projections that are read when asked for, their angles and their geometry.

`Scan` is what every other module takes.  Frames are ``(omega, row, column)`` in the row
order in which they are stored; nothing here, or anywhere else, turns them.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Protocol

import numpy as np

from .errors import ScanError, SettingsError
from .geometry import ScanGeometry, polygon_mask
from .parameters import Param, Settings

Polygon = tuple[tuple[float, float], ...]


class FrameStack(Protocol):
    """Anything a scan can be made of: ndarray, memmap, dask, zarr, xarray, `LazyStack`."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def __getitem__(self, key): ...


class LazyStack(ABC):
    """A stack ``(n, rows, cols)`` whose frames are made one at a time by `read`.

    Indexing behaves like NumPy's; a range of frames is read frame by frame, so only what
    is asked for is ever in memory.
    """

    ndim: ClassVar[int] = 3

    def __init__(self, shape: tuple[int, int, int], dtype: np.dtype | type) -> None:
        self.shape = tuple(int(n) for n in shape)
        self.dtype = np.dtype(dtype)

    @abstractmethod
    def read(self, index: int) -> np.ndarray:
        """Frame `index` (0-based, in range) as an array ``(rows, cols)``."""

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key) -> np.ndarray:
        key = key if isinstance(key, tuple) else (key,)
        if Ellipsis in key:
            at = key.index(Ellipsis)
            key = key[:at] + (slice(None),) * (4 - len(key)) + key[at + 1 :]
        first, rest = (key[0] if key else slice(None)), key[1:]
        if isinstance(first, (int, np.integer)):
            index = int(first) + (len(self) if first < 0 else 0)
            if not 0 <= index < len(self):
                raise IndexError(f"frame {first} of a stack of {len(self)}")
            return self.read(index)[rest]
        wanted = np.arange(len(self))[first]
        if wanted.size == 0:
            return np.empty((0, *self.shape[1:]), self.dtype)[(slice(None), *rest)]
        return np.stack([self.read(int(i))[rest] for i in wanted])

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self[:], dtype=dtype)


@dataclass(frozen=True, kw_only=True)
class ScanDescription(Settings):
    """What ``scan.yaml`` says of a scan; everything is optional.

    Parameters
    ----------
    detector_center_px : (row, col), optional
        Where the optical axis meets the detector; the image centre if not given.
    detector_tilt_deg : (x, y, z)
        Detector tilts about the lab axes.
    beam_stop_px : tuple of polygons
        Shadows of the beam stop; each polygon is ``((row, col), ...)``.
    """

    job: ClassVar[str] = "scan"

    pixel_um: Annotated[
        float | None,
        Param("Pixel size", "um", 0.01, 1000, 0.01, "Effective size of a pixel as stored."),
    ] = None
    source_sample_mm: Annotated[
        float | None, Param("Source to sample", "mm", 0.1, 5000, 0.1, "X-ray source to axis.")
    ] = None
    sample_detector_mm: Annotated[
        float | None, Param("Sample to detector", "mm", 0.1, 5000, 0.1, "Axis to detector.")
    ] = None
    tube_kv: Annotated[
        float | None, Param("Tube voltage", "kV", 10, 500, 5, "Accelerating voltage.")
    ] = None
    material: Annotated[
        str | None, Param("Material", help="Element symbol or CIF file, for example Fe.")
    ] = None
    exposure_s: Annotated[
        float | None,
        Param("Exposure", "s", 0.0, 1e5, 1, "Exposure of one projection.", advanced=True),
    ] = None
    binning: Annotated[
        int | None,
        Param("Binning", "px", 1, 16, 1, "Detector pixels binned into one.", advanced=True),
    ] = None
    detector_center_px: tuple[float, float] | None = None
    detector_tilt_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    beam_stop_px: tuple[Polygon, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        center = self.detector_center_px
        if center is not None:
            object.__setattr__(self, "detector_center_px", _numbers(center, 2, "Detector centre"))
        tilt = _numbers(self.detector_tilt_deg, 3, "Detector tilt")
        object.__setattr__(self, "detector_tilt_deg", tilt)
        object.__setattr__(self, "beam_stop_px", _polygons(self.beam_stop_px))


def _numbers(values: Any, count: int, what: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(v) for v in values)
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != count or not np.all(np.isfinite(numbers)):
        raise SettingsError(f"{what} must be {count} numbers, not {values!r}.")
    return numbers


def _polygons(value: Any) -> tuple[Polygon, ...]:
    """Accept one polygon or several; a polygon is at least three (row, col) pairs."""
    if not value:
        return ()
    try:
        one = np.ndim(value[0][0]) == 0
        polygons = [value] if one else list(value)
        made = tuple(tuple(_numbers(p, 2, "Beam-stop corner") for p in poly) for poly in polygons)
    except (TypeError, IndexError):
        raise SettingsError(f"The beam stop must be a list of [row, col], not {value!r}.") from None
    if any(len(poly) < 3 for poly in made):
        raise SettingsError("A beam-stop polygon needs at least three [row, col] corners.")
    return made


#: What each later step cannot do without; `Scan.missing_for` reads it.
_NEEDS = {
    "denoise": (),
    "grain size": ("pixel_um",),
    "tracks": ("omega_deg", "pixel_um", "source_sample_mm", "sample_detector_mm"),
    "predicted spots": ("omega_deg", "pixel_um", "source_sample_mm", "sample_detector_mm",
                        "tube_kv", "material"),
    "grain map": ("omega_deg", "pixel_um", "source_sample_mm", "sample_detector_mm",
                  "tube_kv", "material", "beam_stop_px"),
}  # fmt: skip
STEPS = tuple(_NEEDS)


@dataclass(frozen=True, eq=False)
class Scan:
    """Projections ``(n, rows, cols)`` with their angles and what is known of the set-up.

    Parameters
    ----------
    frames : array-like
        Anything with ``shape``, ``dtype`` and ``__getitem__``; never read whole.
        A single image ``(rows, cols)`` is taken as a stack of one.
    omega_deg : array of float (n,), optional
        Rotation angle of each projection.
    description : ScanDescription
        Distances, pixel size, beam stop...
    name, source : str
        What to call it, and the file or folder it came from.
    orientation : int
        TIFF Orientation tag (274); kept as metadata and copied to outputs.

    Raises
    ------
    ScanError
        The array is not a stack of grey-level images, or the angles do not fit it.
    """

    frames: FrameStack
    omega_deg: np.ndarray | None = None
    description: ScanDescription = field(default_factory=ScanDescription)
    name: str = "scan"
    source: str = ""
    orientation: int = 1

    def __post_init__(self) -> None:
        frames = self.frames
        if not all(hasattr(frames, a) for a in ("shape", "dtype", "__getitem__")):
            frames = np.asarray(frames)
        shape, dtype = tuple(frames.shape), np.dtype(frames.dtype)
        if dtype.kind not in "uifb":
            raise ScanError(f"'{self.name}' holds {dtype} values; projections must be grey levels.")
        if len(shape) in (3, 4) and shape[-1] in (3, 4) and shape[-2] > 8:
            raise ScanError(
                f"'{self.name}' looks like a colour (RGB) image of shape {shape}; "
                "save the projections as grey-level TIFF and open them again."
            )
        if len(shape) == 2 and min(shape) > 0:
            frames = np.asarray(frames)[None]
            shape = frames.shape
        if len(shape) != 3:
            raise ScanError(
                f"'{self.name}' has shape {shape}; a scan needs (projections, rows, columns)."
            )
        if min(shape) < 1:
            raise ScanError(f"'{self.name}' is empty: its shape is {shape}.")
        object.__setattr__(self, "frames", frames)
        if self.omega_deg is not None:
            omega = np.asarray(self.omega_deg, dtype=float).ravel()
            if omega.size != shape[0]:
                raise ScanError(
                    f"'{self.name}' has {shape[0]} projections but {omega.size} rotation angles; "
                    "correct omega_deg in scan.yaml or in the Scan dock."
                )
            if not np.all(np.isfinite(omega)):
                raise ScanError(f"A rotation angle of '{self.name}' is not a number.")
            object.__setattr__(self, "omega_deg", omega)

    @property
    def n_frames(self) -> int:
        return int(self.frames.shape[0])

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a projection."""
        return int(self.frames.shape[1]), int(self.frames.shape[2])

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.frames.dtype)

    def frame(self, index: int) -> np.ndarray:
        """Projection `index` as a native array ``(rows, cols)`` (floats as float32).

        Raises
        ------
        ScanError
            It holds NaN or infinite values.
        """
        image = np.asarray(self.frames[index])
        if image.dtype.kind == "b":
            return image.astype(np.uint8)
        if image.dtype.kind == "f":
            image = image.astype(np.float32, copy=False)
            if not np.all(np.isfinite(image)):
                raise ScanError(
                    f"Projection {index} of '{self.name}' holds NaN or infinite values; "
                    "replace them (for example by 0) and open the scan again."
                )
            return image
        return image.astype(image.dtype.newbyteorder("="), copy=False)

    @property
    def step_deg(self) -> float | None:
        """Typical step between projections, always positive."""
        if self.omega_deg is None or self.n_frames < 2:
            return None
        return float(np.median(np.abs(np.diff(self.omega_deg))))

    @property
    def circular(self) -> bool:
        """Whether the angles go once round, so that the last projection meets the first."""
        step = self.step_deg
        if not step or self.n_frames < 3:
            return False
        span = abs(self.omega_deg[-1] - self.omega_deg[0])
        return bool(span + step > 360 - 0.5 * step)

    @property
    def unique_frames(self) -> int:
        """Number of distinct views: a last projection at +180 repeats a first one at -180."""
        if not self.circular:
            return self.n_frames
        span = abs(self.omega_deg[-1] - self.omega_deg[0])
        return self.n_frames - 1 if span > 360 - 0.5 * self.step_deg else self.n_frames

    def geometry(self) -> ScanGeometry:
        """The complete set-up.

        Raises
        ------
        ScanError
            Something it needs is not known; the message names it.
        """
        d = self.description
        missing = [
            label
            for label, value in [
                ("pixel size", d.pixel_um),
                ("source-sample distance", d.source_sample_mm),
                ("sample-detector distance", d.sample_detector_mm),
            ]
            if value is None
        ]
        if missing:
            raise ScanError(
                f"The geometry of '{self.name}' is incomplete; enter the {', '.join(missing)} "
                "in scan.yaml or in the Scan dock."
            )
        return ScanGeometry(
            source_sample_mm=d.source_sample_mm,
            sample_detector_mm=d.sample_detector_mm,
            pixel_um=d.pixel_um,
            shape=self.shape,
            detector_center_px=d.detector_center_px,
            detector_tilt_deg=d.detector_tilt_deg,
            beam_stop_px=d.beam_stop_px,
        )

    def missing_for(self, step: str) -> list[str]:
        """Names of the fields that a later step (one of `STEPS`) still needs."""
        return [
            name
            for name in _NEEDS[step]
            if (self.omega_deg is None if name == "omega_deg" else not _given(self, name))
        ]

    def beam_stop_mask(self) -> np.ndarray:
        """Boolean ``(rows, cols)``: True in the shadow of the beam stop."""
        mask = np.zeros(self.shape, bool)
        for polygon in self.description.beam_stop_px:
            mask |= polygon_mask(polygon, self.shape)
        return mask

    def identity(self) -> str:
        """A short hash of the pixels of three projections: the same data, the same id."""
        digest = hashlib.sha256(f"{self.n_frames} {self.shape} {self.dtype.str[1:]}".encode())
        for index in sorted({0, self.n_frames // 2, self.n_frames - 1}):
            digest.update(np.ascontiguousarray(self.frame(index)).tobytes())
        return digest.hexdigest()[:16]

    def replace(self, **changes: Any) -> Scan:
        """A scan of the same frames with other angles, description or name."""
        return replace(self, **changes)


def _given(scan: Scan, name: str) -> bool:
    value = getattr(scan.description, name)
    return value is not None and value != ()


def angles(start_deg: float, step_deg: float, n_frames: int) -> np.ndarray:
    """Rotation angles of an even scan, degrees ``(n,)``."""
    return start_deg + step_deg * np.arange(n_frames)


def guess_beam_stop(scan: Scan, n_samples: int = 7) -> tuple[Polygon, ...]:
    """Outline of the dark shadow near the image centre, or nothing if there is none.

    The median of a few projections is free of spots; the shadow is the dark region next
    to the centre below half the level of the ring around it.

    Returns
    -------
    tuple of polygons
        One polygon of (row, col) corners in pixels, or an empty tuple.
    """
    from scipy import ndimage as ndi
    from skimage.measure import approximate_polygon, find_contours
    from skimage.morphology import convex_hull_image

    indices = np.unique(np.linspace(0, scan.n_frames - 1, n_samples).round().astype(int))
    shrink = max(1, max(scan.shape) // 512)
    view = np.median([scan.frame(i)[::shrink, ::shrink] for i in indices], axis=0)
    view = ndi.median_filter(view, 5)
    rows, cols = np.indices(view.shape)
    centre = (np.array(view.shape) - 1) / 2
    radius = np.hypot(rows - centre[0], cols - centre[1]) / (min(view.shape) / 2)
    near = radius < 0.5
    ring = float(np.median(view[(radius > 0.45) & (radius < 0.75)]))
    floor = float(np.percentile(view[near], 0.5))
    if ring <= 0 or floor > 0.8 * ring:
        return ()
    dark = (view < 0.5 * (floor + ring)) & near
    labels, count = ndi.label(ndi.binary_opening(dark, iterations=2))
    if count == 0:
        return ()
    largest = 1 + int(np.argmax(ndi.sum_labels(dark, labels, np.arange(1, count + 1))))
    shadow = convex_hull_image(labels == largest)
    if shadow.mean() < 2e-4:
        return ()
    outline = max(find_contours(np.pad(shadow, 1).astype(float), 0.5), key=len) - 1
    corners = approximate_polygon(outline, tolerance=max(2.0, 0.02 * np.sqrt(shadow.sum())))[:-1]
    return (tuple((float(r * shrink), float(c * shrink)) for r, c in corners.round(1)),)
