"""A scan: projections that are read when asked for, their angles and their geometry.

`Scan` is what every other module takes.  Frames are ``(omega, row, column)`` in the row
order in which they are stored; nothing here, or anywhere else, turns them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import ScanError
from ..core.stacks import FrameStack
from .description import NO_MASK, ScanDescription
from .detector_mask import FoundMask, Reading, checked_mask, either, filled, judged, native
from .geometry import ScanGeometry, polygon_mask
from .knowledge import FROM_FILE, FileKnowledge

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


def needs_of(step: str) -> tuple[str, ...]:
    """Fields that a step (one of `STEPS`) reads: those it cannot do without, and the centre."""
    needed = _NEEDS[step]
    return (*needed, "detector_center_px") if "sample_detector_mm" in needed else needed


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
    notes : tuple of str
        What the user should know of the files, such as a missing one.
    mask : bool array (rows, cols), optional
        True for pixels that carry no information; they are found if it is not given, and the
        polygons of ``description.mask`` are added.
    known : FileKnowledge
        What the file itself says; `source_of` compares with it.

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
    notes: tuple[str, ...] = ()
    mask: np.ndarray | None = None
    _found: FoundMask | None = field(default=None, repr=False)
    known: FileKnowledge = field(default_factory=FileKnowledge)

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
        if self._found is None or self._found.frames is not frames:
            object.__setattr__(self, "_found", FoundMask(frames))
        if self.mask is not None:
            object.__setattr__(self, "mask", checked_mask(self.mask, self.shape, self.name))
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

    def raw(self, index: int) -> np.ndarray:
        """Projection `index` as it is stored, native ``(rows, cols)`` (floats as float32)."""
        return native(self.frames[index])

    def frame(self, index: int) -> np.ndarray:
        """Projection `index`, native and finite ``(rows, cols)`` (floats as float32).

        Where nothing was measured it goes on as its surroundings do; see `reading`.
        """
        return self.reading(index).image

    def reading(self, index: int) -> Reading:
        """Projection `index` with what of it was not measured, and filled there."""
        seen = self._seen(index)
        if seen.left_out is None:
            return seen
        return replace(seen, image=filled(seen.image, seen.left_out, index))

    def left_out(self, index: int) -> np.ndarray | None:
        """Where nothing was measured in projection `index`, bool ``(rows, cols)`` or None."""
        return either(self._seen(index).left_out, self.detector_mask)

    def _seen(self, index: int) -> Reading:
        return judged(self.raw(index), index, lambda: self.detector_mask, self._asked)

    @property
    def _asked(self) -> bool:
        """Whether somebody said what the mask is."""
        return self.mask is not None or self.description.mask not in (None, NO_MASK)

    @property
    def _search(self) -> FoundMask:
        """What finds the mask, shared with copies of this scan."""
        assert self._found is not None  # made with the scan
        return self._found

    @cached_property
    def detector_mask(self) -> np.ndarray | None:
        """Pixels that carry no information in any projection, bool ``(rows, cols)``, or None.

        Those given; or else those found, when a few projections are read for it. A beam stop that
        is given is none of them.
        """
        given, mask = self.description.mask, self.mask
        if mask is None and given != NO_MASK:
            mask = self._search.mask
            if mask is not None and self.description.beam_stop_px:
                mask = mask & ~self.beam_stop_mask()
        for polygon in given if isinstance(given, tuple) else ():
            mask = either(mask, polygon_mask(polygon, self.shape))
        return mask if mask is not None and mask.any() else None

    @property
    def mask_known(self) -> bool:
        """Whether no projection need be read to say what the mask is."""
        given = self.mask is not None or self.description.mask == NO_MASK
        return given or self._search.known

    @cached_property
    def mask_id(self) -> str:
        """A short hash of `detector_mask`; empty if there is none."""
        mask = self.detector_mask
        return "" if mask is None else hashlib.sha256(np.packbits(mask)).hexdigest()[:16]

    def hidden(self) -> np.ndarray:
        """Where no spot can be, bool ``(rows, cols)``: beam stop and detector mask."""
        mask, stop = self.detector_mask, self.beam_stop_mask()
        return stop if mask is None else stop | mask

    def about_mask(self) -> str:
        """A sentence on the detector mask; empty if there is none."""
        mask, given = self.detector_mask, self.description.mask
        if mask is None:
            return ""
        if self.mask is None:
            found = self._search.mask is not None
            how = "found in the projections" if found else "as drawn"
            how += ", and drawn" if found and given else ""
        else:
            how = Path(given).name if isinstance(given, str) else "as drawn"
            how += "; invert it if it is the wrong way round" if mask.mean() > 0.5 else ""
        part = f"{100 * mask.mean():.2g} %" if mask.mean() > 5e-5 else f"{mask.sum()}"
        return f"Detector mask: {part} of the pixels left out ({how})."

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
        if not step or self.omega_deg is None or self.n_frames < 3:
            return False
        span = abs(self.omega_deg[-1] - self.omega_deg[0])
        return bool(span + step > 360 - 0.5 * step)

    @property
    def unique_frames(self) -> int:
        """Number of distinct views: a last projection at +180 repeats a first one at -180."""
        step = self.step_deg
        if not self.circular or self.omega_deg is None or step is None:
            return self.n_frames
        span = abs(self.omega_deg[-1] - self.omega_deg[0])
        return self.n_frames - 1 if span > 360 - 0.5 * step else self.n_frames

    def geometry(self) -> ScanGeometry:
        """The complete set-up.

        Raises
        ------
        ScanError
            Something it needs is not known; the message names it.
        """
        d = self.description
        pixel_um, near_mm, far_mm = d.pixel_um, d.source_sample_mm, d.sample_detector_mm
        if pixel_um is None or near_mm is None or far_mm is None:
            missing = [
                label
                for label, value in [
                    ("pixel size", pixel_um),
                    ("source-sample distance", near_mm),
                    ("sample-detector distance", far_mm),
                ]
                if value is None
            ]
            raise ScanError(
                f"The geometry of '{self.name}' is incomplete; enter the {', '.join(missing)} "
                "in scan.yaml or in the Scan dock."
            )
        return ScanGeometry(
            source_sample_mm=near_mm,
            sample_detector_mm=far_mm,
            pixel_um=pixel_um,
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

    @property
    def address(self) -> str:
        """What `io.open_scan` opens this scan from: the source, and the data set inside it."""
        inside = self.known.inside
        return f"{self.source}::{inside}" if self.source and inside else self.source

    def source_of(self, name: str) -> str:
        """Where a value came from: `FROM_FILE`, `FROM_NAMES`, or empty if it was typed.

        Parameters
        ----------
        name : str
            ``omega_deg`` or a field of `ScanDescription`.
        """
        if name == "omega_deg":
            known, mine = self.known.omega_deg, self.omega_deg
            same = known is not None and mine is not None and np.array_equal(known, mine)
            return self.known.omega_from if same else ""
        told, value = (getattr(d, name) for d in (self.known.description, self.description))
        return FROM_FILE if value == told and value != getattr(ScanDescription(), name) else ""

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
            digest.update(np.ascontiguousarray(self.raw(index)).tobytes())
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
