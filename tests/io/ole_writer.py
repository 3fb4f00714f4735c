"""A small writer of OLE files (compound files, [MS-CFB] version 3), byte by byte, for tests.

Streams below 4096 bytes go into the mini stream, as the format wants; larger ones into sectors
of 512 bytes, in order or scattered.  More than 109 sectors of FAT need DIFAT sectors, which are
written as well, so that files of gigabytes can be made.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

SECTOR, MINI, CUTOFF = 512, 64, 4096
FREE, LAST, FAT_SECTOR, DIFAT_SECTOR = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD, 0xFFFFFFFC
NONE = 0xFFFFFFFF
Content = bytes | tuple[int, Callable[[], bytes]]


class _Entry:
    def __init__(self, name: str, kind: int) -> None:
        self.name, self.kind = name, kind
        self.left = self.right = self.child = NONE
        self.start, self.size = 0, 0
        self.content: Content = b""
        self.children: dict[str, int] = {}

    def packed(self) -> bytes:
        name = self.name.encode("utf-16-le")
        return struct.pack(
            "<64sHBBIII16sIQQIQ", name, len(name) + 2, self.kind, 1, self.left, self.right,
            self.child, bytes(16), 0, 0, 0, self.start, self.size,
        )  # fmt: skip


def write_ole(path: Path, streams: Mapping[str, Content], scattered: bool = False) -> Path:
    """Write streams by their paths (``ImageInfo/Angles``).

    Parameters
    ----------
    path : path
    streams : dict of str to bytes, or to (size, function that gives the bytes)
    scattered : bool
        The sectors of large streams lie in a random order.
    """
    entries = _directory(streams)
    mini, mini_fat = _mini_stream(entries)
    large = [e for e in entries if e.kind == 2 and _size(e.content) >= CUTOFF]
    sectors = [-(-_size(e.content) // SECTOR) for e in large]
    n_dir = -(-len(entries) * 128 // SECTOR)
    n_mini_fat, n_mini = -(-len(mini_fat) * 4 // SECTOR), -(-len(mini) // SECTOR)
    n_fat = n_difat = 0
    while True:  # the FAT counts itself
        total = n_fat + n_difat + n_dir + n_mini_fat + n_mini + sum(sectors)
        more = -(-total // 128), max(0, -(-(-(-total // 128) - 109) // 127))
        if more == (n_fat, n_difat):
            break
        n_fat, n_difat = more
    fat = np.full(n_fat * 128, FREE, np.uint32)
    fat[:n_fat], fat[n_fat : n_fat + n_difat] = FAT_SECTOR, DIFAT_SECTOR
    at = n_fat + n_difat
    places = {}
    for what, count in (("dir", n_dir), ("mini fat", n_mini_fat), ("mini", n_mini)):
        places[what] = at if count else LAST
        _chain(fat, np.arange(at, at + count))
        at += count
    order = np.arange(at, at + sum(sectors))
    if scattered:
        order = np.random.default_rng(0).permutation(order)
    chains = np.split(order, np.cumsum(sectors)[:-1]) if large else []
    for entry, chain in zip(large, chains):
        entry.start, entry.size = int(chain[0]), _size(entry.content)
        _chain(fat, chain)
    entries[0].start, entries[0].size = places["mini"] if n_mini else LAST, len(mini)
    with open(path, "wb") as file:
        file.write(_header(n_fat, n_difat, places, n_mini_fat))
        file.write(fat.tobytes())
        file.write(_difat(n_fat, n_difat))
        for content in (b"".join(e.packed() for e in entries),
                        np.array(mini_fat, "<u4").tobytes(), mini):  # fmt: skip
            file.write(content + bytes(-len(content) % SECTOR))
        for entry, chain in zip(large, chains):
            _place(file, chain, entry.content)
    return path


def _size(content: Content) -> int:
    return len(content) if isinstance(content, bytes) else content[0]


def _directory(streams: Mapping[str, Content]) -> list[_Entry]:
    entries = [_Entry("Root Entry", 5)]
    for path, content in streams.items():
        folder = 0
        *storages, name = path.split("/")
        for storage in storages:
            known = entries[folder].children
            if storage not in known:
                known[storage] = len(entries)
                entries.append(_Entry(storage, 1))
            folder = known[storage]
        entries[folder].children[name] = len(entries)
        entries.append(_Entry(name, 2))
        entries[-1].content = content
    for entry in entries:
        names = sorted(entry.children, key=lambda name: (len(name), name.upper()))
        numbers = [entry.children[name] for name in names]
        entry.child = _tree(entries, numbers)
    return entries


def _tree(entries: list[_Entry], numbers: Sequence[int]) -> int:
    """Link siblings as a balanced tree; gives its root."""
    if not numbers:
        return NONE
    middle = len(numbers) // 2
    root = entries[numbers[middle]]
    root.left = _tree(entries, numbers[:middle])
    root.right = _tree(entries, numbers[middle + 1 :])
    return numbers[middle]


def _mini_stream(entries: list[_Entry]) -> tuple[bytes, list[int]]:
    stream, fat = bytearray(), []
    for entry in entries:
        if entry.kind != 2 or _size(entry.content) >= CUTOFF:
            continue
        content = entry.content
        entry.start, entry.size = len(fat) if content else LAST, len(content)
        count = -(-len(content) // MINI)
        fat += [*range(len(fat) + 1, len(fat) + count), LAST] if count else []
        stream += content + bytes(-len(content) % MINI)
    return bytes(stream), fat + [FREE] * (-len(fat) % 128)


def _chain(fat: np.ndarray, sectors: np.ndarray) -> None:
    if len(sectors):
        fat[sectors[:-1]] = sectors[1:]
        fat[sectors[-1]] = LAST


def _header(n_fat: int, n_difat: int, places: Mapping[str, int], n_mini_fat: int) -> bytes:
    first = [k if k < n_fat else FREE for k in range(109)]
    return struct.pack(
        "<8s16sHHHHH6sIIIIIIIII109I", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", bytes(16), 0x3E, 3,
        0xFFFE, 9, 6, bytes(6), 0, n_fat, places["dir"], 0, CUTOFF, places["mini fat"], n_mini_fat,
        n_fat if n_difat else LAST, n_difat, *first,
    )  # fmt: skip


def _difat(n_fat: int, n_difat: int) -> bytes:
    rest = list(range(109, n_fat)) + [FREE] * (127 * n_difat - max(0, n_fat - 109))
    blocks = []
    for k in range(n_difat):
        following = n_fat + k + 1 if k + 1 < n_difat else LAST
        blocks.append(struct.pack("<128I", *rest[127 * k : 127 * (k + 1)], following))
    return b"".join(blocks)


def _place(file, chain: np.ndarray, content: Content) -> None:
    made = content if isinstance(content, bytes) else content[1]()
    made += bytes(-len(made) % SECTOR)
    if np.all(np.diff(chain) == 1):
        file.seek((int(chain[0]) + 1) * SECTOR)
        file.write(made)
        return
    for k, sector in enumerate(chain):
        file.seek((int(sector) + 1) * SECTOR)
        file.write(made[k * SECTOR : (k + 1) * SECTOR])


def floats(*values: float) -> bytes:
    return np.array(values, "<f4").tobytes()


def ints(*values: int) -> bytes:
    return np.array(values, "<i4").tobytes()


def txrm_streams(stack: np.ndarray, **changes: bytes | None) -> dict[str, Content]:
    """The streams of a Zeiss scan with a source 20 mm in front of and a detector 30 mm behind it.

    Parameters
    ----------
    stack : array of uint16, uint8 or float32 (n, rows, cols)
    **changes : bytes or None
        Streams of ``ImageInfo`` to replace, to add, or to leave out.
    """
    n, rows, cols = stack.shape
    info = {
        "ImageHeight": ints(rows), "ImageWidth": ints(cols), "NoOfImages": ints(n),
        "ImagesTaken": ints(n), "DataType": ints({"u2": 5, "f4": 10, "u1": 3}[stack.dtype.str[1:]]),
        "Angles": floats(*(-180 + 360 / n * np.arange(n))), "StoRADistance": floats(*[-20.0] * n),
        "DtoRADistance": floats(*[30.0] * n), "PixelSize": floats(1.344), "Voltage": floats(160.0),
        "ExpTimes": floats(*[45.0] * n), "CameraBinning": ints(2),
        "CameraNumberOfFramesPerImage": ints(1), "Date": b"06/26/23 12:04:11".ljust(23, b"\0") * n,
        **changes,
    }  # fmt: skip
    streams = {"Version": floats(5.0), "exeVersion": b"16.1\0"}
    streams |= {f"ImageInfo/{name}": made for name, made in info.items() if made is not None}
    for k, image in enumerate(stack, 1):
        streams[f"ImageData{-(-k // 100)}/Image{k}"] = image.tobytes()
    return streams
