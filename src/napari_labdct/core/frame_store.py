"""The result file of a job over projections: filled frame by frame, resumable."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import weakref
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputsChangedError, OutputError, quoted, reason
from .files import cannot_write, read_json, remove, sync, write_atomically
from .locks import hold, release
from .recipes import recipe_hash, sidecar
from .stacks import LazyStack

ORIENTATION_TAG = 274
_SPARE = 16 << 20  # bytes left free beside a result


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
        path = _place(output)
        if path in read:
            raise OutputError(f"{output} is read by this job; choose another name for the result.")
        if path in written:
            raise OutputError(f"Two results cannot go into {output}; choose another name for one.")
        written.add(path)


def in_words(size: int) -> str:
    """Bytes as people say them: in GB, or in MB below one."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


# What is put behind the name of a result while it is written: ".part", ".json", ".tmp".
_LONGEST_NAME = 255 - 16


def _place(output: str | Path) -> Path:
    """Where an output lies, if a file can have that name."""
    name = Path(output).name
    if len(os.fsencode(name)) > _LONGEST_NAME:
        raise OutputError(f"The name {quoted(name)} is too long; choose a shorter one.")
    if not name.isprintable():
        raise OutputError(f"The name {quoted(name)} cannot be read; choose one of plain letters.")
    try:
        return Path(output).expanduser().resolve()
    except (RuntimeError, OSError) as error:  # ~somebody who is not there; too deep a folder
        raise OutputError(f"{quoted(output)} is no place for a file ({reason(error)}).") from error


def state_of_inputs(*sources: Any) -> list[Any]:
    """What shows that a job's inputs are the same as before: size and time of every file.

    A result is known by a few of its projections only (`Scan.identity`); this is kept beside its
    recipe, so that a job never goes on with projections that changed meanwhile.  Stacks in memory
    have no files, so their pixels are summed up.

    Parameters
    ----------
    *sources : Scan, stack, path or None
    """
    state: list[Any] = []
    for source in sources:
        frames = getattr(source, "frames", source)
        if isinstance(frames, np.ndarray):
            state.append([zlib.crc32(np.ascontiguousarray(frame)) for frame in frames])
        if isinstance(frames, FrameStore):
            continue  # our own result, which its recipe describes
        for path in _files_of(source):
            try:
                known = path.stat()
                state.append([known.st_size, known.st_mtime_ns])
            except OSError:
                state.append(None)
    return state


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
    happen in different threads; a frame that is not done reads as zeros.  Other processes are
    kept from writing the result from when it is opened until it is whole, or until `let_go`.

    Use `FrameStore.open_or_create`.
    """

    def __init__(
        self,
        path: Path,
        shape: tuple[int, int, int],
        dtype: np.dtype | type,
        made: dict[str, Any],
        done: np.ndarray,
    ) -> None:
        super().__init__(shape, dtype)
        self.path = path
        self.recipe = made
        self.done = done
        self.inputs: list[Any] = []
        self.note = ""  # what the user should know before frames are made
        self._lock = threading.RLock()
        self._offset = 0
        self._held: weakref.finalize[Any, Any] | None = None

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
        inputs: Iterable[Any] = (),
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
            Replace a result of another recipe, or of other inputs, instead of refusing.
        inputs : iterable of Scan, stack, path or None
            What the job reads; see `state_of_inputs`.

        Raises
        ------
        OutputError
            The place is not writable, too small, taken by something else, or being written by
            another process; or the inputs changed since the result was begun.
        """
        path = Path(path).expanduser().absolute()
        dtype = np.dtype(dtype)
        if path.suffix.lower() not in (".tif", ".tiff"):
            raise OutputError(f"{path.name} must end in .tif or .tiff; give such a name.")
        store = cls(path, shape, dtype, made, np.zeros(shape[0], bool))
        store.inputs = state_of_inputs(*inputs)
        store._hold()
        try:
            if not store._go_on(overwrite):
                store._allocate(orientation)
        except BaseException:
            store.let_go()
            raise
        if store.complete:
            store.let_go()
        return store

    def _hold(self) -> None:
        with contextlib.suppress(OSError):  # said by what is written next
            self.path.parent.mkdir(parents=True, exist_ok=True)
        hold(self.path)
        self._held = weakref.finalize(self, release, self.path)

    def _take_up(self) -> bool:
        """Hold it again after `let_go`; True if it was let go, and others may have added to it."""
        if self._held is not None and self._held.alive:
            return False
        self._hold()
        done = self._done_by(read_json(sidecar(self.path)))
        if done is None:
            self.let_go()
            raise OutputError(
                f"{self.path} was deleted or replaced while it was not written to; begin it again."
            )
        self.done[:] = done
        return True

    def let_go(self) -> None:
        """Let other processes go on with it; writing to it again holds it again."""
        with self._lock:
            if self._held is not None:
                self._held()
                self._held = None

    def _go_on(self, overwrite: bool) -> bool:
        """Take up what is there; False if there is nothing, or nothing that shall stay."""
        whole, part = self.path.exists(), _part(self.path).exists()
        state = read_json(sidecar(self.path))
        done = self._done_by(state)
        # Under both names, or under its own while frames are missing, it is not one of ours.
        if done is None or (whole and (part or not done.all())):
            if (whole or part or sidecar(self.path).exists()) and not overwrite:
                raise OutputError(
                    f"{self.path} already holds another result; choose another name or allow "
                    "overwriting (--overwrite)."
                )
            return False
        if not done.any() or not (whole or part):  # killed before the first frame, or deleted
            return False
        if state.get("inputs", self.inputs) != self.inputs:  # older sidecars do not know them
            if not overwrite:
                raise InputsChangedError(
                    f"What {self.path} is made of has changed since it was begun, and old and new "
                    "would be mixed; begin anew with --overwrite (in the window: Discard)."
                )
            return False
        self.done, self.recipe = done, state["recipe"]
        self._find_pixels()
        if part and self.complete:  # killed before it got its own name
            self._finish()
        return True

    def _done_by(self, state: dict[str, Any]) -> np.ndarray | None:
        """The frames that a sidecar says are done, if it is of this very result."""
        try:
            same = (
                state["hash"] == recipe_hash(self.recipe)
                and tuple(state["shape"]) == self.shape
                and state["dtype"] == self.dtype.name
                and recipe_hash(state["recipe"]) == state["hash"]
            )
            return _unpack(state["done"], self.shape[0]) if same else None
        except (KeyError, TypeError, ValueError, AttributeError):
            return None

    def _allocate(self, orientation: int) -> None:
        import tifffile

        part, side = _part(self.path), sidecar(self.path)
        need = self.size * self.dtype.itemsize
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            old = sum(p.stat().st_size for p in (part, self.path) if p.exists())
            free = shutil.disk_usage(self.path.parent).free + old
            needed = need + _SPARE
            if free < needed:
                raise OutputError(
                    f"{self.path.parent} has {in_words(free)} free and the result needs "
                    f"{in_words(needed)}; choose another folder or free some space."
                )
            for path in (side, self.path, part):
                path.unlink(missing_ok=True)
            self._save_state()  # first, so that a part without it is never ours
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
            remove(side)
            raise cannot_write(self.path, error) from error
        self._find_pixels()

    def _find_pixels(self) -> None:
        import tifffile

        try:
            with tifffile.TiffFile(self.location) as tif:
                page = tif.pages[0]
                self._offset = page.dataoffsets[0]
                end = self._offset + self.size * self.dtype.itemsize
                if (page.shape, page.dtype, page.compression) != (
                    self.shape[1:],
                    self.dtype,
                    1,
                ) or self.location.stat().st_size < end:
                    raise OutputError(
                        f"The result {self.location} was changed or cut short by another program; "
                        "delete it and run again."
                    )
        except (OSError, IndexError, tifffile.TiffFileError) as error:
            raise OutputError(
                f"The result {self.location} cannot be read ({reason(error)}); delete it and run "
                "again."
            ) from error

    def _finish(self) -> None:
        try:
            os.replace(_part(self.path), self.path)
        except OSError as error:
            raise cannot_write(self.path, error) from error

    @property
    def complete(self) -> bool:
        """Whether every frame is done."""
        return bool(self.done.all())

    @property
    def location(self) -> Path:
        """The file that holds the pixels now."""
        return self.path if self.path.exists() else _part(self.path)

    def missing(self, frames: Iterable[int] | None = None) -> list[int]:
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
            if self._take_up() and self.done[index]:
                return
            try:
                with open(_part(self.path), "r+b") as file:
                    file.seek(self._offset + index * image.nbytes)
                    file.write(memoryview(image).cast("B"))
                    sync(file)  # before the sidecar says that it is there
                self.done[index] = True
                self._save_state()
            except (OSError, OutputError) as error:
                self.done[index] = False
                if isinstance(error, OutputError):
                    raise
                raise cannot_write(self.path, error) from error
            if self.complete:
                self._finish()
                self.let_go()

    def _save_state(self) -> None:
        state = {
            "hash": recipe_hash(self.recipe),
            "shape": self.shape,
            "dtype": self.dtype.name,
            "done": np.packbits(self.done).tobytes().hex(),
            "inputs": self.inputs,
            "recipe": self.recipe,
        }
        write_atomically(sidecar(self.path), json.dumps(state, indent=1))

    def discard(self) -> None:
        """Delete the file and its sidecar; frames read as zeros afterwards."""
        with self._lock:
            self.done[:] = False
            for path in (_part(self.path), self.path, sidecar(self.path)):
                remove(path)
            self.let_go()


def _part(path: Path) -> Path:
    return path.with_name(f"{path.stem}.part{path.suffix}")


def _unpack(text: str, count: int) -> np.ndarray:
    packed = np.frombuffer(bytes.fromhex(text), np.uint8)
    return np.unpackbits(packed, count=count).astype(bool)
