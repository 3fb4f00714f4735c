"""Projections from TIFF files, one page at a time, and TIFF stacks of results."""

from __future__ import annotations

import json
import math
import os
import re
import struct
import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from operator import length_hint
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile

from ..core.errors import OutputError, ScanError, reason
from ..core.files import atomic
from ..core.frame_store import ORIENTATION_TAG
from ..core.reading import check_declared
from ..core.schema import Mismatch
from ..core.stacks import LazyStack
from ..scan.scan import Scan
from .facts import Facts
from .regular import check_regular
from .scan_yaml import description_file
from .tiff_facts import gather, ome_metadata

SUFFIXES = (".tif", ".tiff")
_CACHE_FRAMES = 8
_CACHE_BYTES = 1 << 28
_SMALL_BYTES = 1 << 28  # frames up to this are read, however well they are packed
_STRIP_BYTES = 1 << 16
_CLASSIC_BYTES = 1 << 31  # larger files are BigTIFF, as those of `jobs.FrameStore`


class TiffFrames(LazyStack):
    """A lazy stack over one multi-page TIFF or over many TIFF files in the given order.

    Only headers are read when it is made.  Uncompressed pages are mapped, others decoded when
    asked for; the last few decoded frames are kept.

    Parameters
    ----------
    paths : list of path
        In the order of the projections.

    Raises
    ------
    ScanError
        A file is not a TIFF, is cut off, is in colour, or differs in size or type from the
        first; the message names it.
    """

    def __init__(self, paths: Iterable[str | Path]) -> None:
        self.paths = [Path(p) for p in paths]
        if not self.paths:
            raise ScanError("No TIFF file was given; choose a TIFF file or a folder of them.")
        parts = [_Pages(path) for path in self.paths]
        first = parts[0]
        for part in parts[1:]:
            if part.frame_shape != first.frame_shape or part.dtype != first.dtype:
                raise ScanError(
                    f"{part.path.name} is {_size(part)}, but {first.path.name} is {_size(first)}; "
                    "all projections of a scan must be alike, so move the odd one away."
                )
        super().__init__((sum(p.count for p in parts), *first.frame_shape), first.dtype)
        self.orientation = first.orientation
        self._where = [(part, page) for part in parts for page in range(part.count)]
        self._cache: OrderedDict[int, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, index: int) -> np.ndarray:
        with self._lock:
            if index in self._cache:
                self._cache.move_to_end(index)
                return self._cache[index]
        part, page = self._where[index]
        image = part.read(page)
        image.flags.writeable = False  # shared through the cache
        with self._lock:
            self._cache[index] = image
            kept = max(1, min(_CACHE_FRAMES, _CACHE_BYTES // max(image.nbytes, 1)))
            while len(self._cache) > kept:
                self._cache.popitem(last=False)
        return image


def _size(part: _Pages) -> str:
    return f"{part.frame_shape[0]} x {part.frame_shape[1]} {part.dtype.name}"


def set_members(path: str | Path) -> list[Path]:
    """The files of the OME-TIFF set that a file belongs to, in the order of their planes.

    Those that are not there are listed too; empty if the file is not part of a set of several,
    or goes by another name than the set knows.
    """
    path = Path(path)
    try:
        with tifffile.TiffFile(path) as tif:
            text = tif.ome_metadata if tif.is_ome else None
        root = ElementTree.fromstring(text) if text else None
    except Exception:  # whatever is wrong with it is told when its pages are read
        return []
    first: dict[str, tuple[int, ...]] = {}
    for data in root.iterfind(".//{*}TiffData") if root is not None else ():
        named = data.find("{*}UUID")
        name = None if named is None else named.get("FileName")
        if name:
            place = tuple(_whole(data.get(axis)) for axis in ("FirstT", "FirstZ", "FirstC"))
            first[name] = min(place, first.get(name, place))
    if len(first) < 2 or path.name not in first:
        return []
    return [path.with_name(name) for name in sorted(first, key=first.__getitem__)]


def _whole(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0


def _open(path: Path) -> tifffile.TiffFile:
    """The file by itself: tifffile would open the whole of an OME-TIFF set by any of its files."""
    tif = tifffile.TiffFile(path)
    try:
        if tif.is_ome:
            named = set(re.findall(r'FileName="([^"]*)"', tif.ome_metadata or ""))
            if named - {path.name}:
                tif.close()
                return tifffile.TiffFile(path, is_ome=False)
    except BaseException:
        tif.close()
        raise
    return tif


def _shrunk(series, of) -> bool:
    """Whether a series is a thumbnail of another one."""
    if series.keyframe.is_reduced:
        return True
    small, large = ((s.keyframe.imagelength, s.keyframe.imagewidth) for s in (series, of))
    return len(series.pages) == 1 and all(2 * a <= b for a, b in zip(small, large))


class _Pages:
    """The equal grey-level pages of one TIFF file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        check_regular(path)
        try:
            with _open(path) as tif:
                self._read_header(tif)
        except FileNotFoundError:
            raise ScanError(f"{path} does not exist; check the name.") from None
        except ScanError:
            raise
        except OSError as error:
            raise ScanError(f"{path} cannot be opened ({reason(error)}).") from error
        except tifffile.TiffFileError as error:
            raise ScanError(
                f"{path.name} is not a TIFF file or is damaged ({reason(error)}); "
                "copy it again from the instrument."
            ) from error
        except Exception as error:  # any fault while the headers are read
            raise ScanError(
                f"{path.name} is a damaged TIFF file ({reason(error)}); copy it again from the "
                "instrument."
            ) from error

    def _read_header(self, tif: tifffile.TiffFile) -> None:
        path = self.path
        _check_chain(tif, path.name)
        everything = tif.series
        main = max(everything, key=lambda s: (not s.keyframe.is_reduced, s.keyframe.size))
        kept = [s for s in everything if s is main or not _shrunk(s, main)]
        n_thumbnails = sum(len(s.pages) for s in everything if s not in kept)
        self._series = everything.index(main)
        page = main.keyframe
        # planes of their own are pages that a writer took for colours, not an image in colour;
        # the numbers of a palette image are what was measured, its colours are for show
        planes = page.samplesperpixel > 1 and page.planarconfig == tifffile.PLANARCONFIG.SEPARATE
        self._planes = page.samplesperpixel if planes else 1
        colour = page.samplesperpixel > 1 or page.photometric == tifffile.PHOTOMETRIC.RGB
        if colour and not planes:
            raise ScanError(
                f"{path.name} is a colour (RGB) image; save the projections as grey-level TIFF."
            )
        # written page by page, every page with a description of its own
        kinds = {(s.shape, s.dtype) for s in kept}
        n_pages = len(tif.pages) - n_thumbnails
        self._single = len(kinds) == 1 and 1 < len(kept) == n_pages
        if len(kept) > 1 and not self._single:
            sizes = ", ".join(sorted({" x ".join(map(str, s.shape)) for s in kept})[:3])
            raise ScanError(
                f"{path.name} mixes pages of different sizes ({sizes}); a scan needs equal pages."
            )
        series = main
        self._page_at = [everything.index(s) for s in kept] if self._single else None
        shape = series.shape
        if len(shape) > 3:
            squeezed = tuple(n for n in shape[:-2] if n > 1)
            if len(squeezed) > 1:
                raise ScanError(f"{path.name} has shape {shape}; a scan needs (n, rows, columns).")
            shape = (*(squeezed or (1,)), *shape[-2:])
        if len(shape) < 2:
            raise ScanError(f"{path.name} has shape {shape}; a projection needs rows and columns.")
        self.count = shape[0] if len(shape) == 3 else 1
        if self._single:
            self.count = n_pages
        declared = 0 if n_thumbnails else _declared(tif)
        if self.count < declared:
            raise ScanError(
                f"{path.name} holds {self.count} of the {declared} pages that its description "
                "tells of; copy it again from the instrument or save it anew."
            )
        self.frame_shape = tuple(int(n) for n in shape[-2:])
        self.dtype = np.dtype(series.dtype).newbyteorder("=")
        tag = page.tags.get(ORIENTATION_TAG)
        self.orientation = int(tag.value) if tag is not None else 1
        # None unless contiguous and uncompressed
        self._map_offset = None if self._single else series.dataoffset
        self._stored = np.dtype(tif.byteorder + series.dtype.char)
        size = os.path.getsize(path)
        self._check_size(page, size)
        frame_bytes = self.frame_shape[0] * self.frame_shape[1] * self.dtype.itemsize
        self._offsets: list[int] | None = None  # of uncompressed pages, to read without tifffile
        if self._map_offset is not None:
            end = self._map_offset + self.count * frame_bytes
            self._offsets = [self._map_offset + k * frame_bytes for k in range(self.count)]
        else:
            pages = list(self._pages(tif))
            if (
                self._planes == 1
                and len(pages) == self.count
                and all(p.is_contiguous and sum(p.databytecounts) == frame_bytes for p in pages)
            ):
                self._offsets = [p.dataoffsets[0] for p in pages]
            for p in pages:
                # tifffile would fill the strips or tiles that are not listed with zeros
                listed = min(len(p.dataoffsets), len(p.databytecounts))
                if not p.is_contiguous and listed < math.prod(p.chunked):
                    raise ScanError(
                        f"{path.name} is cut off (page {p.index} lacks parts of its image); "
                        "copy it again from the instrument or move it away."
                    )
            end = max(
                (o + n for p in pages for o, n in zip(p.dataoffsets, p.databytecounts)),
                default=0,
            )
        if end > size:
            raise ScanError(
                f"{path.name} is cut off ({size} of {end} bytes); copy it again from the "
                "instrument or move it away."
            )

    def _check_size(self, page: tifffile.TiffPage, n_bytes: int) -> None:
        """Refuse pages that declare more than their file can hold, before one is decoded."""
        needs = math.prod(self.frame_shape) * self.dtype.itemsize * self._planes
        packed = None if self._map_offset is not None else n_bytes
        try:
            if needs > _SMALL_BYTES:
                check_declared("a page", needs, packed, working=2)
            # a strip or tile that is packed has hardly more bytes than it stands for
            whole = math.prod(page.chunks) * max(1, page.bitspersample // 8) * 2 + _STRIP_BYTES
            if max(page.databytecounts, default=0) > whole and packed is not None:
                raise Mismatch("a part of a page has more bytes than it can stand for")
        except Mismatch as error:
            raise ScanError(
                f"{self.path.name} is a damaged TIFF file ({error}); copy it again from the "
                "instrument."
            ) from error

    def _pages(self, tif: tifffile.TiffFile):
        if self._single:
            return [tif.series[k].pages[0] for k in self._page_at]
        return tif.series[self._series].pages

    def read(self, page: int) -> np.ndarray:
        try:
            if self._offsets is not None:
                shape = self.frame_shape
                with open(self.path, "rb") as file:
                    file.seek(self._offsets[page])
                    flat = np.fromfile(file, self._stored, shape[0] * shape[1])
                return flat.reshape(shape).astype(self.dtype, copy=False)
            with _open(self.path) as tif:
                page, plane = divmod(page, self._planes)
                image = self._pages(tif)[page].asarray()
                return image.reshape(self._planes, *self.frame_shape)[plane]
        except Exception as error:  # any decoder fault means the file is damaged
            raise ScanError(
                f"Page {page} of {self.path.name} cannot be read ({reason(error)}); "
                "copy the file again from the instrument."
            ) from error


def _check_chain(tif: tifffile.TiffFile, name: str) -> None:
    """Refuse a file whose chain of pages leads out of it, as that of a cut-off one does.

    tifffile only logs that and goes on with the pages before, so projections would be missing.
    A chain that comes back, or leads through other data, has pages without end.
    """
    file, tiff = tif.filehandle, tif.tiff
    offset = tif.pages.first.offset
    seen, size = set(), 0
    try:
        while offset:
            seen.add(offset)
            file.seek(offset)
            (n_tags,) = struct.unpack(tiff.tagnoformat, file.read(tiff.tagnosize))
            file.seek(offset + tiff.tagnosize + n_tags * tiff.tagsize)
            (offset,) = struct.unpack(tiff.offsetformat, file.read(tiff.offsetsize))
            size += tiff.tagnosize + n_tags * tiff.tagsize + tiff.offsetsize
            if offset in seen or size > file.size:
                raise ScanError(
                    f"{name} is a damaged TIFF file (its pages lie over each other); copy it again "
                    "from the instrument."
                )
    except (struct.error, OSError):
        raise ScanError(
            f"{name} is cut off (page {len(seen) - 1} is not whole); copy it again from the "
            "instrument or move it away."
        ) from None


def _declared(tif: tifffile.TiffFile) -> int:
    """How many pages the description by tifffile or ImageJ tells of; 0 if it tells nothing."""
    page, series = tif.pages.first, tif.series[0]
    if series.kind == "shaped" and tif.shaped_metadata:
        pages, rest = divmod(math.prod(tif.shaped_metadata[0]["shape"]), math.prod(page.shape))
        return 0 if rest else pages  # of another size: left over from another image
    if tif.is_imagej and series.kind != "imagej":  # it could not be followed
        return math.prod(tif.imagej_metadata.get(k, 1) for k in ("frames", "slices", "channels"))
    return 0


def write_frames(
    path: str | Path,
    frames: Iterable[np.ndarray],
    *,
    orientation: int = 1,
    compression: str | None = None,
    count: int | None = None,
) -> Path:
    """Write frames one page each; the file appears under its name only when it is whole.

    A file that may pass 2 GB is written as BigTIFF.

    Parameters
    ----------
    path : path
        A ``.tif``; an existing file is replaced.
    frames : iterable of arrays (rows, cols)
        Taken one at a time.
    orientation : int
        TIFF Orientation tag.
    compression : str, optional
        For example ``"zlib"``.
    count : int, optional
        How many frames there are; ``len(frames)`` if it has one.  Give it with a generator,
        which is written as a plain TIFF otherwise and so ends at 4 GB.

    Raises
    ------
    OutputError
        The folder is missing, read-only or full, or 4 GB are full and `count` is not known.
    """
    path = Path(path)
    tags = [(ORIENTATION_TAG, "H", 1, orientation, True)]
    count = length_hint(frames) if count is None else count
    try:
        frames = iter(frames)
        first = [np.asarray(frame) for frame in islice(frames, 1)]
        big = count * sum(frame.nbytes for frame in first) > _CLASSIC_BYTES
        with atomic(path) as part, tifffile.TiffWriter(part, bigtiff=big) as tif:
            for frame in chain(first, frames):
                tif.write(
                    frame,
                    photometric="minisblack",
                    compression=compression,
                    extratags=tags,
                    contiguous=False,
                    metadata=None,
                )
    except struct.error as error:  # an offset of more than 32 bits
        raise OutputError(
            f"Cannot write {path}: it passes the 4 GB of a plain TIFF; "
            "write fewer projections, or smaller ones."
        ) from error
    except ValueError as error:
        raise OutputError(f"Cannot write {path}: {error}") from error
    return path


def open_tiff(path: Path) -> Scan:
    """The scan of one TIFF, with what its description tells."""
    return open_tiffs([path])


def open_tiffs(paths: Sequence[Path]) -> Scan:
    """The scan of several TIFFs in the order given."""
    frames = TiffFrames(paths)
    facts = Facts(paths[0].name)
    gather(paths[0], len(frames), facts)
    return facts.scan(frames, paths[0].stem, frames.orientation)


def write_tiff(path: Path, scan: Scan, recipe: Mapping[str, Any]) -> Path:
    """A stack as TIFF; as OME-TIFF with units and angles if the name ends in ``.ome.tif``.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    path = Path(path)
    dtype = np.dtype(np.uint8) if scan.dtype.kind == "b" else scan.dtype
    frames = (np.asarray(scan.frames[i]).astype(dtype, copy=False) for i in range(scan.n_frames))
    if not path.name.lower().endswith((".ome.tif", ".ome.tiff")):
        return write_frames(path, frames, orientation=scan.orientation, count=scan.n_frames)
    shape = (scan.n_frames, *scan.shape)
    big = math.prod(shape) * dtype.itemsize > _CLASSIC_BYTES
    tags = [(ORIENTATION_TAG, "H", 1, scan.orientation, True)]
    told = ome_metadata(scan, recipe)
    # the same for the same scan, so that equal scans are equal files
    known = f"{scan.identity()} {json.dumps(told, sort_keys=True, default=str)}"
    told["UUID"] = str(uuid.uuid5(uuid.NAMESPACE_OID, known))
    with atomic(path) as part, tifffile.TiffWriter(part, bigtiff=big, ome=True) as tif:
        tif.write(
            frames, shape=shape, dtype=dtype, photometric="minisblack", extratags=tags,
            metadata=told,
        )  # fmt: skip
    return path


def read_mask(path: str | Path) -> LazyStack:
    """A binary stack as lazy frames ``(n, rows, cols)``; any non-zero pixel is spot."""
    return TiffFrames([path])


def is_stack(path: Path) -> bool:
    """Whether a TIFF is a scan: not one page alone without a ``scan.yaml`` beside it, no colour,
    no more axes than a scan has.  A damaged file is ours to explain.
    """
    import tifffile

    try:
        with tifffile.TiffFile(path) as tif:
            page, shape = tif.pages[0], tif.series[0].shape
            colour = page.samplesperpixel > 1 or page.photometric in (
                tifffile.PHOTOMETRIC.RGB,
                tifffile.PHOTOMETRIC.PALETTE,
            )
            axes = [n for n in shape[:-2] if n > 1]
            single = not axes and len(tif.series) == 1
            alone = single and description_file(path.parent) is None
            return not (colour or len(axes) > 1 or alone)
    except Exception:
        return True
