"""The models there are: those inside the package and those in the user's folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import ModelError
from ..core.folders import data_folder

SUFFIX = ".safetensors"
SHIPPED = Path(__file__).parent.parent / "models"


@dataclass(frozen=True)
class ListedModel:
    """A model that can be loaded by its name.

    Attributes
    ----------
    name : str
    path : Path
    shipped : bool
        Inside the package, so it cannot be renamed or deleted.
    """

    name: str
    path: Path
    shipped: bool


def user_models_dir() -> Path:
    """Where the user's own models are kept; it may not exist yet."""
    return data_folder() / "models"


def shipped_models() -> list[str]:
    """Names of the models inside the package, the smallest and quickest first."""
    return sorted(_names(SHIPPED), key=lambda name: (SHIPPED / f"{name}{SUFFIX}").stat().st_size)


def list_models() -> list[ListedModel]:
    """Shipped models, the quickest first, then the user's by name."""
    own = user_models_dir()
    return [
        *(ListedModel(name, SHIPPED / f"{name}{SUFFIX}", True) for name in shipped_models()),
        *(ListedModel(name, own / f"{name}{SUFFIX}", False) for name in _names(own)),
    ]


def find_model(name_or_path: str | os.PathLike) -> Path:
    """The file of a model's name, or the path itself.

    Raises
    ------
    ModelError
        There is neither a model of that name nor such a file.
    """
    text = os.fspath(name_or_path)
    listed = list_models()
    for model in listed:
        if model.name == text:
            return model.path
    path = Path(text).expanduser()
    if path.is_file():
        return path
    names = ", ".join(model.name for model in listed) or "none"
    if path.is_dir():
        raise ModelError(f"'{path}' is a folder; choose a model file inside it.")
    if path.suffix or len(path.parts) > 1:
        raise ModelError(f"There is no model file '{path}'; models by name: {names}.")
    raise ModelError(f"There is no model '{text}'; there is {names}, or give a file.")


def model_card(info: dict[str, Any]) -> str:
    """What a model is, what it learnt from and how well, as Markdown.

    Parameters
    ----------
    info : dict
        `Model.info`.
    """
    training = info.get("training", {})
    normalisation = info["normalisation"]
    rows = [
        ("Network", f"{info['network']}, {info['parameters']:,} parameters"),
        ("Sees", f"projection and rolling median of {info['median_window']} projections,"
                 f" in noise units of {normalisation['block_px']} px blocks"),
        ("Threshold", f"{info['threshold']} of 255"),
        ("Learnt from", _said(_learnt_from, training)),
        ("How", _said(_how, training)),
        ("Validation", _said(_validation, training.get("validation", {}))),
        ("Made by", f"napari-labdct {info['napari_labdct']}"),
        ("Hash", info["sha256"][:16]),
    ]  # fmt: skip
    lines = [f"**{key}**: {text}" for key, text in rows if text]
    return f"### {info['name']}\n\n" + "\n\n".join(lines) + "\n"


def _said(tell: Callable[[dict[str, Any]], str], about: dict[str, Any]) -> str:
    """What a file says of its training, as far as it is to be understood."""
    try:
        return tell(about)
    except (LookupError, TypeError, ValueError, AttributeError):
        return "not said in the file"


def _learnt_from(training: dict[str, Any]) -> str:
    parts = []
    synthesis = training.get("synthesis")
    if synthesis:
        parts.append(
            f"simulated crops of {synthesis['crop_px']} px, SNR {synthesis['snr_min']:g} to "
            f"{synthesis['snr_max']:g}"
        )
    pairs, scan = training.get("pairs"), training.get("scan")
    if pairs:
        parts.append(f"{pairs['pairs']} reviewed pairs ({pairs['part']:.0%} of the crops)")
    if scan:
        names = ", ".join(b["name"] for b in scan["backgrounds"])
        parts.append(f"simulated spots on the background of {names} ({scan['part']:.0%})")
    windows = training.get("simulated_scans")
    if windows:
        made = windows["settings"]
        parts.append(f"the spots of {made['scans']} simulated scans ({made['part']:.0%})")
    if training.get("start_from"):
        parts.append(f"begun from the model {str(training['start_from'])[:16]}")
    return "; ".join(parts) or "not said in the file"


def _how(training: dict[str, Any]) -> str:
    settings = training.get("train")
    if not settings:
        return ""
    done = training.get("iterations_done", settings["iterations"])
    text = f"{done:,} iterations of {settings['batch']} crops, loss {settings['loss']}"
    text += f", seed {settings['seed']}"
    if training.get("seconds"):
        text += f", {training['seconds'] / 60:.0f} minutes"
    return text


def _validation(scores: dict[str, Any]) -> str:
    shown = (("F1", "f1"), ("precision", "precision"), ("recall", "recall"),
             ("pixel IoU", "pixel_iou"))  # fmt: skip
    parts = [f"{label} {scores[key]:.3f}" for label, key in shown if key in scores]
    if parts and "spots" in scores:
        parts.append(f"on {scores['spots']:,} spots of crops like those it learnt from")
    return ", ".join(parts)


def _names(folder: Path) -> list[str]:
    return sorted(p.stem for p in folder.glob(f"*{SUFFIX}"))
