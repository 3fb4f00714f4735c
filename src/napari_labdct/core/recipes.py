"""What made a result: job, settings, input, and the hash that tells two results apart."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

from .._version import __version__
from ..scan.scan import Scan
from .files import read_json
from .parameters import Settings


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


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + ".json")
