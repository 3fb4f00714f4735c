"""LabDCT diffraction spots in napari: denoise, binarise, inspect, compare.

The names below are the public library; each is loaded when it is first used, so
``import napari_labdct`` is quick and needs neither Qt, napari nor torch.
"""

from __future__ import annotations

import importlib

from ._version import __version__

_HOME = {
    "LabDCTError": "errors",
    "ScanGeometry": "geometry",
    "Scan": "scan",
    "ScanDescription": "scan",
    "Progress": "jobs",
    "FrameStore": "jobs",
    "open_scan": "io",
    "RollingMedian": "routine",
    "RoutineSettings": "routine",
    "log_segment": "routine",
    "SpotSettings": "spots",
    "binarise": "spots",
    "measure": "spots",
    "match_spots": "comparison",
    "Model": "learning.model",
    "DenoiseSettings": "denoising",
    "Denoiser": "denoising",
    "TrackSettings": "tracking",
    "Tracker": "tracking",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
