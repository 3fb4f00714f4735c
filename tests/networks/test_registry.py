"""A network from outside the package is built, and brings what must be known before torch."""

from __future__ import annotations

import pytest
from torch import nn

from napari_labdct.core.errors import ModelError
from napari_labdct.networks.model import Model
from napari_labdct.networks.registry import NETWORKS, NetworkKind, build_network


class Toy(nn.Module):
    """One convolution."""

    multiple = 1
    margin_px = 2

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.only = nn.Conv2d(2, 1, width, padding=width // 2)

    def forward(self, x):
        return self.only(x)


@pytest.fixture
def toy():
    NETWORKS.register("toy", NetworkKind(Toy, {"width": 5}, memory_bytes_per_px=40))
    yield
    NETWORKS.forget("toy")


def test_a_network_from_outside_is_built_and_becomes_a_model(toy, tmp_path):
    network = build_network("toy")
    assert network.only.kernel_size == (5, 5)
    assert build_network("toy", width=1).only.kernel_size == (1, 1)
    Model.of("toy", network.state_dict(), device="cpu").save(tmp_path / "toy.safetensors")
    assert Model.load(tmp_path / "toy.safetensors", "cpu").network == "toy"
    assert NETWORKS["toy"].memory_bytes_per_px == 40


def test_a_network_that_is_gone_is_said(toy, tmp_path):
    model = Model.of("toy", build_network("toy").state_dict(), device="cpu")
    model.save(tmp_path / "toy.safetensors")
    NETWORKS.forget("toy")
    with pytest.raises(ModelError, match="no network called 'toy'"):
        build_network("toy")
