"""Virtual LabDCT scans: samples, source, projector, and the job that writes a scan."""

from __future__ import annotations

import importlib

_HOME = {
    "Beam": "source",
    "PRESETS": "sample",
    "PredictSettings": "measured",
    "Prediction": "measured",
    "Projection": "projector",
    "Projector": "projector",
    "SimulateSettings": "settings",
    "Simulation": "run",
    "SimulationOutput": "run",
    "box_mask": "sample",
    "cylinder_mask": "sample",
    "make_sample": "sample",
    "predict_spots": "projector",
    "preset_sample": "sample",
    "preview_frame": "run",
    "settings_for": "measured",
    "settings_of_map": "measured",
    "simulate_scan": "run",
    "tungsten_spectrum": "source",
}

__all__ = list(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
