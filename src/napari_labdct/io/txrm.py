"""Zeiss Xradia ``.txrm`` and ``.xrm``: projections, angles and distances from one OLE file.

An OLE file is a small file system of streams.  Projection ``k`` (from 1) is the stream
``ImageData{ceil(k / 100)}/Image{k}``, rows from the bottom up, as TIFF Orientation 4 says.
``ImageInfo`` holds what is known of it, little-endian, one value or one a projection:

======================  ==================================================================
Angles                  degrees (dxchange turns them into radians itself)
StoRADistance           source to rotation axis, mm, negative on one side of it
DtoRADistance           rotation axis to detector, mm
PixelSize               um in the plane of the sample: ``pixel_um = PixelSize * (S + D) / S``
DataType                5 unsigned 16 bits, 10 float of 32 bits, 3 unsigned 8 bits
NoOfImages, ImagesTaken planned and there
======================  ==================================================================

``Alignment`` holds shifts of the stage and ``ReferenceData`` a flat field.  Neither is applied:
the pixels are those of the detector.
"""

from __future__ import annotations

import array
import contextlib
import threading
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import ScanError
from ..core.stacks import LazyStack
from ..scan.scan import Scan
from .facts import Facts, check_frame, needed
from .regular import check_regular

_TYPES = {2: "<i1", 3: "<u1", 4: "<i2", 5: "<u2", 6: "<i4", 7: "<u4", 10: "<f4", 11: "<f8"}
_BOTTOM_UP = 4  # TIFF Orientation: row 0 is the lowest
_FREE = 0xFFFFFFFF
_LAST = 0xFFFFFFFE
_MOST_FACT_BYTES = 16 << 20
_MOST_IMAGES = 1_000_000
_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def _linear(olefile: Any) -> type:
    """olefile's reader without its copy of the whole table of sectors at every 128th of them.

    With sectors of 512 bytes a file of 1.5 GB took it four minutes to open.
    """

    class Linear(olefile.OleFileIO):
        def loadfat_sect(self, sect: Any) -> int | None:
            if not hasattr(self, "pieces"):
                self.pieces: list[bytes] = []
            numbers = sect if isinstance(sect, array.array) else self.sect2array(sect)
            number = None
            for number in numbers:
                if number in (_LAST, _FREE):
                    break
                content = self.getsect(number)
                self.pieces.append(content)
                self.fat.extend(self.sect2array(content))
            return number

    return Linear


class _Container:
    """An OLE file by its table of sectors: streams are read in as few pieces as they lie in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        check_regular(path)
        olefile = needed("olefile", "olefile", "Reading Zeiss .txrm and .xrm files")
        with open(path, "rb") as file:
            if file.read(8) != _MAGIC:
                raise ScanError(
                    f"{path.name} is not a Zeiss file (no OLE header); copy it again from the "
                    "instrument."
                )
        try:
            with _linear(olefile)(path) as ole:
                self._read(ole)
        except (ScanError, FileNotFoundError):
            raise
        except Exception as error:  # any fault while its tables are read
            raise ScanError(
                f"{path.name} is damaged or cut off ({error}); copy it again from the instrument."
            ) from error

    def _read(self, ole: Any) -> None:
        self._sector = ole.sector_size
        fat = np.frombuffer(b"".join(ole.pieces), "<u4")
        size = self.path.stat().st_size
        there = -(-max(size - self._sector, 0) // self._sector)
        used = np.flatnonzero(fat != _FREE)
        if used.size and used[-1] >= there:
            raise ScanError(
                f"{self.path.name} is cut off ({size} of at least "
                f"{(int(used[-1]) + 1) * self._sector} bytes); copy it again from the instrument."
            )
        self._fat = fat[:there]
        self._mini_below = ole.mini_stream_cutoff_size
        self.streams: dict[str, tuple[int, int]] = {}  # first sector and size
        self._small: dict[str, bytes] = {}
        for parts in ole.listdir(streams=True, storages=False):
            name = "/".join(parts).lower()
            entry = ole.direntries[ole._find(parts)]
            self.streams[name] = (entry.isectStart, entry.size)
            if entry.size < self._mini_below and not name.startswith("imagedata"):
                with contextlib.suppress(OSError):
                    self._small[name] = ole.openstream(parts).read()
        self._tiny_images(ole)
        if size % self._sector:  # some writers leave the last sector short, after its content
            self._check_ends(size)

    def _check_ends(self, size: int) -> None:
        for first, length in self.streams.values():
            if length < self._mini_below:
                continue
            sectors = -(-length // self._sector)
            start, count = self._runs(first, sectors)[-1]
            end = (start + 1 + count) * self._sector - (sectors * self._sector - length)
            if end > size:
                raise ScanError(
                    f"{self.path.name} is cut off ({size} of at least {end} bytes); copy it again "
                    "from the instrument."
                )

    def _tiny_images(self, ole: Any) -> None:
        """Images of less than 4096 bytes stand in the mini stream: only tests have them."""
        for name, (_, size) in self.streams.items():
            if name.startswith("imagedata") and size < self._mini_below:
                self._small[name] = ole.openstream(name).read()

    def bytes_of(self, name: str) -> bytes | None:
        """The content of a stream; None if there is none of the name."""
        name = name.lower()
        if name in self._small:
            return self._small[name]
        if name not in self.streams:
            return None
        first, size = self.streams[name]
        with open(self.path, "rb") as file:
            pieces = []
            for start, count in self._runs(first, -(-size // self._sector)):
                file.seek((start + 1) * self._sector)
                pieces.append(file.read(count * self._sector))
        return b"".join(pieces)[:size]

    def _runs(self, sector: int, count: int) -> list[tuple[int, int]]:
        """Where a stream lies: first sector and number of sectors of each piece."""
        runs: list[tuple[int, int]] = []
        fat, done, window = self._fat, 0, 256
        while done < count:
            if sector >= len(fat):
                raise ScanError(f"{self.path.name} is damaged: a stream leads out of the file.")
            # most files are written straight on: look how far the next sector is the next number
            ahead = min(count - done, len(fat) - sector, window)
            steps = fat[sector : sector + ahead] - np.arange(
                sector + 1, sector + ahead + 1, dtype=np.uint32
            )
            turns = np.flatnonzero(steps)
            length = int(turns[0]) + 1 if turns.size else ahead
            runs.append((sector, length))
            done, window = done + length, 2 * length + 16
            sector = int(fat[sector + length - 1])
            if sector == _LAST and done < count:
                raise ScanError(f"{self.path.name} is damaged: a projection is not whole.")
        return runs

    def array(self, name: str, dtype: str) -> np.ndarray | None:
        """A stream of numbers, such as one a projection."""
        if self.streams.get(name.lower(), (0, 0))[1] > _MOST_FACT_BYTES:
            raise ScanError(f"{self.path.name}: {name} is too long; the file is damaged.")
        content = self.bytes_of(name)
        width = np.dtype(dtype).itemsize
        if not content or len(content) < width:
            return None
        return np.frombuffer(content[: len(content) // width * width], dtype)

    def number(self, name: str, dtype: str = "<i4") -> Any:
        """The first number of a stream."""
        found = self.array(name, dtype)
        return None if found is None else found[0].item()

    def text(self, name: str) -> str:
        """The first text of a stream."""
        content = self.bytes_of(name) or b""
        return content.split(b"\0")[0].decode("latin-1").strip()


class TxrmFrames(LazyStack):
    """The projections of one ``.txrm`` or ``.xrm``; one is read when it is looked at."""

    def __init__(self, path: Path, container: _Container, facts: Facts) -> None:
        self.paths = [path]
        self._file = container
        rows, cols = (container.number(f"ImageInfo/{n}") for n in ("ImageHeight", "ImageWidth"))
        code = container.number("ImageInfo/DataType")
        if not rows or not cols:
            raise ScanError(
                f"{path.name} holds no projections (no ImageInfo); choose the .txrm of the scan."
            )
        if code is not None and code not in _TYPES:
            raise ScanError(f"{path.name} holds pixels of an unknown type ({code}).")
        self._names = _images(container)
        if not self._names:
            raise ScanError(f"{path.name} holds no projection yet; wait for the scan to begin.")
        first = container.streams[self._names[0].lower()][1]
        self._stored = np.dtype(_TYPES[code] if code else _guess(path, first, rows * cols))
        check_frame(path.name, rows, cols, self._stored)
        _check_sizes(path, container, self._names, rows * cols * self._stored.itemsize)
        planned = container.number("ImageInfo/NoOfImages") or len(self._names)
        if len(self._names) < planned:
            facts.note(
                f"{path.name} holds {len(self._names)} of the {planned} projections that were "
                "planned."
            )
        super().__init__((len(self._names), rows, cols), self._stored.newbyteorder("="))
        self._lock = threading.Lock()

    def read(self, index: int) -> np.ndarray:
        with self._lock:
            content = self._file.bytes_of(self._names[index])
        size = self.shape[1] * self.shape[2] * self._stored.itemsize
        if content is None or len(content) < size:
            raise ScanError(
                f"Projection {index} of {self._file.path.name} is cut off; copy the file again "
                "from the instrument."
            )
        image = np.frombuffer(content, self._stored, self.shape[1] * self.shape[2])
        return image.astype(self.dtype, copy=False).reshape(self.shape[1:])


def _images(container: _Container) -> list[str]:
    """Names of the streams of the projections, without gaps."""
    names = []
    while len(names) < _MOST_IMAGES:
        number = len(names) + 1
        name = f"imagedata{-(-number // 100)}/image{number}"
        if name not in container.streams:
            return names
        names.append(name)
    return names


def _guess(path: Path, size: int, pixels: int) -> str:
    """The type of pixels of a file that does not tell it, by the length of a projection."""
    found = {1: "<u1", 2: "<u2", 4: "<f4"}.get(size // pixels) if size % pixels == 0 else None
    if found is None:
        raise ScanError(f"{path.name} does not tell the type of its pixels; export it as TIFF.")
    return found


def _check_sizes(path: Path, container: _Container, names: list[str], size: int) -> None:
    for number, name in enumerate(names, 1):
        has = container.streams[name][1]
        if has < size:
            raise ScanError(
                f"Image {number} of {path.name} has {has} bytes instead of {size}; the file is "
                "damaged or a mosaic, so export it as TIFF."
            )


def open_txrm(path: Path) -> Scan:
    """The scan of a Zeiss ``.txrm``, or of one ``.xrm`` image.

    Raises
    ------
    ScanError
        olefile is not installed, or the file is damaged or cut off.
    """
    container, facts = _Container(path), Facts(path.name)
    frames = TxrmFrames(path, container, facts)
    _gather(container, facts, frames.shape[0])
    return facts.scan(frames, path.stem, _BOTTOM_UP)


def _gather(file: _Container, facts: Facts, n_frames: int) -> None:
    angles = file.array("ImageInfo/Angles", "<f4")
    facts.angles(None if angles is None else angles, n_frames)
    if facts.omega_deg is not None and n_frames > 30:
        span = np.ptp(facts.omega_deg) * n_frames / (n_frames - 1)
        if min(abs(span - np.pi), abs(span - 2 * np.pi)) < 0.05:
            facts.note(
                f"{facts.name} gives angles over {span:.3g} deg, which looks like radians; Zeiss "
                "writes degrees, so check them."
            )
    source, detector = (file.number(f"ImageInfo/{n}", "<f4") for n in _DISTANCES)
    source, detector = (None if v is None else abs(v) for v in (source, detector))
    facts.take("source_sample_mm", source or None)
    facts.take("sample_detector_mm", detector or None)
    pixel = file.number("ImageInfo/PixelSize", "<f4")
    if pixel and source and detector:
        facts.take("pixel_um", pixel * (source + detector) / source)
    elif pixel:
        facts.note(
            f"{facts.name} gives a pixel size of {pixel:.4g} um at the sample but no distances, so "
            "that at the detector is not known; enter it."
        )
    facts.take("tube_kv", _first(file, "ImageInfo/Voltage", "ImageInfo/XrayVoltage"))
    exposures = file.array("ImageInfo/ExpTimes", "<f4")
    if exposures is not None:
        facts.take("exposure_s", exposures[0])
        if np.ptp(exposures[:n_frames]) > 1e-3 * abs(exposures[0]):
            facts.note(f"{facts.name}: the exposure changes from projection to projection.")
    else:
        facts.take("exposure_s", _first(file, "ImageInfo/ExpTime", "AcquisitionSettings/ExpTime"))
    binning = file.number("ImageInfo/CameraBinning") or file.number("AcquisitionSettings/Binning")
    facts.take("binning", binning)
    _tell(file, facts)


_DISTANCES = ("StoRADistance", "DtoRADistance")


def _first(file: _Container, *names: str) -> float | None:
    """The first of several streams that holds a number other than 0."""
    return next((v for v in (file.number(n, "<f4") for n in names) if v), None)


def _tell(file: _Container, facts: Facts) -> None:
    """What changes no number: date, averaging, reference image, shifts."""
    facts.detail("date", file.text("ImageInfo/Date"))
    averaged = [
        file.number(f"ImageInfo/{name}")
        for name in ("CameraNumberOfFramesPerImage", "NoOfImagesAveraged", "ImagesPerProjection")
    ]
    most = max((n for n in averaged if n), default=1)
    facts.detail("images", f"mean of {most} exposures each" if most > 1 else "one exposure each")
    facts.detail("acquisition", file.text("AcquisitionSettings/AcqModeString"))
    facts.detail("objective", file.text("ImageInfo/ObjectiveName"))
    facts.detail("filter", file.text("ImageInfo/SourceFilterName"))
    rows, cols = (file.number(f"ImageInfo/Mosiac{n}") or 1 for n in ("Rows", "Columns"))
    if rows * cols > 1:
        facts.note(f"{facts.name} is a mosaic of {rows} x {cols} images, not a scan of angles.")
    references = [n for n in file.streams if n.startswith(("referencedata/image", "multirefer"))]
    if any(n.rsplit("/", 1)[1].startswith("image") for n in references):
        facts.detail("reference image", "in the file, not applied")
    named = file.text("ImageInfo/referencefile")
    facts.detail("reference file", named)
    shifts = [file.array(f"Alignment/{axis}-Shifts", "<f4") for axis in "XY"]
    if any(s is not None and np.any(s) for s in shifts):
        largest = max(float(np.abs(s).max()) for s in shifts if s is not None)
        facts.detail("shifts of the stage", f"up to {largest:.3g} px, not applied")


def read_reference(path: str | Path) -> np.ndarray | None:
    """The flat field of a ``.txrm``, which opening never applies; None if it has none.

    Returns
    -------
    array of float32 (rows, cols) or None
    """
    path = Path(path)
    file = _Container(path)
    content = file.bytes_of("ReferenceData/Image")
    rows, cols = (file.number(f"ImageInfo/{n}") for n in ("ImageHeight", "ImageWidth"))
    if content is None or not rows or not cols:
        return None
    code = file.number("ReferenceData/DataType")
    dtype = _TYPES.get(code or 0) or _guess(path, len(content), rows * cols)
    if len(content) < rows * cols * np.dtype(dtype).itemsize:
        raise ScanError(f"The reference image of {path.name} is cut off; copy the file again.")
    image = np.frombuffer(content, dtype, rows * cols)
    return image.astype(np.float32).reshape(rows, cols)


def is_txrm(path: Path) -> bool:
    """Whether a file begins as OLE files do."""
    with open(path, "rb") as file:
        return file.read(8) == _MAGIC
