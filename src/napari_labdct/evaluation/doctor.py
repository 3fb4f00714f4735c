"""What this computer has for the work, and how quick each device is: a block for a bug report.

It holds no name of a person, computer, folder or file unless asked for.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .._version import __version__

PACKAGES = (
    "torch", "numpy", "scipy", "scikit-image", "numba", "tifffile", "h5py", "napari", "vispy",
    "qtpy", "PyQt6", "PySide6", "PyQt5", "onnxruntime", "openvino",
)  # fmt: skip
_WINDOW_TIMEOUT_S = 60


def diagnose(window: bool = True, timing: bool = True, folders: bool = False) -> Iterator[str]:
    """The lines of the report, each as soon as it is known.

    Parameters
    ----------
    window : bool
        Try whether Qt and OpenGL start, in a process of its own that may crash.
    timing : bool
        Measure each device on the sample scan.
    folders : bool
        Name the folders that are written to, which may hold a user's name.
    """
    yield f"napari-labdct {__version__}"
    yield f"Python {platform.python_version()} on {platform.platform()}"
    yield "packages: " + ", ".join(_versions())
    yield from _computer()
    yield from _folders(folders)
    if window:
        yield from _window()
    yield from _devices(timing)


def _versions() -> Iterator[str]:
    for name in PACKAGES:
        try:
            yield f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue


def _computer() -> Iterator[str]:
    from ..networks.devices import available_cores

    cores = available_cores()
    memory = ""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        memory = f", {total / 2**30:.1f} GiB of memory"
    yield f"computer: {cores} core{'s' if cores != 1 else ''} to use{memory}"


def _folders(named: bool) -> Iterator[str]:
    import tempfile

    from ..core import folders

    places = {
        "results cache": folders.cache_folder(),
        "own models": folders.data_folder(),
        "temporary files": Path(tempfile.gettempdir()),
    }
    for what, folder in places.items():
        there = next(p for p in (folder, *folder.parents) if p.exists())
        free = shutil.disk_usage(there).free / 2**30
        writable = "" if os.access(there, os.W_OK) else ", CANNOT BE WRITTEN TO"
        yield f"{what}: {free:.1f} GiB free{writable}{f' in {folder}' if named else ''}"


def _window() -> Iterator[str]:
    """What napari says of Qt and OpenGL, from a process that may end without a word."""
    script = "from napari.utils.info import sys_info\nprint(sys_info())"
    try:
        told = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True,
            timeout=_WINDOW_TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        yield f"window: did not start within {_WINDOW_TIMEOUT_S} s"
        return
    kept = [
        re.sub(r"^\s*-?\s*", "", line)
        for line in told.stdout.splitlines()
        if re.search(r"Qt|PySide|GL|Platform", line) and "failed" not in line.lower()
    ]
    if told.returncode or not kept:
        why = next((line for line in reversed(told.stderr.splitlines()) if line.strip()), "")
        yield f"window: napari cannot start here ({_without_paths(why)[:120] or 'no reason given'})"
        yield "  the labdct command and Python work without it; a screen or xvfb is needed for it"
        return
    yield "window: " + "; ".join(kept)


def _without_paths(text: str) -> str:
    return re.sub(r"(/|[A-Za-z]:\\)[^\s'\",)]+", "(path)", text)


def _devices(timing: bool) -> Iterator[str]:
    from ..core.errors import LabDCTError
    from ..networks.devices import devices, quickest
    from ..networks.runtimes import RUNTIMES, available_runtimes

    there = devices() | available_runtimes()
    taken: dict[str, float] = {}
    for name, what in there.items():
        line = f"device {name}: {what}"
        if timing:
            try:
                taken[name] = seconds_a_projection(name)
                line += f", {taken[name]:.2f} s for a projection of 1024 x 1024"
            except LabDCTError as error:
                line += f", does not work: {error}"
        yield line
    missing = [r.title for r in RUNTIMES.values() if not r.installed]
    if missing:
        yield f"not installed: {', '.join(missing)} (pip install 'napari-labdct[openvino]')"
    auto = quickest(there)
    best = min(taken, key=taken.__getitem__, default=auto)
    if taken and taken[best] < 0.8 * taken.get(auto, float("inf")):
        yield f"recommended: --device {best} (auto takes {auto})"
    else:
        yield f"recommended: auto, which takes {auto}"


def seconds_a_projection(device: str, size: int = 1024) -> float:
    """Seconds that the shipped model needs for a projection, the quickest of three.

    It is the sample scan's first projection, repeated to the size; the first look is not counted.
    """
    import numpy as np

    from ..io import open_scan
    from ..io.sample import sample_folder
    from ..networks.model import Model

    frame = open_scan(sample_folder() / "demo").frame(0)
    tiles = [-(-size // n) for n in frame.shape]
    frame = np.tile(frame, tiles)[:size, :size]
    model = Model.load("compact", device)
    walls = []
    for _ in range(4):
        start = time.perf_counter()
        model(frame, frame)
        walls.append(time.perf_counter() - start)
    return min(walls[1:])
