"""Long jobs: what they report, where their frames go, and how they go on after a stop.

A job is a generator that writes frames into a `FrameStore` and yields `Progress`.  Closing
the generator is cancelling; running it again with the same store is resuming.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ._version import __version__
from .errors import OutputError
from .parameters import Settings
from .scan import LazyStack, Scan

ORIENTATION_TAG = 274


@dataclass(frozen=True)
class Progress:
    """One step of a long job: `done` of `total`, and the frame that was just written."""

    done: int
    total: int
    message: str = ""
    frame: int | None = None


def recipe(job: str, settings: Settings, scan: Scan, **made_with: Any) -> dict[str, Any]:
    """What made a result: job, settings, input and anything else it depends on."""
    return {
        "job": job,
        "settings": settings.to_dict(),
        "input": {
            "name": scan.name,
            "id": scan.identity(),
            "shape": [scan.n_frames, *scan.shape],
        },
        **made_with,
        "napari_labdct": __version__,
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def recipe_hash(made: dict[str, Any]) -> str:
    """Equal for two runs that must give equal pixels; when and by whom does not count."""
    settings = {k: v for k, v in made.items() if k not in ("created", "napari_labdct")}
    settings["input"] = {k: v for k, v in made["input"].items() if k != "name"}
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def recipe_beside(path: str | Path) -> dict[str, Any]:
    """The recipe in ``NAME.json`` beside a result; empty if there is none."""
    state = read_json(_sidecar(Path(path)))
    made = state.get("recipe", state)
    return made if isinstance(made, dict) else {}


def write_atomically(path: Path, text: str) -> None:
    """Write a small file so that a crash leaves the old one or the new one.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        remove(temporary)
        raise cannot_write(path, error) from error


def make_folder(path: str | Path) -> Path:
    """A folder for results, made if it is not there.

    Raises
    ------
    OutputError
        It cannot be made, or not be written to.
    """
    path = Path(path).expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise cannot_write(path, error) from error
    return path


def remove(path: Path) -> None:
    """Delete a half-written file if it is there and can be deleted."""
    with contextlib.suppress(OSError):
        path.unlink()


def cannot_write(path: Path, error: OSError) -> OutputError:
    """The one sentence for a folder that is full, missing or read-only."""
    reason = error.strerror or str(error)
    return OutputError(f"Cannot write {path} ({reason}); choose another folder or free some space.")


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
        side = _sidecar(path)
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
            for old in (part, self.path, _sidecar(self.path)):
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
        write_atomically(_sidecar(self.path), json.dumps(state, indent=1))

    def discard(self) -> None:
        """Delete the file and its sidecar; frames read as zeros afterwards."""
        with self._lock:
            self.done[:] = False
            for path in (_part(self.path), self.path, _sidecar(self.path)):
                remove(path)


def fill(
    store: FrameStore,
    make: Callable[[int], np.ndarray],
    frames: Iterable[int] | None = None,
    note: str = "",
    prepare: Callable[[int], Iterable[Any]] | None = None,
) -> Iterator[Progress]:
    """Make the frames that a store still lacks, one `Progress` each.

    Parameters
    ----------
    store : FrameStore
    make : callable
        Frame of an index, as the store wants it.
    frames : iterable of int, optional
        Frames wanted; all if not given.
    note : str
        Message of the first step, which comes before anything is made.
    prepare : callable, optional
        What a frame needs first, as steps between which the job can be cancelled.

    Yields
    ------
    Progress
    """
    wanted = list(range(store.shape[0]) if frames is None else frames)
    todo = store.missing(wanted)
    done = len(wanted) - len(todo)
    yield Progress(done, len(wanted), note)
    for index in todo:
        for _ in prepare(index) if prepare else ():
            yield Progress(done, len(wanted))
        store.write(index, make(index))
        done += 1
        yield Progress(done, len(wanted), frame=index)


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _part(path: Path) -> Path:
    return path.with_name(f"{path.stem}.part{path.suffix}")


def read_json(path: Path) -> dict[str, Any]:
    """What a recipe or sidecar says; empty if it is not there or damaged."""
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def _unpack(text: str, count: int) -> np.ndarray:
    packed = np.frombuffer(bytes.fromhex(text), np.uint8)
    return np.unpackbits(packed, count=count).astype(bool)
