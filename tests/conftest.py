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
