"""From the spots of a scan to its grains: indexing, growth, grain maps and how good they are."""

from __future__ import annotations

import importlib

_HOME = {
    "GrainMapping": "mapping",
    "GrainResult": "results",
    "GrainSettings": "settings",
    "MapComparison": "map_comparison",
    "boundary_deviation_um": "map_comparison",
    "compare_maps": "map_comparison",
    "write_grain_csv": "results",
    "write_result": "results",
}

__all__ = list(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
