"""A small scan, a tiny network and short words for what GUI tests do all the time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from napari.layers import Layer

from napari_labdct.scan.description import ScanDescription
from napari_labdct.scan.scan import Scan, angles

#: In a fresh clone the first wait includes compiling the kernels, on a computer that may have much
#: else to do.
WAIT_MS = 120_000


def _make_frames(count: int = 9, rows: int = 48, cols: int = 64, seed: int = 1) -> np.ndarray:
    """Projections with a smooth background, noise and a few bright spots, uint16."""
    rng = np.random.default_rng(seed)
    row, col = np.mgrid[:rows, :cols]
    background = 300 + 2.0 * row + col
    frames = np.repeat(background[None], count, axis=0)
    for frame in frames:
        for _ in range(6):
            r, c = rng.uniform(5, rows - 5), rng.uniform(5, cols - 5)
            frame += 400 * np.exp(-((row - r) ** 2 + (col - c) ** 2) / 4)
    return rng.poisson(frames).astype(np.uint16)


@pytest.fixture
def make_frames() -> Callable[..., np.ndarray]:
    """Makes projections: ``make_frames(count, rows, cols, seed)``."""
    return _make_frames


@pytest.fixture
def frames() -> np.ndarray:
    """Nine projections of 48 x 64 pixels."""
    return _make_frames()


@pytest.fixture
def scan(frames) -> Scan:
    """A small scan with angles and a pixel size."""
    return Scan(
        frames,
        omega_deg=angles(0, 5, len(frames)),
        description=ScanDescription(pixel_um=3.36),
        name="iron",
    )


@pytest.fixture(scope="session")
def model_path(tmp_path_factory) -> Path:
    """A file with a tiny untrained network: quick, and the same in every run."""
    import torch

    from napari_labdct.networks.model import Model
    from napari_labdct.networks.registry import build_network

    torch.manual_seed(3)
    options = {"channels": 4, "levels": 1}
    network = build_network("compact", **options)
    weights = network.state_dict()
    last = [key for key, value in weights.items() if value.ndim == 4][-1]
    weights[last] = weights[last] * 40  # from a pale grey to black and white
    model = Model("compact", options, weights, name="tiny", threshold=120, median_window=5)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    model.save(path)
    return path


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()


@pytest.fixture
def shown(make_napari_viewer):
    """A viewer in a real window of the virtual screen, for what only a window does."""
    return make_napari_viewer(show=True)


@pytest.fixture
def add_scan(viewer) -> Callable[[Scan], Layer]:
    """Add a scan to the viewer as the reader would."""

    def add(scan: Scan) -> Layer:
        from napari_labdct.gui.app.layers import layer_data

        return viewer.add_layer(Layer.create(*layer_data(scan)))

    return add


@pytest.fixture
def dock(viewer):
    """Open one of our docks in the viewer's window, by its name in the manifest."""

    def show(name: str):
        return viewer.window.add_plugin_dock_widget("napari-labdct", name)[1]

    return show


@pytest.fixture
def wait(qtbot) -> Iterator[Callable[[Callable[[], bool]], None]]:
    """Pump events until something is true."""

    def until(condition: Callable[[], bool]) -> None:
        qtbot.waitUntil(condition, timeout=WAIT_MS)

    yield until
    from qtpy.QtCore import QThreadPool

    assert QThreadPool.globalInstance().waitForDone(WAIT_MS)


@pytest.fixture
def panel(viewer, dock, model_path, wait):
    """The Denoise dock with the tiny model chosen and read."""
    from napari_labdct.gui.app import preferences
    from napari_labdct.gui.app.session import session_of

    preferences.save_last("denoise_dock", {"model": str(model_path), "device": "cpu"})
    panel = dock("Denoise")
    wait(lambda: "threshold 120" in panel.network.card.text())
    wait(lambda: not session_of(viewer).job("model").running)
    return panel
