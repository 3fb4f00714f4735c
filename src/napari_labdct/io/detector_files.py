"""EDF, CBF, MarCCD and ADSC through fabio: one image a file, or many in one EDF.

Headers are read when a scan is opened, pixels when a projection is looked at.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import OutputError, ScanError, reason
from ..core.files import atomic
from ..core.stacks import LazyStack
from ..scan.scan import Scan
from .facts import Facts, check_frame, entries_of, needed
from .regular import check_regular
from .tiff import TiffFrames

_CBF_STARTER = b"\x0c\x1a\x04\xd5"
_CBF_SECTION = b"--CIF-BINARY-FORMAT-SECTION--"
_CBF_TEXT_BYTES = 8192  # of the text before it: fabio looks no further
_MOST_HEADER_BYTES = 1 << 20
_MARCCD_HEADER = (1024, 3072)
#: Header keys and motors that turn a sample, the likeliest first; compared in lower case.
_TURNS = ("omega", "diffrz", "srot", "hrsrot", "rotation_angle", "rot", "rotation", "samrz",
          "rotz", "sample_rotation", "theta", "phi", "angle")  # fmt: skip

logging.getLogger("fabio").addHandler(logging.NullHandler())  # what it says, we say in sentences


@dataclass(frozen=True)
class _Image:
    """Where one projection stands, and what its header says."""

    path: Path
    number: int
    shape: tuple[int, int]
    dtype: np.dtype
    header: Mapping[str, Any]
    start: int | None = None  # of uncompressed pixels, which are read without fabio
    stored: np.dtype | None = None


class _Kind(ABC):
    """One of the kinds of files, read by a class of fabio."""

    words: str
    module: str
    name: str

    def make(self) -> Any:
        module = needed(f"fabio.{self.module}", "fabio", f"Reading {self.words} files")
        return getattr(module, self.name)()

    @abstractmethod
    def images(self, path: Path) -> list[_Image]:
        """All projections of a file, from its headers."""

    def pixels(self, image: _Image) -> np.ndarray:
        with self.make() as file:
            file.read(str(image.path))
            return np.array(file.get_frame(image.number).data)

    @abstractmethod
    def gather(self, headers: Sequence[Mapping[str, Any]], facts: Facts) -> None:
        """What the headers tell, one a projection."""


class DetectorFrames(LazyStack):
    """The projections of one or several files of a detector.

    Parameters
    ----------
    paths : sequence of path
        In the order of the projections.
    kind : _Kind

    Raises
    ------
    ScanError
        A file is damaged or cut off, or differs from the first.
    """

    def __init__(self, paths: Sequence[Path], kind: _Kind) -> None:
        self.paths = list(paths)
        self._kind = kind
        self.images = [image for path in paths for image in _explained(kind.images, path)]
        first = self.images[0]
        check_frame(first.path.name, *first.shape, first.dtype)
        for image in self.images:
            if (image.shape, image.dtype) != (first.shape, first.dtype):
                raise ScanError(
                    f"{image.path.name} is {_size(image)}, but {first.path.name} is "
                    f"{_size(first)}; all projections of a scan must be alike, so move the odd "
                    "one away."
                )
        super().__init__((len(self.images), *first.shape), first.dtype)

    def read(self, index: int) -> np.ndarray:
        image = self.images[index]
        made = _explained(self._pixels, image.path, image)
        if made.shape != self.shape[1:]:
            raise ScanError(
                f"{image.path.name} holds {made.shape} pixels instead of {self.shape[1:]}; copy "
                "it again from the instrument."
            )
        return made.astype(self.dtype, copy=False)

    def _pixels(self, _: Path, image: _Image) -> np.ndarray:
        if image.start is None:
            return self._kind.pixels(image)
        count = image.shape[0] * image.shape[1]
        with open(image.path, "rb") as file:
            file.seek(image.start)
            flat = np.fromfile(file, image.stored, count)
        if flat.size < count:
            raise ScanError(f"{image.path.name} is cut off; copy it again from the instrument.")
        return flat.reshape(image.shape)


def _size(image: _Image) -> str:
    return f"{image.shape[0]} x {image.shape[1]} {image.dtype.name}"


def _explained(act: Callable, path: Path, *more: Any) -> Any:
    """What `act` gives of a file; whatever goes wrong in fabio is one sentence."""
    check_regular(path)
    try:
        return act(path, *more)
    except ScanError:
        raise
    except FileNotFoundError:
        raise ScanError(f"{path} does not exist; check the name.") from None
    except Exception as error:
        detail = reason(error)
        raise ScanError(
            f"{path.name} cannot be read ({detail}); it is damaged or of another kind, so copy it "
            "again from the instrument."
        ) from error


def _cut_off(path: Path, has: int, needs: int) -> ScanError:
    return ScanError(
        f"{path.name} is cut off ({has} of {needs} bytes); copy it again from the instrument or "
        "move it away."
    )


# ---------------------------------------------------------------------------------- EDF


class _Edf(_Kind):
    words, module, name = "EDF", "edfimage", "EdfImage"

    def images(self, path: Path) -> list[_Image]:
        with self.make() as file:
            file.read(str(path))
            return [self._image(path, k, file.get_frame(k)) for k in range(file.nframes)]

    def _image(self, path: Path, number: int, frame: Any) -> _Image:
        packed = path.suffix.lower() in (".gz", ".bz2")
        size = path.stat().st_size
        header = dict(frame.header)
        words = {key.lower(): str(value) for key, value in header.items()}
        dtype = np.dtype(frame.dtype)
        if len(frame.shape) != 2:
            raise ScanError(f"{path.name} has frames of shape {frame.shape}, not rows x columns.")
        plain = words.get("compression", "none").lower() in ("none", "no", "", "nocompression")
        if "edf_binaryfilename" in words:
            self._check_beside(path, words["edf_binaryfilename"])
            plain = False
        elif frame.incomplete_data:
            raise ScanError(
                f"{path.name} is cut off (image {number}); copy it again from the instrument or "
                "move it away."
            )
        needs = frame.start + frame.shape[0] * frame.shape[1] * dtype.itemsize
        if plain and not packed and needs > size:
            raise _cut_off(path, size, needs)
        order = ">" if words.get("byteorder", "").lower() == "highbytefirst" else "<"
        direct = plain and not packed
        return _Image(path, number, tuple(frame.shape), dtype, header,
                      frame.start if direct else None, dtype.newbyteorder(order))  # fmt: skip

    @staticmethod
    def _check_beside(path: Path, name: str) -> None:
        other = (path.parent / name).resolve()
        if not other.is_relative_to(path.parent.resolve()):
            raise ScanError(
                f"{path.name} takes its pixels from {name}, outside its own folder; copy that "
                "file beside it."
            )

    def gather(self, headers: Sequence[Mapping[str, Any]], facts: Facts) -> None:
        lower = [{k.lower(): str(v) for k, v in header.items()} for header in headers]
        lower = [{**_motors(header), **header} for header in lower]
        facts.angles(_turning(lower, facts), len(headers))
        first = lower[0]
        facts.take("pixel_um", _number(first.get("psize_1")), "m")
        facts.take("sample_detector_mm", _number(first.get("sampledistance")), "m")
        exposure = next((first[k] for k in _EXPOSURES if k in first), None)
        facts.take("exposure_s", _number(exposure), "s")
        facts.take("binning", _number(first.get("binning_1") or first.get("bsize_1")))
        facts.detail("date", first.get("date") or first.get("time_of_day"))
        facts.entries({k: first.get(f"labdct_{k}") for k in _EDF_OWN}, len(headers))


_EXPOSURES = ("exposuretime", "exposure_time", "count_time", "acq_expo_time", "time_of_frame")


def _motors(header: Mapping[str, str]) -> dict[str, str]:
    """Positions of ESRF's motors by their names: ``motor_mne`` and ``motor_pos`` are lists."""
    names, positions = header.get("motor_mne", "").split(), header.get("motor_pos", "").split()
    return {name.lower(): position for name, position in zip(names, positions)}


def _turning(headers: Sequence[Mapping[str, str]], facts: Facts) -> np.ndarray | None:
    """The angles in the headers: of the known names the first that changes, or else is there."""
    found: dict[str, np.ndarray] = {}
    for name in _TURNS:
        texts = [header.get(name) for header in headers]
        there = [text is not None for text in texts]
        if any(there) and not all(there):
            facts.note(f"{facts.name}: {there.count(False)} images have no '{name}' in the header.")
        values = [_number(text) for text in texts]
        if all(v is not None for v in values):
            found[name] = np.array(values)
    turning = [name for name, values in found.items() if np.ptp(values) > 0]
    named = turning or (list(found) if len(headers) == 1 else [])
    if not named:
        return None
    facts.detail("angles", f"'{named[0]}' of the headers")
    return found[named[0]]


def _number(text: Any) -> float | None:
    """The number that a text begins with, such as ``10.0 deg.``."""
    match = (
        re.match(r"\s*([-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)", str(text)) if text is not None else None
    )
    return float(match[1]) if match else None


# ---------------------------------------------------------------------------------- CBF


class _Cbf(_Kind):
    words, module, name = "CBF", "cbfimage", "CbfImage"

    def images(self, path: Path) -> list[_Image]:
        packed = path.suffix.lower() in (".gz", ".bz2")
        if not packed:
            self._check_whole(path)
        file = self.make()
        file.readheader(str(path))
        rows, cols = file._shape if file._shape else file.shape
        header = dict(file.header)
        return [_Image(path, 0, (rows, cols), np.dtype(file._dtype), header)]

    @staticmethod
    def _check_whole(path: Path) -> None:
        """fabio looks for the start of the pixels for ever where there is none."""
        with open(path, "rb") as file:
            head = file.read(_MOST_HEADER_BYTES)
        section = head.find(_CBF_SECTION, 0, _CBF_TEXT_BYTES)
        at = head.find(_CBF_STARTER, max(section, 0))
        size = re.search(rb"X-Binary-Size:\s*(\d+)", head[: max(at, 0)])
        if section < 0 or at < 0 or size is None:
            raise ScanError(
                f"{path.name} is not a CBF file or is cut off in its header; copy it again from "
                "the instrument."
            )
        needs = at + len(_CBF_STARTER) + int(size[1])
        if needs > path.stat().st_size:
            raise _cut_off(path, path.stat().st_size, needs)

    def pixels(self, image: _Image) -> np.ndarray:
        with self.make() as file:
            file.read(str(image.path), check_MD5=False)
            content = file.cbs[file.start_binary + len(_CBF_STARTER) :]
            told = str(file.header.get("Content-MD5", ""))
            if told and base64.b64encode(hashlib.md5(content).digest()).decode() != told:
                raise ScanError(
                    f"{image.path.name} is damaged (its checksum differs); copy it again from the "
                    "instrument."
                )
            return np.array(file.data)

    def gather(self, headers: Sequence[Mapping[str, Any]], facts: Facts) -> None:
        told = [_mini_header(header) for header in headers]
        starts = [_number(t.get("start_angle")) for t in told]
        if all(s is not None for s in starts):
            facts.angles(np.array(starts), len(headers))
        else:
            facts.angles(_turning(told, facts), len(headers))
        first = told[0]
        pixel = first.get("pixel_size", "").split()
        facts.take("pixel_um", pixel[0] if pixel else None, pixel[1] if len(pixel) > 1 else "")
        distance = first.get("detector_distance", "").split()
        facts.take("sample_detector_mm", distance[0] if distance else None,
                   distance[1] if len(distance) > 1 else "")  # fmt: skip
        facts.take("exposure_s", _number(first.get("exposure_time")), "s")
        facts.detail("detector", first.get("detector:"))
        facts.detail("date", first.get("date"))
        top = _number(first.get("count_cutoff"))
        if top:
            facts.detail("saturated at", f"{top:g} counts")


def _mini_header(header: Mapping[str, Any]) -> dict[str, str]:
    """The comment lines of a Pilatus CBF, such as ``# Exposure_time 1.0 s``."""
    told = {}
    for line in str(header.get("_array_data.header_contents", "")).splitlines():
        words = line.strip("# \t\r").split(None, 1)
        if re.match(r"\d{4}-\d\d-\d\d[ T]", line.strip("# ")):
            told["date"] = line.strip("# \r")
        elif len(words) == 2:
            told[words[0].lower()] = words[1]
    return told


# ------------------------------------------------------------------------------- MarCCD


class _MarCcd(_Kind):
    words, module, name = "MarCCD", "marccdimage", "MarccdImage"

    def images(self, path: Path) -> list[_Image]:
        frames = TiffFrames([path])  # it is a TIFF with a header behind the first directory
        if path.stat().st_size < sum(_MARCCD_HEADER):
            raise _cut_off(path, path.stat().st_size, sum(_MARCCD_HEADER))
        file = self.make()
        file.readheader(str(path))
        header = {k: v for k, v in file.header.items() if not isinstance(v, list)}
        return [_Image(path, k, frames.shape[1:], frames.dtype, header) for k in range(len(frames))]

    def pixels(self, image: _Image) -> np.ndarray:
        return TiffFrames([image.path])[image.number]

    def gather(self, headers: Sequence[Mapping[str, Any]], facts: Facts) -> None:
        turned = {
            name: np.array([header.get(f"start_{name}", 0) for header in headers]) / 1000
            for name in ("phi", "omega")
        }
        turning = [name for name, values in turned.items() if np.ptp(values) > 0] or [
            name for name, values in turned.items() if len(headers) == 1 and values.any()
        ]
        if turning:
            facts.angles(turned[turning[0]], len(headers))
            facts.detail("angles", f"start_{turning[0]} of the headers")
        first = headers[0]
        facts.take("pixel_um", first.get("pixelsize_x") or None, "nm")
        facts.take("sample_detector_mm", (first.get("xtal_to_detector") or 0) / 1000 or None)
        facts.take("exposure_s", first.get("exposure_time") or None, "ms")
        top = first.get("saturated_value")
        if top:
            facts.detail("saturated at", f"{top} counts")


# --------------------------------------------------------------------------------- ADSC


class _Adsc(_Kind):
    words, module, name = "ADSC", "adscimage", "AdscImage"

    def images(self, path: Path) -> list[_Image]:
        with open(path, "rb") as file:
            head = file.read(_MOST_HEADER_BYTES)
        size = re.match(rb"\{\s*HEADER_BYTES\s*=\s*(\d+)\s*;", head)
        if size is None:
            raise ScanError(f"{path.name} is not an ADSC image (no HEADER_BYTES); open another.")
        file = self.make()
        file.readheader(str(path))
        header = dict(file.header)
        rows, cols = int(header["SIZE2"]), int(header["SIZE1"])
        name = header.get("Data_type", header.get("TYPE", "unsigned_short")).lower()
        dtype = np.dtype(_ADSC_TYPES[name])
        order = "<" if header.get("BYTE_ORDER", "little_endian") == "little_endian" else ">"
        start = int(size[1])
        needs = start + rows * cols * dtype.itemsize
        if path.stat().st_size < needs:
            raise _cut_off(path, path.stat().st_size, needs)
        plain = header.get("COMPRESSION", "none").lower() == "none"
        stored = dtype.newbyteorder(order)
        return [_Image(path, 0, (rows, cols), dtype, header, start if plain else None, stored)]

    def gather(self, headers: Sequence[Mapping[str, Any]], facts: Facts) -> None:
        first = headers[0]
        starts = [_number(header.get("OSC_START", header.get("ROTATION"))) for header in headers]
        if all(s is not None for s in starts):
            facts.angles(np.array(starts), len(headers))
        else:
            lower = [{k.lower(): str(v) for k, v in header.items()} for header in headers]
            facts.angles(_turning(lower, facts), len(headers))
        facts.take("pixel_um", _number(first.get("PIXEL_SIZE")), "mm")
        facts.take("sample_detector_mm", _number(first.get("DISTANCE")))
        facts.take("exposure_s", _number(first.get("TIME")), "s")
        facts.take("binning", _number(first.get("BIN")))
        facts.detail("date", first.get("DATE"))
        top = _number(first.get("CCD_IMAGE_SATURATION") or first.get("SATURATED_VALUE"))
        if top:
            facts.detail("saturated at", f"{top:g} counts")


_ADSC_TYPES = {
    "unsigned_short": "u2", "unsigned short int": "u2", "short int": "i2", "long int": "i4",
    "unsigned long int": "u4", "float ieee": "f4", "signed char": "i1", "unsigned char": "u1",
}  # fmt: skip


# ------------------------------------------------------------------------------ writing

#: Types of pixels that EDF has, and what others are written as.
_EDF_TYPES = {"b": "u1", "f2": "f4"}


_EDF_KEYS = (
    ("PSize_1", "pixel_um", 1e-6),
    ("PSize_2", "pixel_um", 1e-6),
    ("SampleDistance", "sample_detector_mm", 1e-3),
    ("ExposureTime", "exposure_s", 1.0),
    ("Binning_1", "binning", 1),
)


def write_edf(path: Path, scan: Scan, recipe: Mapping[str, Any]) -> Path:
    """A stack as one EDF of many images, each with its angle.

    Raises
    ------
    OutputError
        fabio is not installed, or the folder cannot be written.
    """
    try:
        module = needed("fabio.edfimage", "fabio", "Writing EDF files")
    except ScanError as error:
        raise OutputError(str(error).replace("open it", "write it")) from None
    told = entries_of(scan)
    same = {"title": scan.name}
    for key, field, factor in _EDF_KEYS:
        if field in told:
            same[key] = f"{told[field] * factor:.9g}"
    same |= {f"labdct_{k}": str(v) for k, v in told.items() if k in _EDF_OWN}
    kind = (
        "u1" if scan.dtype.kind == "b" else _EDF_TYPES.get(scan.dtype.str[1:], scan.dtype.str[1:])
    )
    with atomic(path) as part, open(part, "wb") as file:
        for index in range(scan.n_frames):
            header = dict(same)
            if scan.omega_deg is not None:
                header["omega"] = f"{scan.omega_deg[index]:.9g}"
            data = np.ascontiguousarray(np.asarray(scan.frames[index]).astype(kind, copy=False))
            frame = module.EdfFrame(data=data, header=header)
            frame._index = index
            file.write(frame.get_edf_block())
    return Path(path)


_EDF_OWN = ("source_sample_mm", "tube_kv", "material", "orientation")


# ------------------------------------------------------------------------------ opening


def _scan(paths: Sequence[Path], kind: _Kind) -> Scan:
    frames = DetectorFrames(paths, kind)
    facts = Facts(paths[0].name if len(paths) == 1 else paths[0].parent.name or paths[0].name)
    kind.gather([image.header for image in frames.images], facts)
    orientation = _number(frames.images[0].header.get("labdct_orientation")) or 1
    return facts.scan(frames, paths[0].stem, int(orientation) if 1 <= orientation <= 8 else 1)


def open_edf(path: Path) -> Scan:
    """The scan of one EDF, of one image or many."""
    return open_edfs([path])


def open_edfs(paths: Sequence[Path]) -> Scan:
    """The scan of several EDF files."""
    return _scan(paths, _Edf())


def open_cbf(path: Path) -> Scan:
    """The scan of one CBF image."""
    return open_cbfs([path])


def open_cbfs(paths: Sequence[Path]) -> Scan:
    """The scan of several CBF images."""
    return _scan(paths, _Cbf())


def open_marccd(path: Path) -> Scan:
    """The scan of one MarCCD image."""
    return open_marccds([path])


def open_marccds(paths: Sequence[Path]) -> Scan:
    """The scan of several MarCCD images."""
    return _scan(paths, _MarCcd())


def open_adsc(path: Path) -> Scan:
    """The scan of one ADSC image."""
    return open_adscs([path])


def open_adscs(paths: Sequence[Path]) -> Scan:
    """The scan of several ADSC images."""
    return _scan(paths, _Adsc())


def is_adsc(path: Path) -> bool:
    """Whether an ``.img`` is of ADSC or d*TREK: other programs use the same end."""
    with open(path, "rb") as file:
        return re.match(rb"\{\s*HEADER_BYTES", file.read(64)) is not None
