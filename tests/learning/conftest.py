"""A tiny model and a tiny training, made once."""

from __future__ import annotations

import pytest


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
    from napari_labdct.learning.synthesis import SynthesisSettings

    return SynthesisSettings(crop_px=64, snr_min=5.0, no_median=0.0, near_field=0.0)


@pytest.fixture
def model():
    """An untrained `compact` model, the same each time."""
    import torch

    from napari_labdct.learning.model import Model
    from napari_labdct.learning.networks import build_network

    torch.manual_seed(0)
    return Model.of("compact", build_network("compact").state_dict(), device="cpu", name="fresh")
