"""Result files in the cache folder: one store a file, and room for new ones."""

from __future__ import annotations

import re
import threading
import time
import weakref
from pathlib import Path

from ...core.errors import InputsChangedError, OutputError
from ...core.frame_store import FrameStore
from ...core.jobs import FrameJob
from ...core.recipes import recipe_hash

_lock = threading.Lock()
_open: weakref.WeakValueDictionary[Path, FrameStore] = weakref.WeakValueDictionary()

# A result touched this recently may be in use by another napari.
_YOUNG_S = 3600.0
# How the names that `result_path` gives end.
_OURS = re.compile(r"-[0-9a-f]{16}\.tif$")


def open_result(job: FrameJob, folder: Path, limit_gb: float) -> FrameStore:
    """The result of a job in the cache folder: begun, or gone on with.

    All viewers share it: two stores on one file would not know of each other's frames.

    Parameters
    ----------
    job : FrameJob
    folder : path
    limit_gb : float
        Largest size of the folder; the oldest results make room.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    path = place(job, folder)
    make_room(folder, job.output.nbytes, limit_gb, path)
    try:
        with _lock:
            store = _open.get(path)
            if store is None:
                store = _open[path] = _opened(job, path)
    except OutputError as error:
        raise OutputError(
            f"{error} The folder for results is set in Preferences > LabDCT."
        ) from error
    return store


def _opened(job: FrameJob, path: Path) -> FrameStore:
    try:
        return job.open_store(path)
    except InputsChangedError:  # nobody chose the name: a stale result only stands there
        for stale in _files(path):
            stale.unlink(missing_ok=True)
        store = job.open_store(path)
        store.note = "The projections have changed since they were last done; all are new."
        return store


def place(job: FrameJob, folder: Path) -> Path:
    """Where the result of a job stands in the cache folder."""
    return result_path(folder, f"{job.scan.name}{job.suffix}", recipe_hash(job.recipe()))


def _files(path: Path) -> list[Path]:
    """Sidecar and pixels of a result, whether they are there or not."""
    return [
        path.with_name(f"{path.name}.json"), path, path.with_name(f"{path.stem}.part{path.suffix}")
    ]  # fmt: skip


def forget(store: FrameStore) -> None:
    """A store whose file was deleted is not to be handed out again."""
    with _lock:
        _open.pop(store.path, None)


def result_path(folder: Path, name: str, key: str) -> Path:
    """Where the result of the recipe with hash `key` stands in the cache folder."""
    plain = re.sub(r"[^\w.-]+", "_", name).strip("._")[:60] or "scan"
    return folder / f"{plain}-{key}.tif"


def make_room(folder: Path, need_bytes: int, limit_gb: float, keep: Path) -> int:
    """Delete the oldest results until a new one fits under the limit.

    Only files under a name of `result_path` and with a result's sidecar are touched, and none that
    is in use or was written to within the last hour.

    Parameters
    ----------
    folder : path
    need_bytes : int
        Size of the new result.
    limit_gb : float
        Largest size of the folder.
    keep : path
        The new result itself, which may exist already.

    Returns
    -------
    int
        Number of results deleted.
    """
    if not folder.is_dir() or keep.exists():
        return 0
    results = []
    for side in folder.glob("*.tif.json"):
        whole = side.with_suffix("")
        if not _OURS.search(whole.name):
            continue  # a file that the user saved here
        files = [p for p in _files(whole)[1:] if p.exists()]
        stat = [p.stat() for p in files]
        results.append(
            (max((s.st_mtime for s in stat), default=0.0), sum(s.st_size for s in stat), whole,
             [*files, side])
        )  # fmt: skip
    total = sum(size for _, size, _, _ in results)
    deleted = 0
    for touched, size, whole, files in sorted(results, key=lambda r: r[0]):
        if total + need_bytes <= limit_gb * 1e9:
            break
        if whole == keep or whole in _open or time.time() - touched < _YOUNG_S:
            continue
        for path in files:
            path.unlink(missing_ok=True)
        total -= size
        deleted += 1
    return deleted
