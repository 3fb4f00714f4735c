"""Write docs/settings.md from the settings classes: python scripts/make_settings_docs.py"""

from __future__ import annotations

import importlib
from pathlib import Path

from napari_labdct.parameters import markdown_table

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
JOBS = {
    "Scan description (`scan.yaml`, Scan dock)": ("scan", "ScanDescription"),
    "Denoise": ("denoising", "DenoiseSettings"),
    "Track": ("tracking", "TrackSettings"),
    "Binarise": ("spots", "SpotSettings"),
    "Standard routine": ("routine", "RoutineSettings"),
    "Simulate": ("simulation", "SimulateSettings"),
    "Predicted spots": ("simulation", "PredictSettings"),
    "Background": ("background", "ExtractionSettings"),
    "Training set": ("learning.mix_settings", "TrainingSetSettings"),
    "Training": ("learning.settings", "TrainSettings"),
    "Fine-tuning": ("learning.pairs", "FineTuneSettings"),
    "Synthesis of training crops": ("learning.synthesis", "SynthesisSettings"),
}


def page() -> str:
    """The whole page; `tests/test_docs.py` checks that the file is this."""
    parts = [
        "# Settings\n",
        "Made by `python scripts/make_settings_docs.py` from the same classes that make the "
        "docks' forms,\nthe command line's flags (`median_window` is `--median-window`) and the "
        "recipes.\n",
    ]
    for title, (module, name) in JOBS.items():
        settings = getattr(importlib.import_module(f"napari_labdct.{module}"), name)
        summary = settings.__doc__.strip().splitlines()[0]
        parts += [f"## {title}\n", f"`{name}`: {summary}\n", markdown_table(settings) + "\n"]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
