"""What all tests share: no test touches the user's folders."""

from __future__ import annotations

import contextlib
import importlib
from pathlib import Path

import pytest

# CUDA builds of torch bring Triton, whose LLVM must be loaded before that of Mesa's software OpenGL
# (which napari starts under Xvfb); the other way round importing it ends the process.
with contextlib.suppress(ImportError):
    importlib.import_module("triton._C.libtriton")


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch) -> Path:
    """A folder of the test's own for last-used values and for results."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setattr("platformdirs.user_config_dir", lambda *a, **k: str(folder / "config"))
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *a, **k: str(folder / "cache"))
    monkeypatch.setattr("platformdirs.user_data_dir", lambda *a, **k: str(folder / "data"))
    return folder


@pytest.fixture
def flat_background():
    """A background set of 127 x 127 px and 300 counts, without anything in it."""
    import numpy as np

    from napari_labdct.background import BackgroundSet

    return BackgroundSet(
        name="flat", mean=np.full((127, 127), 300, np.float32),
        components=np.zeros((0, 16, 16), np.float32), coefficients=np.zeros((3, 0), np.float32),
        cell_px=8, drift=np.ones(3, np.float32), gain=1.0, offset=0.0,
        noise_levels=np.array([300.0]), noise_variances=np.array([300.0]),
        hot_pixels=np.zeros((0, 2), np.int32), hot_values=np.zeros(0, np.float32),
        cosmic_events=0.0, cosmic_pixels=0.0, cosmic_heights=np.zeros(0, np.float32),
        beam_stop_px=(), brightest_percent=0.01, recipe={},
    )  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tiny networks are slower on many threads, most of all where the cores are busy."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_synthesis():
    """Small crops with plenty of clear spots."""
    from napari_labdct.training.settings import SynthesisSettings

    return SynthesisSettings(crop_px=64, snr_min=5.0, no_median=0.0, near_field=0.0)


@pytest.fixture
def model():
    """An untrained `compact` model, the same each time."""
    import torch

    from napari_labdct.networks.model import Model
    from napari_labdct.networks.registry import build_network

    torch.manual_seed(0)
    return Model.of("compact", build_network("compact").state_dict(), device="cpu", name="fresh")


@pytest.fixture(scope="session")
def background():
    """A background set of 80 x 80 px: a hill, a change in time, hot pixels, cosmic rays."""
    import numpy as np

    from napari_labdct.background import BackgroundSet

    row, col = np.mgrid[:80, :80]
    mean = 200 + 300 * np.exp(-((row - 30) ** 2 + (col - 50) ** 2) / 900)
    change = np.add.outer(np.linspace(-20, 20, 10), np.linspace(0, 10, 10))
    return BackgroundSet(
        name="iron", mean=mean.astype(np.float32), components=change[None].astype(np.float32),
        coefficients=np.linspace(-1, 1, 5, dtype=np.float32)[:, None], cell_px=8,
        drift=np.array([0.95, 1, 1.02, 1, 0.98], np.float32), gain=0.7, offset=60.0,
        noise_levels=np.array([200.0]), noise_variances=np.array([200.0]),
        hot_pixels=np.array([[5, 6], [70, 70]], np.int32),
        hot_values=np.array([900, 2000], np.float32), cosmic_events=2.0, cosmic_pixels=4.0,
        cosmic_heights=np.array([300, 900], np.float32), beam_stop_px=(),
        brightest_percent=0.0, recipe={},
    )  # fmt: skip


@pytest.fixture(scope="session")
def small_scan():
    """A virtual scan of 80 x 80 px that takes a moment to project."""
    from napari_labdct.simulation import SimulateSettings

    return SimulateSettings(
        diameter_um=80, height_um=80, mean_grain_um=25, voxel_um=4, rows=80, cols=80,
        pixel_um=70, beam_stop_width_mm=0, beam_stop_height_mm=0, truth_min_grey=0, frames=4,
        step_deg=90,
    )  # fmt: skip
