"""What the Simulate dock runs: generators for a worker, and the layers they lead to.

The generators hold no Qt; `SimulateController` lives in the session, so a run goes on when
its dock is closed.
"""

from __future__ import annotations

import weakref
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer

from ...core.jobs import Progress
from ...scan.scan import Scan
from ...simulation.prediction import Prediction, PredictSettings, settings_of_map
from ...simulation.settings import SimulateSettings
from ..widgets.grains_view import Grains, colour
from .preview import spot_limits

if TYPE_CHECKING:
    from ...simulation import Simulation, SimulationOutput


@dataclass(frozen=True, eq=False)
class Opened:
    """A simulated scan whose files are there, still empty or begun before."""

    output: SimulationOutput
    layer_data: tuple[Any, dict[str, Any], str]
    grains: Grains


@dataclass(frozen=True, eq=False)
class Limits:
    """Contrast limits that suit the frames of a simulated scan."""

    output: SimulationOutput
    limits: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Spots:
    """The spots of a scan: simulated (with `output`) or predicted (with `stack`)."""

    table: np.ndarray
    grains: Grains
    recipe: dict[str, Any] = field(default_factory=dict)
    output: SimulationOutput | None = None
    stack: weakref.ref[Layer] | None = None


class Run:
    """One simulated scan in the making; resuming goes on with the same files.

    Parameters
    ----------
    settings : SimulateSettings
    folder : path
    """

    def __init__(self, settings: SimulateSettings, folder: Path) -> None:
        self.settings = settings
        self.folder = folder
        self.output: SimulationOutput | None = None

    def steps(self) -> Generator[Any, None, None]:
        """Simulate into the folder; yields `Opened`, `Limits` and `Spots` besides progress."""
        from ...simulation import Simulation, SimulationOutput, simulate_scan

        yield Progress(0, 0, "Making the sample")
        # Refused settings must leave no files behind, so the sample comes first.
        simulation = Simulation(self.settings)
        grains = colour(simulation.grains, simulation.material.symmetry)
        if self.output is None:
            yield Progress(0, 0, "Opening the files")
            self.output = SimulationOutput(self.settings, self.folder)
        output, total = self.output, self.settings.frames
        yield Opened(output, _layer_data(simulation, output), grains)
        yield Progress(int(output.frames.done.sum()), total)
        first = simulation.project(self.settings.omega_deg[0], 0)
        yield Limits(output, spot_limits(self.settings, first))
        yield from simulate_scan(self.settings, self.folder, output=output, simulation=simulation)
        yield Spots(_visible_spots(output), grains, dict(output.frames.recipe), output)
        yield Progress(total, total, f"In {self.folder}")

    def discard(self) -> None:
        """Delete the files of this run, and its folder if nothing else is in it."""
        if self.output is None:
            return
        from ...simulation.run import SIDE_FILES

        for store in (self.output.frames, self.output.truth, self.output.labels):
            store.discard()
        for name in SIDE_FILES:
            (self.folder / name).unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()
        self.output = None


def _layer_data(
    simulation: Simulation, output: SimulationOutput
) -> tuple[Any, dict[str, Any], str]:
    from ..app.layers import layer_data

    scan = Scan(
        output.frames,
        simulation.settings.omega_deg,
        simulation.description(),
        output.folder.name,
        str(output.folder / "frames.tif"),
    )
    return layer_data(scan)


def _visible_spots(output: SimulationOutput) -> np.ndarray:
    from ...io import read_spot_csv
    from ...simulation.projector import SIMULATED_DTYPE

    if not output.spots_path.exists():  # not a single spot
        return np.zeros(0, SIMULATED_DTYPE)
    table = read_spot_csv(output.spots_path, SIMULATED_DTYPE)
    table = table[table["area_px"] > 0]
    return table[np.argsort(table["frame"], kind="stable")]


def predict(
    scan: Scan, settings: PredictSettings, stack: weakref.ref[Layer]
) -> Generator[Any, None, None]:
    """Spots that a grain map should give on every projection of a scan."""
    yield Progress(0, 0, "Reading the grain map")
    prediction = Prediction(scan, settings)
    tables = []
    for done, table in enumerate(prediction.run(), 1):
        tables.append(table)
        yield Progress(done, scan.n_frames, "", done - 1)
    grains = colour(prediction.grains, prediction.material.symmetry)
    made = {"job": "predict", "settings": settings.to_dict(), "input": {"name": scan.name}}
    yield Spots(np.concatenate(tables), grains, made, stack=stack)
    found = sum(map(len, tables)) / scan.n_frames
    said = f"{found:.0f} spots a projection from {grains.map.n_grains} grains."
    yield Progress(scan.n_frames, scan.n_frames, said)


def read_map(path: str) -> Generator[Progress | SimulateSettings, None, None]:
    """The geometry that a grain map's file gives."""
    yield Progress(0, 0, "Reading the grain map")
    yield settings_of_map(path)


def disk_bytes(settings: SimulateSettings) -> int:
    """Size of the files of a whole scan: frames, truth and labels."""
    rows, cols = settings.rows // settings.binning, settings.cols // settings.binning
    return settings.frames * rows * cols * ((2 if settings.noise else 4) + 1 + 2)
