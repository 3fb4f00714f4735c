"""Grain maps in Neper's raster tessellations, ``.tesr``, ascii or binary.

Neper 4.10 (format 2.2) exchanged the words *active* and *passive*: ``passive`` in 2.2 and
``active`` before are our U, crystal to sample. The file has no unit of length; millimetres are
written, as GrainMapper3D's exporter does.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import ScanError
from ..core.files import atomic
from ..core.reading import check_regular
from ..crystal import Material, matrices_to_quaternions, quaternions_to_matrices
from ..crystal.orientation import bunge_to_matrix, rodrigues_to_matrix
from .grainmapper import MapContent, MeasuredMap, say
from .grainmapper_writer import finite_rodrigues

_NEWEST = 2.2
MOST_VOXELS = 2_000_000_000
_BINARY = {
    "binary8": "u1", "binary16": "<u2", "binary16_big": ">u2", "binary32": "<i4",
    "binary32_big": ">i4",
}  # fmt: skip
_WIDTH = {"rodrigues": 3, "quaternion": 4, "euler-bunge": 3}


class _Reader:
    """Lines, numbers and blocks of a file that is partly text and partly binary."""

    def __init__(self, path: Path) -> None:
        self.path = path
        check_regular(path)
        try:
            self.data = path.read_bytes()
        except OSError as error:
            raise ScanError(f"{path.name} cannot be read ({error.strerror}).") from None
        self.at = 0

    def line(self) -> str:
        """The next line that is not empty; '' at the end."""
        while self.at < len(self.data):
            end = self.data.find(b"\n", self.at)
            end = len(self.data) if end < 0 else end
            text, self.at = self.data[self.at : end], end + 1
            if text.strip():
                return text.strip().decode("ascii", errors="replace")
        return ""

    def peek(self) -> str:
        """As `line`, and stay."""
        at = self.at
        text = self.line()
        self.at = at
        return text

    def words(self) -> list[bytes]:
        """All words up to the next line that begins with an asterisk."""
        found = re.compile(rb"^[ \t]*\*", re.MULTILINE).search(self.data, self.at)
        end = found.start() if found else len(self.data)
        text, self.at = self.data[self.at : end], end
        return text.split()

    def numbers(self, count: int, what: str) -> np.ndarray:
        """So many numbers up to the next line that begins with an asterisk."""
        words = self.words()
        if len(words) != count:
            raise ScanError(f"{self.path.name}: {what} must be {count} numbers, not {len(words)}.")
        try:
            return np.array(words, dtype=object).astype(float)
        except ValueError:
            raise ScanError(f"{self.path.name}: {what} must be numbers.") from None

    def block(self, kind: str, count: int) -> np.ndarray:
        """So many values of a binary format."""
        dtype = np.dtype(_BINARY[kind])
        if len(self.data) - self.at < count * dtype.itemsize:
            raise ScanError(
                f"{self.path.name} is cut off: {count} voxels are declared and "
                f"{max(0, len(self.data) - self.at) // dtype.itemsize} are there."
            )
        values = np.frombuffer(self.data, dtype, count, self.at)
        self.at += count * dtype.itemsize
        return values


def read_tesr(path: Path) -> MapContent:
    """What a ``.tesr`` file holds.

    Raises
    ------
    ScanError
        The file is no raster tessellation of three dimensions, or makes no sense.
    """
    reader = _Reader(path)
    if reader.line() != "***tesr":
        raise ScanError(f"{path.name} is not a Neper raster: its first line must be ***tesr.")
    found: dict[str, Any] = {"version": _NEWEST, "origin": None}
    while True:
        section = reader.line()
        if section in ("***end", ""):
            break
        if section == "**format":
            found["version"] = _version(path, reader.line())
        elif section == "**general":
            _general(reader, found)
        elif section == "**cell":
            _cells(reader, found)
        elif section == "**data":
            found["ids"] = _ids(reader, found)
        elif section == "**oridata":
            if not _oridata(reader, found):
                break
        else:
            reader.words()
    return _content(path, found)


def _version(path: Path, text: str) -> float:
    try:
        version = float(text)
    except ValueError:
        raise ScanError(f"{path.name}: the format must be a number, not '{text[:20]}'.") from None
    if version > _NEWEST:
        say(path, f"format {text} is newer than what is known here; it is read as {_NEWEST}")
    return version


def _general(reader: _Reader, found: dict[str, Any]) -> None:
    name = reader.path.name
    words = reader.words()
    if words[:1] != [b"3"]:
        said = words[0].decode(errors="replace")[:9] if words else "nothing"
        raise ScanError(f"{name} must have 3 dimensions, not {said}.")
    try:
        size = [int(w) for w in words[1:4]]
        edge = np.array([float(w) for w in words[4:7]])
    except ValueError:
        size, edge = [], np.zeros(0)
    if (
        len(size) != 3
        or len(edge) != 3
        or not 1 <= min(size) <= max(size) <= MOST_VOXELS
        or not (np.isfinite(edge) & (edge > 0)).all()
    ):
        raise ScanError(f"{name}: **general must give 3 sizes and 3 edges of a voxel above 0.")
    if np.prod(size, dtype=float) > MOST_VOXELS:
        raise ScanError(f"{name} of {size} voxels is too large to be read; crop the map.")
    found["size"], found["edge"] = size, edge
    while reader.peek().startswith("*") and not reader.peek().startswith("**"):
        if reader.line().startswith("*origin"):
            found["origin"] = reader.numbers(3, "*origin")
        else:
            reader.words()


def _cells(reader: _Reader, found: dict[str, Any]) -> None:
    words = reader.words()
    if len(words) != 1 or not words[0].isdigit():
        raise ScanError(f"{reader.path.name}: **cell must give the number of cells.")
    count = int(words[0]) if len(words[0]) < 10 else MOST_VOXELS + 1
    if count > MOST_VOXELS:
        raise ScanError(f"{reader.path.name}: **cell gives more cells than a map has voxels.")
    found["cell_ids"] = np.arange(1, count + 1)
    while reader.peek().startswith("*") and not reader.peek().startswith("**"):
        part = reader.line().split()[0]
        if part == "*id":
            found["cell_ids"] = reader.numbers(count, "*id").astype(int)
        elif part == "*ori":
            words = _descriptor(reader)
            values = reader.numbers(count * _WIDTH[words[0]], "*ori").reshape(count, -1)
            found["cell_u"] = _matrices(reader.path, words, values, found["version"])
        else:
            reader.words()


def _descriptor(reader: _Reader) -> tuple[str, str]:
    text = reader.line().lower()
    kind, _, sense = text.partition(":")
    if kind not in _WIDTH or sense not in ("", "active", "passive"):
        raise ScanError(
            f"{reader.path.name} gives orientations as '{text[:40]}'; {', '.join(_WIDTH)} are read "
            "(neper -T -loadtesr FILE -oridescriptor rodrigues)."
        )
    return kind, sense


def _matrices(path: Path, words: tuple[str, str], values: np.ndarray, version: float) -> np.ndarray:
    kind, sense = words
    ours = "passive" if version >= 2.2 else "active"
    if not sense:
        sense = ours  # Neper's default has always been this rotation
    with np.errstate(invalid="ignore", divide="ignore"):
        if kind == "rodrigues":
            u = rodrigues_to_matrix(values)
        elif kind == "quaternion":
            u = quaternions_to_matrices(values)
        else:
            u = np.array([bunge_to_matrix(*row) for row in values])
    return u if sense == ours else np.swapaxes(u, -1, -2)


def _ids(reader: _Reader, found: dict[str, Any]) -> np.ndarray:
    if "size" not in found:
        raise ScanError(f"{reader.path.name}: **general must come before **data.")
    count = int(np.prod(found["size"]))
    kind = reader.line()
    if reader.peek().startswith("*file"):
        raise ScanError(
            f"{reader.path.name} keeps its voxels in another file; write it whole "
            "(neper -T -loadtesr FILE -tesrformat ascii)."
        )
    if kind == "ascii":
        values = reader.numbers(count, "**data")
    elif kind in _BINARY:
        values = reader.block(kind, count)
    else:
        raise ScanError(f"{reader.path.name}: voxels as '{kind[:20]}' are not known.")
    if not np.isfinite(values).all() or (values != np.round(values)).any():
        raise ScanError(f"{reader.path.name}: **data must be whole numbers.")
    return values.astype(np.int64).reshape(found["size"][::-1])


def _oridata(reader: _Reader, found: dict[str, Any]) -> bool:
    """Orientations of voxels; False where the file cannot be read any further."""
    words = _descriptor(reader)
    if reader.line() != "ascii":
        say(reader.path, "its binary orientations of voxels are left out, those of cells are taken")
        return False
    count = int(np.prod(found["size"]))
    values = reader.numbers(count * _WIDTH[words[0]], "**oridata").reshape(count, -1)
    u = _matrices(reader.path, words, values, found["version"])
    q = np.full((count, 4), np.nan, np.float32)
    valid = np.isfinite(u).all(axis=(1, 2))
    q[valid] = matrices_to_quaternions(u[valid])
    found["rotations"] = q.reshape(*found["size"][::-1], 4)
    return True


def _content(path: Path, found: dict[str, Any]) -> MapContent:
    if "ids" not in found:
        raise ScanError(f"{path.name} has no **data, the numbers of the cells of voxels.")
    ids = found["ids"]
    if not (ids > 0).any():
        raise ScanError(f"{path.name} holds no grain.")
    by_grain = None
    rotations = found.get("rotations")
    if rotations is None:
        if "cell_u" not in found:
            raise ScanError(f"{path.name} has no orientations; write it with -ori.")
        by_grain = dict(zip(found["cell_ids"].tolist(), found["cell_u"], strict=True))
    edge = found["edge"]
    if not np.allclose(edge, edge[0], rtol=1e-3):
        raise ScanError(f"{path.name} needs cubic voxels; their edges are {edge}.")
    scale = 1e3
    if edge[0] > 0.1:
        scale = 1.0
        say(path, f"voxels of {edge[0]:g} are taken as micrometres; the file has no unit")
    center = np.zeros(3)
    if found["origin"] is not None:
        center = (found["origin"] + edge * found["size"] / 2) * scale * 1e-3
    return MapContent(
        ids,
        (ids > 0).astype(np.int64),
        rotations,
        "Quaternion",
        float(edge[0] * scale),
        center,
        (None, None, None),
        None,
        {},
        None,
        by_grain,
    )


def write_tesr(path: Path, measured: MeasuredMap) -> list[Path]:
    """Write a grain map as Neper's format 2.2, voxels in binary, in mm.

    The orientations are those of the grains, ``rodrigues:passive``.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    grains = measured.grains
    phases = list(measured.phases) or [measured.material]
    there = np.flatnonzero(grains.voxels_per_grain)
    ids = grains.grain_ids[there]
    edge = grains.voxel_um * 1e-3
    size = np.array(grains.labels.shape[::-1])
    origin = np.array(grains.center_mm) - edge * size / 2
    vectors = np.zeros((len(there), 3))
    for number, crystal in enumerate(phases):
        of = grains.phases[there] == number
        q = matrices_to_quaternions(grains.orientations[there][of])
        vectors[of] = finite_rodrigues(q, crystal)
    lines = [
        "***tesr", " **format", "   2.2", " **general", "   3",
        "   " + " ".join(map(str, size)),
        "   " + " ".join([f"{edge:.12f}"] * 3),
        "  *origin", "   " + " ".join(f"{v:.12f}" for v in origin),
        " **cell", f"   {len(there)}", "  *id", *_rows(ids),
        "  *ori", "   rodrigues:passive",
        *(" ".join(f"{v:.12f}" for v in row) for row in vectors),
    ]  # fmt: skip
    if len(phases) > 1:
        lines += ["  *group", *_rows(grains.phases[there] + 1)]
    lines += ["  *crysym", f"   {_crysym(phases[0])}"]
    most = int(ids.max())
    kind = "binary8" if most < 1 << 8 else "binary16" if most < 1 << 15 else "binary32"
    volume = np.concatenate([[0], grains.grain_ids])[grains.labels].astype(_BINARY[kind])
    with atomic(path, new_folder=False) as part, open(part, "wb") as file:
        file.write("\n".join([*lines, " **data", f"   {kind}", ""]).encode("ascii"))
        file.write(volume.tobytes())
        file.write(b"\n***end\n")
    return [path]


def _rows(values: np.ndarray) -> list[str]:
    return ["   " + " ".join(map(str, values[k : k + 12])) for k in range(0, len(values), 12)]


def _crysym(crystal: Material) -> str:
    import gemmi

    name = gemmi.find_spacegroup_by_name(crystal.space_group).laue_str()
    return {"m-3m": "cubic", "6/mmm": "hexagonal"}.get(name, name)
