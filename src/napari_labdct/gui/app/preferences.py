"""What the user chose in Preferences > LabDCT, and the folders this package may write to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...core import folders
from ...core.reading import load_json

PLUGIN = folders.NAME

# The manifest's defaults, for a napari in which the plugin is switched off or not yet known.
_DEFAULTS: dict[str, Any] = {
    "device": "auto",
    "default_model": "compact",
    "cache_folder": "",
    "cache_limit_gb": 20.0,
}
_GROUP = {
    "device": "compute",
    "default_model": "compute",
    "cache_folder": "storage",
    "cache_limit_gb": "storage",
}


def preference(name: str) -> Any:
    """One value from Preferences: device, default_model, cache_folder or cache_limit_gb."""
    from napari.settings import get_plugin_settings

    try:
        return getattr(getattr(get_plugin_settings(PLUGIN), _GROUP[name]), name)
    except (KeyError, AttributeError):
        return _DEFAULTS[name]


def cache_folder() -> Path:
    """Where running results are kept, as set in Preferences or in the user's cache."""
    chosen = str(preference("cache_folder")).strip()
    return Path(chosen).expanduser() if chosen else folders.cache_folder()


def results() -> tuple[Path, float]:
    """The folder of running results, and how large it may grow in GB."""
    return cache_folder(), float(preference("cache_limit_gb"))


def backgrounds_folder() -> Path:
    """Where background sets are kept; not a cache: nothing is deleted there by itself."""
    return folders.data_folder() / "backgrounds"


def trainings_folder() -> Path:
    """Where the Train dock keeps its runs; not a cache: nothing is deleted there by itself."""
    return folders.data_folder() / "trainings"


def load_last(name: str) -> dict[str, Any]:
    """The values saved as `name`, or an empty dict if there are none or they are damaged."""
    try:
        values = load_json(folders.config_folder() / f"{name}.json")
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def save_last(name: str, values: dict[str, Any]) -> None:
    """Keep values for the next session; a read-only home costs the memory, not the work."""
    from ...core.errors import OutputError
    from ...core.files import write_atomically

    try:
        folders.config_folder().mkdir(parents=True, exist_ok=True)
        write_atomically(folders.config_folder() / f"{name}.json", json.dumps(values, indent=1))
    except (OSError, OutputError):
        return
