"""What made a result: job, settings, input, and the hash that tells two results apart."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any, Protocol

from .._version import __version__
from .files import read_json
from .parameters import Settings
from .schema import NUMBER, Mismatch, check


class Input(Protocol):
    """What a recipe tells of the scan it was made of; see `scan.Scan`."""

    @property
    def name(self) -> str: ...

    @property
    def n_frames(self) -> int: ...

    @property
    def shape(self) -> tuple[int, int]: ...

    def identity(self) -> str: ...


def recipe(
    job: str, settings: Settings | dict[str, Any], scan: Input, **made_with: Any
) -> dict[str, Any]:
    """What made a result: job, settings, input and anything else it depends on."""
    # Only where there is one: results of scans without a mask keep their hash.
    mask_id = getattr(scan, "mask_id", "")
    mask = {"mask": mask_id} if mask_id else {}
    return {
        "job": job,
        "settings": settings if isinstance(settings, dict) else settings.to_dict(),
        "input": {
            "name": scan.name,
            "id": scan.identity(),
            "shape": [scan.n_frames, *scan.shape],
            **mask,
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


# What others rely on in a recipe that a file brings.
_SOUND = {
    "job?": str,
    "input?": {"id?": str, "name?": str},
    "settings?": dict,
    "model?": {"name?": str, "threshold?": NUMBER},
}


def recipe_beside(path: str | Path) -> dict[str, Any]:
    """The recipe in ``NAME.json`` beside a result; empty if there is none."""
    state = read_json(sidecar(Path(path)))
    made = state.get("recipe", state)
    try:
        return check(made, _SOUND)
    except Mismatch:
        return {}


def sidecar(path: Path) -> Path:
    """The file beside a result that holds its recipe."""
    return path.with_name(path.name + ".json")
