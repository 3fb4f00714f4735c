"""Write docs/settings.md from the settings classes: python scripts/make_settings_docs.py"""

from __future__ import annotations

import importlib
from pathlib import Path

from napari_labdct.core.parameters import markdown_table

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
JOBS = {
    "Scan description (`scan.yaml`, Scan dock)": ("scan.description", "ScanDescription"),
    "Denoise": ("networks.denoising", "DenoiseSettings"),
    "Track": ("spots.tracking", "TrackSettings"),
    "Binarise": ("spots.binarisation", "SpotSettings"),
    "Grow a missed spot (Review dock)": ("review.corrections", "GrowSettings"),
    "Standard routine": ("spots.log_routine", "RoutineSettings"),
    "Simulate": ("simulation", "SimulateSettings"),
    "Predicted spots": ("simulation", "PredictSettings"),
    "Calibration": ("grains", "CalibrationSettings"),
    "Grain map": ("grains", "GrainSettings"),
    "Measure (recipe step)": ("campaign.kinds", "MeasureSettings"),
    "Export (recipe step)": ("campaign.kinds", "ExportSettings"),
    "Compare (recipe step)": ("campaign.kinds", "ComparisonSettings"),
    "Grain map (recipe step, beside those above)": ("campaign.kinds", "MapSettings"),
    "Spots guided by grains": ("grains", "RefineSettings"),
    "Background": ("background", "ExtractionSettings"),
    "Training set": ("training.crops.own_scan_settings", "TrainingSetSettings"),
    "Training": ("training.settings", "TrainSettings"),
    "Fine-tuning": ("training.crops.reviewed_pairs", "FineTuneSettings"),
    "Synthesis of training crops": ("training.crops.synthesis", "SynthesisSettings"),
}
# What scan.yaml holds beside the fields of the form; docs/geometry.md says how it is meant.
SCAN_YAML = """\
| `frames` | Projections |  |  | every TIFF beside it | File names or patterns, one or a list. |
| `omega_deg` | Rotation angles | deg |  |  | `{start: , step: }`, or a list, one each. |
| `omega_csv` | Angles from a file | deg |  |  | CSV, last column; if no `omega_deg`. |
| `detector_center_px` | Centre | px |  | the middle | `[row, col]` of the optical axis, from 0. |
| `detector_tilt_deg` | Tilt | deg |  | `[0, 0, 0]` | About x, y and z. |
| `beam_stop_px` | Beam stop | px |  |  | Corners `[row, col]`, 3 or more; one outline or several. |
| `mask` | Detector mask | px |  | found | Outlines as above, the name of an image, or `none`. |

Which way round angles, rows, columns and tilts count: [geometry.md](geometry.md).
"""


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
        if name == "ScanDescription":
            parts[-1] += SCAN_YAML
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
