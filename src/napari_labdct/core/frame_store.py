"""The result file of a job over projections: filled frame by frame, resumable."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from .errors import OutputError
from .files import cannot_write, read_json, remove, write_atomically
from .recipes import recipe_hash, sidecar
from .stacks import LazyStack

ORIENTATION_TAG = 274


def spare_inputs(outputs: Iterable[str | Path | None], *inputs: Any) -> None:
    """Refuse outputs that are files a job reads, or one file twice.

    Parameters
    ----------
    outputs : iterable of path or None
    *inputs : Scan, stack, path or None
        Stacks in memory have no files.

    Raises
    ------
    OutputError
        One of them would be lost.
    """
    read = {path.resolve() for source in inputs for path in _files_of(source)}
    written: set[Path] = set()
    for output in outputs:
        if not output:
            continue
        path = Path(output).expanduser().resolve()
        if path in read:
            raise OutputError(f"{output} is read by this job; choose another name for the result.")
        if path in written:
            raise OutputError(f"Two results cannot go into {output}; choose another name for one.")
        written.add(path)


def _files_of(source: Any) -> list[Path]:
    if isinstance(source, (str, Path)):
        return [Path(source).expanduser()]
    source = getattr(source, "frames", source)  # of a scan
    source = getattr(source, "cleaned", source)  # of masks cut from it
    if isinstance(source, FrameStore):
        return [source.path]
    return [Path(path) for path in getattr(source, "paths", ())]


class FrameStore(LazyStack):
    """Frames ``(n, rows, cols)`` of a running job in one preallocated TIFF on disk.

    While frames are missing the pixels stand in ``NAME.part.tif``; the finished file is
    renamed to ``NAME.tif``, so a file under its own name is always whole.  A sidecar
    ``NAME.tif.json`` keeps the recipe and which frames are done, so the same job goes on
    after a cancel or a crash, which costs one frame at most.  Reading and writing may
    happen in different threads; a frame that is not done reads as zeros.

    Use `FrameStore.open_or_create`.
    """

    def __init__(self, path: Path, shape, dtype, made: dict, done: np.ndarray) -> None:
        super().__init__(shape, dtype)
        self.path = path
        self.recipe = made
        self.done = done
        self._lock = threading.RLock()
        self._offset = 0

    @classmethod
    def open_or_create(
        cls,
        path: str | Path,
        shape: tuple[int, int, int],
        dtype: np.dtype | type,
        made: dict[str, Any],
        *,
        orientation: int = 1,
        overwrite: bool = False,
    ) -> FrameStore:
        """Go on with the result of the same recipe at `path`, or begin a new one.

        Parameters
        ----------
        path : path
            Where the finished TIFF will stand; its folder is made if needed.
        shape, dtype
            Of the whole result.
        made : dict
            From `recipe`.
        orientation : int
            TIFF Orientation tag copied from the input.
        overwrite : bool
            Replace a result of another recipe instead of refusing.

        Raises
        ------
        OutputError
            The place is not writable, too small, or taken by something else.
        """
        path = Path(path).expanduser().absolute()
        dtype = np.dtype(dtype)
        side = sidecar(path)
        if path.suffix.lower() not in (".tif", ".tiff"):
            raise OutputError(f"{path.name} must end in .tif or .tiff; give such a name.")
        if side.exists() and (path.exists() or _part(path).exists()):
            state = read_json(side)
            same = (
                state.get("hash") == recipe_hash(made)
                and tuple(state.get("shape", ())) == tuple(shape)
                and state.get("dtype") == dtype.name
            )
            if same:
                store = cls(path, shape, dtype, state["recipe"], _unpack(state["done"], shape[0]))
                store._find_pixels()
                return store
        if (path.exists() or side.exists()) and not overwrite:
            raise OutputError(
                f"{path} already holds another result; choose another name or allow overwriting "
                "(--overwrite)."
            )
        store = cls(path, shape, dtype, made, np.zeros(shape[0], bool))
        store._allocate(orientation)
        return store

    def _allocate(self, orientation: int) -> None:
        import tifffile

        part = _part(self.path)
        need = self.size * self.dtype.itemsize
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            for old in (part, self.path, sidecar(self.path)):
                old.unlink(missing_ok=True)
            free = shutil.disk_usage(self.path.parent).free
            if free < need + (16 << 20):
                raise OutputError(
                    f"{self.path.parent} has {free / 1e9:.1f} GB free and the result needs "
                    f"{need / 1e9:.1f} GB; choose another folder or free some space."
                )
            # tifffile.memmap lays the file out; we write through an ordinary handle because a
            # full disk under a memory map kills the process instead of raising an error.
            tifffile.memmap(
                part,
                shape=self.shape,
                dtype=self.dtype,
                photometric="minisblack",
                bigtiff=need > 1 << 31,
                metadata={"axes": "TYX"},
                extratags=[(ORIENTATION_TAG, "H", 1, orientation, True)],
            )
            with open(part, "r+b") as file:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, os.path.getsize(part))
        except OSError as error:
            remove(part)
            raise cannot_write(self.path, error) from error
        self._find_pixels()
        self._save_state()

    def _find_pixels(self) -> None:
        import tifffile

        try:
            with tifffile.TiffFile(self.location) as tif:
                self._offset = tif.pages[0].dataoffsets[0]
        except (OSError, tifffile.TiffFileError) as error:
            raise OutputError(
                f"The result {self.location} cannot be read ({error}); delete it and run again."
            ) from error

    @property
    def complete(self) -> bool:
        """Whether every frame is done."""
        return bool(self.done.all())

    @property
    def location(self) -> Path:
        """The file that holds the pixels now."""
        return self.path if self.path.exists() else _part(self.path)

    def missing(self, frames=None) -> list[int]:
        """The frames (of `frames`, or of all) that still have to be made."""
        wanted = range(self.shape[0]) if frames is None else frames
        return [i for i in wanted if not self.done[i]]

    def read(self, index: int) -> np.ndarray:
        image = np.zeros(self.shape[1:], self.dtype)
        with self._lock:
            if self.done[index]:
                with open(self.location, "rb") as file:
                    file.seek(self._offset + index * image.nbytes)
                    file.readinto(memoryview(image).cast("B"))
        return image

    def write(self, index: int, image: np.ndarray) -> None:
        """Keep one frame; when the last one is in, the file gets its own name.

        Raises
        ------
        OutputError
            The disk is full or the folder went away; frames written before are safe.
        """
        image = np.ascontiguousarray(image, self.dtype)
        if image.shape != self.shape[1:]:
            raise ValueError(f"frame of shape {image.shape} for a store of {self.shape[1:]}")
        with self._lock:
            try:
                with open(_part(self.path), "r+b") as file:
                    file.seek(self._offset + index * image.nbytes)
                    file.write(memoryview(image).cast("B"))
                self.done[index] = True
                self._save_state()
                if self.complete:
                    os.replace(_part(self.path), self.path)
            except OSError as error:
                self.done[index] = False
                raise cannot_write(self.path, error) from error

    def _save_state(self) -> None:
        state = {
            "hash": recipe_hash(self.recipe),
            "shape": self.shape,
            "dtype": self.dtype.name,
            "done": np.packbits(self.done).tobytes().hex(),
            "recipe": self.recipe,
        }
        write_atomically(sidecar(self.path), json.dumps(state, indent=1))

    def discard(self) -> None:
        """Delete the file and its sidecar; frames read as zeros afterwards."""
        with self._lock:
            self.done[:] = False
            for path in (_part(self.path), self.path, sidecar(self.path)):
                remove(path)


def _part(path: Path) -> Path:
    return path.with_name(f"{path.stem}.part{path.suffix}")


def _unpack(text: str, count: int) -> np.ndarray:
    packed = np.frombuffer(bytes.fromhex(text), np.uint8)
    return np.unpackbits(packed, count=count).astype(bool)
