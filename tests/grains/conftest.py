"""One small simulated scan with its map, shared by the tests of grain mapping."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from napari_labdct.grains import GrainMapping, GrainSettings
from napari_labdct.scan.scan import Scan
from napari_labdct.simulation import SimulateSettings, Simulation


def _simulated(**changes) -> SimpleNamespace:
    """Scan, masks and truth of a few grains, seen without noise."""
    values = {
        "material": "Fe", "diameter_um": 70, "height_um": 90, "mean_grain_um": 32,
        "source_sample_mm": 11, "sample_detector_mm": 18, "binning": 6, "frames": 60,
        "start_deg": -180, "step_deg": 6, "voxel_um": 5, "truth_min_grey": 20, "seed": 3,
    }  # fmt: skip
    settings = SimulateSettings(**(values | changes))
    simulation = Simulation(settings, threads=1)
    masks = np.stack(
        [simulation.project(w, i).labels > 0 for i, w in enumerate(settings.omega_deg)]
    )
    scan = Scan(masks, settings.omega_deg, simulation.description(), "simulated")
    return SimpleNamespace(
        scan=scan, masks=masks, truth=simulation.grains, material=simulation.material,
        settings=settings,
    )  # fmt: skip


_OUTLINE = GrainSettings(sample="cylinder", diameter_um=70, height_um=90, voxel_um=5, threads=1)


def _finished(job: GrainMapping, state=None) -> GrainMapping:
    for _ in job.run(state):
        pass
    return job


@pytest.fixture(scope="session")
def iron() -> SimpleNamespace:
    """A scan of a few iron grains."""
    return _simulated()


@pytest.fixture(scope="session")
def small(iron) -> SimpleNamespace:
    """The scan, and the job that mapped it."""
    made = SimpleNamespace(**vars(iron))
    made.job = _finished(GrainMapping(made.scan, made.masks, _OUTLINE))
    made.result = made.job.result
    return made


@pytest.fixture
def simulated():
    """Makes a scan of a few grains; settings can be changed."""
    return _simulated


@pytest.fixture
def finished():
    """Runs a job to its end and gives it back."""
    return _finished


@pytest.fixture
def outline() -> GrainSettings:
    """The sample of `simulated`."""
    return _OUTLINE
