"""HDF5: NXtomo, Eiger masters, Data Exchange, NXdata, and any data set by ``file.h5::/path``.

Projections are read one at a time through h5py.  Links are followed by us and not by HDF5, so that
a file cannot lead out of the folder that it lies in.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..core.errors import ScanError, quoted
from ..core.files import atomic_hdf5
from ..core.frame_store import in_words
from ..core.reading import SMALL_BYTES
from ..core.schema import parse_json
from ..core.stacks import LazyStack
from ..scan.scan import Scan
from .facts import MOST_FRAME_BYTES, Facts, check_frame, entries_of, needed
from .hdf5_links import Links
from .joined import joined
from .regular import check_regular

_MOST_NODES = 2000
_MOST_DEPTH = 8
_PROJECTION, _KEYS = 0, {1: "flats", 2: "darks", 3: "invalid images"}
#: Where programs put the projections, beside what NeXus declares.
_PLACES = ("entry/instrument/detector/data", "entry/data/data", "exchange/data")
_TURNS = ("rotation_angle", "omega", "diffrz", "srot", "hrsrot", "rot", "theta", "phi")
#: Attribute of files of ours with what NeXus has no place for.
_KNOWN = "napari-labdct"
_PARTS = re.compile(r"data_\d+$")


class Hdf5Frames(LazyStack):
    """Some of the images of one or several data sets, which stay open.

    Parameters
    ----------
    links : Links
        Through which the data sets were reached; it keeps their files open.
    datasets : sequence of h5py.Dataset
        Each ``(n, rows, cols)`` or one image ``(rows, cols)``, all alike.
    kept : array of int, optional
        Which images of all are projections.
    """

    def __init__(
        self, links: Links, datasets: Sequence[h5py.Dataset], kept: np.ndarray | None = None
    ) -> None:
        self.paths = links.paths()
        self._links, self._datasets = links, list(datasets)
        first = datasets[0]
        counts = [d.shape[0] if d.ndim > 2 else 1 for d in datasets]
        self._starts = np.cumsum([0, *counts])
        self._kept = np.arange(self._starts[-1]) if kept is None else kept
        super().__init__((len(self._kept), *first.shape[-2:]), first.dtype.newbyteorder("="))
        self._lock = threading.Lock()

    def read(self, index: int) -> np.ndarray:
        image = int(self._kept[index])
        part = int(np.searchsorted(self._starts, image, "right")) - 1
        data, name = self._datasets[part], self.paths[0].name
        try:
            with self._lock:
                made = data[()] if data.ndim == 2 else data[image - int(self._starts[part])]
        except Exception as error:  # whatever a filter makes of damaged bytes
            detail = " ".join(str(error).split())[:150]
            raise ScanError(
                f"Projection {index} of {name} cannot be read ({detail}); copy the file again from "
                "the instrument."
            ) from error
        return made.reshape(self.shape[1:]).astype(self.dtype, copy=False)


def open_hdf5(path: Path, inside: str = "") -> Scan:
    """The scan of an HDF5 file.

    Parameters
    ----------
    path : path
    inside : str
        The data set, or a group that holds one; found by what NeXus declares if not given.

    Raises
    ------
    ScanError
        It is damaged, holds no stack of projections or several, a link leads out of its folder,
        or a compression is unknown.
    """
    links = Links(path)
    try:
        datasets = _named(links, inside) if inside else _found(links)
        data, facts = datasets[0], Facts(path.name)
        for each in datasets:
            _check(path, links, each)
            if each.shape[-2:] != data.shape[-2:] or each.dtype != data.dtype:
                raise ScanError(f"{path.name}: {each.name} is of another size than {data.name}.")
        around = _Around(links, data)
        count = sum(d.shape[0] if d.ndim > 2 else 1 for d in datasets)
        kept = _projections(around, count, facts)
        around.gather(facts, count, kept)
        own = _own(links)
        facts.entries({k: v for k, v in own.items() if k not in facts.values}, count)
        facts.inside = inside
        orientation = own.get("orientation", 1)
        return facts.scan(
            Hdf5Frames(links, datasets, kept),
            path.stem,
            orientation if orientation in range(1, 9) else 1,
        )
    except ScanError:
        links.close()
        raise
    except Exception as error:  # any fault within the file
        links.close()
        detail = " ".join(str(error).split())[:150]
        raise ScanError(f"{path.name} is a damaged HDF5 file ({detail}); copy it again.") from error


def _own(links: Links) -> dict[str, Any]:
    """What a file of ours says beside what NeXus has a place for; empty for others."""
    try:
        told = parse_json(_text(links.root.attrs.get(_KNOWN, "{}")))
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def open_hdf5s(paths: Sequence[Path]) -> Scan:
    """The scan of several HDF5 files: masters without the files that they link to."""
    masters = [p for p in paths if p.stem.endswith("_master")] or list(paths)
    scans = [open_hdf5(path) for path in masters]
    return scans[0] if len(scans) == 1 else joined(scans, [p.name for p in masters])


def is_hdf5(path: Path) -> bool:
    """Whether an HDF5 file says that it holds projections; others may be anything."""
    check_regular(path)
    links = Links(path)
    try:
        return bool(_declared(links))
    finally:
        links.close()


#: Where NeXus has a value; lengths are counted along the beam from the sample.
_WRITTEN = (
    ("detector/x_pixel_size", "pixel_um", "um", 1),
    ("detector/y_pixel_size", "pixel_um", "um", 1),
    ("detector/distance", "sample_detector_mm", "mm", 1),
    ("detector/count_time", "exposure_s", "s", 1),
    ("detector/x_binning", "binning", "", 1),
    ("source/distance", "source_sample_mm", "mm", -1),
    ("source/voltage", "tube_kv", "kV", 1),
)


def write_nxtomo(path: Path, scan: Scan, recipe: Mapping[str, Any]) -> Path:
    """A stack as NXtomo, with units and angles; all but 16-bit counts are packed.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    told = entries_of(scan)
    dtype = np.dtype(np.uint8) if scan.dtype.kind == "b" else scan.dtype
    with atomic_hdf5(path) as file:
        entry = _group(file, "entry", "NXentry")
        file.attrs["default"], entry.attrs["default"] = "entry", "data"
        entry["definition"], entry["title"] = "NXtomo", scan.name
        instrument = _group(entry, "instrument", "NXinstrument")
        detector, source = (
            _group(instrument, name, kind)
            for name, kind in (("detector", "NXdetector"), ("source", "NXsource"))
        )
        # masks and labels shrink a hundredfold; noise hardly, and takes half a second to unpack
        packed = {"compression": "gzip", "compression_opts": 1} if dtype.itemsize != 2 else {}
        shape = (scan.n_frames, *scan.shape)
        data = detector.create_dataset("data", shape, dtype, chunks=(1, *scan.shape), **packed)
        for index in range(scan.n_frames):
            data[index] = np.asarray(scan.frames[index])
        detector["image_key"] = np.zeros(scan.n_frames, np.int32)
        sample, shown = _group(entry, "sample", "NXsample"), _group(entry, "data", "NXdata")
        sample["name"] = scan.name
        groups = {"detector": detector, "source": source}
        for place, field, unit, factor in _WRITTEN:
            where, name = place.split("/")
            group = groups[where]
            if field in told:
                group[name] = factor * told[field]
                group[name].attrs["units"] = unit
        if scan.omega_deg is not None:
            sample["rotation_angle"] = scan.omega_deg
            sample["rotation_angle"].attrs["units"] = "degree"
            shown["rotation_angle"] = h5py.SoftLink("/entry/sample/rotation_angle")
        shown["data"] = h5py.SoftLink("/entry/instrument/detector/data")
        shown.attrs["signal"] = "data"
        file.attrs[_KNOWN] = json.dumps(told)
        file.attrs["recipe"] = json.dumps(dict(recipe))
    return Path(path)


def _group(parent: h5py.Group, name: str, kind: str) -> h5py.Group:
    made = parent.create_group(name)
    made.attrs["NX_class"] = kind
    return made


# --------------------------------------------------------------------- finding the stack


def _named(links: Links, inside: str) -> list[h5py.Dataset]:
    node = links.get(inside)
    if node is None:
        raise ScanError(
            f"{links.path.name} has no '{inside}'; there is {_some(_stacks(links)) or 'no stack'}."
        )
    if isinstance(node, h5py.Dataset):
        if node.ndim not in (2, 3):
            raise ScanError(
                f"{links.path.name}: {inside} has shape {node.shape}; a scan needs (projections, "
                "rows, columns)."
            )
        return [node]
    found = _of_entry(links, inside) or _parts(links, inside)
    if not found:
        below = [d for d in _stacks(links) if d.startswith(inside.rstrip("/") + "/")]
        raise ScanError(f"{links.path.name}: {inside} is a group; name one of {_some(below)}.")
    return found


def _found(links: Links) -> list[h5py.Dataset]:
    declared = _declared(links)
    if declared:
        return declared
    stacks = _stacks(links)
    if len(stacks) == 1:
        return [links.get(stacks[0])]
    name = links.path.name
    if not stacks:
        raise ScanError(f"{name} holds no stack of projections; choose another file.")
    raise ScanError(
        f"{name} holds several stacks ({_some(stacks)}); name one, such as {name}::{stacks[0]}."
    )


def _declared(links: Links) -> list[h5py.Dataset]:
    """What the file says are its projections."""
    for entry in _entries(links):
        found = _of_entry(links, entry)
        if found:
            return found
    for place in _PLACES:
        found = _stack_at(links, place)
        if found:
            return found
    return _parts(links, "entry/data")


def _entries(links: Links) -> list[str]:
    """Entries of the file, the default one first."""
    root = links.root
    names = [name for name in root if _class(links.get(name)) == "NXentry"]
    default = _text(root.attrs.get("default", ""))
    return sorted(names, key=lambda name: (name != default, name))[:100]


def _of_entry(links: Links, entry: str) -> list[h5py.Dataset]:
    definition = links.get(f"{entry}/definition")
    nxtomo = isinstance(definition, h5py.Dataset) and "NXtomo" in _text(definition[()])
    if nxtomo or links.get(f"{entry}/instrument/detector/image_key") is not None:
        found = _stack_at(links, f"{entry}/instrument/detector/data")
        if found:
            return found
    parts = _parts(links, f"{entry}/data")
    if parts:
        return parts
    group, place = links.get(entry), entry
    for _ in range(3):  # an entry and its NXdata name their default in turn
        if not isinstance(group, h5py.Group):
            return []
        signal = _text(group.attrs.get("signal", ""))
        if signal:
            return _stack_at(links, f"{place}/{signal}")
        default = _text(group.attrs.get("default", ""))
        if not default:
            break
        place = f"{place}/{default}"
        group = links.get(place)
    return _stack_at(links, f"{entry}/instrument/detector/data") or _stack_at(
        links, f"{entry}/data/data"
    )


def _stack_at(links: Links, place: str) -> list[h5py.Dataset]:
    node = links.get(place)
    return [node] if isinstance(node, h5py.Dataset) and _is_stack(node) else []


def _parts(links: Links, place: str) -> list[h5py.Dataset]:
    """The data sets ``data_000001``, ... of an Eiger master, each in a file of its own."""
    group = links.get(place)
    if not isinstance(group, h5py.Group):
        return []
    names = sorted((n for n in group if _PARTS.match(n)), key=lambda n: (len(n), n))
    found = [links.get(f"{place}/{name}") for name in names]
    return found if found and all(isinstance(d, h5py.Dataset) for d in found) else []


def _is_stack(node: h5py.Dataset) -> bool:
    return node.ndim == 3 and node.dtype.kind in "uif" and min(node.shape) > 0


def _stacks(links: Links) -> list[str]:
    """Paths of all stacks of images in a file, without what links elsewhere."""
    return [place for place, node in _walk(links, links.root, "", 0) if _is_stack(node)]


def _walk(links: Links, group: h5py.Group, place: str, depth: int) -> Iterator[tuple[str, Any]]:
    for number, name in enumerate(group):
        if number > _MOST_NODES or depth > _MOST_DEPTH:
            return
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue
        node = group[name]
        if isinstance(node, h5py.Dataset):
            yield f"{place}/{name}", node
        elif isinstance(node, h5py.Group):
            yield from _walk(links, node, f"{place}/{name}", depth + 1)


def _some(places: Sequence[str]) -> str:
    more = len(places) - 3
    return ", ".join(places[:3]) + (f" and {more} more" if more > 0 else "")


def _check(path: Path, links: Links, data: h5py.Dataset) -> None:
    """Refuse what cannot be a projection, or cannot be read here."""
    if data.ndim not in (2, 3) or min(data.shape) < 1:
        raise ScanError(
            f"{path.name}: {data.name} has shape {data.shape}; it holds no projections."
        )
    check_frame(path.name, *data.shape[-2:], data.dtype)
    links.check_sources(data)
    if data.chunks and np.prod(data.chunks, dtype=float) * data.dtype.itemsize > MOST_FRAME_BYTES:
        raise ScanError(f"{path.name} is packed in pieces of more than 2 GB; repack it.")
    layout = data.id.get_create_plist()
    if not data.is_virtual and not layout.get_external_count():
        _check_holds(path, data)
    unknown = [
        layout.get_filter(k)[0]
        for k in range(layout.get_nfilters())
        if not h5py.h5z.filter_avail(layout.get_filter(k)[0])
    ]
    if unknown:
        needed("hdf5plugin", "hdf5plugin", f"The compression of {path.name}")
        if not all(map(h5py.h5z.filter_avail, unknown)):
            raise ScanError(f"{path.name} is packed with an unknown filter ({unknown[0]}).")


def _check_holds(path: Path, data: h5py.Dataset) -> None:
    """Refuse millions of projections of which nothing was ever written."""
    needs = float(np.prod(data.shape, dtype=float)) * data.dtype.itemsize
    holds = data.id.get_storage_size()
    if needs > max(SMALL_BYTES, _MOST_PACKED_MASK * holds):
        raise ScanError(
            f"{path.name}: {quoted(data.name)} is said to have {in_words(needs)}, but the file "
            f"holds {in_words(holds)} of it; copy it again from the instrument."
        )


#: A mask of few spots packs a thousand times.
_MOST_PACKED_MASK = 2000


# ------------------------------------------------------------------------- what it says


class _Around:
    """The groups around a data set, in which its angles and distances stand."""

    def __init__(self, links: Links, data: h5py.Dataset) -> None:
        self.links = links
        parts = links.place_of(data).strip("/").split("/")
        at = next((k for k, name in enumerate(parts) if name in _MIDDLE), len(parts) - 1)
        self.entry = "/".join(parts[:at])
        self.beside = "/".join(parts[:-1])

    def value(self, *places: str) -> tuple[np.ndarray, str | None] | None:
        """The first of several data sets that holds numbers, with its unit."""
        for place in places:
            node = self.links.get(f"{self.entry}/{place}" if self.entry else place)
            if isinstance(node, h5py.Dataset) and node.dtype.kind in "uif" and node.size < 1 << 22:
                self.links.check_sources(node)
                return np.ravel(node[()]), _text(node.attrs.get("units", ""))
        return None

    def take(self, facts: Facts, name: str, *places: str) -> None:
        found = self.value(*places)
        if found is not None and found[0].size:
            facts.take(name, abs(found[0][0]), found[1])

    def angles(self) -> tuple[np.ndarray, str | None] | None:
        groups = ("sample", "sample/goniometer", "data", "measurement", "instrument/positioners",
                  "sample/transformations")  # fmt: skip
        own = self.beside[len(self.entry) :].strip("/")
        places = [f"{group}/{name}" for group in groups for name in _TURNS]
        places += [f"{own}/{name}" if own else name for name in _TURNS]
        return self.value(*places)

    def gather(self, facts: Facts, count: int, kept: np.ndarray | None) -> None:
        found = self.angles()
        if found is not None:
            values, unit = found
            if kept is not None and values.size == count:
                values = values[kept]
            facts.angles(values, count if kept is None else kept.size, unit)
        detector = "instrument/detector"
        self.take(facts, "pixel_um", f"{detector}/x_pixel_size")
        self.take(facts, "sample_detector_mm", f"{detector}/distance",
                  f"{detector}/detector_distance")  # fmt: skip
        self.take(facts, "source_sample_mm", "instrument/source/distance")
        self.take(facts, "tube_kv", "instrument/source/voltage")
        self.take(facts, "exposure_s", f"{detector}/count_time", f"{detector}/exposure_time")
        binning = self.value(f"{detector}/x_binning", f"{detector}/binning_x")
        facts.take("binning", None if binning is None else binning[0][0])
        for label, place in (("title", "title"), ("date", "start_time"),
                             ("detector", f"{detector}/description")):  # fmt: skip
            facts.detail(label, self.text(place))
        top = self.value(f"{detector}/saturation_value",
                         f"{detector}/detectorSpecific/saturation_value")  # fmt: skip
        if top is not None:
            facts.detail("saturated at", f"{float(top[0][0]):g} counts")
        extra = [f"exchange/{name}" for name in ("data_white", "data_dark")]
        if self.beside == "exchange" and any(self.links.get(n) is not None for n in extra):
            facts.detail("flats and darks", "in the file, not applied")

    def text(self, place: str) -> str:
        node = self.links.get(f"{self.entry}/{place}" if self.entry else place)
        if not isinstance(node, h5py.Dataset) or node.size != 1 or node.dtype.kind not in "OS":
            return ""
        return _text(node[()])


_MIDDLE = ("instrument", "data", "measurement", "sample", "exchange")


def _projections(around: _Around, count: int, facts: Facts) -> np.ndarray | None:
    """Which images are projections by NXtomo's ``image_key``; None for all."""
    found = around.value("instrument/detector/image_key")
    if found is None:
        return None
    keys = found[0]
    if keys.size != count:
        facts.note(
            f"{facts.name} marks {keys.size} images as flats, darks or projections but holds "
            f"{count}, so all are opened."
        )
        return None
    kept = np.flatnonzero(keys == _PROJECTION)
    left_out = [
        f"{n} {word}" for key, word in _KEYS.items() if (n := np.count_nonzero(keys == key))
    ]
    if not kept.size:
        raise ScanError(f"{facts.name} holds no projections, only {', '.join(left_out)}.")
    if left_out:
        facts.detail("left out", ", ".join(left_out))
    return None if kept.size == count else kept


def _class(node: Any) -> str:
    return _text(node.attrs.get("NX_class", "")) if isinstance(node, h5py.Group) else ""


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        value = value.ravel()[0] if value.size else ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
